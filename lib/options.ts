/** The options of `Agent`, checked when the agent is made, and the native configuration they become. */
import type { NativeAgentConfig } from '../native/binding.ts'
import { InvalidArgumentError } from './errors.ts'
import type { StreamsImplementation } from './types.ts'

/** TLS and connect options; a subset of undici's `connect`. */
export interface ConnectOptions {
  /** Milliseconds for DNS, TCP and TLS together; 0 is off. The same as `connectTimeout`. */
  timeout?: number | undefined
  /** PEM certificates that replace the platform's roots. */
  ca?: string | Buffer | readonly (string | Buffer)[] | undefined
  /** `false` accepts any certificate. Default true. */
  rejectUnauthorized?: boolean | undefined
}

/** Options of `Agent`. An unknown one is an `InvalidArgumentError` that names it. */
export interface AgentOptions {
  /** Bytes one response may hold ahead of its reader. Default 512 KiB. */
  windowBytes?: number | undefined
  /** Bytes taken from an upload's source ahead of the socket. Default 512 KiB. */
  uploadWindowBytes?: number | undefined
  /** Milliseconds for DNS, TCP and TLS together; 0 is off. Default 10 s. */
  connectTimeout?: number | undefined
  /** Milliseconds from the end of the request to the response head; 0 is off. Default 300 s. */
  headersTimeout?: number | undefined
  /** Milliseconds the server may be silent inside a body; 0 is off. Default 300 s. */
  bodyTimeout?: number | undefined
  /** Milliseconds from the request to the last byte of its response; 0 is off, the default. */
  timeout?: number | undefined
  /** Milliseconds an idle connection is kept; 0 keeps none. Default 4 s. */
  keepAliveTimeout?: number | undefined
  /** Bytes of response header names and values. Default 16 KiB. */
  maxHeaderSize?: number | undefined
  /** Bytes of a response body; -1, the default, is no limit. */
  maxResponseSize?: number | undefined
  /** The engine that speaks HTTP: `'wire'`, the default, sends targets and headers as given; or `'reqwest'`. */
  transport?: 'reqwest' | 'wire' | undefined
  /** Offers HTTP/2 by ALPN. Default true. */
  allowH2?: boolean | undefined
  /** HTTP/2 without TLS or negotiation, for `http:` origins. Default false. */
  useH2c?: boolean | undefined
  /** `false` turns a wrong `content-length` header into a warning. Default true. */
  strictContentLength?: boolean | undefined
  connect?: ConnectOptions | undefined
  /** The streams implementation of response bodies; the platform's by default. */
  streams?: Partial<StreamsImplementation> | undefined
}

/** Checked options, as the rest of the library reads them. */
export interface AgentSettings {
  native: NativeAgentConfig
  strictContentLength: boolean
  streams: Partial<StreamsImplementation> | null
}

type Check = (value: unknown) => boolean

const isBytes: Check = (value) => Number.isSafeInteger(value) && (value as number) > 0
const isMilliseconds: Check = (value) => Number.isFinite(value) && (value as number) >= 0
const isBoolean: Check = (value) => typeof value === 'boolean'
const isObject: Check = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)

const OPTIONS: Record<keyof AgentOptions, Check> = {
  windowBytes: isBytes,
  uploadWindowBytes: isBytes,
  connectTimeout: isMilliseconds,
  headersTimeout: isMilliseconds,
  bodyTimeout: isMilliseconds,
  timeout: isMilliseconds,
  keepAliveTimeout: isMilliseconds,
  maxHeaderSize: (value) => isBytes(value) && (value as number) <= MAX_HEADER_BYTES,
  maxResponseSize: (value) => Number.isSafeInteger(value) && (value as number) >= -1,
  transport: (value) => value === 'reqwest' || value === 'wire',
  allowH2: isBoolean,
  useH2c: isBoolean,
  strictContentLength: isBoolean,
  connect: isObject,
  streams: isObject,
}

const CONNECT_OPTIONS: Record<keyof ConnectOptions, Check> = {
  timeout: isMilliseconds,
  ca: (value) => (Array.isArray(value) ? value.every(isPem) : isPem(value)),
  rejectUnauthorized: isBoolean,
}

/** The engine reads a head into at most this much. */
const MAX_HEADER_BYTES = 256 * 1024

/** Without a certificate in it an agent would trust nobody, and say so only at its first request. */
function isPem(value: unknown): boolean {
  return (typeof value === 'string' || Buffer.isBuffer(value)) && value.includes('-----BEGIN CERTIFICATE-----')
}

function check(options: object, table: Record<string, Check>, prefix: string): void {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(table, name)) throw new InvalidArgumentError(`unknown option ${prefix}${name}`)
    if (value !== undefined && value !== null && !table[name]!(value)) {
      throw new InvalidArgumentError(`invalid ${prefix}${name}`)
    }
  }
}

/** @throws InvalidArgumentError naming the first option that is unknown or wrong */
export function readAgentOptions(options: AgentOptions = {}): AgentSettings {
  if (!isObject(options)) throw new InvalidArgumentError('options must be an object')
  check(options, OPTIONS, '')
  if (options.connect) check(options.connect, CONNECT_OPTIONS, 'connect.')
  if (options.streams && typeof options.streams.ReadableStream !== 'function') {
    throw new InvalidArgumentError('invalid streams: it must have a ReadableStream constructor')
  }
  const { ca, rejectUnauthorized, timeout: connectTimeout } = options.connect ?? {}
  return {
    native: {
      windowBytes: options.windowBytes,
      uploadWindowBytes: options.uploadWindowBytes,
      connectTimeout: connectTimeout ?? options.connectTimeout,
      headersTimeout: options.headersTimeout,
      bodyTimeout: options.bodyTimeout,
      timeout: options.timeout,
      keepAliveTimeout: options.keepAliveTimeout,
      maxHeaderSize: options.maxHeaderSize,
      maxResponseSize: options.maxResponseSize,
      transport: options.transport ?? 'wire',
      allowH2: options.allowH2,
      http2PriorKnowledge: options.useH2c,
      ca: ca === undefined ? undefined : [ca].flat().map(String).join('\n'),
      rejectUnauthorized,
    },
    strictContentLength: options.strictContentLength ?? true,
    streams: options.streams ?? null,
  }
}
