/** WHATWG `fetch` over an agent (Fetch §5.6). */
import type { ReadableStream } from 'node:stream/web'
import type { ReadableStreamConstructor } from '../streams/byte-stream.ts'
import { Upload } from '../streams/upload.ts'
import { Agent, kStreams, kTransport } from './agent.ts'
import { EarlyBody } from './early-body.ts'
import { InvalidArgumentError } from './errors.ts'
import { fetchThroughDispatcher } from './fetch-dispatcher.ts'
import { hasHeader } from './fetch-headers.ts'
import { fetchFailed } from './fetch-error.ts'
import { assertSendable, createFetchRequest, lengthOf, NetworkError } from './fetch-request.ts'
import type { FetchInit, FetchRequest } from './fetch-request.ts'
import { getGlobalAgent } from './global-agent.ts'
import { fetchLocally, isLocal } from './local-fetch.ts'
import { NativeFetch } from './native-fetch.ts'
import type { SluiceResponse } from './response.ts'
import { readTrailers } from './trailers.ts'
import type { DispatcherLike, StreamsImplementation } from './types.ts'

/**
 * Fetches `input`: redirects are followed and content codings undone.
 * @returns a platform `Response` with `trailers`; its body reads the socket only as it is read
 * @throws TypeError for bad arguments, and `TypeError('fetch failed')` whose cause has Node's code and names host and
 * phase; the signal's reason itself when aborted. All as rejections.
 */
export function fetch(input: string | URL | Request, init: FetchInit = {}): Promise<SluiceResponse> {
  try {
    return start(input, init)
  } catch (error) {
    // An abort's reason need not be an error.
    return Promise.reject(error as Error)
  }
}

function start(input: string | URL | Request, init: FetchInit): Promise<SluiceResponse> {
  if (init === null) init = {}
  if (typeof init !== 'object' && typeof init !== 'function') throw new TypeError('init must be an object')
  const dispatcher = init.dispatcher ?? openGlobalAgent()
  if (typeof (dispatcher as DispatcherLike | null)?.dispatch !== 'function') {
    throw new InvalidArgumentError('invalid dispatcher: it must have a dispatch method')
  }
  let request
  try {
    request = createFetchRequest(input, init)
  } catch (error) {
    // What the arguments themselves throw, as getters may, is theirs.
    throw (error as Partial<NodeJS.ErrnoException> | null)?.syscall !== undefined ? fetchFailed(error) : error
  }
  if (request.signal?.aborted === true) {
    if (request.body.kind === 'stream') new Upload(request.body.source, () => {}).stop(request.signal.reason)
    throw request.signal.reason
  }
  const streams = readStreams(init.streams) ?? (dispatcher instanceof Agent ? dispatcher[kStreams] : null)
  const Implementation = (streams?.ReadableStream ?? globalThis.ReadableStream) as ReadableStreamConstructor
  try {
    assertSendable(request.url)
    if (request.isCachedOnly) throw new NetworkError('only-if-cached: there is no cache')
    if (isLocal(request.url)) return Promise.resolve(fetchLocally(request, Implementation))
  } catch (error) {
    throw fetchFailed(error)
  }
  const sendNow = (): Promise<SluiceResponse> => send(request, init, dispatcher, Implementation)
  // Trailers follow a body without a length.
  const isEarly = request.isOfRequest && (init.trailers ?? null) === null
  return isEarly ? openEarly(request).then(sendNow) : sendNow()
}

/** @throws TypeError whose cause is what is wrong with the proxies of the environment */
function openGlobalAgent(): DispatcherLike {
  try {
    return getGlobalAgent()
  } catch (error) {
    throw fetchFailed(error)
  }
}

function send(
  request: FetchRequest,
  init: FetchInit,
  dispatcher: DispatcherLike,
  Implementation: ReadableStreamConstructor,
): Promise<SluiceResponse> {
  const { body, headers } = request
  const isChunked = body.kind === 'stream' && request.contentLength === null && !hasHeader(headers, 'content-length')
  request.trailers = readTrailers(init.trailers, headers, isChunked)
  if (request.trailers !== null && !isOwn(dispatcher)) {
    throw new InvalidArgumentError('trailers is not supported over this dispatcher')
  }
  if (isOwn(dispatcher) && request.limits.connectTimeout !== null && dispatcher[kTransport] === 'reqwest') {
    throw new InvalidArgumentError("connectTimeout of a request needs an agent with transport: 'wire'")
  }
  if (isOwn(dispatcher)) return new NativeFetch(request, Implementation).run(dispatcher)
  return fetchThroughDispatcher(dispatcher, request, Implementation)
}

/** @throws the signal's reason when it is aborted meanwhile */
async function openEarly(request: FetchRequest): Promise<void> {
  const { body, method, signal } = request
  if (body.kind !== 'stream') return
  const early = new EarlyBody(body.source as ReadableStream)
  request.body = await early.open()
  request.contentLength = lengthOf(request.body, method)
  if (signal?.aborted !== true) return
  early.cancel(signal.reason).catch(() => {})
  throw signal.reason
}

/** A composed agent is a proxy whose `dispatch` is not the class's: its interceptors must be asked. */
function isOwn(dispatcher: DispatcherLike): dispatcher is Agent {
  return dispatcher instanceof Agent && dispatcher.dispatch === Agent.prototype.dispatch
}

function readStreams(streams: unknown): Partial<StreamsImplementation> | null {
  if (streams === undefined || streams === null) return null
  if (typeof (streams as Partial<StreamsImplementation>).ReadableStream !== 'function') {
    throw new InvalidArgumentError('invalid streams: it must have a ReadableStream constructor')
  }
  return streams
}
