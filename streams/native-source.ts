/**
 * The body of one response as the runtime holds it: `pull` takes what is there and lifts the gate, `cancel` drops the
 * connection. One consumer. A source that is garbage collected unread cancels itself; the finalizer knows only its id.
 */
import { binding, ReadState } from '../native/binding.ts'
import type { CoreErrorInfo } from '../native/binding.ts'
import { unwatch, watch } from './exchange.ts'
import type { Receiver, ResponseHead } from './exchange.ts'
import type { KeptUpload } from './kept-upload.ts'
import { CHUNK_BYTES, NativeReader } from './native-reader.ts'
import { noteCollected } from './starvation.ts'
import type { Upload } from './upload.ts'

// Taken when the module loads: test suites install clocks of their own.
const { setImmediate: startImmediate } = globalThis

/**
 * `open` → `ended` (everything read; trailers known) | `failed` (everything read; error known) | `cancelled`.
 */
export type SourceState = 'open' | 'ended' | 'failed' | 'cancelled'

interface Abandoned {
  id: number
  notify: (() => void) | null
}

const abandoned = new FinalizationRegistry<Abandoned>(({ id, notify }) => {
  binding.requestHandleCancel(id)
  noteCollected()
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
  private readonly reader: NativeReader
  private upload: Upload | KeptUpload | null
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
    this.reader = new NativeReader(id, () => this.onReadable())
    this.upload = upload?.isRunning === true ? upload : null
    this.finalizer = { id, notify: null }
    abandoned.register(this, this.finalizer, this)
    if (this.upload === null) {
      unwatch(id)
    } else {
      watch(id, this)
      this.upload.onOver = () => this.dropUpload()
    }
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
  pull(max: number = CHUNK_BYTES): Buffer<ArrayBuffer> | null {
    if (this.state !== 'open') return null
    const chunk = this.reader.read(max)
    this.settleAt(this.reader.state)
    return chunk
  }

  /** Fills `view` with what is queued; 0 when there is nothing: look at `state`, or await `ready`. */
  pullInto(view: Uint8Array): number {
    if (this.state !== 'open') return 0
    const filled = this.reader.readInto(view)
    this.settleAt(this.reader.state)
    return filled
  }

  /** Whether others are due on this thread: a server may fill a body as fast as it is read. */
  get isGreedy(): boolean {
    return this.reader.isGreedy
  }

  /** Lets the event loop run. */
  nextTurn(): Promise<void> {
    this.reader.startTurn()
    return new Promise((resolve) => startImmediate(resolve))
  }

  /** Whether `pull` would say something now; takes nothing. */
  peek(): boolean {
    if (this.state !== 'open') return true
    const readState = this.reader.look()
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
    this.wake = wake
    watch(this.id, this)
    if (this.reader.wait()) this.onReadable()
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
    this.reader.endWait()
    if (this.pipe === null && this.upload === null) unwatch(this.id)
    this.wakeUp()
  }

  onUploadReady(): void {
    this.upload?.onReady()
  }

  /** Without it nobody but a reader is told of anything. */
  private dropUpload(): void {
    this.upload = null
    if (this.pipe === null && this.wake === null) unwatch(this.id)
  }

  onPiped(_written: number, isStopped: boolean, info: CoreErrorInfo | null): void {
    unwatch(this.id)
    const receiver = this.pipe
    this.pipe = null
    if (this.state === 'open' && !isStopped && info === null) this.settleFromEnd()
    receiver?.(info)
  }

  onUndelivered(error: Error): boolean {
    if (this.state !== 'open') return false
    const receiver = this.pipe
    this.pipe = null
    this.settle('failed', error)
    receiver?.(null)
    return true
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
    this.reader.close()
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
