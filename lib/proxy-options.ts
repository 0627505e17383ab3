/** `proxy`: which requests of an agent go through a proxy. */
import type { NativeAgentConfig } from '../native/binding.ts'
import { InvalidArgumentError } from './errors.ts'
import { redactUrl } from './redact.ts'
import { isHeaderValue, isToken } from './request-headers.ts'

/** One proxy for every request, in undici's `ProxyAgent` words. */
export interface ProxyServer {
  /**
   * `http:`, `https:`, `socks5:`, `socks5h:` (also as `socks:`), `socks4:` or `socks4a:`, or `host:port` for one of HTTP;
   * may carry user and password, in which `/`, `?` and `#` are percent-encoded.
   */
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
 * `'system'` these, and the settings of macOS or Windows; `false` connects directly. A value that cannot be a proxy is an
 * `InvalidArgumentError` that names the option or the variable; no request goes directly for want of a valid one.
 */
export type ProxyOption = string | URL | ProxyServer | false

const NAMES: readonly string[] = ['uri', 'url', 'token', 'auth', 'headers']

type ProxyConfig = Pick<NativeAgentConfig, 'proxies' | 'proxyOfSystem' | 'proxyAuthorization' | 'proxyHeaders'>

/**
 * What crosses to the core, which reads the values; without `proxies` every connection is direct.
 * @throws InvalidArgumentError
 */
export function readProxyOption(proxy: unknown): ProxyConfig {
  if (proxy === undefined || proxy === null || proxy === false) return {}
  if (proxy === 'env') return readEnvironment()
  if (proxy === 'system') return { proxies: readVariables(), proxyOfSystem: true }
  if (typeof proxy === 'string' || proxy instanceof URL) return { proxies: forAll('proxy', proxy) }
  if (typeof proxy !== 'object' || Array.isArray(proxy)) throw new InvalidArgumentError('invalid proxy')
  for (const name of Object.keys(proxy)) {
    if (!NAMES.includes(name)) throw new InvalidArgumentError(`unknown option proxy.${name}`)
  }
  const { uri, url, token, auth, headers } = proxy as ProxyServer
  const target = uri ?? url
  if (target === undefined || target === null) throw new InvalidArgumentError('Proxy uri is mandatory')
  const name = target === uri ? 'proxy.uri' : 'proxy.url'
  if (typeof target !== 'string' && !(target instanceof URL)) throw new InvalidArgumentError(`invalid ${name}`)
  if (token !== undefined && auth !== undefined) {
    throw new InvalidArgumentError('proxy.auth cannot be used in combination with proxy.token')
  }
  const authorization = token ?? (auth === undefined ? undefined : `Basic ${String(auth)}`)
  if (authorization !== undefined && !isHeaderValue(authorization)) {
    throw new InvalidArgumentError(`invalid proxy.${token === undefined ? 'auth' : 'token'}`)
  }
  return {
    proxies: forAll(name, target),
    proxyAuthorization: authorization,
    proxyHeaders: headers === undefined ? undefined : readHeaders(headers),
  }
}

/** What may be shown of the option: the proxy's scheme, host and port. */
export function describeProxy(proxy: unknown): string | false {
  if (proxy === undefined || proxy === null || proxy === false) return false
  if (proxy === 'env' || proxy === 'system') return proxy
  const given = proxy as string | URL | ProxyServer
  const target = typeof given === 'string' || given instanceof URL ? given : (given.uri ?? given.url)
  const text = String(target).trim()
  return redactUrl(text.includes('://') ? text : `http://${text}`)
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

/** Names and values: of the proxy for all, for `http:`, for `https:`; and what is reached without. */
function forAll(name: string, given: string | URL): string[] {
  const value = typeof given === 'string' ? given : given.href
  // To the core no text is no proxy.
  if (value === '') throw new InvalidArgumentError(`invalid ${name}: it is empty`)
  return [name, value, '', '', '', '', '']
}

/** The name and the value of a variable of either case; the lower case one counts, as for curl. */
function variable(name: string, hasUpperCase = true): [name: string, value: string] {
  const { env } = process
  const lower = name.toLowerCase()
  const value = env[lower]
  return value || !hasUpperCase ? [lower, value ?? ''] : [name, env[name] ?? '']
}

function readVariables(): string[] {
  // Under CGI a client's `Proxy:` header arrives as HTTP_PROXY.
  const isCgi = process.env['REQUEST_METHOD'] !== undefined
  const proxies = [variable('ALL_PROXY'), variable('HTTP_PROXY', !isCgi), variable('HTTPS_PROXY')]
  return [...proxies.flat(), variable('NO_PROXY')[1]]
}

function readEnvironment(): ProxyConfig {
  const proxies = readVariables()
  return [1, 3, 5].every((index) => proxies[index] === '') ? {} : { proxies }
}
