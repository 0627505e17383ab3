/**
 * A native source as a WHATWG byte stream (Streams §4.7): high-water mark 0, so that nothing is read before somebody
 * asks; default reads get one fresh chunk, BYOB reads are filled by Rust in the caller's own view.
 */
import type {
  ReadableByteStreamController,
  ReadableStream,
  ReadableStreamGetReaderOptions,
  ReadableStreamReader,
  UnderlyingByteSource,
} from 'node:stream/web'
import type { NativeSource } from './native-source.ts'
import { equipReader, type ReadSource } from './stream-reader.ts'

/** An implementation's constructor of readable streams. */
export type ReadableStreamConstructor = new (
  source: UnderlyingByteSource,
  strategy?: { highWaterMark?: number },
) => unknown

/** What the rest of the library knows of a body stream it made. */
export interface BodyStreamState {
  readonly source: NativeSource
  readonly controller: ReadableByteStreamController
  /** Read from or cancelled, as Streams §4.9 has it. */
  isDisturbed: boolean
  /** No read waits, and no bytes lie in the stream itself, of a reader that has gone. */
  readonly isBetweenReads: boolean
}

const states = new WeakMap<object, BodyStreamState>()

/** The state of a stream made by {@link createBodyStream}. */
export function bodyStreamState(stream: object): BodyStreamState | undefined {
  return states.get(stream)
}

class BodyUnderlyingSource implements BodyStreamState, ReadSource {
  readonly type = 'bytes'
  readonly source: NativeSource
  controller!: ReadableByteStreamController
  stream!: ReadableStream
  isDisturbed = false
  /** The view that waits to be filled belongs to a reader that has gone. */
  private isViewAbandoned = false
  /** The pull that waits for bytes. */
  private waiting: Promise<void> | null = null

  constructor(source: NativeSource) {
    this.source = source
  }

  get isBetweenReads(): boolean {
    const { controller } = this
    return this.waiting === null && !isGiven(controller.byobRequest) && (controller.desiredSize ?? 0) === 0
  }

  start(controller: ReadableByteStreamController): void {
    this.controller = controller
  }

  pull(controller: ReadableByteStreamController): void | Promise<void> {
    this.isDisturbed = true
    if (this.waiting !== null) return this.waiting
    if (this.source.isGreedy) return this.fillAfter(controller, this.source.nextTurn())
    if (this.fill(controller)) return undefined
    return this.fillAfter(controller, this.source.ready())
  }

  /**
   * A reader that has gone leaves what there is where it is, for the next one; but while its view waits, the next one's
   * does not call `pull` (Streams §4.10.11, PullInto), so that the view has to be answered.
   */
  private fillAfter(controller: ReadableByteStreamController, moment: Promise<void>): Promise<void> {
    this.waiting = moment.then(() => {
      this.waiting = null
      const isWanted = this.stream.locked || isGiven(controller.byobRequest)
      if (!isWanted || this.fill(controller)) return undefined
      return this.fillAfter(controller, this.source.ready())
    })
    return this.waiting
  }

  cancel(reason: unknown): void {
    this.isDisturbed = true
    this.source.cancel(reason)
  }

  /** Before the first `pull` the implementation has not started, and does not know that it was read from. */
  get isQuiet(): boolean {
    const { source } = this
    return this.isDisturbed && source.state === 'open' && !source.isGreedy && this.isBetweenReads && this.stream.locked
  }

  take(): Uint8Array | null {
    const chunk = this.source.pull()
    if (chunk === null) return null
    if (this.source.state !== 'open') this.finish(this.controller)
    // Not the Buffer that it is.
    return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  }

  takeInto(view: Uint8Array): number {
    const filled = this.source.pullInto(view)
    if (filled > 0 && this.source.state !== 'open') this.finish(this.controller)
    return filled
  }

  onRelease(): void {
    this.isViewAbandoned = isGiven(this.controller.byobRequest)
  }

  /** Behind a view that was abandoned before the stream had started, nobody calls `pull`. */
  onAcquire(): void {
    if (this.isViewAbandoned && this.waiting === null) void this.pull(this.controller)
  }

  /** Gives one read what there is; false when there is nothing yet. */
  private fill(controller: ReadableByteStreamController): boolean {
    const { source } = this
    // Bytes that answer an abandoned view are queued without a look at the read that waits now (Streams §4.10.11,
    // RespondInReadableState); an enqueued chunk drops the view and goes to that read.
    const request = this.isViewAbandoned && this.stream.locked ? null : controller.byobRequest
    if (isGiven(request)) {
      const filled = source.pullInto(request.view as Uint8Array)
      if (filled > 0) request.respond(filled)
      else if (source.state === 'open') return false
    } else {
      const chunk = source.pull()
      if (chunk !== null) controller.enqueue(chunk)
      else if (source.state === 'open') return false
    }
    this.isViewAbandoned = false
    if (source.state !== 'open') this.finish(controller)
    return true
  }

  private finish(controller: ReadableByteStreamController): void {
    if (this.source.state === 'ended') {
      controller.close()
      // A read into the caller's view is answered only by a response, of 0 bytes, after the close (Streams §3.9.5).
      controller.byobRequest?.respond(0)
    } else if ((controller.desiredSize ?? 0) === 0) {
      // An error drops what is queued: what an abandoned view has left there is read first.
      controller.error(this.source.error)
    }
  }
}

function isGiven<Request>(request: Request | null | undefined): request is Request {
  return request !== null && request !== undefined
}

/** A byte stream over `source`, of the given implementation. */
export function createBodyStream(source: NativeSource, Implementation: ReadableStreamConstructor): ReadableStream {
  const underlying = new BodyUnderlyingSource(source)
  const stream = new Implementation(underlying as UnderlyingByteSource, { highWaterMark: 0 }) as ReadableStream
  underlying.stream = stream
  states.set(stream, underlying)
  Object.defineProperty(stream, 'getReader', { configurable: true, writable: true, value: getReader })
  // An aborted fetch errors its body at once (Fetch, "abort a fetch() call"), although nobody may read.
  source.onAborted = (error) => underlying.controller.error(error)
  return stream
}

type GetReader = (options?: ReadableStreamGetReaderOptions) => ReadableStreamReader<Uint8Array>

function getReader(this: ReadableStream, options?: ReadableStreamGetReaderOptions): ReadableStreamReader<Uint8Array> {
  const reader = (Object.getPrototypeOf(this) as { getReader: GetReader }).getReader.call(this, options)
  const underlying = states.get(this) as BodyUnderlyingSource | undefined
  return underlying === undefined ? reader : equipReader(reader, options?.mode, underlying)
}
