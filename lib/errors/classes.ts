/**
 * The errors a dispatcher reports, under undici 8's names, codes, messages and constructor signatures, so that code
 * written against undici's `errors` keeps working. `instanceof` looks for undici's `Symbol.for` markers instead of the
 * prototype chain: it holds in both directions between these classes and those of any copy of undici 7 or 8.
 */
const kMarker = Symbol('marker')

interface Marked {
  [marker: symbol]: unknown
}

function isMarked(value: unknown, marker: symbol): boolean {
  return value !== null && value !== undefined && (value as Marked)[marker] === true
}

/** Gives a class undici's marker; its instances keep the markers of the ancestors too. */
function brand(constructor: { [kMarker]: symbol; prototype: object }, code: string): void {
  const marker = Symbol.for(`undici.error.${code}`)
  constructor[kMarker] = marker
  // On the prototype, as in undici: an own property would show in every printed error.
  Object.defineProperty(constructor.prototype, marker, { value: true, configurable: true })
}

/** The ancestor of the `UND_ERR_*` errors. */
export class UndiciError extends Error {
  static [kMarker]: symbol
  override name: string = 'UndiciError'
  code: string = 'UND_ERR'

  static {
    brand(this, 'UND_ERR')
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return isMarked(value, this[kMarker])
  }
}

/** The base of a class that has nothing but a name, a code and a default message of its own. */
function define<Name extends string, Code extends string>(name: Name, code: Code, defaultMessage: string) {
  return class extends UndiciError {
    override name: Name = name
    override code: Code = code

    static {
      brand(this, code)
    }

    constructor(message?: string, options?: ErrorOptions) {
      super(message || defaultMessage, options)
    }
  }
}

/** No connection (TCP and TLS) within the connect timeout. */
export class ConnectTimeoutError extends define(
  'ConnectTimeoutError',
  'UND_ERR_CONNECT_TIMEOUT',
  'Connect Timeout Error',
) {}

/** No complete response head within `headersTimeout`, or a server that took nothing of the request for as long. */
export class HeadersTimeoutError extends define(
  'HeadersTimeoutError',
  'UND_ERR_HEADERS_TIMEOUT',
  'Headers Timeout Error',
) {}

/** The response head is larger than `maxHeaderSize`. */
export class HeadersOverflowError extends define(
  'HeadersOverflowError',
  'UND_ERR_HEADERS_OVERFLOW',
  'Headers Overflow Error',
) {}

/** The server was silent for `bodyTimeout` inside a response body, and took nothing of the request. */
export class BodyTimeoutError extends define('BodyTimeoutError', 'UND_ERR_BODY_TIMEOUT', 'Body Timeout Error') {}

/** An option, a header or a handler that no request can be made from. */
export class InvalidArgumentError extends define(
  'InvalidArgumentError',
  'UND_ERR_INVALID_ARG',
  'Invalid Argument Error',
) {}

/** A callback returned what its caller cannot use. */
export class InvalidReturnValueError extends define(
  'InvalidReturnValueError',
  'UND_ERR_INVALID_RETURN_VALUE',
  'Invalid Return Value Error',
) {}

/** The ancestor of {@link RequestAbortedError}; web code recognises abort errors by `name`. */
export class AbortError extends define<'AbortError', string>(
  'AbortError',
  'UND_ERR_ABORT',
  'The operation was aborted',
) {}

/** The request was aborted without a reason. Its `name` is `AbortError`. */
export class RequestAbortedError extends AbortError {
  override code = 'UND_ERR_ABORTED' as const

  static {
    brand(this, 'UND_ERR_ABORTED')
  }

  constructor(message?: string) {
    super(message || 'Request aborted')
  }
}

/** Not a failure: the reason a connection went away. Seen in `disconnect` events. */
export class InformationalError extends define('InformationalError', 'UND_ERR_INFO', 'Request information') {}

/** The request body is longer or shorter than the caller's `content-length`. */
export class RequestContentLengthMismatchError extends define(
  'RequestContentLengthMismatchError',
  'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
  'Request body length does not match content-length header',
) {}

/** The response body is longer or shorter than the server's `content-length`. */
export class ResponseContentLengthMismatchError extends define(
  'ResponseContentLengthMismatchError',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'Response body length does not match content-length header',
) {}

/** The dispatcher was destroyed, before or during the request. */
export class ClientDestroyedError extends define(
  'ClientDestroyedError',
  'UND_ERR_DESTROYED',
  'The client is destroyed',
) {}

/** The dispatcher was closed before the request. */
export class ClientClosedError extends define('ClientClosedError', 'UND_ERR_CLOSED', 'The client is closed') {}

/** The ends of a connection and what it moved, as far as they are known: bytes and milliseconds. */
export interface SocketInfo {
  localAddress?: string
  localPort?: number
  remoteAddress?: string
  remotePort?: number
  remoteFamily?: string
  timeout?: number
  bytesWritten?: number
  bytesRead?: number
}

/** The peer closed the connection, or broke the protocol, before the response was complete. */
export class SocketError extends define('SocketError', 'UND_ERR_SOCKET', 'Socket error') {
  socket: SocketInfo | null

  constructor(message?: string, socket?: SocketInfo | null) {
    super(message)
    this.socket = socket ?? null
  }
}

/** A valid request that this transport cannot make. */
export class NotSupportedError extends define('NotSupportedError', 'UND_ERR_NOT_SUPPORTED', 'Not supported error') {}

/** A balanced pool without an upstream. Its `name` is `MissingUpstreamError`. */
export class BalancedPoolMissingUpstreamError extends define(
  'MissingUpstreamError',
  'UND_ERR_BPL_MISSING_UPSTREAM',
  'No upstream has been added to the BalancedPool',
) {}

/** undici's parser needs WebAssembly. Never raised here; present because `errors` of undici has it. */
export class WebAssemblyNotSupportedError extends Error {
  static [kMarker]: symbol
  code = 'ERR_WEBASSEMBLY_NOT_SUPPORTED' as const

  static {
    brand(this, 'ERR_WEBASSEMBLY_NOT_SUPPORTED')
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return isMarked(value, this[kMarker])
  }

  constructor(message?: string) {
    super(message || 'WebAssembly is not supported in this environment, but is required for HTTP/1 parsing')
  }
}

/** A response that is not HTTP. `code` is `HPE_*`; not a descendant of {@link UndiciError}, as in undici. */
export class HTTPParserError extends Error {
  static [kMarker]: symbol
  override name = 'HTTPParserError' as const
  code: string | undefined
  data: string | undefined

  static {
    brand(this, 'UND_ERR_HTTP_PARSER')
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return isMarked(value, this[kMarker])
  }

  /** `code` comes without its `HPE_` prefix. */
  constructor(message?: string, code?: string, data?: { toString(): string }) {
    super(message)
    this.code = code ? `HPE_${code}` : undefined
    this.data = data ? data.toString() : undefined
  }
}

/** The response body is larger than `maxResponseSize`. */
export class ResponseExceededMaxSizeError extends define(
  'ResponseExceededMaxSizeError',
  'UND_ERR_RES_EXCEEDED_MAX_SIZE',
  'Response content exceeded max size',
) {}

/** Response headers as an error carries them. */
export type ErrorHeaders = Record<string, string | string[] | undefined> | string[] | null | undefined

/** Raised by undici's retry handler when a response cannot be resumed. */
export class RequestRetryError extends define('RequestRetryError', 'UND_ERR_REQ_RETRY', 'Request retry error') {
  statusCode: number
  data: unknown
  headers: ErrorHeaders

  constructor(
    message: string | undefined,
    code: number,
    { headers, data }: { headers?: ErrorHeaders; data?: unknown },
  ) {
    super(message)
    this.statusCode = code
    this.data = data
    this.headers = headers
  }
}

/** Raised by undici's `responseError` interceptor for a status of 400 or more. */
export class ResponseError extends define('ResponseError', 'UND_ERR_RESPONSE', 'Response error') {
  statusCode: number
  body: unknown
  bodyTruncated: boolean
  headers: ErrorHeaders

  constructor(
    message: string | undefined,
    code: number,
    { headers, body, bodyTruncated = false }: { headers?: ErrorHeaders; body?: unknown; bodyTruncated?: boolean },
  ) {
    super(message)
    this.statusCode = code
    this.body = body
    this.bodyTruncated = bodyTruncated
    this.headers = headers
  }
}

/** TLS to a proxy, or through it, failed. */
export class SecureProxyConnectionError extends define(
  'SecureProxyConnectionError',
  'UND_ERR_PRX_TLS',
  'Secure Proxy Connection failed',
) {
  constructor(cause?: unknown, message?: string, options?: ErrorOptions) {
    super(message, { ...options, cause })
  }
}

/** The connection to a proxy, or its CONNECT, failed. */
export class ProxyConnectionError extends define(
  'ProxyConnectionError',
  'UND_ERR_PRX_CONN',
  'Proxy Connection failed',
) {
  constructor(cause?: unknown, message?: string, options?: ErrorOptions) {
    super(message, { ...options, cause })
  }
}

/** A new origin over `maxOrigins`. */
export class MaxOriginsReachedError extends define(
  'MaxOriginsReachedError',
  'UND_ERR_MAX_ORIGINS_REACHED',
  'Maximum allowed origins reached',
) {}

/** More redirects than allowed. */
export class MaxRedirectsError extends define('MaxRedirectsError', 'UND_ERR_REDIRECT_MAX', 'max redirects') {}

/** A SOCKS5 proxy refused or broke its protocol. */
export class Socks5ProxyError extends UndiciError {
  override name = 'Socks5ProxyError' as const

  // undici gives this class no marker; without a test of its own every UndiciError would pass for one.
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof UndiciError && value.name === 'Socks5ProxyError'
  }

  constructor(message?: string, code?: string) {
    super(message || 'SOCKS5 proxy error')
    this.code = code || 'UND_ERR_SOCKS5'
  }
}

/** A WebSocket message is larger than allowed after decompression. */
export class MessageSizeExceededError extends define(
  'MessageSizeExceededError',
  'UND_ERR_WS_MESSAGE_SIZE_EXCEEDED',
  'Max decompressed message size exceeded',
) {}

/** undici's `errors` export: every error class by its class name. */
export const errors = Object.freeze({
  AbortError,
  WebAssemblyNotSupportedError,
  HTTPParserError,
  UndiciError,
  HeadersTimeoutError,
  HeadersOverflowError,
  BodyTimeoutError,
  RequestContentLengthMismatchError,
  ConnectTimeoutError,
  InvalidArgumentError,
  InvalidReturnValueError,
  RequestAbortedError,
  ClientDestroyedError,
  ClientClosedError,
  InformationalError,
  SocketError,
  NotSupportedError,
  ResponseContentLengthMismatchError,
  BalancedPoolMissingUpstreamError,
  ResponseExceededMaxSizeError,
  RequestRetryError,
  ResponseError,
  SecureProxyConnectionError,
  ProxyConnectionError,
  MaxOriginsReachedError,
  MaxRedirectsError,
  Socks5ProxyError,
  MessageSizeExceededError,
})
