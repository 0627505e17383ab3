/**
 * A streamed request body on its way to the runtime: chunk by chunk, against byte credit, so that a stalled server
 * stops the source. Read once, never again.
 */
import { Readable } from 'node:stream'
import { binding } from '../native/binding.ts'
import type { CoreErrorInfo } from '../native/binding.ts'

/** Chunks read in one turn of the event loop at most. */
const BURST = 256

/** A chunk below this is copied to cross with its neighbours: a crossing costs more than copying so much once more. */
const SMALL = 16 * 1024

/** Bytes that cross together at most. */
const BATCH = 64 * 1024

// Taken when the module loads: test suites install clocks of their own.
const { setImmediate: startImmediate } = globalThis

const kNothing = new Uint8Array(0)

type Chunk = string | Uint8Array
type Result = IteratorResult<Chunk, unknown>

/** Reads one chunk after the other, and can be told to stop. */
interface ChunkReader {
  next(): Result | Promise<Result>
  /** Ends the source; with `error`, as failed. */
  stop(error: unknown): void
}

/** Is told what was handed over. */
export interface UploadObserver {
  bodySent(chunk: Chunk): void
  requestSent(): void
}

/** Node streams, web streams of any implementation, and iterables of either kind. */
export type UploadSource = object

/** The source has more or fewer bytes than were announced. */
export class UploadLengthError extends Error implements CoreErrorInfo {
  override readonly name = 'RequestContentLengthMismatchError'
  readonly code = 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH'

  constructor() {
    super('Request body length does not match content-length header')
  }
}

export class Upload {
  private readonly source: UploadSource
  private readonly onFailure: (error: unknown) => void
  /** Bytes that were announced and have not been sent; `null` where none were. */
  private left: number | null
  private readonly observer: UploadObserver | null
  private readonly trailers: (() => string | Promise<string>) | null
  private reader: ChunkReader | null = null
  private id = 0
  private isStopped = false
  private isSent = false
  private wake: (() => void) | null = null
  /** Small chunks of this turn. Copies: a source may write into the same buffer again. */
  private batch: Uint8Array | null = null
  private batched = 0
  private isFlushQueued = false
  /** What the runtime had room for when it last took something: bytes. */
  private room = 0
  /** Chunks since the event loop had its turn. */
  private burst = 0
  /** Called when `isRunning` has become false. */
  onOver: (() => void) | null = null
  /** The source's error before it was read: a request may wait long for its connection. */
  failure: { error: unknown } | null = null
  private readonly onEarlyError: ((error: unknown) => void) | null

  /**
   * `onFailure` is told the source's own error, or {@link UploadLengthError}, once; the request is then the caller's to
   * end. `length` is what was announced. `trailers` is asked once, when the source has ended, for names and values
   * separated by NUL; its error fails the upload as the source's does.
   */
  constructor(
    source: UploadSource,
    onFailure: (error: unknown) => void,
    length: number | null = null,
    observer: UploadObserver | null = null,
    trailers: (() => string | Promise<string>) | null = null,
  ) {
    this.source = source
    this.left = length
    this.onFailure = onFailure
    this.observer = observer
    this.trailers = trailers
    // An error that is there already is found when the stream is read, as in undici.
    const isFailed = (source as Partial<Readable>).errored
    this.onEarlyError = isNodeStream(source) ? (error) => void (isFailed || (this.failure ??= { error })) : null
    if (this.onEarlyError !== null) (source as Readable).on('error', this.onEarlyError)
  }

  /** Until the source has ended, or was stopped. */
  get isRunning(): boolean {
    return !this.isStopped
  }

  /** Makes a web stream this upload's at once: nobody else may read what a request is going to send. */
  lock(): void {
    if (isWebStream(this.source)) this.reader ??= openReader(this.source)
  }

  /** Starts reading; `id` is the request's, which crosses in this very tick. */
  start(id: number): void {
    this.id = id
    this.pump().catch((error: unknown) => {
      if (this.isStopped) return
      this.isStopped = true
      this.onFailure(error)
    })
  }

  /** The runtime has room again, or takes no more. */
  onReady(): void {
    if (this.isStopped) return
    if (this.left === 0) {
      // The response may be delivered before the source has said that it is at its end.
      this.tellSent()
    } else if (Number.isNaN(binding.uploadWrite(this.id, kNothing))) {
      this.leave()
      return
    }
    this.goOn()
  }

  private tellSent(): void {
    if (this.isSent) return
    this.isSent = true
    this.observer?.requestSent()
  }

  /**
   * There is nothing to read the source for. A dispatched request is sure to end, and stops it with its error; a
   * response may never be read, but if its error is on its way, that is the source's too.
   */
  private leave(): void {
    if (this.observer === null) startImmediate(() => this.stop(undefined))
  }

  private goOn(): void {
    const { wake } = this
    this.wake = null
    wake?.()
  }

  /** Reads no further and ends the source at once: destroyed, cancelled or returned, as it understands. */
  stop(error: unknown): void {
    if (this.isStopped) return
    this.isStopped = true
    this.reader ??= openReader(this.source)
    this.reader.stop(error)
    this.stopWatching()
    this.goOn()
    this.onOver?.()
  }

  /** The reader has listeners of its own. */
  private stopWatching(): void {
    if (this.onEarlyError !== null) (this.source as Readable).removeListener?.('error', this.onEarlyError)
  }

  private async pump(): Promise<void> {
    // The request crosses at the end of this turn; a chunk must not overtake it.
    await Promise.resolve()
    if (this.isStopped) return
    if (this.failure !== null) throw this.failure.error
    const reader = (this.reader ??= openReader(this.source))
    const first = reader.next()
    this.stopWatching()
    for (let next = first; ; next = reader.next()) {
      const result = await next
      if (this.isStopped) return
      if (result.done === true) break
      await (this.write(result.value) ?? this.breathe())
      if (this.isStopped) return
    }
    if (this.left !== null && this.left > 0) throw new UploadLengthError()
    this.flush()
    this.batch = null
    const trailers = this.trailers === null ? '' : await this.trailers()
    if (this.isStopped) return
    this.isStopped = true
    binding.uploadEnd(this.id, trailers)
    this.onOver?.()
    this.tellSent()
  }

  private write(value: Chunk): Promise<void> | undefined {
    const chunk = toBytes(value)
    if (chunk.byteLength === 0) return undefined
    if (this.left !== null && (this.left -= chunk.byteLength) < 0) throw new UploadLengthError()
    this.take(chunk)
    this.observer?.bodySent(value)
    // What it did to the request may have stopped the upload.
    return this.room > 0 || this.isStopped ? undefined : this.credit()
  }

  /** What is small waits for the end of the turn, as far as the runtime has room for it. */
  private take(chunk: Uint8Array): void {
    const { byteLength } = chunk
    if (byteLength >= SMALL || this.batched + byteLength >= this.room) {
      this.flush()
      this.cross(chunk)
      return
    }
    if (this.batched + byteLength > BATCH) this.flush()
    this.batch ??= new Uint8Array(BATCH)
    this.batch.set(chunk, this.batched)
    this.batched += byteLength
    if (this.isFlushQueued) return
    this.isFlushQueued = true
    startImmediate(() => {
      this.isFlushQueued = false
      if (!this.isStopped) this.flush()
    })
  }

  private flush(): void {
    const { batch, batched } = this
    if (batch === null || batched === 0) return
    this.batched = 0
    this.cross(batch.subarray(0, batched))
  }

  private cross(chunk: Uint8Array): void {
    this.room = binding.uploadWrite(this.id, chunk)
    if (Number.isNaN(this.room)) this.leave()
  }

  /** A source that answers in microtasks, with chunks that need no credit, would keep every event from coming. */
  private breathe(): Promise<void> | undefined {
    if (++this.burst < BURST) return undefined
    this.burst = 0
    return new Promise((resolve) => startImmediate(resolve))
  }

  private credit(): Promise<void> {
    this.burst = 0
    return new Promise((resolve) => {
      this.wake = resolve
    })
  }
}

function toBytes(chunk: unknown): Uint8Array {
  if (typeof chunk === 'string') return Buffer.from(chunk)
  if (chunk instanceof Uint8Array) return chunk
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk)
  const error: TypeError & { code?: string } = new TypeError(
    `a chunk of the request body must be a string or a Uint8Array, received ${chunk === null ? 'null' : typeof chunk}`,
  )
  error.code = 'ERR_INVALID_ARG_TYPE'
  throw error
}

interface Source {
  getReader?: () => { read(): Promise<Result>; cancel(reason: unknown): Promise<void> }
  destroy?: (error?: Error) => void
  [Symbol.asyncIterator]?: () => AsyncIterator<Chunk>
  [Symbol.iterator]?: () => Iterator<Chunk>
}

/** Node's own, those from before them, and imitations. */
function isNodeStream(source: object): source is Readable {
  const { pipe, on } = source as Partial<Readable>
  return typeof pipe === 'function' && typeof on === 'function'
}

function isWebStream(source: object): boolean {
  return typeof (source as Source).getReader === 'function'
}

/** Generators that a request has read from. */
const spent = new WeakSet<object>()

function openReader(opened: UploadSource): ChunkReader {
  const source = opened as Source
  if (typeof source.getReader === 'function') {
    const reader = source.getReader()
    return {
      next: () => reader.read(),
      stop: (error) => void reader.cancel(error).catch(ignore),
    }
  }
  if (isNodeStream(opened)) return readStream(source)
  const iterator = source[Symbol.asyncIterator]?.() ?? source[Symbol.iterator]?.()
  if (iterator === undefined) throw new TypeError('the request body cannot be read')
  // What hands out itself can be read once: a second request would send nothing, and look well.
  if ((iterator as object) === opened) {
    if (spent.has(opened)) throw new TypeError('the request body was sent before, and can be read once')
    spent.add(opened)
  }
  return {
    next: () => iterator.next(),
    stop: () => void endIterator(iterator).catch(ignore),
  }
}

function readStream(source: Source): ChunkReader {
  const stream = typeof source[Symbol.asyncIterator] === 'function' ? source : adopt(source as never)
  const iterator = (stream as Readable)[Symbol.asyncIterator]() as AsyncIterator<Chunk>
  return {
    next: () => iterator.next(),
    stop: () => {
      // It was told why, and reports to its own listeners; the request has its error already.
      const destroyed = source as unknown as Readable
      destroyed.on('error', ignore)
      // Without the error, as undici: a stream that nobody listens to would throw it.
      destroyed.destroy?.()
    },
  }
}

/**
 * Streams from before Node's own, and imitations of them, have no iterator. `Readable.wrap` would not do: it takes a
 * `close` that follows the `end` for an early one while anything is unread.
 */
function adopt(source: Readable): Readable {
  const stream = new Readable({ objectMode: true, read: () => void source.resume?.() })
  let hasEnded = false
  source.on('data', (chunk) => void (stream.push(chunk) || source.pause?.()))
  source.on('end', () => {
    hasEnded = true
    stream.push(null)
  })
  source.on('error', (error) => void stream.destroy(error))
  source.on('close', () => void (hasEnded || stream.destroy()))
  return stream
}

async function endIterator(iterator: Iterator<Chunk> | AsyncIterator<Chunk>): Promise<void> {
  await iterator.return?.()
}

function ignore(): void {}
