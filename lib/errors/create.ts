/**
 * From the core's description of a failure to the JavaScript error its caller sees. The table of names lives on both
 * sides of the boundary (`CoreError::error_name`, `errors`), and both sides test it.
 */
import type { CoreErrorInfo } from '../../native/binding.ts'
import {
  errors,
  HTTPParserError,
  ProxyConnectionError,
  RequestRetryError,
  ResponseError,
  SecureProxyConnectionError,
  Socks5ProxyError,
  SocketError,
  UndiciError,
} from './classes.ts'
import type { SocketInfo } from './classes.ts'
import { findError } from './tickets.ts'

/** A raw system or TLS error with Node's own properties, in Node's order (contract §4: never wrapped). */
function createSystemError(info: CoreErrorInfo): Error {
  const error: Error & Partial<CoreErrorInfo> = new Error(info.message)
  if (info.errno !== undefined) error.errno = info.errno
  if (info.code) error.code = info.code
  if (info.syscall !== undefined) error.syscall = info.syscall
  if (info.address !== undefined) error.address = info.address
  if (info.port !== undefined) error.port = info.port
  if (info.hostname !== undefined) error.hostname = info.hostname
  return error
}

/** What undici's `SocketError.socket` has, in its order; without a connection, `null`. */
function socketInfo({ socket, address, port }: CoreErrorInfo): SocketInfo | null {
  const known = socket ?? (address === undefined ? null : { remoteAddress: address, remotePort: port })
  if (known === null) return null
  const { remoteAddress } = known
  const family = remoteAddress === undefined ? undefined : remoteAddress.includes(':') ? 'IPv6' : 'IPv4'
  // All eight are there, as in undici, known or not.
  const all: { [Key in keyof SocketInfo]: SocketInfo[Key] | undefined } = {
    localAddress: socket?.localAddress,
    localPort: socket?.localPort,
    remoteAddress,
    remotePort: known.remotePort,
    remoteFamily: socket?.remoteFamily ?? family,
    timeout: undefined,
    bytesWritten: socket?.bytesWritten,
    bytesRead: socket?.bytesRead,
  }
  return all as SocketInfo
}

/** Node's error of a host whose addresses all failed: no message, and the code of the first. */
function createAggregateError(info: CoreErrorInfo): Error {
  const all = (info.errors ?? []).map(createUndiciError)
  const error: AggregateError & { code?: string } = new AggregateError(all, info.message)
  const code = info.code || (all[0] as { code?: string } | undefined)?.code
  if (code) error.code = code
  return error
}

type SimpleError = new (message?: string) => Error

function createByName(info: CoreErrorInfo): Error {
  switch (info.name) {
    case 'Error':
      return createSystemError(info)
    case 'AggregateError':
      return createAggregateError(info)
    case 'SocketError':
      return new SocketError(info.message, socketInfo(info))
    case 'HTTPParserError':
      return new HTTPParserError(info.message, info.code.replace(/^HPE_/, ''))
    case 'RequestRetryError':
      return new RequestRetryError(info.message, info.statusCode ?? 0, {})
    case 'ResponseError':
      return new ResponseError(info.message, info.statusCode ?? 0, {})
    case 'SecureProxyConnectionError':
      return new SecureProxyConnectionError(undefined, info.message)
    case 'ProxyConnectionError':
      return new ProxyConnectionError(undefined, info.message)
    case 'Socks5ProxyError':
      return new Socks5ProxyError(info.message, info.code)
    default:
      break
  }
  if (Object.hasOwn(errors, info.name)) {
    return new (errors[info.name as keyof typeof errors] as SimpleError)(info.message)
  }
  // A name this table does not know still has to reach the caller with its code: programs branch on codes.
  const error = new UndiciError(info.message)
  error.name = info.name
  error.code = info.code
  return error
}

const kInfoProperties = ['phase', 'host', 'statusCode'] as const

/** The JavaScript error for a failure in the core; `phase`, `host` and `statusCode` ride along, not enumerable. */
export function createUndiciError(info: CoreErrorInfo): Error {
  const own = info.ticket === undefined ? null : findError(info.ticket)
  if (own !== null) return own
  const error = createByName(info)
  for (const key of kInfoProperties) {
    if (info[key] !== undefined && !Object.hasOwn(error, key)) {
      Object.defineProperty(error, key, { value: info[key], writable: true, configurable: true })
    }
  }
  return error
}
