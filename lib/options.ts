/**
 * From the options of `Agent` to the native configuration they become. Names are checked when the agent is made, and so are
 * values that only sluice knows; the values of undici's options are looked at when the first request is dispatched, as
 * undici does.
 */
import { constants } from 'node:buffer'
import type { NativeAgentConfig } from '../native/binding.ts'
import type { AgentOptions, ConnectOptions } from './agent-options.ts'
import { InvalidArgumentError, NotSupportedError } from './errors.ts'
import { readAddressOption, readHostTable } from './network-options.ts'
import { checkPoolOptions } from './option-checks.ts'
import { checkNames, isGiven, isObject } from './option-table.ts'
import { describeProxy, readProxyOption } from './proxy-options.ts'
import { Questions } from './questions.ts'
import type { AddressCheck } from './questions.ts'
import { readTlsOptions } from './tls-options.ts'
import { checkTransport } from './transport-options.ts'
import type { StreamsImplementation } from './types.ts'

/** Checked options, as the rest of the library reads them. */
export interface AgentSettings {
  /** With keys and passwords: not to be kept where it can be looked at. */
  native: NativeAgentConfig
  transport: 'reqwest' | 'wire'
  /** What may be shown of `proxy`, and which options were given. */
  proxy: string | false
  optionNames: string[]
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
  checkNames(options)
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
    transport: options.transport ?? 'wire',
    proxy: describeProxy(options.proxy),
    optionNames: [...givenNames(options), ...givenNames(connect, 'connect.')],
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

function givenNames(options: object, prefix = ''): string[] {
  return Object.entries(options).flatMap(([name, value]) => (isGiven(value) ? [prefix + name] : []))
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
