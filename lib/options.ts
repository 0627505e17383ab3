/**
 * The options of `Agent`, and the native configuration they become. Names are checked when the agent is made, and so are
 * values that only sluice knows; the values of undici's options are looked at when the first request is dispatched, as
 * undici does.
 */
import { constants } from 'node:buffer'
import type { NativeAgentConfig } from '../native/binding.ts'
import { InvalidArgumentError, NotSupportedError } from './errors.ts'
import { readAddressOption, readHostTable } from './network-options.ts'
import type { AddressOption, HostTable } from './network-options.ts'
import { checkPoolOptions, isRemoved } from './option-checks.ts'
import { readProxyOption } from './proxy-options.ts'
import type { ProxyOption } from './proxy-options.ts'
import { Questions } from './questions.ts'
import type { AddressCheck, LookupFunction } from './questions.ts'
import { isCertificatePem, isTlsVersion, readTlsOptions } from './tls-options.ts'
import type { TlsConnectOptions } from './tls-options.ts'
import type { StreamsImplementation } from './types.ts'

/** TLS and connect options; a subset of undici's `connect`. */
export interface ConnectOptions extends TlsConnectOptions {
  /** Milliseconds for DNS, TCP and TLS together; 0 is off. The same as `connectTimeout`. */
  timeout?: number | null | undefined
  /** Looks names up in place of the system's resolver, as Node's `dns.lookup` does. */
  lookup?: LookupFunction | null | undefined
  /** A Unix domain socket that every connection goes to. */
  socketPath?: string | null | undefined
  /** The IP address to connect from. */
  localAddress?: string | null | undefined
  /** TCP keep-alive. Default true. */
  keepAlive?: boolean | null | undefined
  /** Milliseconds of silence before the first TCP keep-alive probe. Default 60 s. */
  keepAliveInitialDelay?: number | null | undefined
  autoSelectFamily?: boolean | undefined
  autoSelectFamilyAttemptTimeout?: number | undefined
  /** Offers HTTP/2 by ALPN. Default true. */
  allowH2?: boolean | undefined
  /** Offers it before HTTP/1.1. Default false. */
  preferH2?: boolean | undefined
  /** Connections never wait to fill a segment. */
  noDelay?: true | undefined
}

/** undici's HTTP/2 options, where they are given together. */
export interface Http2Options {
  /** HTTP/2 without TLS or negotiation. */
  useH2c?: boolean | undefined
  /** Streams a connection may have open. */
  maxConcurrentStreams?: number | undefined
  /** Bytes of the connection's flow-control window. */
  connectionWindowSize?: number | undefined
  /** Milliseconds between PING frames; 0 is off. */
  pingInterval?: number | undefined
  /** `initialWindowSize`: bytes of a stream's flow-control window. */
  settings?: { initialWindowSize?: number | undefined } | undefined
}

/** Options of `Agent`. An unknown one is an `InvalidArgumentError` that names it. */
export interface AgentOptions {
  /** Bytes one response may hold ahead of its reader. Default 512 KiB. */
  windowBytes?: number | undefined
  /** Bytes taken from an upload's source ahead of the socket. Default 512 KiB. */
  uploadWindowBytes?: number | undefined
  /**
   * Bytes that all bodies of the agent may hold, responses and uploads. Default 64 MiB. A body that holds nothing may
   * always take one frame more, so that paused bodies do not starve the others. `agent.stats.bufferedBytes` tells.
   */
  maxBufferedBytes?: number | undefined
  /** Milliseconds for DNS, TCP and TLS together; 0 is off. Default 10 s. */
  connectTimeout?: number | null | undefined
  /** Milliseconds from the end of the request to the response head; 0 is off. Default 300 s. */
  headersTimeout?: number | null | undefined
  /** Milliseconds the server may be silent inside a body; 0 is off. Default 300 s. */
  bodyTimeout?: number | null | undefined
  /** Milliseconds from the request to the last byte of its response; 0 is off, the default. */
  timeout?: number | undefined
  /** Connections to one origin; 0 or `null`, the default, is no limit. */
  connections?: number | null | undefined
  /** 0 sends one request per connection. More than 1 is accepted and is 1: answers are never waited for in a row. */
  pipelining?: number | null | undefined
  /** Origins with a connection or a request at one time. Default no limit. */
  maxOrigins?: number | undefined
  /** Milliseconds an idle connection is kept. Default 4 s. */
  keepAliveTimeout?: number | null | undefined
  /** The most milliseconds that a server's `keep-alive: timeout=` may ask for. Default 600 s. */
  keepAliveMaxTimeout?: number | null | undefined
  /** Milliseconds taken off what it asks for. Default 2 s. */
  keepAliveTimeoutThreshold?: number | null | undefined
  /** Requests that a connection serves; 0 or `null`, the default, is no limit. */
  maxRequestsPerClient?: number | null | undefined
  /** Milliseconds after which a connection takes no further request. */
  clientTtl?: number | null | undefined
  /** Bytes of response header names and values. Default 16 KiB. */
  maxHeaderSize?: number | null | undefined
  /** Bytes of a response body; -1, the default, is no limit. */
  maxResponseSize?: number | null | undefined
  /** Of `fetch`: bytes of a response body after decoding; -1, the default, is no limit. */
  maxDecodedSize?: number | undefined
  /** Of `fetch`: bytes after decoding for each byte on the wire; 0, the default, is no limit. */
  maxCompressionRatio?: number | undefined
  /** The engine that speaks HTTP: `'wire'`, the default, sends targets and headers as given; or `'reqwest'`. */
  transport?: 'reqwest' | 'wire' | undefined
  /** Offers HTTP/2 by ALPN. Default true. */
  allowH2?: boolean | null | undefined
  /** HTTP/2 without TLS or negotiation, for `http:` origins. Default false. */
  useH2c?: boolean | null | undefined
  /** Streams an HTTP/2 connection may have open. Default 100. */
  maxConcurrentStreams?: number | null | undefined
  /** Bytes of the flow-control window of an HTTP/2 stream, and of the connection. */
  initialWindowSize?: number | null | undefined
  connectionWindowSize?: number | null | undefined
  /** Milliseconds between HTTP/2 PING frames; 0 is off. Default 60 s. */
  pingInterval?: number | null | undefined
  h2Options?: Http2Options | null | undefined
  /** The IP address to connect from. */
  localAddress?: string | null | undefined
  /** A Unix domain socket that every connection goes to. */
  socketPath?: string | null | undefined
  /** Tries a host's addresses side by side (RFC 8305). */
  autoSelectFamily?: boolean | undefined
  /** Milliseconds until the next address is tried. */
  autoSelectFamilyAttemptTimeout?: number | undefined
  /** `false` turns a wrong `content-length` header into a warning. Default true. */
  strictContentLength?: boolean | null | undefined
  /** Sends requests through a proxy. Default `false`; the global agent's is `'env'`. */
  proxy?: ProxyOption | null | undefined
  /** Milliseconds for which an answer of the resolver is used again; 0, the default, asks for each connection. */
  dnsCacheTimeout?: number | undefined
  /** Addresses of hosts that are not looked up. */
  resolve?: HostTable | null | undefined
  /** Which addresses may be connected to; asked before every connection. Default any. */
  allowAddress?: AddressOption | null | undefined
  connect?: ConnectOptions | null | undefined
  /** The same as `connect`, which stands before it. */
  tls?: ConnectOptions | null | undefined
  /** Limits of undici's `WebSocket` over this agent. */
  webSocket?: { maxFragments?: number; maxPayloadSize?: number } | undefined
  /** Limits of undici's `EventSource` over this agent. */
  eventSource?: { maxEventSize?: number } | undefined
  /** The streams implementation of response bodies; the platform's by default. */
  streams?: Partial<StreamsImplementation> | undefined
}

/** Checked options, as the rest of the library reads them. */
export interface AgentSettings {
  native: NativeAgentConfig
  /** What is wrong with them, reported by every request. */
  error: InvalidArgumentError | null
  strictContentLength: boolean
  streams: Partial<StreamsImplementation> | null
  /** Per origin; `Infinity` without a limit. */
  connections: number
  maxOrigins: number
  maxConcurrentStreams: number
  isKeepAlive: boolean
  allowH2: boolean
  useH2c: boolean
  /** The engine tells of its connections. */
  isObserved: boolean
  questions: Questions
  webSocket: { maxFragments: number; maxPayloadSize: number }
  eventSource: { maxEventSize: number }
}

type Check = (value: unknown) => boolean

const isBytes: Check = (value) => Number.isSafeInteger(value) && (value as number) > 0
const isMilliseconds: Check = (value) => Number.isFinite(value) && (value as number) >= 0
const isBoolean: Check = (value) => typeof value === 'boolean'
const isObject: Check = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)
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

/** What reqwest has no setting for. */
const WIRE_ONLY: readonly (keyof AgentOptions)[] = [
  'connections',
  'pipelining',
  'keepAliveMaxTimeout',
  'keepAliveTimeoutThreshold',
  'maxRequestsPerClient',
  'clientTtl',
  'maxConcurrentStreams',
  'initialWindowSize',
  'connectionWindowSize',
  'pingInterval',
  'h2Options',
  'localAddress',
  'socketPath',
  'autoSelectFamily',
  'autoSelectFamilyAttemptTimeout',
]
const WIRE_ONLY_CONNECT: readonly (keyof ConnectOptions)[] = [
  'servername',
  'ALPNProtocols',
  'socketPath',
  'localAddress',
  'keepAlive',
  'keepAliveInitialDelay',
  'preferH2',
  'autoSelectFamily',
  'autoSelectFamilyAttemptTimeout',
]

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

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}

/** What undici checks when an agent is made. */
function checkNow(options: Record<string, unknown>): void {
  const { factory, connect, maxOrigins } = options
  if (factory !== undefined && typeof factory !== 'function') {
    throw new InvalidArgumentError('factory must be a function.')
  }
  if (typeof connect === 'function') {
    throw new NotSupportedError('option connect is not supported as a function')
  }
  if (isGiven(connect) && typeof connect !== 'object') {
    throw new InvalidArgumentError('connect must be a function or an object')
  }
  if (maxOrigins !== undefined && (typeof maxOrigins !== 'number' || !(maxOrigins > 0))) {
    throw new InvalidArgumentError('maxOrigins must be a number greater than 0')
  }
}

/** @throws InvalidArgumentError naming what asks more of reqwest than it has */
function checkTransport(options: AgentOptions, connect: ConnectOptions, native: NativeAgentConfig): void {
  if (isGiven(options.socketPath ?? connect.socketPath)) {
    const other = native.proxies === undefined ? (isGiven(options.allowAddress) ? 'allowAddress' : null) : 'proxy'
    if (other !== null) throw new InvalidArgumentError(`socketPath and ${other} exclude each other`)
  }
  if (options.transport !== 'reqwest') return
  const given = [
    ...(native.proxies === undefined ? [] : ['proxy']),
    ...WIRE_ONLY.filter((name) => isGiven(options[name])),
    ...WIRE_ONLY_CONNECT.filter((name) => isGiven(connect[name])).map((name) => `connect.${name}`),
  ]
  if (given.length > 0) {
    throw new InvalidArgumentError(`option ${given[0]} is not supported by transport 'reqwest'`)
  }
}

function findLateError(options: AgentOptions): InvalidArgumentError | null {
  try {
    checkPoolOptions(options as Record<string, unknown>)
    return null
  } catch (error) {
    return error as InvalidArgumentError
  }
}

/** @throws InvalidArgumentError naming the first option that is unknown or wrong; NotSupportedError */
export function readAgentOptions(options: AgentOptions = {}): AgentSettings {
  if (!isObject(options)) throw new InvalidArgumentError('options must be an object')
  checkNow(options as Record<string, unknown>)
  check(options, OPTIONS, '')
  if (options.connect) check(options.connect, CONNECT_OPTIONS, 'connect.')
  if (options.tls) check(options.tls, CONNECT_OPTIONS, 'tls.')
  const { h2Options } = options
  if (h2Options) check(h2Options, HTTP2_OPTIONS, 'h2Options.')
  if (h2Options?.settings) check(h2Options.settings, { initialWindowSize: isUndicis }, 'h2Options.settings.')
  if (options.streams && typeof options.streams.ReadableStream !== 'function') {
    throw new InvalidArgumentError('invalid streams: it must have a ReadableStream constructor')
  }
  const connect: ConnectOptions = { ...options.tls, ...options.connect }
  const native = toNative(options, connect)
  checkTransport(options, connect, native)
  const { allowAddress } = options
  const { webSocket, eventSource } = options
  return {
    native,
    error: findLateError(options),
    strictContentLength: options.strictContentLength ?? true,
    streams: options.streams ?? null,
    connections: options.connections || Infinity,
    maxOrigins: options.maxOrigins ?? Infinity,
    maxConcurrentStreams: native.maxConcurrentStreams ?? 100,
    isKeepAlive: options.pipelining !== 0,
    allowH2: native.allowH2 !== false,
    useH2c: native.http2PriorKnowledge === true,
    isObserved: native.transport === 'wire',
    questions: new Questions(
      connect.lookup ?? null,
      typeof allowAddress === 'function' ? (allowAddress as AddressCheck) : null,
    ),
    webSocket: {
      maxFragments: webSocket?.maxFragments ?? 131_072,
      maxPayloadSize: webSocket?.maxPayloadSize ?? 128 * 1024 * 1024,
    },
    eventSource: { maxEventSize: eventSource?.maxEventSize ?? constants.MAX_STRING_LENGTH },
  }
}

function toNative(options: AgentOptions, connect: ConnectOptions): NativeAgentConfig {
  const http2 = options.h2Options ?? {}
  return {
    windowBytes: options.windowBytes,
    uploadWindowBytes: options.uploadWindowBytes,
    maxBufferedBytes: options.maxBufferedBytes,
    connectTimeout: connect.timeout ?? options.connectTimeout ?? undefined,
    headersTimeout: options.headersTimeout ?? undefined,
    bodyTimeout: options.bodyTimeout ?? undefined,
    timeout: options.timeout,
    keepAlive: options.pipelining === 0 ? false : undefined,
    keepAliveTimeout: options.keepAliveTimeout ?? undefined,
    keepAliveMaxTimeout: options.keepAliveMaxTimeout ?? undefined,
    keepAliveTimeoutThreshold: options.keepAliveTimeoutThreshold ?? undefined,
    connections: options.connections ?? undefined,
    maxRequestsPerClient: options.maxRequestsPerClient ?? undefined,
    clientTtl: options.clientTtl ?? undefined,
    maxHeaderSize: options.maxHeaderSize ?? undefined,
    maxResponseSize: options.maxResponseSize ?? undefined,
    maxDecodedSize: options.maxDecodedSize,
    maxCompressionRatio: options.maxCompressionRatio,
    transport: options.transport ?? 'wire',
    allowH2: connect.allowH2 ?? options.allowH2 ?? undefined,
    // undici's offer has HTTP/1.1 first; reqwest's cannot be changed.
    preferH2: options.transport === 'reqwest' ? undefined : (connect.preferH2 ?? false),
    http2PriorKnowledge: http2.useH2c ?? options.useH2c ?? undefined,
    maxConcurrentStreams: http2.maxConcurrentStreams ?? options.maxConcurrentStreams ?? undefined,
    http2StreamWindow: http2.settings?.initialWindowSize ?? options.initialWindowSize ?? undefined,
    http2ConnectionWindow: http2.connectionWindowSize ?? options.connectionWindowSize ?? undefined,
    http2PingInterval: http2.pingInterval ?? options.pingInterval ?? undefined,
    localAddress: options.localAddress ?? connect.localAddress ?? undefined,
    socketPath: connect.socketPath ?? options.socketPath ?? undefined,
    ...readTlsOptions(connect, connect.allowH2 ?? options.allowH2 ?? undefined),
    ...readProxyOption(options.proxy),
    ...readAddressOption(options.allowAddress),
    resolve: readHostTable(options.resolve),
    dnsCacheTimeout: options.dnsCacheTimeout,
    asksLookup: isGiven(connect.lookup) || undefined,
    autoSelectFamily: connect.autoSelectFamily ?? options.autoSelectFamily,
    autoSelectFamilyAttemptTimeout: connect.autoSelectFamilyAttemptTimeout ?? options.autoSelectFamilyAttemptTimeout,
    tcpKeepAlive: connect.keepAlive ?? undefined,
    tcpKeepAliveInitialDelay: connect.keepAliveInitialDelay ?? undefined,
  }
}
