/**
 * What may be shown of what holds secrets: URLs may have credentials, and tokens in their paths and queries; agents and
 * requests have keys, passwords and the headers of their callers. Messages, causes and inspected objects show no more
 * than this file lets through.
 */
import { inspect } from 'node:util'
import type { InspectOptions } from 'node:util'

const SCHEME = /^[a-z][a-z0-9+.-]*:/i
const MOST_SHOWN = 64

/** Of a URL its scheme, host and port; of text that is none, what cannot be more. */
export function redactUrl(written: string): string {
  // What the URL parser passes over, so that a scheme is seen behind it.
  let start = 0
  while (written.charCodeAt(start) <= 0x20) start++
  const text = written.slice(start).replace(/[\t\n\r]/g, '')
  if (URL.canParse(text)) {
    const { protocol, host } = new URL(text)
    return host === '' ? protocol : `${protocol}//${host}`
  }
  const scheme = SCHEME.exec(text)?.[0] ?? ''
  // What stands before an @ may be a password; of the rest, what a host or a relative path can have.
  const rest = text.slice(Math.max(scheme.length, text.lastIndexOf('@') + 1))
  const slashes = scheme === '' ? '' : (/^[/\\]*/.exec(text.slice(scheme.length))?.[0].slice(0, 2) ?? '')
  const end = scheme === '' ? /[?#]/ : /[:/?#\\]/
  const shown = rest.replace(/^[/\\]*/, scheme === '' ? '$&' : '').split(end, 1)[0]!
  return `${scheme}${slashes}${shown}`.slice(0, MOST_SHOWN)
}

/** An error of the URL parser without the text it was given, which it carries as `input` and `base`. */
export function redactUrlError(error: unknown): unknown {
  if (typeof error === 'object' && error !== null) {
    Reflect.deleteProperty(error, 'input')
    Reflect.deleteProperty(error, 'base')
  }
  return error
}

/**
 * Makes `util.inspect` and `JSON.stringify` show what `view` makes of an instance of `Class`, and nothing else. Not for
 * `Response`, which is looked at as the platform's.
 */
export function showOnly<Instance extends object>(
  Class: { name: string; prototype: Instance },
  view: (instance: Instance) => Record<string, unknown>,
): void {
  Object.defineProperty(Class.prototype, inspect.custom, {
    value(this: Instance, depth: number, options: InspectOptions): string {
      if (depth < 0) return `[${Class.name}]`
      return `${Class.name} ${inspect(view(this), { ...options, depth: options.depth === null ? null : depth })}`
    },
    configurable: true,
    writable: true,
  })
  Object.defineProperty(Class.prototype, 'toJSON', {
    value(this: Instance): Record<string, unknown> {
      return view(this)
    },
    configurable: true,
    writable: true,
  })
}
