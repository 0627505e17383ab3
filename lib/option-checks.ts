/**
 * The options that undici checks when an origin is first dispatched to, in its order and with its messages (undici,
 * `lib/dispatcher/{pool,client}.js`, `lib/core/connect.js`).
 */
import { isIP } from 'node:net'
import { InvalidArgumentError } from './errors.ts'

type Options = Record<string, unknown>

/** Names that undici had once, and what it says of them now. */
const REMOVED: Record<string, string> = {
  keepAlive: 'use pipelining=0 instead',
  socketTimeout: 'use headersTimeout & bodyTimeout instead',
  requestTimeout: 'use headersTimeout & bodyTimeout instead',
  idleTimeout: 'use keepAliveTimeout instead',
  maxKeepAliveTimeout: 'use keepAliveMaxTimeout instead',
}

/** Whether undici had an option of this name once. */
export function isRemoved(name: string): boolean {
  return Object.hasOwn(REMOVED, name)
}

const isGiven = (value: unknown): boolean => value !== undefined && value !== null

function refuse(message: string): never {
  throw new InvalidArgumentError(message)
}

function isInteger(value: unknown, least: number): boolean {
  return Number.isInteger(value) && (value as number) >= least
}

function isNumber(value: unknown, least: number): boolean {
  return Number.isFinite(value) && (value as number) >= least
}

/** @throws InvalidArgumentError: the one that undici reports at the first dispatch */
export function checkPoolOptions(options: Options): void {
  if (isGiven(options.connections) && !isNumber(options.connections, 0)) refuse('invalid connections')
  if (isGiven(options.maxCachedSessions) && !isInteger(options.maxCachedSessions, 0)) {
    refuse('maxCachedSessions must be a positive integer or zero')
  }
  for (const [name, instead] of Object.entries(REMOVED)) {
    if (options[name] !== undefined) refuse(`unsupported ${name}, ${instead}`)
  }
  checkConnection(options)
  if (isGiven(options.allowH2) && typeof options.allowH2 !== 'boolean') refuse('allowH2 must be a valid boolean value')
  if (options.allowH2 === false) return
  if (isGiven(options.h2Options)) checkHttp2Namespace(options.h2Options as Options)
  else checkHttp2(options)
}

function checkConnection(options: Options): void {
  const { maxHeaderSize, socketPath, localAddress, keepAliveTimeoutThreshold, maxResponseSize } = options
  if (isGiven(maxHeaderSize) && !isInteger(maxHeaderSize, 1)) refuse('invalid maxHeaderSize')
  if (isGiven(socketPath) && typeof socketPath !== 'string') refuse('invalid socketPath')
  for (const name of ['keepAliveTimeout', 'keepAliveMaxTimeout']) {
    const value = options[name]
    if (isGiven(value) && (!Number.isFinite(value) || (value as number) <= 0)) refuse(`invalid ${name}`)
  }
  if (isGiven(keepAliveTimeoutThreshold) && !Number.isFinite(keepAliveTimeoutThreshold)) {
    refuse('invalid keepAliveTimeoutThreshold')
  }
  for (const name of ['headersTimeout', 'bodyTimeout']) {
    if (isGiven(options[name]) && !isInteger(options[name], 0)) refuse(`${name} must be a positive integer or zero`)
  }
  if (isGiven(options.maxRequestsPerClient) && !isInteger(options.maxRequestsPerClient, 0)) {
    refuse('maxRequestsPerClient must be a positive number')
  }
  if (isGiven(localAddress) && (typeof localAddress !== 'string' || isIP(localAddress) === 0)) {
    refuse('localAddress must be valid string IP address')
  }
  if (isGiven(maxResponseSize) && !isInteger(maxResponseSize, -1)) refuse('maxResponseSize must be a positive number')
}

function checkHttp2(options: Options): void {
  const { useH2c, maxConcurrentStreams, pingInterval } = options
  if (isGiven(useH2c) && typeof useH2c !== 'boolean') refuse('useH2c must be a valid boolean value')
  if (isGiven(maxConcurrentStreams) && !isNumber(maxConcurrentStreams, 1)) {
    refuse('maxConcurrentStreams must be a positive integer, greater than 0')
  }
  for (const name of ['initialWindowSize', 'connectionWindowSize']) {
    if (isGiven(options[name]) && !isInteger(options[name], 1)) {
      refuse(`${name} must be a positive integer, greater than 0`)
    }
  }
  if (isGiven(pingInterval) && !isInteger(pingInterval, 0)) {
    refuse('pingInterval must be a positive integer, greater or equal to 0')
  }
}

function checkHttp2Namespace(options: Options): void {
  const { useH2c, settings, maxConcurrentStreams, connectionWindowSize, pingInterval } = options
  if (isGiven(useH2c) && typeof useH2c !== 'boolean') refuse('h2Options.useH2c must be a valid boolean value')
  const initialWindowSize = (settings as Options | null | undefined)?.initialWindowSize
  const counts = { 'settings.initialWindowSize': initialWindowSize, maxConcurrentStreams, connectionWindowSize }
  for (const [name, value] of Object.entries(counts)) {
    if (isGiven(value) && !isInteger(value, 1)) refuse(`h2Options.${name} must be a positive integer, greater than 0`)
  }
  if (isGiven(pingInterval) && !isInteger(pingInterval, 0)) {
    refuse('h2Options.pingInterval must be a positive integer, greater or equal to 0')
  }
}
