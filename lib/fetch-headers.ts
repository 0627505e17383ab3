/** Request headers of `fetch` in every WHATWG shape (Fetch §5.1), as flat latin1 names and values. */
import { trimBlanks } from './blanks.ts'
import { isToken } from './request-headers.ts'

const FORBIDDEN_VALUE = /[\0\r\n]/
const BEYOND_LATIN1 = /[\u0100-\uffff]/

/** @throws TypeError naming a header that HTTP does not allow */
function addHeader(flat: string[], name: unknown, value: unknown): void {
  const key = `${name as string}`
  const isName: boolean = isToken(key)
  if (!isName) throw new TypeError(`Headers.append: "${key}" is an invalid header name.`)
  const text = trimBlanks(`${value as string}`, '\t\r\n ')
  if (BEYOND_LATIN1.test(text)) {
    throw new TypeError(`Cannot convert the value of header "${key}" to a ByteString: it has characters beyond U+00FF`)
  }
  if (FORBIDDEN_VALUE.test(text)) {
    // Without the value, which may be a secret.
    throw new TypeError(`Headers.append: the value of "${key}" is an invalid header value.`)
  }
  flat.push(key.toLowerCase(), text)
}

/** @throws TypeError for what is no `HeadersInit`, and for a header that HTTP does not allow */
export function readFetchHeaders(init: unknown): string[] {
  const flat: string[] = []
  if (init === undefined) return flat
  if ((typeof init !== 'object' && typeof init !== 'function') || init === null) {
    throw new TypeError('headers must be a Headers object, a record or an iterable of pairs')
  }
  if (typeof (init as Partial<Iterable<unknown>>)[Symbol.iterator] === 'function') {
    for (const pair of init as Iterable<unknown>) {
      const entry = typeof pair === 'object' && pair !== null ? [...(pair as Iterable<unknown>)] : []
      if (entry.length !== 2) throw new TypeError('headers: each entry must be a pair of a name and a value')
      addHeader(flat, entry[0], entry[1])
    }
    return combine(flat)
  }
  for (const name of Reflect.ownKeys(init)) {
    if (typeof name === 'symbol') throw new TypeError('headers: a name must not be a symbol')
    if (!Object.prototype.propertyIsEnumerable.call(init, name)) continue
    addHeader(flat, name, (init as Record<string, unknown>)[name])
  }
  return combine(flat)
}

/** Equal names, which may differ in case, are one header line. */
function combine(flat: string[]): string[] {
  const seen = new Set<string>()
  for (let index = 0; index < flat.length; index += 2) seen.add(flat[index]!)
  if (seen.size * 2 === flat.length) return flat
  const combined = new Map<string, string>()
  for (let index = 0; index < flat.length; index += 2) {
    const name = flat[index]!
    const before = combined.get(name)
    // Cookies have a separator of their own (RFC 6265 §4.2.1).
    const separator = name === 'cookie' ? '; ' : ', '
    combined.set(name, before === undefined ? flat[index + 1]! : before + separator + flat[index + 1]!)
  }
  return [...combined].flat()
}

/** Whether flat lower-case headers have `name`. */
export function hasHeader(flat: readonly string[], name: string): boolean {
  for (let index = 0; index < flat.length; index += 2) if (flat[index] === name) return true
  return false
}
