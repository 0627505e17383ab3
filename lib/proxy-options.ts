/** `proxy`: which requests of an agent go through a proxy. */
import type { NativeAgentConfig } from '../native/binding.ts'
import { InvalidArgumentError } from './errors.ts'
import { isHeaderValue, isToken } from './request-headers.ts'

/** One proxy for every request, in undici's `ProxyAgent` words. */
export interface ProxyServer {
  /** `http:`, `https:`, `socks5:`, `socks5h:`, `socks4:` or `socks4a:`; may carry user and password. */
  uri?: string | URL | undefined
  /** The same as `uri`. */
  url?: string | URL | undefined
  /** The value of `proxy-authorization`, in place of user and password. */
  token?: string | undefined
  /** Base64 of `user:password`. */
  auth?: string | undefined
  /** Header fields for the proxy alone. */
  headers?: Record<string, string> | undefined
}

/**
 * `'env'` reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, of either case, when the agent is made;
 * `'system'` these, and the settings of macOS or Windows; `false` connects directly.
 */
export type ProxyOption = string | URL | ProxyServer | false

const SCHEMES: readonly string[] = ['http:', 'https:', 'socks:', 'socks5:', 'socks5h:', 'socks4:', 'socks4a:']
const NAMES: readonly string[] = ['uri', 'url', 'token', 'auth', 'headers']

type ProxyConfig = Pick<NativeAgentConfig, 'proxies' | 'proxyAuthorization' | 'proxyHeaders'>

/** What crosses to the core; without `proxies` every connection is direct. @throws InvalidArgumentError */
export function readProxyOption(proxy: unknown): ProxyConfig {
  if (proxy === undefined || proxy === null || proxy === false) return {}
  if (proxy === 'env') return readEnvironment()
  if (proxy === 'system') return { proxies: [] }
  if (typeof proxy === 'string' || proxy instanceof URL) return { proxies: [readUrl(proxy), '', '', ''] }
  if (typeof proxy !== 'object' || Array.isArray(proxy)) throw new InvalidArgumentError('invalid proxy')
  for (const name of Object.keys(proxy)) {
    if (!NAMES.includes(name)) throw new InvalidArgumentError(`unknown option proxy.${name}`)
  }
  const { uri, url, token, auth, headers } = proxy as ProxyServer
  const target = uri ?? url
  if (target === undefined || target === null) throw new InvalidArgumentError('Proxy uri is mandatory')
  if (token !== undefined && auth !== undefined) {
    throw new InvalidArgumentError('proxy.auth cannot be used in combination with proxy.token')
  }
  const authorization = token ?? (auth === undefined ? undefined : `Basic ${String(auth)}`)
  if (authorization !== undefined && !isHeaderValue(authorization)) {
    throw new InvalidArgumentError(`invalid proxy.${token === undefined ? 'auth' : 'token'}`)
  }
  return {
    proxies: [readUrl(target), '', '', ''],
    proxyAuthorization: authorization,
    proxyHeaders: headers === undefined ? undefined : readHeaders(headers),
  }
}

function readHeaders(headers: Record<string, string>): string[] {
  if (typeof headers !== 'object' || headers === null) throw new InvalidArgumentError('invalid proxy.headers')
  return Object.entries(headers).flatMap(([name, value]) => {
    if (!isToken(name) || typeof value !== 'string' || !isHeaderValue(value)) {
      throw new InvalidArgumentError(`invalid proxy.headers: ${name}`)
    }
    return [name, value]
  })
}

function readUrl(given: string | URL): string {
  let url
  try {
    url = new URL(given)
  } catch (cause) {
    throw new InvalidArgumentError('invalid proxy: it is no URL', { cause })
  }
  if (!SCHEMES.includes(url.protocol)) throw new InvalidArgumentError(`invalid proxy: no proxy speaks ${url.protocol}`)
  if (url.hostname === '') throw new InvalidArgumentError('invalid proxy: its URL names no host')
  // undici's name for SOCKS5 whose names the proxy looks up.
  return url.href.replace(/^socks:/, 'socks5h:')
}

/** A variable of either case; the lower case one counts, as for curl. */
function variable(name: string, hasUpperCase = true): string {
  const { env } = process
  return env[name.toLowerCase()] || (hasUpperCase ? env[name] : '') || ''
}

function readEnvironment(): ProxyConfig {
  // Under CGI a client's `Proxy:` header arrives as HTTP_PROXY.
  const isCgi = process.env['REQUEST_METHOD'] !== undefined
  const proxies = [variable('ALL_PROXY'), variable('HTTP_PROXY', !isCgi), variable('HTTPS_PROXY')]
  if (proxies.every((proxy) => proxy === '')) return {}
  return { proxies: [...proxies, variable('NO_PROXY')] }
}
