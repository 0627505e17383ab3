/** Every option of `Agent` by its name, with what its value may be, and the names that are refused. */
import type { AgentOptions, ConnectOptions, Http2Options } from './agent-options.ts'
import { InvalidArgumentError, NotSupportedError } from './errors.ts'
import { isRemoved } from './option-checks.ts'
import { isCertificatePem, isTlsVersion } from './tls-options.ts'

type Check = (value: unknown) => boolean

const isBytes: Check = (value) => Number.isSafeInteger(value) && (value as number) > 0
const isMilliseconds: Check = (value) => Number.isFinite(value) && (value as number) >= 0
const isBoolean: Check = (value) => typeof value === 'boolean'
export const isObject: Check = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)
const isFunction: Check = (value) => typeof value === 'function'
const isAny: Check = () => true
const isString: Check = (value) => typeof value === 'string'
/** undici's own, checked with its messages. */
const isUndicis: Check = () => true

const OPTIONS: Record<keyof AgentOptions, Check> = {
  windowBytes: isBytes,
  uploadWindowBytes: isBytes,
  maxBufferedBytes: isBytes,
  connectTimeout: isMilliseconds,
  headersTimeout: isUndicis,
  bodyTimeout: isUndicis,
  timeout: isMilliseconds,
  connections: isUndicis,
  pipelining: isMilliseconds,
  maxOrigins: isUndicis,
  keepAliveTimeout: isUndicis,
  keepAliveMaxTimeout: isUndicis,
  keepAliveTimeoutThreshold: isUndicis,
  maxRequestsPerClient: isUndicis,
  clientTtl: isMilliseconds,
  // The engine reads a head into at most 256 KiB.
  maxHeaderSize: (value) => typeof value !== 'number' || value <= 256 * 1024,
  maxResponseSize: isUndicis,
  maxDecodedSize: (value) => value === -1 || isMilliseconds(value),
  maxCompressionRatio: isMilliseconds,
  transport: (value) => value === 'reqwest' || value === 'wire',
  allowH2: isUndicis,
  useH2c: isUndicis,
  maxConcurrentStreams: isUndicis,
  initialWindowSize: isUndicis,
  connectionWindowSize: isUndicis,
  pingInterval: isUndicis,
  h2Options: isObject,
  localAddress: isUndicis,
  socketPath: isUndicis,
  autoSelectFamily: isBoolean,
  autoSelectFamilyAttemptTimeout: isMilliseconds,
  strictContentLength: isBoolean,
  proxy: isAny,
  dnsCacheTimeout: isMilliseconds,
  resolve: isAny,
  allowAddress: isAny,
  connect: isObject,
  tls: isObject,
  webSocket: isObject,
  eventSource: isObject,
  streams: isObject,
}

/** The names of all options. */
export const optionNames: readonly string[] = Object.keys(OPTIONS)

const CONNECT_OPTIONS: Record<keyof ConnectOptions, Check> = {
  timeout: isMilliseconds,
  lookup: isFunction,
  ca: isCertificates,
  cert: isCertificates,
  key: (value) => [value].flat().every(isKey),
  passphrase: isString,
  rejectUnauthorized: isBoolean,
  ALPNProtocols: (value) => Array.isArray(value) && value.every((name) => isString(name) || name instanceof Uint8Array),
  minVersion: isTlsVersion,
  maxVersion: isTlsVersion,
  servername: isString,
  socketPath: isString,
  localAddress: isString,
  keepAlive: isBoolean,
  keepAliveInitialDelay: isMilliseconds,
  autoSelectFamily: isBoolean,
  autoSelectFamilyAttemptTimeout: isMilliseconds,
  allowH2: isBoolean,
  preferH2: isBoolean,
  noDelay: (value) => value === true,
}

const HTTP2_OPTIONS: Record<keyof Http2Options, Check> = {
  useH2c: isUndicis,
  maxConcurrentStreams: isUndicis,
  connectionWindowSize: isUndicis,
  pingInterval: isUndicis,
  settings: isObject,
}

/** Of undici or of `tls.connect`, and beyond an engine that makes its connections outside JavaScript. */
const NOT_SUPPORTED = new Set(
  (
    'factory maxCachedSessions useMilo pfx secureContext session checkServerIdentity ciphers ecdhCurve sigalgs dhparam crl honorCipherOrder secureOptions ' +
    'secureProtocol sessionIdContext pskCallback requestOCSP enableTrace minDHSize privateKeyEngine ' +
    'privateKeyIdentifier clientCertEngine ALPNCallback SNICallback ticketKeys family hints localPort host port path ' +
    'fd onread signal blockList typeOfService allowHalfOpen highWaterMark socket httpSocket allowPartialTrustChain'
  ).split(' '),
)

function isCertificates(value: unknown): boolean {
  return [value].flat().every(isCertificatePem)
}

/** What it holds is looked at with its passphrase. */
function isKey(value: unknown): boolean {
  const pem: unknown = isObject(value) && !Buffer.isBuffer(value) ? (value as { pem: unknown }).pem : value
  return isString(pem) || Buffer.isBuffer(pem)
}

function check(options: object, table: Record<string, Check>, prefix: string): void {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(table, name)) refuseName(name, value, prefix)
    else if (isGiven(value) && !table[name]!(value)) throw new InvalidArgumentError(`invalid ${prefix}${name}`)
  }
}

function refuseName(name: string, value: unknown, prefix: string): void {
  if (NOT_SUPPORTED.has(name)) {
    if (isGiven(value)) throw new NotSupportedError(`option ${prefix}${name} is not supported`)
  } else if (prefix !== '' || !isRemoved(name)) {
    throw new InvalidArgumentError(`unknown option ${prefix}${name}`)
  }
}

export function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}

/** Names, and the values that only sluice knows. @throws InvalidArgumentError naming the first that is wrong */
export function checkNames(options: AgentOptions): void {
  check(options, OPTIONS, '')
  if (options.connect) check(options.connect, CONNECT_OPTIONS, 'connect.')
  if (options.tls) check(options.tls, CONNECT_OPTIONS, 'tls.')
  const { h2Options } = options
  if (h2Options) check(h2Options, HTTP2_OPTIONS, 'h2Options.')
  if (h2Options?.settings) check(h2Options.settings, { initialWindowSize: isUndicis }, 'h2Options.settings.')
}
