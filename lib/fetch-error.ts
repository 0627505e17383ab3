/** How `fetch` reports a failure: a `TypeError` whose cause has Node's code and says where it happened. */
import type { CoreErrorInfo } from '../native/binding.ts'
import { createUndiciError } from './errors.ts'

/** Before the head. */
export function fetchFailed(cause: unknown): TypeError {
  return new TypeError('fetch failed', { cause })
}

/** While the body is read. */
export function terminated(cause: unknown): TypeError {
  return new TypeError('terminated', { cause })
}

/** The core's error, whose message also names host, phase and code. Redirects may have led to another host than `asked`. */
export function describe(info: CoreErrorInfo, asked: string): Error {
  const host = info.host ?? asked
  const where = `${info.phase ?? 'request'}, ${host}, ${info.code}`
  return createUndiciError({ ...info, host, message: `${info.message} (${where})` })
}

/** `redirect: 'error'` met a redirect. */
export function unexpectedRedirect(status: number, url: URL): Error {
  return new Error(`unexpected redirect (${status}, ${url.host})`)
}
