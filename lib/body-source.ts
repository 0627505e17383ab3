/**
 * The body of a `Response`, in whichever form it has now: absent, complete bytes, a native source, or a stream. What a
 * caller does not ask for, a stream or a copy, is not made.
 */
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { readAll } from '../streams/body-reader.ts'
import { bodyStreamState, createBodyStream } from '../streams/body-stream.ts'
import type { ReadableStreamConstructor } from '../streams/byte-stream.ts'
import { MemorySource } from '../streams/memory-source.ts'
import { recogniseFiles } from '../streams/native-pipe.ts'
import { NativeSource } from '../streams/native-source.ts'
import { terminated } from './fetch-error.ts'
import type { Integrity } from './integrity.ts'
import { chunksOf, relayStream, wasDisturbed } from './relay-stream.ts'

type Bytes = Uint8Array<ArrayBuffer>
type Content = Bytes | NativeSource | ReadableStream | null

export class BodySource {
  private content: Content
  private readonly Implementation: ReadableStreamConstructor
  private signal: AbortSignal | null
  private stream: ReadableStream | null = null
  private isConsumed = false

  /** `signal` fails what nobody has read: complete bytes, which have no other maker to do it, and a stream at once. */
  constructor(content: Content, Implementation: ReadableStreamConstructor, signal: AbortSignal | null = null) {
    this.content = content
    this.Implementation = Implementation
    this.signal = signal
    if (content !== null && isStream(content)) this.stream = content
  }

  /** A body that fails at its end where `integrity` does not fit it. */
  static checked(
    content: Content,
    Implementation: ReadableStreamConstructor,
    integrity: Integrity | null,
    signal: AbortSignal | null = null,
  ): BodySource {
    const plain = new BodySource(content, Implementation, signal)
    if (content === null || integrity === null) return plain
    const onEnd = (): void => {
      const mismatch = integrity.mismatch()
      if (mismatch !== null) throw terminated(mismatch)
    }
    const onChunk = (chunk: Uint8Array): void => integrity.update(chunk)
    return new BodySource(
      relayStream(() => chunksOf(plain.body!), Implementation, { onChunk, onEnd }),
      Implementation,
    )
  }

  /** `response.body`: made when it is first asked for. */
  get body(): ReadableStream | null {
    if (this.stream !== null || this.content === null) return this.stream
    this.stream = this.openStream()
    // A body consumed as a whole had its reader; a stream made afterwards looks as if it still had.
    if (this.isConsumed) this.stream.getReader().closed.catch(() => {})
    return this.stream
  }

  /** `response.bodyUsed`: the stream is disturbed (Fetch §2.2.5). */
  get isUsed(): boolean {
    if (this.isConsumed) return true
    if (this.stream === null) return false
    // A stream that is read before it has started has not been pulled: the platform's tells all the same.
    if (Readable.isDisturbed(this.stream as never)) return true
    return bodyStreamState(this.stream)?.isDisturbed ?? wasDisturbed(this.stream)
  }

  /**
   * The whole body, once: at once where it is complete; rejects with the body's own error.
   * @throws TypeError for a body that was used or is locked, and the error of a body that has failed
   */
  consume(): Bytes | Promise<Bytes> {
    if (this.isUsed || this.stream?.locked === true) {
      throw new TypeError('Body is unusable: Body has already been read')
    }
    const { content, stream } = this
    if (content === null) return new Uint8Array(0)
    this.isConsumed = true
    if (content instanceof Uint8Array) {
      if (stream !== null) stream.getReader()
      throwIfAborted(content, this.signal)
      return content
    }
    if (isStream(content) && this.signal?.aborted === true) throw this.signal.reason
    if (stream === null) return readAll(content as NativeSource)
    return readStream(stream)
  }

  /** The other half of a tee. @throws TypeError for a body that was used or is locked */
  clone(): BodySource {
    if (this.isUsed || this.stream?.locked === true)
      throw new TypeError('Response.clone: Body has already been consumed.')
    const { content } = this
    // Complete bytes serve any number of readers, each of whom gets a copy.
    if (content === null || (content instanceof Uint8Array && this.stream === null)) {
      return new BodySource(content === null ? null : content.slice(), this.Implementation, this.signal)
    }
    const [mine, other] = this.body!.tee()
    this.content = mine
    this.stream = mine
    // The other branch may have read all that there is, which no abort takes from this one.
    this.signal = null
    return new BodySource(other, this.Implementation)
  }

  private openStream(): ReadableStream {
    const { content } = this
    if (content instanceof NativeSource) {
      const stream = createBodyStream(content, this.Implementation)
      recogniseFiles(stream)
      return stream
    }
    return bytesStream(this.isConsumed ? new Uint8Array(0) : (content as Bytes), this.Implementation, this.signal)
  }
}

function isStream(content: Exclude<Content, null>): content is ReadableStream {
  return !(content instanceof Uint8Array) && !(content instanceof NativeSource)
}

/** A body without bytes is over when it comes, so that no abort reaches it. */
function throwIfAborted(bytes: Bytes, signal: AbortSignal | null): void {
  if (bytes.byteLength > 0 && signal?.aborted === true) throw signal.reason
}

/** Complete bytes as a byte stream. */
function bytesStream(
  bytes: Bytes,
  Implementation: ReadableStreamConstructor,
  signal: AbortSignal | null,
): ReadableStream {
  const isEmpty = bytes.byteLength === 0
  const stream = createBodyStream(new MemorySource(bytes, isEmpty ? null : signal), Implementation)
  // Others than the platform's tell that they were read only by asking for bytes.
  if (isEmpty && Implementation === globalThis.ReadableStream) bodyStreamState(stream)!.controller.close()
  return stream
}

async function readStream(stream: ReadableStream): Promise<Bytes> {
  const reader = stream.getReader()
  const chunks: Uint8Array[] = []
  let length = 0
  for (;;) {
    const { done, value } = (await reader.read()) as { done: boolean; value: unknown }
    if (done) break
    if (!(value instanceof Uint8Array)) throw new TypeError('Received non-Uint8Array chunk')
    chunks.push(value)
    length += value.byteLength
  }
  // In memory of its own: a Buffer may share its.
  const joined = new Uint8Array(length)
  let at = 0
  for (const chunk of chunks) {
    joined.set(chunk, at)
    at += chunk.byteLength
  }
  return joined
}
