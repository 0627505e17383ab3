/**
 * From `opts` of `dispatch(opts, handler)` to a request the transport can take, checked in undici's order with undici's
 * classes and messages (undici-contract.md §2). Pure but for opening the body; `opts` may be frozen and is never written.
 *
 * A dispatcher calls, in this order: {@link assertHandlerObject}, {@link assertDispatchOptions}, its own `destroyed` and
 * `closed` checks, {@link normalizeOrigin}, its `maxOrigins` check, {@link createDispatchRequest}. Errors of all but the
 * first go to {@link rejectDispatch}.
 */
import { stringify } from 'node:querystring'
import { InvalidArgumentError, NotSupportedError, RequestContentLengthMismatchError } from './errors.ts'
import { isLegacyHandler } from './legacy-handler.ts'
import { openBody, recogniseBody } from './request-body.ts'
import type { DispatchBody, RecognisedBody } from './request-body.ts'
import { redactUrlError } from './redact.ts'
import { isHeaderValue, isToken, readHeaders } from './request-headers.ts'
import type { RequestHeaders } from './request-headers.ts'
import { readTrailers } from './trailers.ts'
import type { TrailersReader } from './trailers.ts'
import type { AnyDispatchHandler, DispatchHandler, DispatchOptions, LegacyDispatchHandler } from './types.ts'

export type { BodySource, DispatchBody } from './request-body.ts'

/** A valid request: everything the transport needs, nothing it has to check again. */
export interface DispatchRequest {
  /** `http://host` or `https://host:port`, a default port left out. */
  origin: string
  /** Verbatim, case kept. */
  method: string
  /** The request target, verbatim but for the serialized query. */
  target: string
  /** Flat names and values, latin1, in the caller's case and order; no `host`, `content-length` or `connection`. */
  headers: string[]
  /** The caller's Host header; `null` for the origin's own. */
  host: string | null
  /** `true`: close the connection after the response; `false`: keep it even where it would be closed; `null`: by rule. */
  reset: boolean | null
  body: DispatchBody
  /** Bytes to announce as `content-length`; `null`: none (no body), or chunked. */
  contentLength: number | null
  /** Milliseconds; 0 is off, `null` the agent's own. */
  headersTimeout: number | null
  /** Milliseconds; 0 is off, `null` the agent's own. */
  bodyTimeout: number | null
  upgrade: string | null
  expectContinue: boolean
  /** May be sent before earlier answers arrived. */
  idempotent: boolean
  /** The answer may take long: nothing is sent behind it. */
  blocking: boolean
  /** TLS server name; `null` for that of the Host header, or of the origin. */
  servername: string | null
  /** `false` forces HTTP/1.1; `null` is the agent's own. */
  allowH2: boolean | null
  /** Gives the trailers once the body has ended. */
  trailers: TrailersReader | null
}

/** `opts` before it was checked: a record of anything. */
type RawOptions = Record<string, unknown>

/** @throws InvalidArgumentError: the one error that `dispatch` itself throws whatever the handler has */
export function assertHandlerObject(handler: unknown): asserts handler is AnyDispatchHandler {
  if (typeof handler !== 'object' || handler === null) throw new InvalidArgumentError('handler must be an object')
}

/**
 * undici 8 also refuses `opts.dispatcher` here. undici 7's `request(url, { dispatcher })` passes it along to the very
 * dispatcher it names, so a dispatcher that serves both ignores it.
 * @throws InvalidArgumentError
 */
export function assertDispatchOptions(opts: unknown): asserts opts is DispatchOptions {
  if (typeof opts !== 'object' || opts === null) throw new InvalidArgumentError('opts must be an object.')
}

// A program talks to few origins: parsing a URL costs more than the rest of this file together.
const kMaxKnownOrigins = 256
const knownOrigins = new Map<string, string>()

function parseOrigin(text: string): URL {
  try {
    return new URL(text)
  } catch (error) {
    throw redactUrlError(error)
  }
}

/** The origin of `opts.origin`. @throws InvalidArgumentError, or `TypeError` (`ERR_INVALID_URL`) as undici does */
export function normalizeOrigin(origin: unknown): string {
  if (!origin || (typeof origin !== 'string' && !(origin instanceof URL))) {
    throw new InvalidArgumentError('opts.origin must be a non-empty string or URL.')
  }
  const text = typeof origin === 'string' ? origin : origin.href
  const known = knownOrigins.get(text)
  if (known !== undefined) return known

  const url = parseOrigin(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new InvalidArgumentError('Invalid URL protocol: the URL must start with `http:` or `https:`.')
  }
  if (url.pathname !== '/' || url.search || url.hash) throw new InvalidArgumentError('invalid url')
  if (knownOrigins.size >= kMaxKnownOrigins) knownOrigins.clear()
  knownOrigins.set(text, url.origin)
  return url.origin
}

/** Control characters, space and everything past latin1. */
const kInvalidPath = /[^\u0021-\u00ff]/

function assertTarget(path: unknown, method: unknown): asserts path is string {
  if (typeof path !== 'string') throw new InvalidArgumentError('path must be a string')
  if (path[0] !== '/' && !path.startsWith('http://') && !path.startsWith('https://') && method !== 'CONNECT') {
    throw new InvalidArgumentError('path must be an absolute URL or start with a slash')
  }
  if (kInvalidPath.test(path)) throw new InvalidArgumentError('invalid request path')
}

function assertMethod(method: unknown): asserts method is string {
  if (typeof method !== 'string') throw new InvalidArgumentError('method must be a string')
  if (method !== 'GET' && !isToken(method)) throw new InvalidArgumentError('invalid request method')
}

function assertUpgrade(upgrade: unknown): asserts upgrade is string | null | undefined {
  if (!upgrade) return
  if (typeof upgrade !== 'string') throw new InvalidArgumentError('upgrade must be a string')
  if (!isHeaderValue(upgrade)) throw new InvalidArgumentError('invalid upgrade header')
}

function readTimeout(name: string, value: unknown): number | null {
  if (value === undefined || value === null) return null
  if (typeof value === 'number' && value >= 0 && value < Infinity) return value
  throw new InvalidArgumentError(`invalid ${name}`)
}

function readBoolean(name: string, value: unknown): boolean | null {
  if (value === undefined || value === null) return null
  if (typeof value === 'boolean') return value
  throw new InvalidArgumentError(`invalid ${name}`)
}

function assertRareOptions(throwOnError: unknown, maxRedirections: unknown, typeOfService: unknown): void {
  if (throwOnError !== undefined && throwOnError !== null) throw new InvalidArgumentError('invalid throwOnError')
  // The built-in fetch of every Node passes 0.
  if (maxRedirections !== undefined && maxRedirections !== null && maxRedirections !== 0) {
    throw new InvalidArgumentError('maxRedirections is not supported, use the redirect interceptor')
  }
  if (typeOfService === undefined || typeOfService === null) return
  if (!Number.isInteger(typeOfService) || (typeOfService as number) < 0 || (typeOfService as number) > 255) {
    throw new InvalidArgumentError('typeOfService must be an integer between 0 and 255')
  }
}

function withQuery(path: string, query: unknown): string {
  if (!query) return path
  if (path.includes('?') || path.includes('#')) {
    throw new Error('Query params cannot be passed when url already contains "?" or "#".')
  }
  const text = stringify(query as Record<string, string>)
  return text === '' ? path : `${path}?${text}`
}

function assertTypeOfService(typeOfService: unknown): void {
  // 0 is what every socket has.
  if (typeOfService) throw new NotSupportedError('typeOfService not supported')
}

/** What is written between other fields of the request record must not end one. */
const kInvalidServername = /[^\u0021-\u00ff]/

function readServername(servername: unknown): string | null {
  if (!servername) return null
  if (typeof servername === 'string' && !kInvalidServername.test(servername)) return servername
  throw new InvalidArgumentError('invalid servername')
}

// The callbacks are read by name at each call, not by a computed key: this runs for every request.
function assertCallback(value: unknown, name: string): void {
  if (typeof value !== 'function') throw new InvalidArgumentError(`invalid ${name} method`)
}

function assertOptionalCallback(value: unknown, name: string): void {
  if (value !== undefined) assertCallback(value, name)
}

function validateLegacyHandler(handler: LegacyDispatchHandler, upgrades: boolean): void {
  assertCallback(handler.onConnect, 'onConnect')
  assertCallback(handler.onError, 'onError')
  assertOptionalCallback(handler.onBodySent, 'onBodySent')
  assertOptionalCallback(handler.onRequestSent, 'onRequestSent')
  if (upgrades) {
    assertCallback(handler.onUpgrade, 'onUpgrade')
  } else {
    assertCallback(handler.onHeaders, 'onHeaders')
    assertCallback(handler.onData, 'onData')
    assertCallback(handler.onComplete, 'onComplete')
  }
}

/** Checks the callbacks that this request will call, of either generation. @throws InvalidArgumentError */
export function validateHandler(handler: AnyDispatchHandler, method: string, upgrade: unknown): void {
  const upgrades = Boolean(upgrade) || method === 'CONNECT'
  if (isLegacyHandler(handler)) {
    validateLegacyHandler(handler, upgrades)
    return
  }
  const current = handler as DispatchHandler
  assertCallback(current.onRequestStart, 'onRequestStart')
  assertCallback(current.onResponseError, 'onResponseError')
  assertOptionalCallback(current.onBodySent, 'onBodySent')
  assertOptionalCallback(current.onRequestSent, 'onRequestSent')
  if (upgrades) {
    assertCallback(current.onRequestUpgrade, 'onRequestUpgrade')
  } else {
    assertCallback(current.onResponseStart, 'onResponseStart')
    assertCallback(current.onResponseData, 'onResponseData')
    assertCallback(current.onResponseEnd, 'onResponseEnd')
  }
}

/** Methods whose meaning lies in a body: without one they announce a length of 0 (RFC 9110 §8.6). */
export function expectsPayload(method: string): boolean {
  return (
    method === 'POST' ||
    method === 'PUT' ||
    method === 'PATCH' ||
    method === 'QUERY' ||
    method === 'PROPFIND' ||
    method === 'PROPPATCH'
  )
}

/** Methods where undici does not hold the caller to the `content-length` he gave. */
function ignoresLength(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS' || method === 'TRACE' || method === 'CONNECT'
}

/** The length to announce. `own` is the body's (`null`: not known), `given` the caller's header. */
function decideLength(method: string, own: number | null, given: number | null, isStrict: boolean): number | null {
  const length = own ?? given
  if (length === 0 && !expectsPayload(method)) return null
  if (length !== null && length > 0 && given !== null && given !== length && !ignoresLength(method)) {
    const error = new RequestContentLengthMismatchError()
    if (isStrict) throw error
    process.emitWarning(error)
  }
  return length
}

function ownLength(body: DispatchBody): number | null {
  switch (body.kind) {
    case 'none':
      return 0
    case 'bytes':
      return body.bytes.byteLength
    case 'stream':
    case 'file':
      return body.length
  }
}

function openAndType(recognised: RecognisedBody, headers: RequestHeaders, hasTrailers: boolean): DispatchBody {
  if (recognised.kind === 'none' || recognised.kind === 'bytes') return recognised
  // A length that a stream happens to have already would leave its trailers no place.
  if (hasTrailers && recognised.kind === 'source') return { kind: 'stream', source: recognised.source, length: null }
  const { body, contentType } = openBody(recognised)
  if (contentType !== null && !headers.hasContentType) headers.flat.push('content-type', contentType)
  return body
}

/**
 * Checks everything about a request but its origin, and normalizes it. `strictContentLength` is the agent's option:
 * `false` turns a wrong `content-length` into a process warning.
 * @throws InvalidArgumentError, NotSupportedError, RequestContentLengthMismatchError; `Error` for a query beside a query
 */
export function createDispatchRequest(
  origin: string,
  options: DispatchOptions,
  handler: AnyDispatchHandler,
  strictContentLength: boolean,
): DispatchRequest {
  // The types are the caller's promise; this is where it is checked.
  const opts = options as unknown as RawOptions
  const { path, method, upgrade, blocking, idempotent, allowH2 } = opts
  assertTarget(path, method)
  assertMethod(method)
  assertUpgrade(upgrade)
  const headersTimeout = readTimeout('headersTimeout', opts.headersTimeout)
  const bodyTimeout = readTimeout('bodyTimeout', opts.bodyTimeout)
  const reset = readBoolean('reset', opts.reset)
  const expectContinue = readBoolean('expectContinue', opts.expectContinue) ?? false
  assertRareOptions(opts.throwOnError, opts.maxRedirections, opts.typeOfService)
  const recognised = recogniseBody(opts.body)
  const target = withQuery(path, opts.query)
  const headers = readHeaders(opts.headers)
  validateHandler(handler, method, upgrade)
  assertTypeOfService(opts.typeOfService)
  const servername = readServername(opts.servername)
  const { trailers } = opts
  const body = openAndType(recognised, headers, trailers !== undefined && trailers !== null)
  const contentLength = decideLength(method, ownLength(body), headers.contentLength, strictContentLength)
  const isChunked = body.kind === 'stream' && contentLength === null

  return {
    origin,
    method,
    target,
    headers: headers.flat,
    host: headers.host,
    reset: headers.close ? true : reset,
    body,
    contentLength,
    headersTimeout,
    bodyTimeout,
    upgrade: upgrade || null,
    expectContinue,
    idempotent:
      idempotent === undefined || idempotent === null
        ? method === 'GET' || method === 'HEAD' || method === 'QUERY'
        : Boolean(idempotent),
    blocking: blocking === undefined || blocking === null ? method !== 'HEAD' : Boolean(blocking),
    servername,
    allowH2: typeof allowH2 === 'boolean' ? allowH2 : null,
    trailers: readTrailers(trailers, headers.flat, isChunked),
  }
}

/**
 * Hands a failed validation to the handler, synchronously and without a controller; throws it where the handler has no
 * callback for errors. Returns `false`, the result of `dispatch`.
 */
export function rejectDispatch(handler: AnyDispatchHandler, error: Error): false {
  if (isLegacyHandler(handler)) {
    const { onError } = handler as LegacyDispatchHandler
    if (typeof onError !== 'function') throw error
    onError.call(handler, error)
    return false
  }
  const { onResponseError } = handler as DispatchHandler
  if (typeof onResponseError !== 'function') throw error
  onResponseError.call(handler, null, error)
  return false
}
