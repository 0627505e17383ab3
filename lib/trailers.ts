/**
 * The trailers of a request (RFC 9110 §6.5): fields that follow a chunked body. They are announced in the `trailer`
 * header, checked before anything is sent where they are known by then, and asked for when the body has ended otherwise.
 */
import { InvalidArgumentError } from './errors.ts'
import { readHeaders } from './request-headers.ts'
import type { OutgoingHeaders } from './types.ts'

/** The fields of `trailers`, in any shape that `headers` has. */
export type TrailerFields = OutgoingHeaders | Headers

/** What `dispatch` and `fetch` take: fields, a promise of them, or a function that is called when the body has ended. */
export type TrailersInit = TrailerFields | Promise<TrailerFields> | (() => TrailerFields | Promise<TrailerFields>)

/** Names and values separated by NUL; called once, when the body has ended. */
export type TrailersReader = () => string | Promise<string>

/** Fields that frame, route or authenticate a message, or say how to read it (RFC 9110 §6.5.1). */
const FORBIDDEN = new Set(
  (
    'authorization cache-control connection content-encoding content-length content-range content-type ' +
    'cookie expect host if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive ' +
    'max-forwards pragma proxy-authenticate proxy-authorization proxy-connection range set-cookie te ' +
    'trailer transfer-encoding upgrade www-authenticate'
  ).split(' '),
)

/** Flat names and values. @throws InvalidArgumentError */
function readFields(input: unknown): string[] {
  if (typeof input !== 'object' || input === null) throw new InvalidArgumentError('trailers must be an object')
  const pairs = Symbol.iterator in input ? [...(input as Iterable<unknown>)] : Object.entries(input)
  const isFlat = Array.isArray(input) && !input.some(Array.isArray)
  const flat: unknown[] = isFlat ? input : pairs.flat(1)
  for (let index = 0; index < flat.length; index += 2) {
    const name = String(flat[index])
    if (FORBIDDEN.has(name.toLowerCase())) throw new InvalidArgumentError(`trailers: ${name} must not be a trailer`)
  }
  try {
    return readHeaders(flat).flat
  } catch (error) {
    throw new InvalidArgumentError(`trailers: ${(error as Error).message}`)
  }
}

/** Lower-case names of the caller's `trailer` headers; `null` without any. */
function announcedIn(headers: readonly string[]): Set<string> | null {
  let announced: Set<string> | null = null
  for (let index = 0; index < headers.length; index += 2) {
    if (headers[index]!.toLowerCase() !== 'trailer') continue
    announced ??= new Set()
    for (const name of headers[index + 1]!.split(',')) announced.add(name.trim().toLowerCase())
  }
  return announced
}

function checked(fields: string[], announced: ReadonlySet<string>): string {
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index]!
    if (!announced.has(name.toLowerCase())) {
      throw new InvalidArgumentError(`trailers: ${name} is not announced by the trailer header`)
    }
  }
  return fields.join('\0')
}

/**
 * Reads the option `trailers`; `headers` are the request's, flat, and get the `trailer` header if they have none.
 * `isChunked`: the body has no length.
 * @throws InvalidArgumentError
 */
export function readTrailers(input: unknown, headers: string[], isChunked: boolean): TrailersReader | null {
  if (input === undefined || input === null) return null
  if (!isChunked) throw new InvalidArgumentError('trailers need a streamed body without a content-length')
  const announced = announcedIn(headers)
  const isLater = typeof input === 'function' || typeof (input as Partial<Promise<unknown>>).then === 'function'
  if (!isLater) {
    const fields = readFields(input)
    const names = [...new Set(fields.filter((_, index) => index % 2 === 0))]
    if (announced === null && names.length > 0) headers.push('trailer', names.join(', '))
    const text = checked(fields, announced ?? new Set(names.map((name) => name.toLowerCase())))
    return () => text
  }
  if (announced === null) {
    throw new InvalidArgumentError('trailers: a function or promise needs a trailer header that announces the names')
  }
  // A rejection before the body has ended is not unhandled: it is the request's when its turn comes.
  if (typeof input !== 'function') (input as Promise<unknown>).then(undefined, () => {})
  return async () => {
    const fields: unknown = await (typeof input === 'function' ? (input as () => unknown)() : input)
    return checked(readFields(fields), announced)
  }
}
