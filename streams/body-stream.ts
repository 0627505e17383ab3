/**
 * A body as a WHATWG byte stream: default reads get one fresh chunk, BYOB reads are filled in the caller's own view, of
 * a native source by Rust.
 */
import type { ReadableByteStreamController, ReadableStream } from 'node:stream/web'
import { ByteStream } from './byte-stream.ts'
import type { ByteSource, ReadableStreamConstructor } from './byte-stream.ts'
import type { MemorySource } from './memory-source.ts'
import type { NativeSource } from './native-source.ts'

/** Where the bytes of a body are. */
export type BodyBytes = NativeSource | MemorySource

/** What the rest of the library knows of a body stream it made. */
export interface BodyStreamState {
  readonly source: BodyBytes
  readonly controller: ReadableByteStreamController
  /** Read from or cancelled, as Streams §4.9 has it. */
  isDisturbed: boolean
  /** No read waits, and no bytes lie in the stream itself. */
  readonly isBetweenReads: boolean
}

const kNow = Promise.resolve()

const states = new WeakMap<object, BodyStreamState>()

/** The state of a stream made by {@link createBodyStream}. */
export function bodyStreamState(stream: object): BodyStreamState | undefined {
  return states.get(stream)
}

class BodyStream implements BodyStreamState, ByteSource {
  readonly source: BodyBytes
  readonly bytes: ByteStream
  isDisturbed = false
  /** A pull waits for bytes. */
  private isWaiting = false

  constructor(source: BodyBytes, Implementation: ReadableStreamConstructor) {
    this.source = source
    this.bytes = new ByteStream(this, Implementation)
  }

  get controller(): ReadableByteStreamController {
    return this.bytes.controller
  }

  get isBetweenReads(): boolean {
    return !this.isWaiting && this.bytes.isEmpty
  }

  pull(): Promise<void> {
    this.isDisturbed = true
    return this.fillAfter(this.source.isGreedy ? this.source.nextTurn() : kNow)
  }

  cancel(reason: unknown): void {
    this.isDisturbed = true
    this.source.cancel(reason)
  }

  /** A default reader that has gone leaves what there is where it is, for the next one. */
  private async fillAfter(moment: Promise<void>): Promise<void> {
    for (let next = moment; ; next = this.source.ready()) {
      this.isWaiting = true
      await next
      this.isWaiting = false
      if (!this.bytes.isWanted || this.fill()) return
    }
  }

  /** Gives one read what there is; false when there is nothing yet. */
  private fill(): boolean {
    const { source } = this
    const request = this.bytes.view
    if (request !== null) {
      const filled = source.pullInto(request.view as Uint8Array)
      if (filled > 0) request.respond(filled)
      else if (source.state === 'open') return false
    } else {
      const chunk = source.pull()
      if (chunk !== null) this.bytes.enqueue(chunk)
      else if (source.state === 'open') return false
    }
    if (source.state !== 'open') this.finish()
    return true
  }

  private finish(): void {
    const { source, controller } = this
    if (source.state === 'ended') this.bytes.close()
    // An error drops what is queued: that is read first.
    else if ((controller.desiredSize ?? 0) === 0) controller.error(source.error)
  }
}

/** A byte stream over `source`, of the given implementation. */
export function createBodyStream(source: BodyBytes, Implementation: ReadableStreamConstructor): ReadableStream {
  const body = new BodyStream(source, Implementation)
  const { stream } = body.bytes
  states.set(stream, body)
  // An aborted fetch errors its body at once (Fetch, "abort a fetch() call"), although nobody may read.
  source.onAborted = (error) => body.controller.error(error)
  return stream
}
