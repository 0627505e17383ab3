/** Redirects (Fetch §4.4, "HTTP-redirect fetch") over a dispatcher; an agent of sluice's follows them in its core. */
import { hasHeader } from './fetch-headers.ts'
import { assertSendable, isRedirect, NetworkError } from './fetch-request.ts'
import type { FetchRequest } from './fetch-request.ts'
import { FetchUrl } from './fetch-url.ts'
import { redactUrl, redactUrlError } from './redact.ts'

const MOST_HOPS = 20
/** Characters of a URL that a redirect leads to, as it is sent. The core has the same limit. */
const MOST_URL = 64 * 1024
/** Fetch, "request-body-header name". */
const BODY_HEADERS = new Set([
  'content-encoding',
  'content-language',
  'content-location',
  'content-type',
  'content-length',
])
/** Not for another origin to see. */
const ORIGIN_HEADERS = new Set(['authorization', 'proxy-authorization', 'cookie', 'host'])

/** What has become of a request on its way. */
export interface Hops {
  readonly count: number
  readonly isCrossOrigin: boolean
}

export const noHops: Hops = { count: 0, isCrossOrigin: false }

/** The request that a redirect leads to, or `null` for an ordinary response. @throws NetworkError, TypeError (URL) */
export function followRedirect(
  request: FetchRequest,
  hops: Hops,
  status: number,
  location: string | null,
): { request: FetchRequest; hops: Hops } | null {
  if (request.redirect !== 'follow' || !isRedirect(status) || location === null) return null
  const url = resolveLocation(toUtf8(location), request.url)
  if (url.hash === '') url.hash = request.url.hash
  if (url.text.length > MOST_URL) {
    throw new NetworkError(`the redirect's URL is longer than ${MOST_URL} bytes: ${redactUrl(url.href)}`)
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new NetworkError(`the redirect to ${redactUrl(url.href)} has no HTTP(S) scheme`)
  }
  if (hops.count === MOST_HOPS) throw new NetworkError(`redirect count exceeded (${MOST_HOPS})`)
  if (url.username !== '' || url.password !== '') {
    throw new NetworkError("the redirect's URL must not include credentials")
  }
  assertSendable(url)
  const { body } = request
  if (status !== 303 && body.kind === 'stream' && body.reopen === undefined) {
    throw new NetworkError(`a ${status} redirect asks for the request body again, whose stream was read`)
  }
  const isSafe = request.method === 'GET' || request.method === 'HEAD'
  const becomesGet = status === 303 ? !isSafe : status <= 302 && request.method === 'POST'
  const isSameOrigin = url.originText === request.url.originText
  let { headers } = request
  if (becomesGet) headers = without(headers, BODY_HEADERS)
  if (!isSameOrigin) headers = without(headers, ORIGIN_HEADERS)
  const isAgain = !becomesGet && body.kind === 'stream' && body.reopen !== undefined
  const next = { ...request, url, headers, body: isAgain ? { ...body, source: body.reopen!() } : body }
  return {
    request: becomesGet ? { ...next, method: 'GET', body: { kind: 'none' }, text: null, contentLength: null } : next,
    hops: { count: hops.count + 1, isCrossOrigin: hops.isCrossOrigin || !isSameOrigin },
  }
}

/** @throws TypeError (`ERR_INVALID_URL`) which repeats neither of the two */
function resolveLocation(location: string, base: URL): FetchUrl {
  try {
    return new FetchUrl(location, base)
  } catch (error) {
    throw redactUrlError(error)
  }
}

/** Bytes beyond ASCII are UTF-8; some dispatchers have read them as latin1. */
function toUtf8(location: string): string {
  return /[\u0080-\u00ff]/.test(location) && !/[\u0100-\uffff]/.test(location)
    ? Buffer.from(location, 'latin1').toString()
    : location
}

function without(flat: readonly string[], names: ReadonlySet<string>): string[] {
  const rest: string[] = []
  for (let index = 0; index < flat.length; index += 2) {
    if (!names.has(flat[index]!)) rest.push(flat[index]!, flat[index + 1]!)
  }
  return rest
}

/** What undici's fetch says that it understands, where the caller does not. */
export function acceptCodings({ url, headers }: FetchRequest): string[] {
  if (hasHeader(headers, 'accept-encoding')) return []
  // A part of encoded bytes could not be decoded.
  if (hasHeader(headers, 'range')) return ['accept-encoding', 'identity']
  return ['accept-encoding', url.protocol === 'https:' ? 'br, gzip, deflate, zstd' : 'gzip, deflate']
}
