/** Header text of the wire as WHATWG `Headers`. */
import { lowerName } from '../streams/dispatch-shim.ts'
import { splitHeaderText } from '../streams/exchange.ts'

let ImmutableHeaders: (new () => Headers) | null = null

/** A response's headers have the guard "immutable" (Fetch §5.1), which no constructor gives. */
function immutableHeadersClass(): new () => Headers {
  const refuse = (): never => {
    throw new TypeError('immutable')
  }
  return (ImmutableHeaders ??= class Headers extends globalThis.Headers {
    seal(): void {
      for (const method of ['append', 'set', 'delete'] as const) {
        Object.defineProperty(this, method, { value: refuse, configurable: true })
      }
    }
  })
}

/** `Headers` with every value of `headerText`, in order; not to be changed. */
export function toHeaders(headerText: string): Headers {
  const headers = new (immutableHeadersClass())() as Headers & { seal(): void }
  const flat = splitHeaderText(headerText)
  for (let index = 0; index + 1 < flat.length; index += 2) headers.append(flat[index]!, flat[index + 1]!)
  headers.seal()
  return headers
}

/** The first value of `name` (lower case), or `null`, without making `Headers`. */
export function headerValue(headerText: string, name: string): string | null {
  const flat = splitHeaderText(headerText)
  for (let index = 0; index + 1 < flat.length; index += 2) {
    if (lowerName(flat[index]!) === name) return flat[index + 1]!
  }
  return null
}
