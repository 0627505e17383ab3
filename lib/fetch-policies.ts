/** The members of `RequestInit` that are enumerations (Fetch §5.4), and what a request without a cache makes of them. */
import { hasHeader } from './fetch-headers.ts'
import { redactUrl, redactUrlError } from './redact.ts'

const VALUES = {
  mode: ['cors', 'navigate', 'no-cors', 'same-origin'],
  credentials: ['include', 'omit', 'same-origin'],
  cache: ['default', 'force-cache', 'no-cache', 'no-store', 'only-if-cached', 'reload'],
  redirect: ['error', 'follow', 'manual'],
  referrerPolicy: [
    '',
    'no-referrer',
    'no-referrer-when-downgrade',
    'same-origin',
    'origin',
    'strict-origin',
    'origin-when-cross-origin',
    'strict-origin-when-cross-origin',
    'unsafe-url',
  ],
  duplex: ['half'],
  priority: ['auto', 'high', 'low'],
} as const

/** What of them a request acts on. */
export interface Policies {
  mode: string
  cache: string
  redirect: string
  keepalive: boolean
}

/** Fetch, "CORS-safelisted method". */
const SAFELISTED = new Set(['GET', 'HEAD', 'POST'])

/** Headers with which the caller does a cache's work. */
const CONDITIONAL = ['if-modified-since', 'if-none-match', 'if-unmodified-since', 'if-match', 'if-range']

/** `base` is the Request that `init` overrides. @throws TypeError as `new Request` does */
export function readPolicies(init: Record<string, unknown>, base: Request | null, method: string): Policies {
  for (const name of ['credentials', 'referrerPolicy', 'duplex', 'priority'] as const) readEnum(name, init[name])
  const mode = readEnum('mode', init['mode']) ?? base?.mode ?? 'cors'
  if (mode === 'no-cors' && !SAFELISTED.has(method)) {
    throw new TypeError(`'${method}' is unsupported in no-cors mode.`)
  }
  if (mode === 'navigate' && init['mode'] !== undefined) {
    throw new TypeError("Request constructor: invalid request mode 'navigate'.")
  }
  const cache = readEnum('cache', init['cache']) ?? base?.cache ?? 'default'
  if (cache === 'only-if-cached' && mode !== 'same-origin') {
    throw new TypeError("'only-if-cached' can be set only with 'same-origin' mode")
  }
  if (init['window'] !== undefined && init['window'] !== null) {
    throw new TypeError("'window' option must be null")
  }
  readReferrer(init['referrer'])
  return {
    mode,
    cache,
    redirect: readEnum('redirect', init['redirect']) ?? base?.redirect ?? 'follow',
    keepalive: Boolean(init['keepalive'] === undefined ? base?.keepalive : init['keepalive']),
  }
}

function readEnum(name: keyof typeof VALUES, value: unknown): string | undefined {
  if (value === undefined) return undefined
  const text = `${value as string}`
  if (!(VALUES[name] as readonly string[]).includes(text)) {
    throw new TypeError(`'${text}' is not a valid ${name} value. Expected one of ${VALUES[name].join(', ')}.`)
  }
  return text
}

/** There is no client whose URL could be sent, so that only a URL that is none matters. */
function readReferrer(referrer: unknown): void {
  if (referrer === undefined || referrer === '') return
  const text = `${referrer as string}`
  try {
    void new URL(text)
  } catch (cause) {
    throw new TypeError(`Referrer "${redactUrl(text)}" is not a valid URL.`, { cause: redactUrlError(cause) })
  }
}

/** What a cache mode asks of the caches on the way (Fetch, "HTTP-network-or-cache fetch", steps 8.16 and 8.17). */
export function readCacheHeaders(headers: string[], mode: string): void {
  const isConditional = mode === 'default' && CONDITIONAL.some((name) => hasHeader(headers, name))
  if (mode === 'no-cache' && !hasHeader(headers, 'cache-control')) headers.push('cache-control', 'max-age=0')
  if (mode !== 'no-store' && mode !== 'reload' && !isConditional) return
  if (!hasHeader(headers, 'pragma')) headers.push('pragma', 'no-cache')
  if (!hasHeader(headers, 'cache-control')) headers.push('cache-control', 'no-cache')
}
