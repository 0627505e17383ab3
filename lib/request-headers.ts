/**
 * Request headers, validated and flattened with undici's rules, order and messages (undici-contract.md §2.1). Runs once
 * per request on the JavaScript thread, so the common case, a plain object of strings, allocates nothing but its result.
 */
import { InvalidArgumentError, NotSupportedError } from './errors.ts'

/** RFC 9110 §5.6.2. */
const kToken = /^[\w!#$%&'*+.^`|~-]+$/
/** RFC 9110 §5.5 with obs-text: what survives as latin1 on the wire. */
const kInvalidValue = /[^\t\x20-\x7e\x80-\xff]/
const kDigits = /^[0-9]+$/

/** What a header name asks for beyond being copied. */
const Kind = {
  ordinary: 0,
  host: 1,
  contentLength: 2,
  contentType: 3,
  connection: 4,
  expect: 5,
  /** Headers that frame the message: they are the transport's. */
  framing: 6,
} as const

const kSpecial = new Map<string, number>([
  ['host', Kind.host],
  ['content-length', Kind.contentLength],
  ['content-type', Kind.contentType],
  ['connection', Kind.connection],
  ['expect', Kind.expect],
  ['transfer-encoding', Kind.framing],
  ['keep-alive', Kind.framing],
  ['upgrade', Kind.framing],
])

// Programs use few names; a lookup by the string's cached hash is cheaper than matching and lower-casing it again. The
// bound keeps names made from data from filling memory.
const kMaxKnownNames = 1024
const knownNames = new Map<string, number>()

function kindOf(name: unknown): number {
  const known = knownNames.get(name as string)
  if (known !== undefined) return known
  // undici dies of it.
  if (typeof name !== 'string') throw new TypeError('a header name must be a string')
  if (!isToken(name)) throw new InvalidArgumentError('invalid header key')
  const kind = kSpecial.get(name.toLowerCase()) ?? Kind.ordinary
  if (knownNames.size < kMaxKnownNames) knownNames.set(name, kind)
  return kind
}

/** Whether `value` is an HTTP token (RFC 9110 §5.6.2): a method or a field name. */
export function isToken(value: unknown): value is string {
  return typeof value === 'string' && kToken.test(value)
}

/** Whether `value` can be a field value: TAB, printable ASCII and latin1. */
export function isHeaderValue(value: string): boolean {
  return !kInvalidValue.test(value)
}

function invalidHeader(name: unknown): InvalidArgumentError {
  return new InvalidArgumentError(`invalid ${String(name)} header`)
}

/** One value as text: `null` is empty, other primitives are coerced. @throws InvalidArgumentError */
function textOf(name: unknown, value: unknown): string {
  if (value === null) return ''
  if (typeof value === 'object') throw invalidHeader(name)
  // A function is coerced as well: its source is no valid value, and a crafted toString is checked like any text.
  const text = typeof value === 'string' ? value : `${value as number}`
  if (kInvalidValue.test(text)) throw invalidHeader(name)
  return text
}

/** The outcome of {@link readHeaders}. */
export interface RequestHeaders {
  /** Flat names and values in the caller's case and order, but for the headers that have a field of their own here. */
  flat: string[]
  /** The caller's `content-length` in bytes. */
  contentLength: number | null
  hasContentType: boolean
  /** `connection: close` was given; other tokens are dropped. */
  close: boolean
  host: string | null
}

function addHeader(headers: RequestHeaders, name: string, value: unknown): void {
  if (value === undefined) return
  // Before the name is looked at, as in undici: it decides which of two messages a caller sees.
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) throw invalidHeader(name)
  const kind = kindOf(name)

  if (kind === Kind.ordinary || kind === Kind.contentType) {
    if (kind === Kind.contentType) headers.hasContentType = true
    if (typeof value === 'string') {
      if (kInvalidValue.test(value)) throw invalidHeader(name)
      headers.flat.push(name, value)
    } else if (Array.isArray(value)) {
      for (const item of value) headers.flat.push(name, textOf(name, item))
    } else {
      headers.flat.push(name, textOf(name, value))
    }
    return
  }

  let text: string | null = null
  if (Array.isArray(value)) for (const item of value) textOf(name, item)
  else text = textOf(name, value)
  addSpecialHeader(headers, kind, name.toLowerCase(), text)
}

/** `value` is `null` for a list, which none of these headers may be. */
function addSpecialHeader(headers: RequestHeaders, kind: number, name: string, value: string | null): void {
  switch (kind) {
    case Kind.host:
      if (headers.host !== null) throw new InvalidArgumentError('duplicate host header')
      if (value === null) throw invalidHeader(name)
      headers.host = value
      break
    case Kind.contentLength:
      if (headers.contentLength !== null) throw new InvalidArgumentError('duplicate content-length header')
      if (value === null || !kDigits.test(value)) throw invalidHeader(name)
      headers.contentLength = Number.parseInt(value, 10)
      break
    case Kind.connection:
      if (value === null) throw invalidHeader(name)
      for (const item of value.toLowerCase().split(',')) {
        const token = item.trim()
        if (!kToken.test(token)) throw invalidHeader(name)
        if (token === 'close') headers.close = true
      }
      break
    case Kind.expect:
      throw new NotSupportedError('expect header not supported')
    default:
      throw invalidHeader(name)
  }
}

/** Own iterators and those of classes count; one that polluted `Object.prototype` must not. */
function isPairs(headers: object): headers is Iterable<unknown> {
  const prototype: unknown = Object.getPrototypeOf(headers)
  if (prototype === Object.prototype || prototype === null) return Object.hasOwn(headers, Symbol.iterator)
  return typeof (headers as Partial<Iterable<unknown>>)[Symbol.iterator] === 'function'
}

/** Reads `opts.headers` in any of undici's shapes. @throws InvalidArgumentError, NotSupportedError (`expect`) */
export function readHeaders(input: unknown): RequestHeaders {
  const headers: RequestHeaders = { flat: [], contentLength: null, hasContentType: false, close: false, host: null }
  if (input === undefined || input === null) return headers

  if (Array.isArray(input)) {
    if (input.length % 2 !== 0) throw new InvalidArgumentError('headers array must be even')
    for (let i = 0; i < input.length; i += 2) addHeader(headers, input[i], input[i + 1])
  } else if (typeof input !== 'object') {
    // Falsy primitives fail as well: undici lets only null and undefined pass.
    throw new InvalidArgumentError('headers must be an object or an array')
  } else if (isPairs(input)) {
    for (const pair of input) {
      if (!Array.isArray(pair) || pair.length !== 2) {
        throw new InvalidArgumentError('headers must be in key-value pair format')
      }
      addHeader(headers, pair[0], pair[1])
    }
  } else {
    const record = input as Record<string, unknown>
    const names = Object.keys(record)
    for (const name of names) addHeader(headers, name, record[name])
  }

  return headers
}
