/** What one kind of fault is: a row of the table that the server, the runner, the tests and the documentation share. */
import type { AgentOptions, DispatchOptions } from '../../lib/index.ts'
import type { CertificateName } from '../support/certificates.ts'
import type { Http2Wire } from './server/http2.ts'
import type { Wire } from './server/wire.ts'

/** HTTP/1.1, the same over TLS, and HTTP/2 (by ALPN). */
export const protocols = ['h1', 'h1s', 'h2'] as const
export type Protocol = (typeof protocols)[number]

/** The ways of a response to its user. `legacy` is a handler of undici 6, `toFile` a pipe of a `fetch` body. */
export const paths = ['dispatch', 'legacy', 'fetch', 'toFile'] as const
export type Path = (typeof paths)[number]

/**
 * What a request comes to, in one line: `200 ok` (status and body; `200 3000000 bytes` for what is long), a code, or
 * `200 then CODE` for a body that fails behind its head. Of several that are right, any will do.
 */
export type Expectation = string | readonly string[]

/** Where the kind's server stands for a client. */
export interface Ports {
  h1: number
  h1s: number
  h2: number
  /** A proxy of HTTP and SOCKS. */
  proxy: number
}

export type Http1Script = (wire: Wire) => unknown
export type Http2Script = (wire: Http2Wire, id: number) => unknown

export interface Kind {
  readonly name: string
  /** Answers a request of HTTP/1.1, whose head and body are read. */
  readonly h1?: Http1Script
  /** Answers a request of HTTP/2, whose HEADERS have come on stream `id`. */
  readonly h2?: Http2Script
  /** Has the TCP connection from its first byte, in place of TLS or HTTP. */
  readonly accept?: Http1Script
  /** Has the connection after its TLS handshake, before a request; HTTP goes on behind it. */
  readonly greet?: Http1Script
  /** Has a connection to the proxy's port from its first byte. */
  readonly proxy?: Http1Script
  /** Presented in place of `signed`. */
  readonly certificate?: CertificateName
  /** Every request until the next kind gets it, not the first alone. */
  readonly isLasting?: boolean
  /** Of those that the scripts allow, all by default. */
  readonly over?: readonly Protocol[] | undefined
  /** Paths it means anything on, all by default. */
  readonly on?: readonly Path[]
  /** Of the agent. A function is called for each run. */
  readonly options?: AgentOptions | ((ports: Ports) => AgentOptions)
  /** Of the request. */
  readonly request?: Partial<DispatchOptions>
  /** Where the request goes, in place of the server. */
  readonly origin?: string
  /** So many requests at once, 1 by default; all must come to what is expected. */
  readonly requests?: number
  /** The agent leads nowhere else: no next request is made. */
  readonly isHopeless?: boolean
  /** Another stream of the connection must not be hurt (HTTP/2). */
  readonly isAlone?: boolean
  /** `dispatch` counts for both generations of handlers, `fetch` for `toFile` too. */
  readonly expect: Expectation | { readonly dispatch: Expectation; readonly fetch: Expectation }
  /** What is not right yet: the change that will make it so. It is an error when it is right. */
  readonly awaits?: string
  /** It is wrong now and then only: both are as expected. */
  readonly isRare?: boolean
  /** Those of its protocols that are not right yet, all by default. */
  readonly awaitsOver?: readonly Protocol[]
}

/** Whether it is expected to fail over `protocol`. */
export function isAwaited(kind: Kind, protocol: Protocol): boolean {
  return kind.awaits !== undefined && (kind.awaitsOver?.includes(protocol) ?? true)
}

export function protocolsOf(kind: Kind): Protocol[] {
  const isRaw = kind.accept !== undefined || kind.proxy !== undefined || kind.origin !== undefined
  return protocols.filter((protocol) => {
    if (kind.over !== undefined) return kind.over.includes(protocol)
    if (kind.certificate !== undefined) return protocol !== 'h1'
    if (protocol === 'h2') return kind.h2 !== undefined || isRaw
    return kind.h1 !== undefined || isRaw || (kind.greet !== undefined && kind.h2 === undefined)
  })
}

export function expectationOf(kind: Kind, path: Path): readonly string[] {
  const { expect } = kind
  if (typeof expect === 'string' || Array.isArray(expect)) return [expect].flat()
  const { dispatch, fetch } = expect as { dispatch: Expectation; fetch: Expectation }
  return [path === 'dispatch' || path === 'legacy' ? dispatch : fetch].flat()
}
