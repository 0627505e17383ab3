/**
 * One dispatched request: reads the native source and calls the handler, without a stream between. The runtime pushes
 * nothing; what this has not taken waits behind the gate.
 */
import { binding, ReadState } from '../native/binding.ts'
import type { CoreErrorInfo, SocketInfo } from '../native/binding.ts'
import { Delivery, toHeaderRecord } from './dispatch-shim.ts'
import type { GateController, GateHandler, HeaderRecord } from './dispatch-shim.ts'
import { currentTurn, RequestFlag, splitHeaderText, unwatch } from './exchange.ts'
import type { Receiver, ResponseHead, Submission, SubmissionBatch, WireRequest } from './exchange.ts'
import { KeptUpload } from './kept-upload.ts'
import { CHUNK_BYTES, NativeReader } from './native-reader.ts'
import { PausedDispatch } from './paused-dispatch.ts'
import type { PausableDispatch } from './paused-dispatch.ts'
import { TunnelSocket } from './tunnel-socket.ts'
import { Upload, UploadLengthError } from './upload.ts'
import type { UploadObserver, UploadSource } from './upload.ts'

/** What the controller of a dispatched request is told by the native side. */
export interface NativeController extends GateController {
  /** Flat names and values of the head and of the trailers, latin1. */
  setRawHeaders(flat: string[], isHttp2: boolean): void
  setRawTrailers(flat: string[]): void
}

const ABORTED: CoreErrorInfo = { name: 'RequestAbortedError', code: 'UND_ERR_ABORTED', message: 'Request aborted' }

// Taken when the module loads: test suites install clocks of their own.
const { setImmediate: startImmediate } = globalThis

/** What waits behind `pause()` although it has arrived. */
interface Held {
  body: Buffer | null
  trailerText: string
}

/** What a request asks and tells the pool it belongs to. */
export interface DispatchOwner {
  toError(info: CoreErrorInfo): Error
  /** The request crosses now: whether a connection waits for it. */
  onCrossing(): boolean
  /** `onRequestStart` is called now. */
  onStarted(): void
  /** The ends of the connection that has just become a socket, where they are known. */
  takeUpgraded(): SocketInfo | null
  /** The handler has had its last call. */
  onDispatched(job: DispatchJob): void
  /** `other` stands for `job` from now on. */
  onReplaced(job: DispatchJob, other: DispatchJob): void
}

/** A dispatched request, as far as its owner counts it. */
export interface DispatchJob {
  readonly hasCrossed: boolean
  readonly isStarted: boolean
  /** Where the agent keeps it. */
  place: number
  drop(error: unknown): void
}

export class NativeDispatch<Controller extends NativeController>
  extends Delivery<Controller>
  implements Receiver, Submission, UploadObserver, PausableDispatch
{
  /** It was about to be sent, and counts for a connection. */
  hasCrossed = false
  place = -1
  /** With the caller's headers: what shows a handler or a controller must not show them. */
  readonly #request: WireRequest
  private readonly owner: DispatchOwner
  private readonly upload: Upload | KeptUpload | null
  private id = 0
  /** The runtime has it. */
  private isSubmitted = false
  private hasHead = false
  private headTurn = 0
  /** The failure is known and waits for the next turn: there is nothing left to read. */
  private isFailing = false
  private isPumping = false
  private isPumpQueued = false
  private held: Held | null = null
  /** Made at the first pause of a response. */
  private paused: PausedDispatch | null = null
  /** Of a body that did not come with its head. */
  private reader: NativeReader | null = null
  private readonly pumpBound = (): void => this.pumpAgain()

  constructor(
    handler: GateHandler<Controller>,
    controller: Controller,
    request: WireRequest,
    source: UploadSource | null,
    owner: DispatchOwner,
  ) {
    super(handler, controller)
    this.#request = request
    this.owner = owner
    this.upload = source === null ? this.keep(request) : this.read(source, request.upload)
  }

  private keep({ body, isKept }: WireRequest): KeptUpload | null {
    return isKept ? new KeptUpload(body!, (error) => this.failUpload(error), this) : null
  }

  private read(source: UploadSource, announced: WireRequest['upload']): Upload {
    const { length = null, trailers = null } = announced ?? {}
    return new Upload(source, (error) => this.failUpload(error), length, this, trailers)
  }

  get receiver(): Receiver {
    return this
  }

  submit(batch: SubmissionBatch): void {
    this.id = batch.add(this)
  }

  /**
   * With a connection waiting the handler is asked now, and may abort: then nothing is sent. Without one it is asked
   * when there is one.
   */
  begin(): WireRequest | null {
    if (!this.isOpen()) return null
    this.hasCrossed = true
    const request = this.#request
    if (this.owner.onCrossing()) {
      if (!this.open()) return null
      this.isSubmitted = true
      this.send()
    } else {
      this.isSubmitted = true
      request.flags |= RequestFlag.ask
    }
    return request
  }

  onUnsent(error: unknown): void {
    this.isSubmitted = false
    this.drop(error)
  }

  onReady(): void {
    if (!this.open()) return
    binding.requestHandleProceed(this.id)
    this.send()
  }

  onInformational(head: ResponseHead): void {
    const flat = splitHeaderText(head.headerText)
    this.controller.setRawHeaders(flat, head.isHttp2)
    this.head(head.status, toHeaderRecord(flat), head.statusText)
  }

  onUpgrade(head: ResponseHead): void {
    const { id, owner, controller } = this
    // From here on the socket is the runtime's counterpart.
    this.isSubmitted = false
    const flat = splitHeaderText(head.headerText)
    controller.setRawHeaders(flat, head.isHttp2)
    if (controller.paused) binding.requestHandleResume(id)
    const socket = new TunnelSocket(id, (info) => owner.toError(info), owner.takeUpgraded())
    this.upgrade(head.status, toHeaderRecord(flat), socket)
  }

  onHead(head: ResponseHead): void {
    const { controller } = this
    this.hasHead = true
    this.headTurn = currentTurn()
    const flat = splitHeaderText(head.headerText)
    controller.setRawHeaders(flat, head.isHttp2)
    if (!head.isComplete) {
      this.reader = new NativeReader(this.id, this.pumpBound)
      this.head(head.status, toHeaderRecord(flat), head.statusText)
      this.pump()
      return
    }
    this.isSubmitted = false
    // Copied before a callback runs: the memory belongs to the crossing.
    const body = head.body.byteLength === 0 ? null : Buffer.from(head.body)
    const { trailerText } = head
    this.head(head.status, toHeaderRecord(flat), head.statusText)
    this.held = { body, trailerText }
    this.pump()
  }

  onReadable(): void {
    this.reader?.endWait()
    this.pump()
  }

  onError(info: CoreErrorInfo): void {
    this.isSubmitted = false
    this.fail(this.owner.toError(info))
  }

  onUploadReady(): void {
    this.upload?.onReady()
  }

  onUndelivered(error: Error): boolean {
    this.isSubmitted = false
    if (!this.isOpen()) return false
    this.reader?.close()
    this.fail(error)
    return true
  }

  /** The consumer paused: the gate goes down, and what has arrived waits. */
  pause(): void {
    this.reader?.dropRoom()
    if (this.isSubmitted) binding.requestHandlePause(this.id)
    this.loosen()
  }

  /** From here on only the consumer holds the request, whose response may be dropped. */
  private loosen(): void {
    if (this.state !== 'receiving' || this.upload?.isRunning === true) return
    this.paused ??= new PausedDispatch(this.id, this.owner, this)
    this.paused.standFor(this, this.isSubmitted)
  }

  hold(): void {
    this.paused?.giveWay(this)
  }

  /** Deliveries go on in a microtask: `resume` may be called from within one. */
  resume(): void {
    this.hold()
    if (this.isSubmitted) binding.requestHandleResume(this.id)
    if (!this.hasHead || this.isPumpQueued || this.isPumping) return
    this.isPumpQueued = true
    queueMicrotask(this.pumpBound)
  }

  /** `onRequestStart`; false when the request is over. */
  private open(): boolean {
    if (this.upload instanceof Upload && this.upload.failure !== null) {
      this.drop(this.upload.failure.error)
      return false
    }
    this.owner.onStarted()
    return this.start()
  }

  private send(): void {
    const { handler, upload } = this
    const request = this.#request
    if (upload !== null) {
      upload.start(this.id)
    } else if (handler.onRequestSent !== undefined || (handler.onBodySent !== undefined && request.body !== null)) {
      // The request crosses at the end of this turn at the latest.
      queueMicrotask(() => {
        if (request.body !== null) this.bodySent(request.body)
        this.requestSent()
      })
    }
  }

  /** A stream that is closed before its end aborts the request (undici, `writeStream`). */
  private failUpload(error: unknown): void {
    const isClosed = (error as { code?: unknown } | null)?.code === 'ERR_STREAM_PREMATURE_CLOSE'
    this.drop(
      isClosed ? this.owner.toError(ABORTED) : error instanceof UploadLengthError ? this.owner.toError(error) : error,
    )
  }

  private pumpAgain(): void {
    this.isPumpQueued = false
    this.pump()
  }

  private pump(): void {
    const { controller } = this
    if (this.isPumping) return
    this.isPumping = true
    try {
      while (this.isOpen() && !controller.paused && !this.isFailing) {
        const isDone = this.held === null ? this.pumpSource() : this.pumpHeld(this.held)
        if (isDone) return
      }
    } finally {
      this.isPumping = false
    }
  }

  private pumpHeld(held: Held): boolean {
    if (held.body === null) {
      this.end(this.readTrailers(held.trailerText))
      return true
    }
    const { body } = held
    held.body = null
    this.data(body)
    return false
  }

  /** One read; true when the source has nothing more to say now. */
  private pumpSource(): boolean {
    const reader = this.reader!
    if (reader.isGreedy) {
      // Deliveries go on when others have had their turn.
      reader.startTurn()
      this.isPumpQueued = true
      startImmediate(this.pumpBound)
      return true
    }
    const chunk = reader.read(CHUNK_BYTES)
    const { state } = reader
    const isOver = state === ReadState.ended || state === ReadState.failed
    const end = isOver ? binding.bodyEnd(this.id) : ''
    if (isOver) {
      this.isSubmitted = false
      reader.close()
      unwatch(this.id)
    }
    if (chunk !== null) this.data(chunk)
    if (state === ReadState.failed) {
      this.failBody(this.owner.toError(JSON.parse(end) as CoreErrorInfo))
    } else if (isOver) {
      // The end waits behind a pause as data does.
      this.held = { body: null, trailerText: end }
      return false
    }
    return isOver || (chunk === null && !reader.wait())
  }

  /**
   * Never in the turn of the head: the built-in fetch listens for the failure of a body only after some microtasks,
   * and undici never reports both in one turn.
   */
  private failBody(error: Error): void {
    if (this.headTurn !== currentTurn()) {
      this.fail(error)
      return
    }
    this.isFailing = true
    startImmediate(() => this.fail(error))
  }

  private readTrailers(text: string): HeaderRecord {
    const flat = splitHeaderText(text)
    this.controller.setRawTrailers(flat)
    return toHeaderRecord(flat)
  }

  protected override onDone(error: unknown): void {
    // A response that ended before its upload ends the upload too (undici drops the connection).
    this.upload?.stop(error)
    this.hold()
    this.paused?.forget(this)
    this.owner.onDispatched(this)
  }

  protected override dropSource(): void {
    this.reader?.close()
    if (this.isSubmitted) {
      this.isSubmitted = false
      binding.requestHandleAbort(this.id)
    }
    unwatch(this.id)
  }
}
