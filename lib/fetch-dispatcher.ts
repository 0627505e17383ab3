/** `fetch` over any undici dispatcher: its callbacks become a byte stream, `pause` and `resume` its backpressure. */
import type { ReadableByteStreamController, ReadableStream, UnderlyingByteSource } from 'node:stream/web'
import type { ReadableStreamConstructor } from '../streams/body-stream.ts'
import { RequestFlag } from '../streams/exchange.ts'
import { BodySource } from './body-source.ts'
import { InvalidArgumentError } from './errors.ts'
import { fetchFailed, terminated, unexpectedRedirect } from './fetch-error.ts'
import { isNullBodyStatus, isRedirect, toWireRequest, urlWithoutFragment } from './fetch-request.ts'
import type { FetchRequest } from './fetch-request.ts'
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
const OWN_LIMITS = ['windowBytes', 'timeout', 'maxResponseSize', 'maxDecodedSize', 'maxCompressionRatio'] as const

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
  const handler = new FetchHandler(request, Implementation, response)
  let wire
  try {
    wire = toWireRequest(request)
  } catch (error) {
    throw fetchFailed(error)
  }
  const { body } = request
  const headers = [...wire.headers]
  if (wire.host !== '') headers.push('host', wire.host)
  if ((wire.flags & RequestFlag.close) !== 0) headers.push('connection', 'close')
  if (wire.upload !== null && wire.upload.length !== null) headers.push('content-length', String(wire.upload.length))
  const options = {
    origin: wire.origin,
    path: wire.target,
    method: wire.method,
    headers,
    body: (request.text ?? (body.kind === 'stream' ? body.source : wire.body)) as RequestBody | null,
    headersTimeout: request.limits.headersTimeout,
    bodyTimeout: request.limits.bodyTimeout,
  }
  handler.listen()
  try {
    dispatcher.dispatch(options, handler)
  } catch (error) {
    handler.onResponseError(null, error as Error)
  }
  return response.promise
}

/** Aborts the request of a body that was collected before its end. */
const abandoned = new FinalizationRegistry<DispatchControllerLike>((controller) => controller.abort())

/** Its dispatcher holds it until the response has ended, so it must not hold the response that nobody else does. */
class FetchHandler implements DispatchHandler {
  private response: PromiseWithResolvers<SluiceResponse> | null
  private readonly trailers = Promise.withResolvers<string>()
  private readonly request: FetchRequest
  private readonly Implementation: ReadableStreamConstructor
  private controller: DispatchControllerLike | null = null
  /** A read that waits holds the stream by its promise; without one it may be collected. */
  private stream: WeakRef<ReadableByteStreamController> | null = null
  private pulled: (() => void) | null = null
  private hasHead = false
  private isOver = false
  private reason: { value: unknown } | null = null

  constructor(
    request: FetchRequest,
    Implementation: ReadableStreamConstructor,
    response: PromiseWithResolvers<SluiceResponse>,
  ) {
    this.request = request
    this.Implementation = Implementation
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
    this.hasHead = true
    const isBodiless = this.request.method === 'HEAD' || isNullBodyStatus(status)
    const body = isBodiless ? null : this.openStream(controller)
    // Nothing is read ahead of the reader.
    if (!isBodiless) controller.pause()
    this.response?.resolve(
      createResponse({
        status,
        statusText: statusText ?? '',
        headerText: toHeaderText(headers),
        url: urlWithoutFragment(this.request.url),
        isRedirected: false,
        type: 'basic',
        body: new BodySource(body, this.Implementation),
        trailers: () => this.trailers.promise,
      }),
    )
    this.response = null
  }

  onResponseData(controller: DispatchControllerLike, chunk: Buffer): void {
    // undici flushes its parser with an empty chunk when it resumes.
    const stream = this.stream?.deref()
    if (stream === undefined || chunk.byteLength === 0) return
    // Copied into memory of its own: a byte stream transfers what it is given, a Buffer may share its memory.
    stream.enqueue(new Uint8Array(chunk))
    this.answerPull()
    if ((stream.desiredSize ?? 0) <= 0) controller.pause()
  }

  onResponseEnd(_controller: DispatchControllerLike, trailers: IncomingHttpHeaders): void {
    this.finish()
    this.trailers.resolve(toHeaderText(trailers))
    const stream = this.stream?.deref()
    stream?.close()
    stream?.byobRequest?.respond(0)
    this.answerPull()
  }

  onResponseError(_controller: DispatchControllerLike | null | undefined, error: Error): void {
    this.finish()
    const isSignals = this.reason !== null && this.reason.value === error
    const reported: unknown = isSignals ? error : this.hasHead ? terminated(error) : fetchFailed(error)
    this.trailers.reject(reported)
    this.reject(reported)
    this.stream?.deref()?.error(reported)
    this.answerPull()
  }

  private readonly onSignal = (): void => {
    const value: unknown = this.request.signal?.reason
    this.reason = { value }
    this.controller?.abort(value as Error)
    // A request that waits for its connection is told when it has one; its caller need not wait for that.
    this.reject(value)
  }

  private reject(error: unknown): void {
    this.response?.reject(error)
    this.response = null
  }

  private openStream(request: DispatchControllerLike): ReadableStream {
    const source: UnderlyingByteSource = {
      type: 'bytes',
      start: (controller) => {
        this.stream = new WeakRef(controller)
        abandoned.register(controller, request, this)
      },
      pull: () => {
        if (this.isOver) return
        const answered = new Promise<void>((resolve) => {
          this.pulled = resolve
        })
        // A dispatcher may deliver from within this call.
        this.controller?.resume()
        return answered
      },
      cancel: (reason) => {
        this.stream = null
        this.controller?.abort(reason instanceof Error ? reason : undefined)
      },
    }
    return new this.Implementation(source, { highWaterMark: 0 }) as ReadableStream
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

function toHeaderText(headers: IncomingHttpHeaders): string {
  const flat: string[] = []
  for (const [name, value] of Object.entries(headers)) {
    for (const item of Array.isArray(value) ? value : [value ?? '']) flat.push(name, item)
  }
  return flat.join('\0')
}
