/** The dispatch shim by itself: any ReadableStream response onto undici's callbacks. */
import { toHeaderRecord } from '../streams/dispatch-shim.ts'
import type { HeaderRecord } from '../streams/dispatch-shim.ts'
import { StreamDispatch } from '../streams/stream-dispatch.ts'
import { DispatchController } from './controller.ts'
import { InvalidArgumentError } from './errors.ts'
import { adaptLegacyHandler, isLegacyHandler } from './legacy-handler.ts'
import type { AnyDispatchHandler, DispatchHandler, ReadableStreamLike } from './types.ts'

/** A response of any library; a WHATWG `Response` fits. */
export interface StreamedResponse {
  status: number
  statusText?: string
  /** `Headers`, any iterable of pairs, or an object whose values are strings or arrays. */
  headers: Iterable<readonly [string, string]> | Record<string, string | readonly string[] | undefined>
  body: ReadableStreamLike | null
  trailers?: Promise<StreamedResponse['headers']> | StreamedResponse['headers']
}

/**
 * Calls `handler` as undici's own dispatcher would: `onRequestStart` and all the others later than this call, in order,
 * one end. `pause` stops reading the stream, `abort` cancels it.
 * @returns the controller that the handler is given
 * @throws InvalidArgumentError for a handler or a response that is none
 */
export function dispatchStream(
  response: StreamedResponse,
  handler: AnyDispatchHandler,
  controller: DispatchController = new DispatchController(),
): DispatchController {
  if (typeof handler !== 'object' || handler === null) throw new InvalidArgumentError('handler must be an object')
  if (typeof response !== 'object' || response === null || !Number.isInteger(response.status)) {
    throw new InvalidArgumentError('response must have a status')
  }
  const adapted = isLegacyHandler(handler) ? adaptLegacyHandler(handler) : (handler as DispatchHandler)
  const flat = toFlat(response.headers)
  const job = new StreamDispatch(adapted as never, controller, response.body as never, {
    status: response.status,
    statusText: response.statusText ?? '',
    start: () => controller.setRawHeaders(flat, false),
    headers: toHeaderRecord(flat),
    trailers: async () => readTrailers(controller, response),
  })
  controller.setRequestHandle(job)
  return controller
}

async function readTrailers(controller: DispatchController, response: StreamedResponse): Promise<HeaderRecord> {
  const trailers = (await response.trailers) ?? {}
  const flat = toFlat(trailers)
  controller.setRawTrailers(flat)
  return toHeaderRecord(flat)
}

function toFlat(headers: StreamedResponse['headers']): string[] {
  const flat: string[] = []
  if (typeof (headers as Partial<Iterable<unknown>>)[Symbol.iterator] === 'function') {
    for (const [name, value] of headers as Iterable<readonly [string, string]>) flat.push(name.toLowerCase(), value)
    return flat
  }
  for (const [name, value] of Object.entries(headers as Record<string, string | readonly string[] | undefined>)) {
    if (value === undefined) continue
    for (const item of typeof value === 'string' ? [value] : value) flat.push(name.toLowerCase(), item)
  }
  return flat
}
