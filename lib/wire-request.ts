/** From a valid request of `dispatch` to what crosses to the engine: undici's rules for the connection's life included. */
import { isIP } from 'node:net'
import { isLarge, RequestFlag } from '../streams/exchange.ts'
import type { WireRequest } from '../streams/exchange.ts'
import { expectsPayload } from './dispatch-request.ts'
import type { DispatchRequest } from './dispatch-request.ts'
import { NotSupportedError } from './errors.ts'

/** `isKeepAlive: false`: every connection serves one request. */
export function toWireRequest(request: DispatchRequest, isKeepAlive: boolean): WireRequest {
  const { body, method, upgrade, host } = request
  return {
    origin: request.origin,
    method,
    target: request.target,
    flags: flagsOf(request, isKeepAlive),
    servername: request.servername ?? (host === null ? '' : serverNameOf(host, request.origin)),
    upgrade: upgrade ?? '',
    host: host ?? '',
    headers: request.headers,
    body: body.kind === 'bytes' ? body.bytes : null,
    isKept: body.kind === 'bytes' && isLarge(body.bytes),
    upload: body.kind === 'stream' ? { length: request.contentLength, trailers: request.trailers } : null,
    file: body.kind === 'file' ? body.range : null,
    connectTimeout: null,
    headersTimeout: request.headersTimeout,
    bodyTimeout: request.bodyTimeout,
    timeout: null,
    windowBytes: null,
    maxResponseSize: null,
  }
}

/** The name in a Host header, where it is another than the origin's: TLS asks for it (undici, `Request`). */
function serverNameOf(host: string, origin: string): string {
  if (!origin.startsWith('https:')) return ''
  const name = hostnameOf(host)
  return isIP(name) !== 0 || name === hostnameOf(origin.slice('https://'.length)) ? '' : name
}

/** `host` without its port and brackets. */
function hostnameOf(host: string): string {
  if (host.startsWith('[')) return host.slice(1, host.indexOf(']'))
  const colon = host.indexOf(':')
  return colon === -1 ? host : host.slice(0, colon)
}

function isTunnel({ method, upgrade }: DispatchRequest): boolean {
  return upgrade !== null || method === 'CONNECT'
}

function flagsOf(request: DispatchRequest, isKeepAlive: boolean): number {
  const { method, reset, body } = request
  let flags: number = RequestFlag.dispatched
  // Servers that send a body after HEAD all the same would leave it to the next request (undici, `writeH1`).
  if (!isKeepAlive || (reset ?? (method === 'HEAD' || isTunnel(request)))) flags |= RequestFlag.close
  if (body.kind !== 'none' && reset !== false && !expectsPayload(method)) flags |= RequestFlag.noReuse
  if (request.allowH2 === false) flags |= RequestFlag.http1
  if (request.expectContinue) flags |= RequestFlag.expectContinue
  if (isTunnel(request)) flags |= RequestFlag.tunnel
  return flags
}

/** @throws NotSupportedError for what no engine can send, or not this one; before anything is sent */
export function assertReachable(request: DispatchRequest, transport: 'reqwest' | 'wire'): void {
  if (isTunnel(request) && request.body.kind !== 'none') {
    throw new NotSupportedError('a body with upgrade or CONNECT is not supported')
  }
  if (transport === 'wire') return
  const refused =
    request.method === 'CONNECT'
      ? 'CONNECT'
      : request.upgrade !== null
        ? 'upgrade'
        : request.servername !== null
          ? 'servername'
          : request.expectContinue
            ? 'expectContinue'
            : request.target.startsWith('/')
              ? null
              : 'an absolute URL as path'
  if (refused !== null) throw new NotSupportedError(`${refused} is not supported by transport 'reqwest'`)
}
