/** Secrets that are planted, and the search for them in everything that can be printed of a value. */
import { inspect } from 'node:util'
import { certificate } from './certificates.ts'

/** In a URL, a header or an option. */
export const SECRET = 'S3CR3T-do-not-tell'

const PEM = certificate('client').key
const base64 = (text: string): string => Buffer.from(text).toString('base64').replace(/=+$/, '')

/** As they are, encoded by a URL, in `Basic` with any user of these tests, and as numbers of bytes; and the lines of the key. */
const FORMS: readonly string[] = [
  SECRET,
  base64(`me:${SECRET}`),
  base64(SECRET),
  [...Buffer.from(SECRET)].slice(0, 6).join(', '),
  Buffer.from(SECRET).toString('hex').slice(0, 12),
  'PRIVATE KEY',
  ...PEM.split('\n').slice(1, 3),
]

/** Where a secret can be read in `value`; empty where none can. */
export function findSecrets(value: unknown): string[] {
  const found: string[] = []
  const search = (place: string, text: string): void => {
    const form = FORMS.find((secret) => text.includes(secret))
    if (form === undefined) return
    const at = text.indexOf(form)
    found.push(`${place}: …${text.slice(Math.max(0, at - 60), at + 20)}…`)
  }
  const deep = { depth: Infinity, showHidden: true, maxArrayLength: Infinity, maxStringLength: Infinity } as const
  search('console.log', inspect(value))
  search('inspect, deep', inspect(value, deep))
  search('inspect, with proxies', inspect(value, { ...deep, showProxy: true }))
  search('inspect, within', inspect({ list: [{ value }] }, deep))
  search('JSON', toJson(value))
  search('String', String(value))
  walk(value, 'value', new Set(), search)
  return found
}

function toJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? ''
  } catch (error) {
    return String(error)
  }
}

/** What a logger may read: of errors every own property, at any depth; of other objects those that are enumerable. */
function walk(value: unknown, path: string, seen: Set<unknown>, search: (place: string, text: string) => void): void {
  if (typeof value === 'string') search(path, value)
  if (value instanceof Uint8Array) search(path, Buffer.from(value).toString('latin1'))
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value)) return
  seen.add(value)
  const keys = value instanceof Error ? Reflect.ownKeys(value) : Object.keys(value)
  for (const key of keys) {
    const descriptor = Object.getOwnPropertyDescriptor(value, key)
    if (descriptor !== undefined && 'value' in descriptor)
      walk(descriptor.value, `${path}.${String(key)}`, seen, search)
  }
}
