/** The controller that every callback of one dispatched request is given (undici-contract.md §3). */
import { toHeaderRecord, toRawHeaders } from '../streams/dispatch-shim.ts'
import { RequestAbortedError } from './errors.ts'
import { showOnly } from './redact.ts'
import type { DispatchControllerLike, RawHeaders } from './types.ts'

/** What a controller acts on; given later than the controller, which is usable from its first moment. */
export interface RequestHandle {
  /** Delivers `onResponseError` before it returns, then drops the connection. */
  abort(reason: unknown): void
  pause(): void
  resume(): void
}

const kHandle = Symbol('sluice.handle')
const kState = Symbol('sluice.state')
const kRawHeaders = Symbol('sluice.rawHeaders')
const kRawTrailers = Symbol('sluice.rawTrailers')

interface Lazy {
  flat: string[]
  isHttp2: boolean
}

/**
 * Aborts, pauses and resumes one request. `abort`, `rawHeaders` and `rawTrailers` may be reassigned, as undici's
 * interceptors do. What is called before the native handle exists is remembered and applied.
 */
export class DispatchController implements DispatchControllerLike {
  private [kHandle]: RequestHandle | null = null
  private [kState] = { aborted: false, paused: false, reason: null as Error | null, isHttp2: false }
  private [kRawHeaders]: RawHeaders | Lazy = null
  private [kRawTrailers]: RawHeaders | Lazy = null

  get aborted(): boolean {
    return this[kState].aborted
  }

  get paused(): boolean {
    return this[kState].paused
  }

  /** Exactly the value given to `abort`; `null` before. */
  get reason(): Error | null {
    return this[kState].reason
  }

  /** Flat names and values as Buffers (HTTP/1), or the parsed object (HTTP/2); `null` before the head. */
  get rawHeaders(): RawHeaders {
    return (this[kRawHeaders] = resolve(this[kRawHeaders]))
  }

  set rawHeaders(value: RawHeaders) {
    this[kRawHeaders] = value
  }

  get rawTrailers(): RawHeaders {
    return (this[kRawTrailers] = resolve(this[kRawTrailers]))
  }

  set rawTrailers(value: RawHeaders) {
    this[kRawTrailers] = value
  }

  /**
   * Ends the request: `onResponseError` has been called with `reason` (an `AbortError` without one) when this returns.
   * Idempotent; harmless after the end.
   */
  abort(reason?: Error): void {
    const state = this[kState]
    if (state.aborted) return
    state.aborted = true
    state.reason = reason as Error
    this[kHandle]?.abort(reason ?? new RequestAbortedError())
  }

  /** No `onResponseData` and no end until `resume`; the server is held back once the window is full. */
  pause(): void {
    const state = this[kState]
    if (state.paused) return
    state.paused = true
    this[kHandle]?.pause()
  }

  resume(): void {
    const state = this[kState]
    if (!state.paused) return
    state.paused = false
    this[kHandle]?.resume()
  }

  /** Binds the request, and applies what was called before. */
  setRequestHandle(handle: RequestHandle): void {
    this[kHandle] = handle
    const { aborted, paused, reason } = this[kState]
    if (aborted) handle.abort(reason ?? new RequestAbortedError())
    else if (paused) handle.pause()
  }

  setRawHeaders(flat: string[], isHttp2: boolean): void {
    this[kState].isHttp2 = isHttp2
    this[kRawHeaders] = { flat, isHttp2 }
  }

  setRawTrailers(flat: string[]): void {
    this[kRawTrailers] = { flat, isHttp2: this[kState].isHttp2 }
  }
}

/** Not the request behind it, with its headers. */
showOnly(DispatchController, ({ aborted, paused, reason }) => ({ aborted, paused, reason }))

/** Most handlers never look, so the Buffers are made when one does. */
function resolve(value: RawHeaders | Lazy): RawHeaders {
  if (value === null || Array.isArray(value) || !Array.isArray((value as Lazy).flat)) return value as RawHeaders
  const { flat, isHttp2 } = value as Lazy
  return isHttp2 ? toHeaderRecord(flat) : toRawHeaders(flat)
}
