/**
 * The legacy handler of undici 6 (`onConnect … onError`) behind the callbacks of undici 7 and 8. The built-in fetch of
 * Node 22 and 24 and undici 7's own methods hand a custom dispatcher nothing else (undici-contract.md §1).
 */
import type { Duplex } from 'node:stream'
import type {
  AnyDispatchHandler,
  DispatchControllerLike,
  DispatchHandler,
  IncomingHttpHeaders,
  LegacyDispatchHandler,
  RawHeaders,
} from './types.ts'

/**
 * Whether `handler` has only the legacy callbacks. One with `onRequestStart` is new, whatever else it has: undici's own
 * wrappers carry both generations. One with neither is no handler, and new for the sake of undici 8's messages.
 */
export function isLegacyHandler(handler: AnyDispatchHandler): handler is LegacyDispatchHandler {
  if (typeof (handler as DispatchHandler).onRequestStart === 'function') return false
  const legacy = handler as LegacyDispatchHandler
  return (
    typeof legacy.onConnect === 'function' ||
    typeof legacy.onHeaders === 'function' ||
    typeof legacy.onData === 'function' ||
    typeof legacy.onComplete === 'function' ||
    typeof legacy.onError === 'function' ||
    typeof legacy.onUpgrade === 'function'
  )
}

function toBuffer(text: unknown): Buffer {
  return Buffer.isBuffer(text) ? text : Buffer.from(String(text), 'latin1')
}

/**
 * Flat Buffers in wire case and order: fetch of Node 22 and 24 reads nothing else. `parsed` stands in where the
 * transport has no raw form, and each value of a repeated name gets a pair of its own.
 */
function toRawHeaders(raw: RawHeaders | undefined, parsed: IncomingHttpHeaders): Buffer[] {
  if (Array.isArray(raw)) return raw.every(Buffer.isBuffer) ? (raw as Buffer[]) : raw.map(toBuffer)
  const flat: Buffer[] = []
  for (const [name, value] of Object.entries(raw ?? parsed)) {
    if (value === undefined) continue
    for (const item of Array.isArray(value) ? value : [value]) flat.push(toBuffer(name), toBuffer(item))
  }
  return flat
}

class LegacyHandlerAdapter implements DispatchHandler {
  private readonly handler: LegacyDispatchHandler
  onBodySent?: (chunk: Uint8Array | number) => void
  onRequestSent?: () => void

  constructor(handler: LegacyDispatchHandler) {
    this.handler = handler
    // Present only where they are wanted, so that a transport need not report every chunk to no one.
    if (handler.onBodySent !== undefined) this.onBodySent = (chunk) => handler.onBodySent?.(chunk)
    if (handler.onRequestSent !== undefined) this.onRequestSent = () => handler.onRequestSent?.()
  }

  // The old face as well: undici 7's cache interceptor answers through it, whichever generation it was handed.

  onConnect(abort: (reason?: Error) => void, context?: unknown): void {
    this.handler.onConnect?.(abort, context)
  }

  onHeaders(statusCode: number, headers: Buffer[], resume: () => void, statusMessage: string): boolean | void {
    return this.handler.onHeaders?.(statusCode, headers, resume, statusMessage)
  }

  onData(chunk: Buffer): boolean | void {
    return this.handler.onData?.(chunk)
  }

  onComplete(trailers: Buffer[]): void {
    this.handler.onComplete?.(trailers)
  }

  onUpgrade(statusCode: number, headers: Buffer[], socket: Duplex): void {
    this.handler.onUpgrade?.(statusCode, headers, socket)
  }

  onError(error: Error): void {
    if (typeof this.handler.onError !== 'function') throw error
    this.handler.onError(error)
  }

  onRequestStart(controller: DispatchControllerLike, context: unknown): void {
    this.handler.onConnect?.((reason) => controller.abort(reason), context)
  }

  onRequestUpgrade(
    controller: DispatchControllerLike,
    statusCode: number,
    headers: IncomingHttpHeaders,
    socket: Duplex,
  ): void {
    this.handler.onUpgrade?.(statusCode, toRawHeaders(controller.rawHeaders, headers), socket)
  }

  onResponseStarted(): void {
    this.handler.onResponseStarted?.()
  }

  onResponseStart(
    controller: DispatchControllerLike,
    statusCode: number,
    headers: IncomingHttpHeaders,
    statusMessage?: string,
  ): void {
    const flow = this.handler.onHeaders?.(
      statusCode,
      toRawHeaders(controller.rawHeaders, headers),
      () => controller.resume(),
      statusMessage ?? '',
    )
    // undici's parser goes on after an informational response whatever the handler returned: its `false` is about a
    // body, and a handler that waits for one would never resume.
    if (flow === false && statusCode >= 200) controller.pause()
  }

  onResponseData(controller: DispatchControllerLike, chunk: Buffer): void {
    if (this.handler.onData?.(chunk) === false) controller.pause()
  }

  onResponseEnd(controller: DispatchControllerLike, trailers: IncomingHttpHeaders): void {
    this.handler.onComplete?.(toRawHeaders(controller.rawTrailers, trailers))
  }

  onResponseError(_controller: DispatchControllerLike | null | undefined, error: Error): void {
    this.onError(error)
  }
}

/** The new-generation face of a legacy handler; see {@link isLegacyHandler}. */
export function adaptLegacyHandler(handler: LegacyDispatchHandler): DispatchHandler {
  return new LegacyHandlerAdapter(handler)
}
