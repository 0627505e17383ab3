/**
 * A response as undici's callbacks: `onRequestStart`, `onResponseStart`, `onResponseData`*, then exactly one of
 * `onResponseEnd` and `onResponseError` (undici, `lib/core/request.js`). `Delivery` is the gate that every callback
 * passes; who fills it, a native source or any ReadableStream, is not its business.
 */
import type { Duplex } from 'node:stream'
import { throwLater } from './exchange.ts'

/** Lower-case names; a name seen twice has an array. */
export type HeaderRecord = Record<string, string | string[]>

/** The controller that a handler is given, as far as the gate needs it. */
export interface GateController {
  readonly aborted: boolean
  readonly paused: boolean
}

/** undici's new handler shape, structurally. */
export interface GateHandler<Controller> {
  onRequestStart?(controller: Controller, context: unknown): void
  onRequestUpgrade?(controller: Controller, status: number, headers: HeaderRecord, socket: Duplex): void
  onResponseStarted?(): void
  onResponseStart?(controller: Controller, status: number, headers: HeaderRecord, statusText?: string): void
  onResponseData?(controller: Controller, chunk: Buffer): void
  onResponseEnd?(controller: Controller, trailers: HeaderRecord): void
  onResponseError?(controller: Controller | null | undefined, error: Error): void
  onBodySent?(chunk: Uint8Array): void
  onRequestSent?(): void
}

/** `waiting` → `started` → `receiving` → `done`. Nothing is delivered before or after. */
export type DeliveryState = 'waiting' | 'started' | 'receiving' | 'done'

/** Calls one handler, in order, and never again after its end. A subclass is the source it is fed from. */
export abstract class Delivery<Controller extends GateController> {
  state: DeliveryState = 'waiting'
  /** `onRequestStart` was called: from then on the handler knows the controller. */
  isStarted = false
  readonly handler: GateHandler<Controller>
  readonly controller: Controller

  constructor(handler: GateHandler<Controller>, controller: Controller) {
    this.handler = handler
    this.controller = controller
  }

  /** `onRequestStart`; false when the request must not be sent. */
  start(): boolean {
    if (this.state !== 'waiting') return false
    this.state = 'started'
    this.isStarted = true
    try {
      this.handler.onRequestStart?.(this.controller, null)
    } catch (error) {
      this.drop(error)
    }
    return this.isOpen()
  }

  /** A part of the request's body was handed over. */
  bodySent(chunk: Uint8Array | string): void {
    if (!this.isOpen()) return
    try {
      this.handler.onBodySent?.(chunk as Uint8Array)
    } catch (error) {
      this.drop(error)
    }
  }

  /** All of the request was. */
  requestSent(): void {
    if (!this.isOpen()) return
    try {
      this.handler.onRequestSent?.()
    } catch (error) {
      this.drop(error)
    }
  }

  /** Any number of heads below 200, and one that is not. */
  head(status: number, headers: HeaderRecord, statusText: string): void {
    if (!this.isOpen()) return
    if (status >= 200) this.state = 'receiving'
    try {
      this.handler.onResponseStarted?.()
      this.handler.onResponseStart?.(this.controller, status, headers, statusText)
    } catch (error) {
      this.drop(error)
    }
  }

  /** The last call of a request that became a socket; what it throws ends the socket too. */
  upgrade(status: number, headers: HeaderRecord, socket: Duplex): void {
    this.state = 'done'
    try {
      this.handler.onResponseStarted?.()
      this.handler.onRequestUpgrade?.(this.controller, status, headers, socket)
    } catch (error) {
      this.onDone(error)
      this.report(error)
      socket.destroy(error as Error)
      return
    }
    this.onDone(undefined)
  }

  /** `chunk` is the handler's to keep. */
  data(chunk: Buffer): void {
    if (!this.isOpen() || chunk.byteLength === 0) return
    try {
      this.handler.onResponseData?.(this.controller, chunk)
    } catch (error) {
      this.drop(error)
    }
  }

  /** RetryHandler throws from `onResponseEnd` and expects `onResponseError` with it. */
  end(trailers: HeaderRecord): void {
    if (!this.isOpen()) return
    // Before the call: an abort inside it comes too late to be reported.
    this.state = 'done'
    try {
      this.handler.onResponseEnd?.(this.controller, trailers)
    } catch (error) {
      this.onDone(error)
      this.report(error)
      return
    }
    this.onDone(undefined)
  }

  /** Exactly one `onResponseError`. */
  fail(error: unknown): void {
    if (!this.isOpen()) return
    this.state = 'done'
    this.onDone(error)
    this.report(error)
  }

  /** The handler first, synchronously, then the source. */
  drop(error: unknown): void {
    if (!this.isOpen()) return
    this.fail(error)
    this.dropSource(error)
  }

  /** What the controller's `abort` does: the handler has its error when this returns. */
  abort(reason: unknown): void {
    this.drop(reason)
  }

  isOpen(): boolean {
    return this.state !== 'done'
  }

  /** The request is over for the handler: lets go of where its bytes come from. Called once at most. */
  protected abstract dropSource(error: unknown): void

  /** Nothing is delivered any more but, with an `error`, that. Called once. */
  protected abstract onDone(error: unknown): void

  /** A throw inside `onResponseError` has nobody left to go to. */
  private report(error: unknown): void {
    try {
      // Where nothing was started there is nothing to control (undici passes no controller either).
      this.handler.onResponseError?.(this.isStarted ? this.controller : undefined, error as Error)
    } catch (thrown) {
      throwLater(thrown)
    }
  }
}

// Servers use few names, each in one case; the bound keeps names made from data from filling memory.
const kMaxKnownNames = 1024
const lowerNames = new Map<string, string>()

/** `name` in lower case. */
export function lowerName(name: string): string {
  const known = lowerNames.get(name)
  if (known !== undefined) return known
  const lower = name.toLowerCase()
  if (lowerNames.size < kMaxKnownNames) lowerNames.set(name, lower)
  return lower
}

/** `[name, value, …]` as undici's header object; order of first appearance. */
export function toHeaderRecord(flat: readonly string[]): HeaderRecord {
  const record: HeaderRecord = {}
  for (let index = 0; index + 1 < flat.length; index += 2) addHeader(record, lowerName(flat[index]!), flat[index + 1]!)
  return record
}

function addHeader(record: HeaderRecord, name: string, value: string): void {
  if (name === '__proto__') {
    addUnsafe(record, name, value)
    return
  }
  const seen = record[name]
  // An inherited name (`constructor`) is a function or an object, and no header.
  if (seen === undefined || !Object.hasOwn(record, name)) record[name] = value
  else if (typeof seen === 'string') record[name] = [seen, value]
  else seen.push(value)
}

/** A plain assignment would set the prototype. */
function addUnsafe(record: HeaderRecord, name: string, value: string): void {
  const seen = Object.getOwnPropertyDescriptor(record, name)?.value as string | string[] | undefined
  const next = seen === undefined ? value : Array.isArray(seen) ? [...seen, value] : [seen, value]
  Object.defineProperty(record, name, { value: next, enumerable: true, configurable: true, writable: true })
}

/** `[name, value, …]` as Buffers, undici's `rawHeaders` of HTTP/1. */
export function toRawHeaders(flat: readonly string[]): Buffer[] {
  return flat.map((text) => Buffer.from(text, 'latin1'))
}
