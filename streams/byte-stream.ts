/**
 * The byte streams of this library (Streams §4.7): high-water mark 0, so that nothing is read before somebody asks, and
 * no read waits for a pull that nobody calls.
 *
 * A view whose reader has released its lock stays the first that is to be filled (§4.7.4, [[ReleaseSteps]]), and a read
 * behind it does not call `pull` (§4.10.11, PullInto). A pull that was under way answers it; where there is none,
 * because the stream has not started or the last pull has just ended, every later read into a view would wait for ever.
 * So here a pull is under way for as long as a view is there to be filled.
 */
import type {
  ReadableByteStreamController,
  ReadableStream,
  ReadableStreamBYOBRequest,
  ReadableStreamGetReaderOptions,
  ReadableStreamReader,
  UnderlyingByteSource,
} from 'node:stream/web'

/** An implementation's constructor of readable streams. */
export type ReadableStreamConstructor = new (
  source: UnderlyingByteSource,
  strategy?: { highWaterMark?: number },
) => unknown

/** What a byte stream reads from. */
export interface ByteSource {
  readonly autoAllocateChunkSize?: number
  start?(controller: ReadableByteStreamController): void
  /**
   * Enqueues, fills the view, closes or fails, by the time the promise resolves; never called while one is pending. At the
   * earliest in a microtask, as a body of the platform's: a read that is given up in the turn of its call takes nothing.
   */
  pull(controller: ReadableByteStreamController): Promise<void> | undefined
  cancel(reason: unknown): void | Promise<void>
}

const byteStreams = new WeakMap<object, ByteStream>()

export class ByteStream {
  readonly stream: ReadableStream
  controller!: ReadableByteStreamController
  private readonly source: ByteSource
  /** The pull that is pending. */
  private pulling: Promise<void> | null = null
  /** The reader of views that has the lock, where it was asked for by `getReader`. */
  private viewReader: object | null = null
  /** The view that is there belongs to a reader that has gone. */
  private isViewLeft = false

  constructor(source: ByteSource, Implementation: ReadableStreamConstructor) {
    this.source = source
    const underlying: UnderlyingByteSource = {
      type: 'bytes',
      start: (controller) => {
        this.controller = controller
        source.start?.(controller)
      },
      pull: () => this.pull(),
      cancel: (reason) => source.cancel(reason),
    }
    if (source.autoAllocateChunkSize !== undefined) underlying.autoAllocateChunkSize = source.autoAllocateChunkSize
    this.stream = new Implementation(underlying, { highWaterMark: 0 }) as ReadableStream
    byteStreams.set(this.stream, this)
    Object.defineProperty(this.stream, 'getReader', { configurable: true, writable: true, value: getReader })
  }

  /**
   * The view to fill, where its reader has the lock. `enqueue` is right for every other read, and would be for this one;
   * it costs a copy. Bytes written into a view that was left behind are queued without a look at the default reads that
   * wait (Streams §4.10.11, RespondInReadableState).
   */
  get view(): ReadableStreamBYOBRequest | null {
    return this.viewReader === null || this.isViewLeft ? null : (this.controller.byobRequest ?? null)
  }

  /** Gives bytes to the reads that wait, or queues them; for sources that use {@link view}. */
  enqueue(chunk: Uint8Array): void {
    // The view goes, and what it has is queued before them.
    this.isViewLeft = false
    this.controller.enqueue(chunk)
  }

  /** Whether a reader is there, or there is a view to fill. */
  get isWanted(): boolean {
    return this.stream.locked || this.hasView
  }

  /** Whether there is no view to fill, and no bytes lie in the stream itself. */
  get isEmpty(): boolean {
    return !this.hasView && (this.controller.desiredSize ?? 0) === 0
  }

  /**
   * Ends the stream; false while bytes are queued: the next pull has to try again. An end that is requested behind
   * queued bytes makes a read that wants more than them an error, by which they are lost (Streams §4.10.11, PullInto).
   */
  close(): boolean {
    const { controller } = this
    if ((controller.desiredSize ?? 0) < 0) return false
    try {
      controller.close()
      // A view is answered only by a response, of 0 bytes, after the close (Streams §3.9.5).
      controller.byobRequest?.respond(0)
    } catch {
      // The stream, or the branch of a tee that the view belongs to, has failed by it: the last bytes are no whole element.
    }
    return true
  }

  /** A reader has got the lock. */
  onLocked(reader: ReadableStreamReader<unknown>, isForViews: boolean): void {
    this.viewReader = isForViews ? reader : null
    // No other read leaves a view behind.
    if (!isForViews && this.source.autoAllocateChunkSize === undefined) return
    const { releaseLock } = reader
    const onReleased = (): void => this.onReleased(reader)
    Object.defineProperty(reader, 'releaseLock', {
      configurable: true,
      writable: true,
      value: function (this: typeof reader): void {
        releaseLock.call(this)
        if (this === reader) onReleased()
      },
    })
  }

  private onReleased(reader: object): void {
    if (this.viewReader === reader) this.viewReader = null
    this.isViewLeft = this.hasView
    if (this.isViewLeft) this.pull().catch((error: unknown) => this.controller.error(error))
  }

  private get hasView(): boolean {
    // The polyfill may have it undefined.
    return (this.controller.byobRequest ?? null) !== null
  }

  private pull(): Promise<void> {
    return (this.pulling ??= this.pullWhileWanted())
  }

  private async pullWhileWanted(): Promise<void> {
    try {
      do await this.source.pull(this.controller)
      while (this.hasView)
    } finally {
      this.pulling = null
    }
  }
}

type GetReader = (options?: ReadableStreamGetReaderOptions) => ReadableStreamReader<unknown>

function getReader(this: ReadableStream, options?: ReadableStreamGetReaderOptions): ReadableStreamReader<unknown> {
  const reader = (Object.getPrototypeOf(this) as { getReader: GetReader }).getReader.call(this, options)
  byteStreams.get(this)?.onLocked(reader, options?.mode === 'byob')
  return reader
}
