/**
 * The body of one response as the runtime holds it: `pull` takes what is there and lifts the gate, `cancel` drops the
 * connection. One consumer. A source that is garbage collected unread cancels itself; the finalizer knows only its id.
 */
import { binding, ReadState, Word } from '../native/binding.ts'
import type { CoreErrorInfo } from '../native/binding.ts'
import { unwatch, watch, words } from './exchange.ts'
import type { Receiver, ResponseHead } from './exchange.ts'
import type { KeptUpload } from './kept-upload.ts'
import type { Upload } from './upload.ts'

/** A caller may replace the clock. */
const { setImmediate: startImmediate, setTimeout: startTimeout, clearTimeout: stopTimeout } = globalThis

/**
 * `open` → `ended` (everything read; trailers known) | `failed` (everything read; error known) | `cancelled`.
 */
export type SourceState = 'open' | 'ended' | 'failed' | 'cancelled'

/** A default read's chunk: 64–256 KiB per read is flat, smaller costs calls. */
export const CHUNK_BYTES = 256 * 1024

/** A socket with less to read than is worth a wake-up is the runtime's after so long (ms). */
const PATIENCE = 1

/** Bytes that are read in one turn of the event loop: half a millisecond. */
const TURN_BYTES = 2 * 1024 * 1024

interface Abandoned {
  id: number
  notify: (() => void) | null
}

const abandoned = new FinalizationRegistry<Abandoned>(({ id, notify }) => {
  binding.requestHandleCancel(id)
  notify?.()
})

export class NativeSource implements Receiver {
  readonly id: number
  state: SourceState = 'open'
  /** The failure of a `failed` or `cancelled` source. */
  error: unknown = undefined
  trailerText = ''
  /** Body bytes announced; `null` when unknown. */
  readonly contentLength: number | null
  /** Called once, when the source leaves `open`. */
  onSettled: (() => void) | null = null
  /** Called once, when the source is aborted: nobody needs to read to learn of it. */
  onAborted: ((error: unknown) => void) | null = null
  private readonly toError: (info: CoreErrorInfo) => unknown
  private wake: (() => void) | null = null
  private readonly trailerWaiters: (() => void)[] = []
  private pipe: PipeReceiver | null = null
  /** Bytes that were read since the event loop last ran. */
  private taken = 0
  /** The last read found neither the queue nor the socket with anything. */
  private isDrained = false
  private isAtSocket = false
  /** Ends a wait at the socket. */
  private patience: NodeJS.Timeout | null = null
  /** Memory for a chunk. */
  private room: Buffer<ArrayBuffer> | null = null
  private readonly upload: Upload | KeptUpload | null
  private readonly finalizer: Abandoned

  /** `upload` is the request's body, where it crosses in pieces: it may go on while the response is read. */
  constructor(
    id: number,
    contentLength: number | null,
    toError: (info: CoreErrorInfo) => unknown,
    upload: Upload | KeptUpload | null = null,
  ) {
    this.id = id
    this.contentLength = contentLength
    this.toError = toError
    this.upload = upload?.isRunning === true ? upload : null
    this.finalizer = { id, notify: null }
    abandoned.register(this, this.finalizer, this)
    if (this.upload !== null) watch(id, this)
    else unwatch(id)
  }

  /** Called after the source was collected unread; must not reach the source. */
  onAbandoned(notify: () => void): void {
    this.finalizer.notify = notify
  }

  /** The trailer text once the body has been read; rejects with its error. */
  trailers(): Promise<string> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        if (this.state === 'failed') reject(this.error)
        else resolve(this.trailerText)
      }
      if (this.state === 'open') this.trailerWaiters.push(settle)
      else settle()
    })
  }

  /** At most `max` queued bytes in fresh memory; `null` when there is none: look at `state`, or await `ready`. */
  pull(max: number = CHUNK_BYTES): Uint8Array<ArrayBuffer> | null {
    if (this.state !== 'open') return null
    this.looksAnew()
    const chunk = binding.bodyRead(this.id, max, true) as Uint8Array<ArrayBuffer> | undefined
    if (chunk === undefined && words[Word.readState] === ReadState.direct) return this.pullDirectly(max)
    this.settleAt(words[Word.readState]!)
    if (chunk === undefined) return null
    this.taken += chunk.byteLength
    return chunk
  }

  /** How much there is shows only afterwards: a chunk that is not full is copied, and its memory is the next one's. */
  private pullDirectly(max: number): Uint8Array<ArrayBuffer> | null {
    const room = this.room?.byteLength === max ? this.room : Buffer.allocUnsafeSlow(max)
    const filled = this.pullInto(room)
    this.room = filled === max || this.state !== 'open' ? null : room
    if (filled === max) return room
    return filled === 0 ? null : new Uint8Array(room.subarray(0, filled))
  }

  /** Fills `view` with what is queued; 0 when there is nothing: look at `state`, or await `ready`. */
  pullInto(view: Uint8Array): number {
    if (this.state !== 'open') return 0
    this.looksAnew()
    const filled = binding.bodyReadInto(this.id, view)
    this.isDrained = words[Word.readState] === ReadState.drained
    this.settleAt(words[Word.readState]!)
    this.taken += filled
    return filled
  }

  /** Whether others are due on this thread: a server may fill a body as fast as it is read. */
  get isGreedy(): boolean {
    return this.taken >= TURN_BYTES
  }

  /** Lets the event loop run. */
  nextTurn(): Promise<void> {
    this.taken = 0
    return new Promise((resolve) => startImmediate(resolve))
  }

  /** Whether `pull` would say something now; takes nothing. */
  peek(): boolean {
    if (this.state !== 'open') return true
    this.looksAnew()
    binding.bodyRead(this.id, 0, false)
    const readState = words[Word.readState]!
    // With bytes before it, an end is seen only when they have been read.
    this.settleAt(readState)
    return readState !== ReadState.empty
  }

  /** Resolves when `pull` has something to say. Only after it said nothing. */
  ready(): Promise<void> {
    return new Promise((resolve) => this.whenReady(resolve))
  }

  /** The same without a promise. */
  whenReady(wake: () => void): void {
    if (this.state !== 'open') {
      wake()
      return
    }
    this.taken = 0
    this.wake = wake
    watch(this.id, this)
    if (this.isDrained) this.waitAtSocket()
  }

  /** A look at the body ends a wait at its socket. */
  private looksAnew(): void {
    this.isDrained = false
    this.isAtSocket = false
  }

  private waitAtSocket(): void {
    this.isDrained = false
    this.wait(true)
    if (!this.isAtSocket) return
    if (this.patience === null) this.patience = startTimeout(this.onImpatient, PATIENCE)
    else this.patience.refresh()
  }

  /** Too little has come to be told of it, or it was, and this finds nothing to do. */
  private readonly onImpatient = (): void => {
    if (this.isAtSocket) this.wait(false)
  }

  /** At the socket, or on the runtime; what is there already is told at once. */
  private wait(isPatient: boolean): void {
    binding.bodyWait(this.id, isPatient)
    const readState = words[Word.readState]!
    this.isAtSocket = readState === ReadState.drained
    if (!this.isAtSocket && readState !== ReadState.empty) this.onReadable()
  }

  /** Drops what is left. `error` is what a later read gets to see. Harmless when the source has ended. */
  cancel(error?: unknown): void {
    if (this.state !== 'open') return
    binding.requestHandleCancel(this.id)
    this.settle('cancelled', error)
  }

  /** Drops the connection at once; later reads fail with `error`. */
  abort(error: unknown): void {
    if (this.state !== 'open') return
    binding.requestHandleAbort(this.id)
    this.settle('failed', error)
    this.onAborted?.(error)
  }

  /**
   * Lets the runtime write the rest into the open file `fd`; `receiver` is told how it ended.
   * @throws Error when the descriptor cannot be duplicated
   */
  pipeToFile(fd: number, receiver: PipeReceiver): void {
    binding.bodyPipeToFile(this.id, fd)
    this.pipe = receiver
    watch(this.id, this)
  }

  /** Stops that after the write under way; what is unwritten stays readable. */
  stopPipe(): void {
    if (this.pipe !== null) binding.bodyPipeStop(this.id)
  }

  onHead(_head: ResponseHead): void {}

  onError(_info: CoreErrorInfo): void {}

  onReadable(): void {
    this.isAtSocket = false
    if (this.pipe === null && this.upload?.isRunning !== true) unwatch(this.id)
    this.wakeUp()
  }

  onUploadReady(): void {
    this.upload?.onReady()
  }

  onPiped(_written: number, isStopped: boolean, info: CoreErrorInfo | null): void {
    unwatch(this.id)
    const receiver = this.pipe
    this.pipe = null
    if (this.state === 'open' && !isStopped && info === null) this.settleFromEnd()
    receiver?.(info)
  }

  private settleAt(readState: number): void {
    if (readState === ReadState.ended || readState === ReadState.failed) this.settleFromEnd()
  }

  private settleFromEnd(): void {
    const text = binding.bodyEnd(this.id)
    if (text.startsWith('{')) {
      this.settle('failed', this.toError(JSON.parse(text) as CoreErrorInfo))
    } else {
      this.trailerText = text
      this.settle('ended', undefined)
    }
  }

  private settle(state: SourceState, error: unknown): void {
    this.state = state
    this.error = error
    this.room = null
    if (this.patience !== null) stopTimeout(this.patience)
    abandoned.unregister(this)
    if (this.pipe === null) unwatch(this.id)
    this.wakeUp()
    // An upload still under way ends with its response (undici drops the connection).
    this.upload?.stop(error)
    for (const settled of this.trailerWaiters) settled()
    const { onSettled } = this
    this.onSettled = null
    onSettled?.()
  }

  private wakeUp(): void {
    const { wake } = this
    this.wake = null
    wake?.()
  }
}

/** A pipe to a file ended; `info` is the file's own failure, if it was that. */
export type PipeReceiver = (info: CoreErrorInfo | null) => void
