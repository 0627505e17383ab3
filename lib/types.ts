/**
 * undici's dispatcher contract in structural types: assignable to and from those of undici 7 and 8 (`types.test-d.ts`
 * proves it), without importing undici, which is an optional peer. Parameters are declared on methods, not on function
 * properties: only methods compare bivariantly, and the two undici versions differ in optionality and in unions.
 */
import type { TrailersInit } from './trailers.ts'
import type { EventEmitter } from 'node:events'
import type { Duplex, Readable, Writable } from 'node:stream'
import type { ReadableStream, UnderlyingByteSource, UnderlyingSink } from 'node:stream/web'

/** Lower-case names; a name seen twice has an array, in order (undici-contract.md §3). */
export type IncomingHeaders = Record<string, string | string[]>

/** Headers as undici's types spell them for handlers and responses. */
export type IncomingHttpHeaders = Record<string, string | string[] | undefined>

/** Header names and values in wire order: flat Buffers or strings, or the parsed object for HTTP/2. */
export type RawHeaders = Buffer[] | string[] | IncomingHttpHeaders | null

/** One value of a request header; `undefined` drops the header, `null` sends it empty. */
export type OutgoingHeaderValue = string | number | boolean | null | undefined | readonly (string | number | null)[]

/** The shapes of request headers: an object, a flat `[name, value, …]` array, or an iterable of pairs. */
export type OutgoingHeaders =
  | Record<string, OutgoingHeaderValue>
  | readonly string[]
  | Iterable<readonly [string, OutgoingHeaderValue]>

/** Any implementation's FormData: recognised by its methods and its `toStringTag`, never by its class. */
export interface FormDataLike {
  append(name: string, value: unknown, fileName?: string): void
  set(name: string, value: unknown, fileName?: string): void
  get(name: string): unknown
  getAll(name: string): unknown[]
  has(name: string): boolean
  delete(name: string): void
  [Symbol.iterator](): Iterator<[string, unknown]>
  readonly [Symbol.toStringTag]: string
}

/** Any implementation's Blob or File. */
export interface BlobLike {
  readonly size: number
  readonly type: string
  stream(): AsyncIterable<Uint8Array>
}

/** One chunk of a streamed request body. */
export type BodyChunk = string | Uint8Array

/** The kinds of request body (undici-contract.md §2.2). Streams are read once and never resent. */
export type RequestBody =
  | string
  | ArrayBufferView
  | ArrayBuffer
  | BlobLike
  | FormDataLike
  | Readable
  | ReadableStream
  | Iterable<BodyChunk>
  | AsyncIterable<BodyChunk>

/** Options of {@link DispatcherLike.dispatch}; unknown keys are ignored (undici-contract.md §2). */
export interface DispatchOptions {
  /** `http:` or `https:`, without path, query or hash. */
  origin?: string | URL | undefined
  /** Sent verbatim: starts with `/`, or is an absolute URL. */
  path: string
  /** Sent verbatim, case kept. */
  method: string
  body?: RequestBody | null | undefined
  headers?: OutgoingHeaders | null | undefined
  /** Serialized as `node:querystring` does; `path` must not have a query then. */
  query?: Record<string, unknown> | null | undefined
  idempotent?: boolean | undefined
  blocking?: boolean | undefined
  upgrade?: boolean | string | null | undefined
  /**
   * Milliseconds in which the server takes nothing of the request, or has all of it and sends no response head; 0 is off,
   * absent the agent's own.
   */
  headersTimeout?: number | null | undefined
  /** Milliseconds the server may be silent inside the body, and take nothing of the request; 0 is off, absent the agent's own. */
  bodyTimeout?: number | null | undefined
  /** `true` closes the connection after the response. */
  reset?: boolean | null | undefined
  /**
   * HTTP/2 only, as in undici: the body is sent when the server has not answered within a second; a response that comes
   * before is all there is. HTTP/1.1 sends it at once. Refused by an agent on `'reqwest'`.
   */
  expectContinue?: boolean | null | undefined
  /** IP type of service, 0–255. */
  typeOfService?: number | null | undefined
  /** TLS server name, where it differs from the origin's host. */
  servername?: string | null | undefined
  /** `false` forces HTTP/1.1. */
  allowH2?: boolean | null | undefined
  /** Of sluice: sent behind a body without a length; announced in `trailer`, which later ones need be given in. */
  trailers?: TrailersInit | null | undefined
}

/** What a handler may do with its request (undici-contract.md §3). */
export interface DispatchControllerLike {
  readonly aborted: boolean
  readonly paused: boolean
  /** Exactly the value given to `abort`; `null` before. */
  readonly reason: Error | null
  rawHeaders?: RawHeaders
  rawTrailers?: RawHeaders
  /** Delivers `onResponseError` before it returns; only the first call counts. */
  abort(reason?: Error): void
  /** No `onResponseData` and no `onResponseEnd` until `resume`. */
  pause(): void
  resume(): void
}

/** undici 7's and 8's handler. A controller may be absent from `onResponseError` (undici-contract.md §3). */
export interface DispatchHandler {
  onRequestStart?(controller: DispatchControllerLike, context: unknown): void
  onRequestUpgrade?(
    controller: DispatchControllerLike,
    statusCode: number,
    headers: IncomingHttpHeaders,
    socket: Duplex,
  ): void
  onResponseStart?(
    controller: DispatchControllerLike,
    statusCode: number,
    headers: IncomingHttpHeaders,
    statusMessage?: string,
  ): void
  onResponseData?(controller: DispatchControllerLike, chunk: Buffer): void
  onResponseEnd?(controller: DispatchControllerLike, trailers: IncomingHttpHeaders): void
  onResponseError?(controller: DispatchControllerLike | null | undefined, error: Error): void
  onResponseStarted?(): void
  /** Every undici passes the chunk; undici 7's types say `(chunkSize, totalBytesSent)`, hence the numbers. */
  onBodySent?(chunk: Uint8Array | number, totalBytesSent?: number): void
  onRequestSent?(): void
}

/** The handler of undici 6 and of the built-in fetch of Node 22 and 24. `false` pauses until `resume` is called. */
export interface LegacyDispatchHandler {
  onConnect?(abort: (reason?: Error) => void, context?: unknown): void
  onUpgrade?(statusCode: number, headers: Buffer[] | string[] | null, socket: Duplex): void
  onHeaders?(statusCode: number, headers: Buffer[], resume: () => void, statusText: string): boolean | void
  onData?(chunk: Buffer): boolean | void
  onComplete?(trailers: Buffer[] | string[] | null): void
  onError?(error: Error): void
  onResponseStarted?(): void
  onBodySent?(chunk: Uint8Array | number, totalBytesSent?: number): void
  onRequestSent?(): void
}

/** Either generation of handler. */
export type AnyDispatchHandler = DispatchHandler | LegacyDispatchHandler

/** The least that can serve requests: undici's, sluice's and every composed dispatcher has it. */
export interface DispatcherLike {
  /** `false` when further requests would queue; a `drain` event follows. */
  dispatch(options: DispatchOptions, handler: AnyDispatchHandler): boolean
}

/** The `dispatch` that interceptors wrap. */
export type Dispatch = DispatcherLike['dispatch']

/** A function of arity 2 made from a `dispatch` (undici-contract.md §6). */
export type DispatchInterceptor = (dispatch: Dispatch) => Dispatch

/**
 * The implementation of web streams that bodies and sinks are made of: the platform's, or a polyfill. Constructors, not
 * `typeof ReadableStream`: the type declarations of implementations differ in their statics and iterators.
 */
export interface StreamsImplementation {
  ReadableStream: new (source: UnderlyingByteSource, strategy?: { highWaterMark?: number }) => ReadableStreamLike
  WritableStream: new (sink: UnderlyingSink<Uint8Array>, strategy?: { highWaterMark?: number }) => WritableStreamLike
}

/** What any implementation's ReadableStream has. */
export interface ReadableStreamLike {
  readonly locked: boolean
  cancel(reason?: unknown): Promise<void>
  getReader(options?: { mode: 'byob' }): unknown
}

/** What any implementation's WritableStream has. */
export interface WritableStreamLike {
  readonly locked: boolean
  abort(reason?: unknown): Promise<void>
  close(): Promise<void>
  getWriter(): unknown
}

/** An `AbortSignal`, or an emitter of `abort`. `unknown`, because undici 7's types define their `AbortSignal` so. */
export type SignalLike = unknown

/** Options of {@link DispatcherSurface.request}. */
export interface RequestOptions<TOpaque = null> extends DispatchOptions {
  opaque?: TOpaque
  signal?: SignalLike
  onInfo?: (info: { statusCode: number; headers: IncomingHeaders }) => void
  responseHeaders?: 'raw' | null
  /** Bytes; default 64 KiB. */
  highWaterMark?: number
}

/** Options of {@link DispatcherSurface.pipeline}. */
export interface PipelineOptions<TOpaque = null> extends RequestOptions<TOpaque> {
  objectMode?: boolean
}

/** Options of {@link DispatcherSurface.connect}. */
export interface ConnectOptions<TOpaque = null> {
  origin: string | URL
  path: string
  headers?: OutgoingHeaders | null
  signal?: SignalLike
  opaque?: TOpaque
  responseHeaders?: 'raw' | null
}

/** Options of {@link DispatcherSurface.upgrade}. */
export interface UpgradeOptions {
  path: string
  method?: string
  headers?: OutgoingHeaders | null
  protocol?: string
  signal?: SignalLike
  responseHeaders?: 'raw' | null
}

/** undici's response body: a `Readable` with fetch's body mixin. */
export interface BodyReadable extends Readable {
  readonly body: never
  readonly bodyUsed: boolean
  arrayBuffer(): Promise<ArrayBuffer>
  blob(): Promise<Blob>
  bytes(): Promise<Uint8Array>
  formData(): Promise<never>
  json(): Promise<unknown>
  text(): Promise<string>
  dump(options?: { limit: number; signal?: AbortSignal }): Promise<void>
}

/** What {@link DispatcherSurface.request} resolves to; `trailers` fills at the body's end. */
export interface ResponseData<TOpaque = null> {
  statusCode: number
  statusText: string
  headers: IncomingHttpHeaders
  body: BodyReadable
  trailers: Record<string, string>
  opaque: TOpaque
  context: object
}

/** What {@link DispatcherSurface.stream} gives its factory. */
export interface StreamFactoryData<TOpaque = null> {
  statusCode: number
  headers: IncomingHttpHeaders
  opaque: TOpaque
  context: object
}

/** What {@link DispatcherSurface.pipeline} gives its handler. */
export interface PipelineHandlerData<TOpaque = null> extends StreamFactoryData<TOpaque> {
  body: BodyReadable
}

/** What {@link DispatcherSurface.stream} resolves to. */
export interface StreamData<TOpaque = null> {
  opaque: TOpaque
  trailers: Record<string, string>
}

/** What {@link DispatcherSurface.upgrade} resolves to. */
export interface UpgradeData<TOpaque = null> {
  headers: IncomingHttpHeaders
  socket: Duplex
  opaque: TOpaque
}

/** What {@link DispatcherSurface.connect} resolves to. */
export interface ConnectData<TOpaque = null> extends UpgradeData<TOpaque> {
  statusCode: number
}

/** The event arguments of a dispatcher; `targets` starts with the dispatcher itself (undici-contract.md §5). */
export interface DispatcherEvents {
  connect: [origin: URL, targets: readonly DispatcherSurface[]]
  disconnect: [origin: URL, targets: readonly DispatcherSurface[], error: Error & { code: string }]
  connectionError: [origin: URL, targets: readonly DispatcherSurface[], error: Error & { code: string }]
  drain: [origin: URL, targets?: readonly DispatcherSurface[]]
}

type Callback<Data> = (error: Error | null, data: Data) => void

/** Everything undici's `Dispatcher` declares: a class with these members is assignable to it. */
export interface DispatcherSurface extends EventEmitter<DispatcherEvents>, DispatcherLike {
  dispatch(options: DispatchOptions, handler: AnyDispatchHandler): boolean
  compose(interceptors: DispatchInterceptor[]): DispatcherSurface
  compose(...interceptors: DispatchInterceptor[]): DispatcherSurface
  connect<TOpaque = null>(options: ConnectOptions<TOpaque>, callback: Callback<ConnectData<TOpaque>>): void
  connect<TOpaque = null>(options: ConnectOptions<TOpaque>): Promise<ConnectData<TOpaque>>
  request<TOpaque = null>(options: RequestOptions<TOpaque>, callback: Callback<ResponseData<TOpaque>>): void
  request<TOpaque = null>(options: RequestOptions<TOpaque>): Promise<ResponseData<TOpaque>>
  pipeline<TOpaque = null>(
    options: PipelineOptions<TOpaque>,
    handler: (data: PipelineHandlerData<TOpaque>) => Readable,
  ): Duplex
  stream<TOpaque = null>(
    options: RequestOptions<TOpaque>,
    factory: (data: StreamFactoryData<TOpaque>) => Writable,
    callback: Callback<StreamData<TOpaque>>,
  ): void
  stream<TOpaque = null>(
    options: RequestOptions<TOpaque>,
    factory: (data: StreamFactoryData<TOpaque>) => Writable,
  ): Promise<StreamData<TOpaque>>
  upgrade(options: UpgradeOptions, callback: Callback<UpgradeData>): void
  upgrade(options: UpgradeOptions): Promise<UpgradeData>
  close(callback: () => void): void
  close(): Promise<void>
  destroy(error: Error | null, callback: () => void): void
  destroy(callback: () => void): void
  destroy(error: Error | null): Promise<void>
  destroy(): Promise<void>
  readonly closed: boolean
  readonly destroyed: boolean
}
