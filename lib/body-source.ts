/**
 * The body of a `Response`, in whichever form it has now: absent, complete bytes, a native source, or a stream. What a
 * caller does not ask for, a stream or a copy, is not made.
 */
import { Readable } from 'node:stream'
import type { ReadableStream, UnderlyingByteSource } from 'node:stream/web'
import { readAll } from '../streams/body-reader.ts'
import { bodyStreamState, createBodyStream } from '../streams/body-stream.ts'
import type { ReadableStreamConstructor } from '../streams/body-stream.ts'
import { recogniseFiles } from '../streams/native-pipe.ts'
import { NativeSource } from '../streams/native-source.ts'
import { terminated } from './fetch-error.ts'
import type { Integrity } from './integrity.ts'
import { chunksOf, markDisturbed, relayStream, wasDisturbed } from './relay-stream.ts'

type Bytes = Uint8Array<ArrayBuffer>
type Content = Bytes | NativeSource | ReadableStream | null

export class BodySource {
  private content: Content
  private readonly Implementation: ReadableStreamConstructor
  private stream: ReadableStream | null = null
  private isConsumed = false

  constructor(content: Content, Implementation: ReadableStreamConstructor) {
    this.content = content
    this.Implementation = Implementation
    if (content !== null && isStream(content)) this.stream = content
  }

  /** A body that fails at its end where `integrity` does not fit it. */
  static checked(content: Content, Implementation: ReadableStreamConstructor, integrity: Integrity | null): BodySource {
    const plain = new BodySource(content, Implementation)
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
    const state = bodyStreamState(this.stream)
    return state === undefined
      ? Readable.isDisturbed(this.stream as never) || wasDisturbed(this.stream)
      : state.isDisturbed
  }

  /**
   * What `convert` makes of the whole body, once. Rejects with a TypeError for a body that was used or is locked, and
   * with the body's own error. Complete bytes are converted at once.
   */
  consume<Result>(convert: (bytes: Bytes) => Result): Promise<Result> {
    const { content, stream } = this
    if (stream === null && !this.isConsumed) {
      if (content instanceof NativeSource) {
        this.isConsumed = true
        return readAll(content).then(convert)
      }
      return this.convert(convert)
    }
    return this.consumeStream().then(convert)
  }

  private convert<Result>(convert: (bytes: Bytes) => Result): Promise<Result> {
    const { content } = this
    if (content !== null) this.isConsumed = true
    try {
      return Promise.resolve(convert((content as Bytes | null) ?? new Uint8Array(0)))
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  private async consumeStream(): Promise<Bytes> {
    const { content, stream } = this
    if (this.isUsed || stream?.locked === true) {
      throw new TypeError('Body is unusable: Body has already been read')
    }
    this.isConsumed = true
    if (!(content instanceof Uint8Array)) return readStream(stream!)
    await stream!.getReader().cancel()
    return content
  }

  /** The other half of a tee. @throws TypeError for a body that was used or is locked */
  clone(): BodySource {
    if (this.isUsed || this.stream?.locked === true)
      throw new TypeError('Response.clone: Body has already been consumed.')
    const { content } = this
    // Complete bytes serve any number of readers, each of whom gets a copy.
    if (content === null || (content instanceof Uint8Array && this.stream === null)) {
      return new BodySource(content === null ? null : content.slice(), this.Implementation)
    }
    const [mine, other] = this.body!.tee()
    this.content = mine
    this.stream = mine
    return new BodySource(other, this.Implementation)
  }

  private openStream(): ReadableStream {
    const { content } = this
    if (content instanceof NativeSource) {
      const stream = createBodyStream(content, this.Implementation)
      recogniseFiles(stream)
      return stream
    }
    return bytesStream(this.isConsumed ? new Uint8Array(0) : (content as Bytes), this.Implementation)
  }
}

function isStream(content: Exclude<Content, null>): content is ReadableStream {
  return !(content instanceof Uint8Array) && !(content instanceof NativeSource)
}

/** Complete bytes as a byte stream. */
function bytesStream(bytes: Bytes, Implementation: ReadableStreamConstructor): ReadableStream {
  const source: UnderlyingByteSource = {
    type: 'bytes',
    pull(controller) {
      markDisturbed(stream)
      if (bytes.byteLength > 0) controller.enqueue(bytes.slice())
      controller.close()
      controller.byobRequest?.respond(0)
    },
    cancel() {
      markDisturbed(stream)
    },
  }
  const stream = new Implementation(source, { highWaterMark: 0 }) as ReadableStream
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
