/** `fetch` over any undici dispatcher: its callbacks become a byte stream, `pause` and `resume` its backpressure. */
import type { ReadableStream, ReadableStreamDefaultReader } from 'node:stream/web'
import { ByteStream } from '../streams/byte-stream.ts'
import type { ReadableStreamConstructor } from '../streams/byte-stream.ts'
import { RequestFlag } from '../streams/exchange.ts'
import { noteCollected } from '../streams/starvation.ts'
import { BodySource } from './body-source.ts'
import { InvalidArgumentError } from './errors.ts'
import { decodeStream, readCodings } from './fetch-decode.ts'
import { fetchFailed, terminated, unexpectedRedirect } from './fetch-error.ts'
import { acceptCodings, followRedirect, noHops } from './fetch-redirect.ts'
import type { Hops } from './fetch-redirect.ts'
import { isNullBodyStatus, isRedirect, toWireRequest } from './fetch-request.ts'
import type { FetchRequest } from './fetch-request.ts'
import type { BodySource as RequestSource } from './request-body.ts'
import { showOnly } from './redact.ts'
import { markDisturbed } from './relay-stream.ts'
import { createResponse } from './response.ts'
import type { SluiceResponse } from './response.ts'
import type {
  DispatchControllerLike,
  DispatcherLike,
  DispatchHandler,
  IncomingHttpHeaders,
  RequestBody,
} from './types.ts'

/** What `dispatch` has no option for. */
const OWN_LIMITS = [
  'windowBytes',
  'uploadWindowBytes',
  'connectTimeout',
  'timeout',
  'maxHeaderSize',
  'maxResponseSize',
  'maxDecodedSize',
  'maxCompressionRatio',
] as const

/**
 * Sends `request` through `dispatcher`.
 * @throws InvalidArgumentError naming a limit that only an agent itself can keep
 */
export function fetchThroughDispatcher(
  dispatcher: DispatcherLike,
  request: FetchRequest,
  Implementation: ReadableStreamConstructor,
): Promise<SluiceResponse> {
  for (const name of OWN_LIMITS) {
    if (request.limits[name] !== null) throw new InvalidArgumentError(`${name} is not supported with this dispatcher`)
  }
  const response = Promise.withResolvers<SluiceResponse>()
  try {
    send({ dispatcher, Implementation, response }, request, noHops)
  } catch (error) {
    throw fetchFailed(error)
  }
  return response.promise
}

/** What all requests of one fetch share. */
interface Fetch {
  dispatcher: DispatcherLike
  Implementation: ReadableStreamConstructor
  response: PromiseWithResolvers<SluiceResponse>
}

/** @throws InvalidArgumentError, RequestContentLengthMismatchError */
function send(fetch: Fetch, request: FetchRequest, hops: Hops): void {
  const wire = toWireRequest(request)
  const { body } = request
  const source = body.kind === 'stream' ? lockSource(body.source) : null
  const handler = new FetchHandler(fetch, request, hops, source)
  const headers = [...wire.headers, ...acceptCodings(request)]
  if (wire.host !== '') headers.push('host', wire.host)
  if ((wire.flags & RequestFlag.close) !== 0) headers.push('connection', 'close')
  if (wire.upload !== null && wire.upload.length !== null) headers.push('content-length', String(wire.upload.length))
  const options = {
    origin: wire.origin,
    path: wire.target,
    method: wire.method,
    headers,
    body: (request.text ?? source ?? (body.kind === 'file' ? body.stream : wire.body)) as RequestBody | null,
    headersTimeout: request.limits.headersTimeout,
    bodyTimeout: request.limits.bodyTimeout,
  }
  handler.listen()
  try {
    fetch.dispatcher.dispatch(options, handler)
  } catch (error) {
    handler.onResponseError(null, error as Error)
  }
}

/** A web stream, read by this request alone from now on. */
class LockedSource implements AsyncIterableIterator<unknown> {
  private readonly reader: ReadableStreamDefaultReader

  constructor(stream: ReadableStream) {
    this.reader = stream.getReader()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<unknown>> {
    return this.reader.read() as Promise<IteratorResult<unknown>>
  }

  async return(reason?: unknown): Promise<IteratorResult<unknown>> {
    await this.reader.cancel(reason)
    return { done: true, value: undefined }
  }
}

type Source = RequestSource | LockedSource

function lockSource(source: RequestSource): Source {
  return typeof (source as Partial<ReadableStream>).getReader === 'function'
    ? new LockedSource(source as ReadableStream)
    : source
}

/** Bytes of a redirect's own body that are read, so that its connection can serve again. */
const REDIRECT_BODY = 64 * 1024

/** Aborts the request of a body that was collected before its end. */
const abandoned = new FinalizationRegistry<DispatchControllerLike>((controller) => {
  noteCollected()
  controller.abort()
})

/** Its dispatcher holds it until the response has ended, so it must not hold the response that nobody else does. */
class FetchHandler implements DispatchHandler {
  private response: PromiseWithResolvers<SluiceResponse> | null
  private readonly fetch: Omit<Fetch, 'response'>
  private readonly hops: Hops
  /** Of a redirect that was followed: the bytes of its body so far. */
  private dropped: number | null = null
  private readonly trailers = Promise.withResolvers<string>()

  static {
    // An interceptor may look at the handler it was given.
    showOnly<FetchHandler>(this, ({ request }) => ({ method: request.method, origin: request.url.origin }))
  }

  declare private readonly request: FetchRequest
  private readonly Implementation: ReadableStreamConstructor
  private controller: DispatchControllerLike | null = null
  /** A read that waits holds the stream by its promise; without one it may be collected. */
  private stream: WeakRef<ByteStream> | null = null
  private pulled: (() => void) | null = null
  private readonly source: Source | null
  private hasHead = false
  private isOver = false
  private reason: { value: unknown } | null = null

  constructor(
    { dispatcher, Implementation, response }: Fetch,
    request: FetchRequest,
    hops: Hops,
    source: Source | null,
  ) {
    // With the caller's headers: who shows the handler does not show it.
    Object.defineProperty(this, 'request', { value: request })
    this.source = source
    this.hops = hops
    this.Implementation = Implementation
    this.fetch = { dispatcher, Implementation }
    this.response = response
    this.trailers.promise.catch(() => {})
  }

  listen(): void {
    this.request.signal?.addEventListener('abort', this.onSignal, { once: true })
  }

  onRequestStart(controller: DispatchControllerLike): void {
    this.controller = controller
    if (this.reason !== null) controller.abort(this.reason.value as Error)
  }

  onResponseStart(
    controller: DispatchControllerLike,
    status: number,
    headers: IncomingHttpHeaders,
    statusText?: string,
  ): void {
    if (status < 200 && status !== 101) return
    this.controller = controller
    if (this.request.redirect === 'error' && isRedirect(status)) {
      throw unexpectedRedirect(status, this.request.url)
    }
    if (this.follow(status, headers)) return
    const { request, Implementation, hops } = this
    const isBodiless = request.method === 'HEAD' || isNullBodyStatus(status)
    const codings = isBodiless ? [] : readCodings(valueOf(headers, 'content-encoding'))
    if (isBodiless && request.integrity !== null) {
      throw request.integrity.mismatch() ?? new Error('integrity: the response has no body')
    }
    this.hasHead = true
    const encoded = isBodiless ? null : this.openStream(controller)
    const body = encoded === null || codings.length === 0 ? encoded : decodeStream(encoded, codings, Implementation)
    const isEmpty = isBodiless || valueOf(headers, 'content-length') === '0'
    // Nothing is read ahead of the reader; a body of no bytes is over with its head.
    if (!isEmpty) controller.pause()
    this.response?.resolve(
      createResponse({
        status,
        statusText: statusText ?? '',
        headerText: toHeaderText(headers),
        url: request.url.text,
        isRedirected: hops.count > 0,
        type: hops.isCrossOrigin ? 'cors' : 'basic',
        body: BodySource.checked(body, Implementation, request.integrity, isEmpty ? null : request.signal),
        trailers: () => this.trailers.promise,
      }),
    )
    this.response = null
  }

  onResponseData(controller: DispatchControllerLike, chunk: Buffer): void {
    if (this.dropped !== null) {
      this.dropped += chunk.byteLength
      if (this.dropped > REDIRECT_BODY) controller.abort()
      return
    }
    // undici flushes its parser with an empty chunk when it resumes.
    const stream = this.stream?.deref()
    if (stream === undefined || chunk.byteLength === 0) return
    // Copied into memory of its own: a byte stream transfers what it is given, a Buffer may share its memory.
    stream.controller.enqueue(new Uint8Array(chunk))
    this.answerPull()
    if ((stream.controller.desiredSize ?? 0) <= 0) controller.pause()
  }

  onResponseEnd(_controller: DispatchControllerLike, trailers: IncomingHttpHeaders): void {
    if (this.dropped !== null) return
    this.finish()
    this.trailers.resolve(toHeaderText(trailers))
    this.stream?.deref()?.close()
    this.answerPull()
  }

  onResponseError(_controller: DispatchControllerLike | null | undefined, error: Error): void {
    if (this.dropped !== null) return
    this.finish()
    const isSignals = this.reason !== null && this.reason.value === error
    const reported: unknown = isSignals ? error : this.hasHead ? terminated(error) : fetchFailed(error)
    this.trailers.reject(reported)
    this.reject(reported)
    this.stream?.deref()?.controller.error(reported)
    this.answerPull()
  }

  /** Sends the request that a redirect leads to. @throws what makes it a network error */
  private follow(status: number, headers: IncomingHttpHeaders): boolean {
    const next = followRedirect(this.request, this.hops, status, valueOf(headers, 'location'))
    const { response } = this
    if (next === null || response === null) return false
    this.finish()
    this.dropped = 0
    this.response = null
    try {
      send({ ...this.fetch, response }, next.request, next.hops)
    } catch (error) {
      response.reject(fetchFailed(error))
    }
    return true
  }

  private readonly onSignal = (): void => {
    const value: unknown = this.request.signal?.reason
    this.reason = { value }
    // The dispatcher would cancel it without the reason.
    if (this.source instanceof LockedSource) this.source.return(value).catch(() => {})
    this.controller?.abort(value as Error)
    // A request that waits for its connection is told when it has one; its caller need not wait for that.
    this.reject(value)
  }

  private reject(error: unknown): void {
    this.response?.reject(error)
    this.response = null
  }

  private openStream(request: DispatchControllerLike): ReadableStream {
    const bytes: ByteStream = new ByteStream(
      {
        start: (controller) => abandoned.register(controller, request, this),
        pull: () => {
          markDisturbed(bytes.stream)
          if (this.isOver) {
            // Its end came behind bytes that were queued.
            bytes.close()
            return undefined
          }
          const answered = new Promise<void>((resolve) => {
            this.pulled = resolve
          })
          // A dispatcher may deliver from within `resume`.
          queueMicrotask(() => this.controller?.resume())
          return answered
        },
        cancel: (reason) => {
          markDisturbed(bytes.stream)
          this.stream = null
          this.controller?.abort(reason instanceof Error ? reason : undefined)
        },
      },
      this.Implementation,
    )
    this.stream = new WeakRef(bytes)
    return bytes.stream
  }

  private answerPull(): void {
    const { pulled } = this
    this.pulled = null
    pulled?.()
  }

  private finish(): void {
    this.isOver = true
    abandoned.unregister(this)
    this.request.signal?.removeEventListener('abort', this.onSignal)
  }
}

function valueOf(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name]
  return Array.isArray(value) ? value.join(', ') : (value ?? null)
}

function toHeaderText(headers: IncomingHttpHeaders): string {
  const flat: string[] = []
  for (const [name, value] of Object.entries(headers)) {
    for (const item of Array.isArray(value) ? value : [value ?? '']) flat.push(name, item)
  }
  return flat.join('\0')
}
