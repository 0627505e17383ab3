/** A handler of either generation that writes down what it is told as one list of events. */
import type { Duplex } from 'node:stream'
import type { AnyDispatchHandler, DispatchControllerLike, RawHeaders } from '../../../lib/index.ts'
import { within } from '../../support/deadline.ts'
import { recordOf } from '../../support/recorder.ts'
import type { Gate, Generation, HeaderRecord } from '../../support/recorder.ts'

/** What a row does from inside the callbacks. */
export interface Reactions {
  start?(gate: Gate): void
  sent?(gate: Gate): void
  requestSent?(gate: Gate): void
  responseStarted?(gate: Gate): void
  head?(gate: Gate, status: number): void
  data?(gate: Gate, chunk: Buffer): void
  end?(gate: Gate): void
  error?(error: Error): void
  upgrade?(socket: Duplex): void
}

export interface Head {
  status: number
  statusText: string | undefined
  headers: HeaderRecord
}

export type Failure = Error & { code?: string; [key: string]: unknown }

export class Observer {
  /**
   * `start`, `sent`, `request sent`, `response started`, `head 200`, `data`, `end`, `error`, `upgrade 101`, in order;
   * with ` inside X` where one was called inside another.
   */
  readonly events: string[] = []
  readonly heads: Head[] = []
  readonly chunks: Buffer[] = []
  readonly handler: AnyDispatchHandler
  /** Every controller that a callback was given, in order of first appearance. */
  readonly controllers: unknown[] = []
  context: unknown
  rawHeaders: RawHeaders | undefined
  rawTrailers: RawHeaders | undefined
  trailers: HeaderRecord | null = null
  error: Failure | null = null
  socket: Duplex | null = null
  gate!: Gate
  private readonly reactions: Reactions
  private readonly over = Promise.withResolvers<void>()
  private readonly waiting: { event: string; resolve: () => void }[] = []
  private inside = ''

  constructor(generation: Generation = 'current', reactions: Reactions = {}) {
    this.reactions = reactions
    this.handler = generation === 'current' ? this.currentHandler() : this.legacyHandler()
  }

  /** Resolves with itself at the end, the error or the upgrade. */
  get ended(): Promise<this> {
    return within(
      this.over.promise.then(() => this),
      { what: `the end after ${this.events.join(', ')}` },
    )
  }

  /** Resolves once the event has been seen, after the callback of it. */
  async seen(event: string): Promise<void> {
    if (this.events.some((seen) => seen.startsWith(event))) return
    const next = Promise.withResolvers<void>()
    this.waiting.push({ event, resolve: next.resolve })
    await within(next.promise, { what: `${event} after ${this.events.join(', ')}` })
  }

  get controller(): DispatchControllerLike {
    return this.controllers[0] as DispatchControllerLike
  }

  /** The final head. */
  get head(): Head {
    return this.heads.at(-1)!
  }

  get body(): string {
    return Buffer.concat(this.chunks).toString('latin1')
  }

  get bytes(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
  }

  /** `events` with the repeats of `data` and `sent` left out. */
  get order(): string[] {
    return this.events.filter((event, index) => event !== this.events[index - 1])
  }

  /** The callbacks that every generation and every engine calls: without what is said of the request. */
  get response(): string[] {
    return this.order.filter((event) => !/^(?:sent|request sent|response started)/.test(event))
  }

  private record(event: string, controller: unknown, act: () => void): void {
    if (!this.controllers.includes(controller)) this.controllers.push(controller)
    this.events.push(this.inside === '' ? event : `${event} inside ${this.inside}`)
    const before = this.inside
    this.inside = event
    try {
      act()
    } finally {
      this.inside = before
      if (/^(?:end|error|upgrade)/.test(event)) this.over.resolve()
      for (const waiter of this.waiting) if (event.startsWith(waiter.event)) waiter.resolve()
    }
  }

  private currentHandler(): AnyDispatchHandler {
    const { reactions } = this
    return {
      onRequestStart: (controller, context) =>
        this.record('start', controller, () => {
          this.gate = controller
          this.context = context
          reactions.start?.(controller)
        }),
      onBodySent: () => this.record('sent', this.controller, () => reactions.sent?.(this.gate)),
      onRequestSent: () => this.record('request sent', this.controller, () => reactions.requestSent?.(this.gate)),
      onResponseStarted: () =>
        this.record('response started', this.controller, () => reactions.responseStarted?.(this.gate)),
      onResponseStart: (controller, status, headers, statusText) =>
        this.record(`head ${status}`, controller, () => {
          this.heads.push({ status, statusText, headers })
          this.rawHeaders = controller.rawHeaders ?? null
          reactions.head?.(controller, status)
        }),
      onRequestUpgrade: (controller, status, headers, socket) =>
        this.record(`upgrade ${status}`, controller, () => {
          this.heads.push({ status, statusText: undefined, headers })
          this.rawHeaders = controller.rawHeaders ?? null
          this.socket = socket
          reactions.upgrade?.(socket)
        }),
      onResponseData: (controller, chunk) =>
        this.record('data', controller, () => {
          this.chunks.push(chunk)
          reactions.data?.(controller, chunk)
        }),
      onResponseEnd: (controller, trailers) =>
        this.record('end', controller, () => {
          this.trailers = trailers
          this.rawTrailers = controller.rawTrailers ?? null
          reactions.end?.(controller)
        }),
      onResponseError: (controller, error) =>
        this.record('error', controller, () => {
          this.error = error as Failure
          reactions.error?.(error)
        }),
    }
  }

  private legacyHandler(): AnyDispatchHandler {
    const { reactions } = this
    let wantsPause = false
    let resume: () => void = () => {}
    const gate: Gate = {
      abort: () => {},
      pause: () => {
        wantsPause = true
      },
      resume: () => {
        wantsPause = false
        resume()
      },
    }
    const flow = (event: string, act: () => void): boolean => {
      wantsPause = false
      this.record(event, gate, act)
      return !wantsPause
    }
    return {
      onConnect: (abort, context) =>
        this.record('start', gate, () => {
          gate.abort = abort
          this.gate = gate
          this.context = context
          reactions.start?.(gate)
        }),
      onBodySent: () => this.record('sent', gate, () => reactions.sent?.(gate)),
      onRequestSent: () => this.record('request sent', gate, () => reactions.requestSent?.(gate)),
      onResponseStarted: () => this.record('response started', gate, () => reactions.responseStarted?.(gate)),
      onHeaders: (status, raw, resumeBody, statusText) =>
        flow(`head ${status}`, () => {
          resume = resumeBody
          this.heads.push({ status, statusText, headers: recordOf(raw) })
          this.rawHeaders = raw
          reactions.head?.(gate, status)
        }),
      onUpgrade: (status, raw, socket) =>
        this.record(`upgrade ${status}`, gate, () => {
          this.heads.push({ status, statusText: undefined, headers: recordOf(raw ?? []) })
          this.rawHeaders = raw
          this.socket = socket
          reactions.upgrade?.(socket)
        }),
      onData: (chunk) =>
        flow('data', () => {
          this.chunks.push(chunk)
          reactions.data?.(gate, chunk)
        }),
      onComplete: (raw) =>
        this.record('end', gate, () => {
          this.trailers = recordOf(raw ?? [])
          this.rawTrailers = raw
          reactions.end?.(gate)
        }),
      onError: (error) =>
        this.record('error', gate, () => {
          this.error = error as Failure
          reactions.error?.(error)
        }),
    }
  }
}
