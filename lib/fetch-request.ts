/** The arguments of `fetch`, checked and made into one request (Fetch §5.4). */
import { Readable } from 'node:stream'
import { bodyStreamState } from '../streams/body-stream.ts'
import { isLarge, RequestFlag } from '../streams/exchange.ts'
import type { WireRequest } from '../streams/exchange.ts'
import { readCacheHeaders, readPolicies } from './fetch-policies.ts'
import { InvalidArgumentError, RequestContentLengthMismatchError } from './errors.ts'
import { hasHeader, readFetchHeaders } from './fetch-headers.ts'
import { FetchUrl } from './fetch-url.ts'
import { isBlobLike, isFormDataLike } from './form-data.ts'
import { openBody, recogniseBody } from './request-body.ts'
import type { DispatchBody } from './request-body.ts'
import { Integrity } from './integrity.ts'
import { redactUrl, redactUrlError } from './redact.ts'
import { wasDisturbed } from './relay-stream.ts'
import { isToken, readHeaders } from './request-headers.ts'
import type { TrailersInit, TrailersReader } from './trailers.ts'
import type { DispatcherLike, RequestBody, StreamsImplementation } from './types.ts'

export type RequestRedirect = 'error' | 'follow' | 'manual'

/** What `init` may hold: WHATWG's `RequestInit`, and sluice's own options. */
export interface FetchInit {
  method?: string | undefined
  headers?: Headers | Iterable<readonly [string, string]> | Record<string, string> | undefined
  body?: RequestBody | URLSearchParams | null | undefined
  signal?: AbortSignal | null | undefined
  /** Redirects are followed, 20 at most, by default; `manual` gives the redirect itself, `error` rejects it. */
  redirect?: RequestRedirect | undefined
  duplex?: 'half' | undefined
  integrity?: string | undefined
  /** `no-store`, `reload` and `no-cache` send their headers; there is no cache to ask. */
  cache?: 'default' | 'force-cache' | 'no-cache' | 'no-store' | 'only-if-cached' | 'reload' | undefined
  /** Checked; there are no cookies to withhold. */
  credentials?: 'include' | 'omit' | 'same-origin' | undefined
  keepalive?: boolean | undefined
  /** Sent as `sec-fetch-mode`. */
  mode?: 'cors' | 'no-cors' | 'same-origin' | undefined
  referrer?: string | undefined
  referrerPolicy?: string | undefined
  priority?: 'auto' | 'high' | 'low' | undefined
  window?: null | undefined
  /** Serves the request: sluice's `Agent`, or any undici dispatcher. */
  dispatcher?: DispatcherLike | undefined
  /** Bytes the response may hold ahead of its reader. */
  windowBytes?: number | undefined
  /** Bytes taken from a streamed body ahead of the socket. */
  uploadWindowBytes?: number | undefined
  /** Milliseconds; 0 is off. `connectTimeout` is refused by an agent on `'reqwest'`. */
  connectTimeout?: number | undefined
  headersTimeout?: number | undefined
  bodyTimeout?: number | undefined
  timeout?: number | undefined
  /** Bytes of response header names and values, 256 KiB at most. */
  maxHeaderSize?: number | undefined
  /** Bytes of the response body; -1 is no limit. */
  maxResponseSize?: number | undefined
  /** Bytes of the body after decoding; -1 is no limit. */
  maxDecodedSize?: number | undefined
  /** Bytes after decoding for each byte on the wire; 0 is no limit. */
  maxCompressionRatio?: number | undefined
  /** Sent behind a body without a length, over an `Agent` itself; see `DispatchOptions.trailers`. */
  trailers?: TrailersInit | null | undefined
  /** The streams implementation of the response body. */
  streams?: Partial<StreamsImplementation> | undefined
}

/** A request that `fetch` can send. */
export interface FetchRequest {
  url: FetchUrl
  method: string
  /** Flat, lower-case names. */
  headers: string[]
  body: DispatchBody
  /** The body is a Request's own stream. */
  isOfRequest: boolean
  /** The body where it was given as text: `MockAgent` compares it. */
  text: string | null
  contentLength: number | null
  signal: AbortSignal | null
  trailers?: TrailersReader | null
  redirect: RequestRedirect
  /** Nothing is to be sent, and there is no cache to ask. */
  isCachedOnly: boolean
  integrity: Integrity | null
  limits: {
    windowBytes: number | null
    uploadWindowBytes: number | null
    connectTimeout: number | null
    headersTimeout: number | null
    bodyTimeout: number | null
    timeout: number | null
    maxHeaderSize: number | null
    maxResponseSize: number | null
    maxDecodedSize: number | null
    maxCompressionRatio: number | null
  }
}

/** Requests of these methods without a body say so (Fetch, "HTTP-network-or-cache fetch"). */
const SAYS_EMPTY = new Set(['POST', 'PUT', 'PATCH'])
const NORMALIZED = new Set(['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT'])
const FORBIDDEN = new Set(['CONNECT', 'TRACE', 'TRACK'])
/** Ports that Fetch §2.9 blocks. */
const BLOCKED_PORTS = new Set(
  (
    '0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 ' +
    '135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 ' +
    '995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080'
  ).split(' '),
)

/** The engine reads a head into at most as many bytes. */
export const MAX_HEADER_SIZE = 256 * 1024

const SCHEMES = new Set(['http:', 'https:', 'data:', 'blob:'])

/** A request that never reaches the network. */
export class NetworkError extends Error {}

/** @throws TypeError as `new Request(input, init)` does; InvalidArgumentError naming an option */
export function createFetchRequest(input: unknown, init: FetchInit): FetchRequest {
  const base = isRequest(input) ? input : null
  const url = parseUrl(base === null ? input : base.url)
  const method = readMethod(init.method === undefined ? (base?.method ?? 'GET') : init.method)
  const headers = readFetchHeaders(init.headers === undefined ? base?.headers : init.headers)
  const bodyInit = init.body === undefined ? base?.body : init.body
  if (init.body === undefined && (base?.bodyUsed === true || base?.body?.locked === true)) {
    throw new TypeError('Cannot fetch a Request whose body has already been used.')
  }
  if (bodyInit !== null && bodyInit !== undefined && (method === 'GET' || method === 'HEAD')) {
    throw new TypeError('Request with GET/HEAD method cannot have body.')
  }
  const policies = readPolicies(init as Record<string, unknown>, base, method)
  const { body, contentType } = readBody(bodyInit, policies.keepalive && bodyInit === init.body)
  if (contentType !== null && !hasHeader(headers, 'content-type')) headers.push('content-type', contentType)
  readCacheHeaders(headers, policies.cache)
  addDefaults(headers, policies.mode)
  return {
    url,
    method,
    headers,
    body,
    isOfRequest: init.body === undefined && body.kind === 'stream' && isWebStream(body.source),
    text: typeof bodyInit === 'string' || bodyInit instanceof URLSearchParams ? bodyInit.toString() : null,
    contentLength: lengthOf(body, method),
    signal: init.signal === undefined && base !== null ? signalOf(base) : readSignal(init.signal),
    redirect: policies.redirect as RequestRedirect,
    isCachedOnly: policies.cache === 'only-if-cached',
    integrity: Integrity.parse(`${init.integrity === undefined ? (base?.integrity ?? '') : init.integrity}`),
    limits: {
      windowBytes: readNumber(init, 'windowBytes', 1),
      uploadWindowBytes: readNumber(init, 'uploadWindowBytes', 1),
      connectTimeout: readNumber(init, 'connectTimeout', 0),
      headersTimeout: readNumber(init, 'headersTimeout', 0),
      bodyTimeout: readNumber(init, 'bodyTimeout', 0),
      timeout: readNumber(init, 'timeout', 0),
      maxHeaderSize: readNumber(init, 'maxHeaderSize', 1, MAX_HEADER_SIZE),
      maxResponseSize: readNumber(init, 'maxResponseSize', -1),
      maxDecodedSize: readNumber(init, 'maxDecodedSize', -1),
      maxCompressionRatio: readNumber(init, 'maxCompressionRatio', 0),
    },
  }
}

/** Bytes that a request announces. */
export function lengthOf(body: DispatchBody, method: string): number | null {
  if (body.kind === 'none') return SAYS_EMPTY.has(method) ? 0 : null
  return body.kind === 'bytes' ? body.bytes.byteLength : body.length
}

/** Any library's `Request`: its class is not needed to read it. */
function isRequest(input: unknown): input is Request {
  if (typeof input !== 'object' || input === null || input instanceof URL) return false
  const request = input as Partial<Request>
  return typeof request.url === 'string' && typeof request.method === 'string' && typeof request.headers === 'object'
}

function parseUrl(input: unknown): FetchUrl {
  const text = input instanceof URL ? input.href : `${input as string}`
  let url
  try {
    url = FetchUrl.of(text)
  } catch (cause) {
    throw new TypeError(`Failed to parse URL from ${redactUrl(text)}`, { cause: redactUrlError(cause) })
  }
  if (url.username !== '' || url.password !== '') {
    throw new TypeError(`Request cannot be constructed from a URL that includes credentials: ${url.origin}`)
  }
  return url
}

/** @throws NetworkError for a scheme or port that Fetch blocks */
export function assertSendable(url: URL): void {
  if (!SCHEMES.has(url.protocol)) {
    throw new NetworkError(`unknown scheme ${url.protocol}${url.host === '' ? '' : ` of ${url.host}`}`)
  }
  if (BLOCKED_PORTS.has(url.port)) throw new NetworkError(`bad port ${url.port} of ${url.hostname}`)
}

function readMethod(method: unknown): string {
  const text = `${method as string}`
  const isMethod: boolean = isToken(text)
  if (!isMethod) throw new TypeError(`'${text}' is not a valid HTTP method.`)
  const upper = text.toUpperCase()
  if (FORBIDDEN.has(upper)) throw new TypeError(`'${text}' HTTP method is unsupported.`)
  return NORMALIZED.has(upper) ? upper : text
}

function isWebStream(body: unknown): boolean {
  return typeof (body as Partial<ReadableStream> | null | undefined)?.getReader === 'function'
}

/** Requests by their signal: Node's follows the caller's only as long as the Request lives. */
const owners = new WeakMap<AbortSignal, Request>()

function signalOf(request: Request): AbortSignal | null {
  const signal = readSignal(request.signal)
  if (signal !== null) owners.set(signal, request)
  return signal
}

function readSignal(signal: unknown): AbortSignal | null {
  if (signal === undefined || signal === null) return null
  const like = signal as Partial<AbortSignal>
  if (typeof like.aborted !== 'boolean' || typeof like.addEventListener !== 'function') {
    throw new TypeError("Failed to construct 'Request': member signal is not of type AbortSignal.")
  }
  return signal as AbortSignal
}

function readNumber(
  init: FetchInit,
  name: keyof FetchRequest['limits'],
  least: number,
  most = Infinity,
): number | null {
  const value: unknown = init[name]
  if (value === undefined || value === null) return null
  if (typeof value !== 'number' || !Number.isFinite(value) || value < least || value > most) {
    throw new InvalidArgumentError(`invalid ${name}`)
  }
  return value
}

/** A body and the content type it implies (Fetch §5.2, "extract"). @throws TypeError for a body that was used */
function readBody(init: unknown, keepalive: boolean): { body: DispatchBody; contentType: string | null } {
  if (init === undefined || init === null) return { body: { kind: 'none' }, contentType: null }
  if (init instanceof URLSearchParams) {
    const body = recogniseBody(init.toString()) as DispatchBody
    return { body, contentType: 'application/x-www-form-urlencoded;charset=UTF-8' }
  }
  if (!isBody(init)) {
    // What is no body is sent as its text, like every argument of Web IDL's USVString; a symbol has none.
    const body = recogniseBody(`${init as string}`) as DispatchBody
    return { body, contentType: 'text/plain;charset=UTF-8' }
  }
  assertUnshared(init)
  const recognised = (init as Partial<ArrayBuffer>).byteLength === 0 ? recogniseBody(null) : recogniseBody(init)
  if (recognised.kind === 'none') return { body: recognised, contentType: null }
  // A copy: the request crosses at the end of this tick, and the caller may change its bytes before.
  if (recognised.kind === 'bytes')
    return { body: { kind: 'bytes', bytes: new Uint8Array(recognised.bytes) }, contentType: null }
  if (recognised.kind === 'source' || recognised.kind === 'file-stream') {
    if (keepalive) throw new TypeError('keepalive is not for a body that is streamed')
    if (isUsed(init)) throw new TypeError('Response body object should not be disturbed or locked')
  }
  return openBody(recognised)
}

/** Memory that may change while it is sent is no `BufferSource` (Web IDL §3.2.26). @throws TypeError */
function assertUnshared(init: object): void {
  if (ArrayBuffer.isView(init) && !(init.buffer instanceof ArrayBuffer)) {
    throw new TypeError('the body is a view of a SharedArrayBuffer, which cannot be sent')
  }
}

/** Whether `init` is sent as what it holds. */
function isBody(init: unknown): init is object {
  if (typeof init !== 'object' || init === null) return false
  if (init instanceof ArrayBuffer || ArrayBuffer.isView(init) || isFormDataLike(init) || isBlobLike(init)) return true
  const source = init as Partial<AsyncIterable<unknown> & Iterator<unknown> & Iterable<unknown> & Readable>
  if (typeof source[Symbol.asyncIterator] === 'function' || isWebStream(init)) return true
  if (typeof source.pipe === 'function' && typeof source.on === 'function') return true
  // An array has a text, which the standard sends; what a generator makes can only be read.
  return typeof source[Symbol.iterator] === 'function' && typeof source.next === 'function'
}

/** Locked, or disturbed (Streams §4.2.4), as far as its implementation tells. */
function isUsed(body: object): boolean {
  if ((body as Partial<ReadableStream>).locked === true || wasDisturbed(body)) return true
  return bodyStreamState(body as never)?.isDisturbed ?? Readable.isDisturbed(body as Readable)
}

function addDefaults(headers: string[], mode: string): void {
  if (!hasHeader(headers, 'accept')) headers.push('accept', '*/*')
  if (!hasHeader(headers, 'accept-language')) headers.push('accept-language', '*')
  if (!hasHeader(headers, 'sec-fetch-mode')) headers.push('sec-fetch-mode', mode)
  if (!hasHeader(headers, 'user-agent')) headers.push('user-agent', 'sluice')
}

const REDIRECT_FLAGS = { follow: RequestFlag.follow, manual: 0, error: RequestFlag.noRedirect }

/** What crosses to an agent. @throws InvalidArgumentError for a header that only the transport may write */
export function toWireRequest(request: FetchRequest): WireRequest {
  const { url, method, body } = request
  const { flat, contentLength, close, host } = readHeaders(request.headers)
  if (contentLength !== null && request.contentLength !== null && contentLength !== request.contentLength) {
    throw new RequestContentLengthMismatchError()
  }
  return {
    origin: url.originText,
    method,
    target: url.target,
    flags: RequestFlag.decode | REDIRECT_FLAGS[request.redirect] | (close ? RequestFlag.close : 0),
    servername: '',
    upgrade: '',
    host: host ?? '',
    headers: flat,
    body: body.kind === 'bytes' ? body.bytes : null,
    isKept: body.kind === 'bytes' && isLarge(body.bytes),
    upload: body.kind === 'stream' ? { length: request.contentLength ?? contentLength } : null,
    file: body.kind === 'file' ? body.range : null,
    ...request.limits,
  }
}

/** Fetch, "null body status". */
export function isNullBodyStatus(status: number): boolean {
  return status === 101 || status === 103 || status === 204 || status === 205 || status === 304
}

/** Fetch, "redirect status". */
export function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308
}
