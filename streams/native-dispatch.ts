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

export class NativeDispatch<Controller extends NativeController> implements Receiver, Submission {
  readonly delivery: Delivery<Controller>
  readonly receiver: Receiver = this
  private readonly request: WireRequest
  private readonly toError: (info: CoreErrorInfo) => Error
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
    toError: (info: CoreErrorInfo) => Error,
  ) {
    this.delivery = new Delivery(handler, controller)
    this.delivery.onDrop = (error) => this.drop(error)
    this.request = request
    this.toError = toError
    this.upload = source === null ? null : new Upload(source, (error) => this.delivery.drop(error))
  }

  submit(batch: SubmissionBatch): void {
    this.id = batch.add(this)
  }

  /** The handler may abort in `onRequestStart`: then nothing is sent. */
  begin(id: number): WireRequest | null {
    if (!this.delivery.start()) return null
    this.isSubmitted = true
    this.upload?.start(id)
    return this.request
  }

  onHead(head: ResponseHead): void {
    const { delivery } = this
    const { controller } = delivery
    this.hasHead = true
    const flat = splitHeaderText(head.headerText)
    controller.setRawHeaders(flat, head.isHttp2)
    if (!head.isComplete) {
      delivery.head(head.status, toHeaderRecord(flat), head.statusText)
      this.pump()
      return
    }
    this.isSubmitted = false
    // Copied before a callback runs: the memory belongs to the crossing.
    const body = head.body.byteLength === 0 ? null : Buffer.from(head.body)
    const trailers = this.readTrailers(head.trailerText)
    delivery.head(head.status, toHeaderRecord(flat), head.statusText)
    this.held = { body, trailers }
    this.pump()
  }

  onReadable(): void {
    this.pump()
  }

  onError(info: CoreErrorInfo): void {
    this.isSubmitted = false
    const error = this.toError(info)
    this.upload?.stop(error)
    this.delivery.fail(error)
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
    const { delivery } = this
    const { controller } = delivery
    if (this.isPumping) return
    this.isPumping = true
    try {
      while (delivery.isOpen() && !controller.paused) {
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
    this.delivery.data(body)
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
    if (chunk !== undefined) this.delivery.data(chunk as Buffer)
    if (state === ReadState.failed) {
      const error = this.toError(JSON.parse(end) as CoreErrorInfo)
      this.upload?.stop(error)
      this.delivery.fail(error)
    } else if (isOver) {
      // The end waits behind a pause as data does.
      this.held = { body: null, trailers: this.readTrailers(end) }
      return false
    }
    return isOver || chunk === undefined
  }

  private readTrailers(text: string): HeaderRecord {
    const flat = splitHeaderText(text)
    this.delivery.controller.setRawTrailers(flat)
    return toHeaderRecord(flat)
  }

  private end(trailers: HeaderRecord): void {
    // A response that ended before its upload ends the upload too (undici drops the connection).
    this.upload?.stop(undefined)
    this.delivery.end(trailers)
  }

  private drop(error: unknown): void {
    if (this.isSubmitted) {
      this.isSubmitted = false
      binding.requestHandleAbort(this.id)
    }
    unwatch(this.id)
    this.upload?.stop(error)
  }
}
