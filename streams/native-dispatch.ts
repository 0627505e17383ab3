/**
 * One dispatched request: reads the native source and calls the handler, without a stream between. The runtime pushes
 * nothing; what this has not taken waits behind the gate.
 */
import { binding, ReadState, Word } from '../native/binding.ts'
import type { CoreErrorInfo } from '../native/binding.ts'
import { Delivery, toHeaderRecord } from './dispatch-shim.ts'
import type { GateController, GateHandler, HeaderRecord } from './dispatch-shim.ts'
import { splitHeaderText, unwatch, words } from './exchange.ts'
import type { Receiver, ResponseHead, Submission, SubmissionBatch, WireRequest } from './exchange.ts'
import { CHUNK_BYTES } from './native-source.ts'
import { Upload } from './upload.ts'
import type { UploadSource } from './upload.ts'

/** What the controller of a dispatched request is told by the native side. */
export interface NativeController extends GateController {
  /** Flat names and values of the head and of the trailers, latin1. */
  setRawHeaders(flat: string[], isHttp2: boolean): void
  setRawTrailers(flat: string[]): void
}

/** What waits behind `pause()` although it has arrived. */
interface Held {
  body: Buffer | null
  trailers: HeaderRecord
}

/** What a request tells the agent it belongs to. */
export interface DispatchOwner {
  toError(info: CoreErrorInfo): Error
  /** The handler has had its last call. */
  onDispatched(job: object): void
}

export class NativeDispatch<Controller extends NativeController>
  extends Delivery<Controller>
  implements Receiver, Submission
{
  private readonly request: WireRequest
  private readonly owner: DispatchOwner
  private readonly upload: Upload | null
  private id = 0
  private isSubmitted = false
  private hasHead = false
  private isPumping = false
  private isPumpQueued = false
  private held: Held | null = null

  constructor(
    handler: GateHandler<Controller>,
    controller: Controller,
    request: WireRequest,
    source: UploadSource | null,
    owner: DispatchOwner,
  ) {
    super(handler, controller)
    this.request = request
    this.owner = owner
    this.upload = source === null ? null : new Upload(source, (error) => this.drop(error))
  }

  get receiver(): Receiver {
    return this
  }

  submit(batch: SubmissionBatch): void {
    this.id = batch.add(this)
  }

  /** The handler may abort in `onRequestStart`: then nothing is sent. */
  begin(id: number): WireRequest | null {
    if (!this.start()) return null
    this.isSubmitted = true
    this.upload?.start(id)
    return this.request
  }

  onHead(head: ResponseHead): void {
    const { controller } = this
    this.hasHead = true
    const flat = splitHeaderText(head.headerText)
    controller.setRawHeaders(flat, head.isHttp2)
    if (!head.isComplete) {
      this.head(head.status, toHeaderRecord(flat), head.statusText)
      this.pump()
      return
    }
    this.isSubmitted = false
    // Copied before a callback runs: the memory belongs to the crossing.
    const body = head.body.byteLength === 0 ? null : Buffer.from(head.body)
    const trailers = this.readTrailers(head.trailerText)
    this.head(head.status, toHeaderRecord(flat), head.statusText)
    this.held = { body, trailers }
    this.pump()
  }

  onReadable(): void {
    this.pump()
  }

  onError(info: CoreErrorInfo): void {
    this.isSubmitted = false
    this.fail(this.owner.toError(info))
  }

  onUploadReady(): void {
    this.upload?.onReady()
  }

  /** The consumer paused: the gate goes down, and what has arrived waits. */
  pause(): void {
    if (this.isSubmitted) binding.requestHandlePause(this.id)
  }

  /** Deliveries go on in a microtask: `resume` may be called from within one. */
  resume(): void {
    if (this.isSubmitted) binding.requestHandleResume(this.id)
    if (!this.hasHead || this.isPumpQueued || this.isPumping) return
    this.isPumpQueued = true
    queueMicrotask(() => {
      this.isPumpQueued = false
      this.pump()
    })
  }

  private pump(): void {
    const { controller } = this
    if (this.isPumping) return
    this.isPumping = true
    try {
      while (this.isOpen() && !controller.paused) {
        const isDone = this.held === null ? this.pumpSource() : this.pumpHeld(this.held)
        if (isDone) return
      }
    } finally {
      this.isPumping = false
    }
  }

  private pumpHeld(held: Held): boolean {
    if (held.body === null) {
      this.end(held.trailers)
      return true
    }
    const { body } = held
    held.body = null
    this.data(body)
    return false
  }

  /** One read; true when the source has nothing more to say now. */
  private pumpSource(): boolean {
    const chunk = binding.bodyRead(this.id, CHUNK_BYTES)
    const state = words[Word.readState]!
    const isOver = state === ReadState.ended || state === ReadState.failed
    const end = isOver ? binding.bodyEnd(this.id) : ''
    if (isOver) {
      this.isSubmitted = false
      unwatch(this.id)
    }
    if (chunk !== undefined) this.data(chunk as Buffer)
    if (state === ReadState.failed) {
      this.fail(this.owner.toError(JSON.parse(end) as CoreErrorInfo))
    } else if (isOver) {
      // The end waits behind a pause as data does.
      this.held = { body: null, trailers: this.readTrailers(end) }
      return false
    }
    return isOver || chunk === undefined
  }

  private readTrailers(text: string): HeaderRecord {
    const flat = splitHeaderText(text)
    this.controller.setRawTrailers(flat)
    return toHeaderRecord(flat)
  }

  protected override onDone(error: unknown): void {
    // A response that ended before its upload ends the upload too (undici drops the connection).
    this.upload?.stop(error)
    this.owner.onDispatched(this)
  }

  protected override dropSource(): void {
    if (this.isSubmitted) {
      this.isSubmitted = false
      binding.requestHandleAbort(this.id)
    }
    unwatch(this.id)
  }
}
