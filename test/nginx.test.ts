/** Against a server that closes its connections as it likes: nginx, where it is installed; skipped, and counted, elsewhere. */
import { describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import { certificateAuthority } from './support/certificates.ts'
import { nginx, REQUESTS_PER_CONNECTION, startNginx } from './support/nginx.ts'

const REQUESTS = 500
const PARALLEL = 64

async function* body(): AsyncGenerator<string> {
  yield 'one,'
  yield 'two'
}

/** Sends {@link REQUESTS}, {@link PARALLEL} at once; how many each connection served, by its number. */
async function flood(
  dispatcher: Agent,
  origin: string,
  protocol: string,
  init: () => RequestInit,
): Promise<Map<string, number>> {
  const served = new Map<string, number>()
  let next = 0
  const work = async (): Promise<void> => {
    while (next < REQUESTS) {
      const path = `/${next++}`
      const sent = init()
      const response = await fetch(`${origin}${path}`, { ...(sent as object), dispatcher })
      expect([response.status, response.headers.get('x-protocol')]).toEqual([200, protocol])
      expect(await response.text()).toBe(`${sent.method ?? 'GET'} ${path}`)
      const connection = response.headers.get('x-connection')!
      served.set(connection, (served.get(connection) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, work))
  return served
}

interface Case {
  what: string
  transport: 'wire' | 'reqwest'
  listener: 'plain' | 'secure'
  protocol: string
  init: () => RequestInit
}

const bodies: [string, () => RequestInit][] = [
  ['GETs', () => ({})],
  ['POSTs of bytes', () => ({ method: 'POST', body: 'x'.repeat(1024) })],
  ['chunked POSTs', () => ({ method: 'POST', body: body() as never, duplex: 'half' }) as RequestInit],
]
// A stream cannot go out twice, and reqwest gives a request back to HTTP/2 servers fewer times than they refuse it.
const cases: Case[] = [
  ...bodies.flatMap(([what, init]) =>
    (['wire', 'reqwest'] as const).map((transport): Case => ({
      what,
      transport,
      listener: 'plain',
      protocol: 'HTTP/1.1',
      init,
    })),
  ),
  ...bodies
    .slice(0, 2)
    .map(([what, init]): Case => ({ what, transport: 'wire', listener: 'secure', protocol: 'HTTP/2.0', init })),
]

describe.skipIf(nginx === null)('nginx', () => {
  test.each(cases)(
    '$what over $protocol on $transport: 64 at once lose nothing to its limit of requests per connection',
    async ({ transport, listener, protocol, init }) => {
      await using server = await startNginx()
      const connect = { ca: certificateAuthority, ...(protocol === 'HTTP/2.0' ? { preferH2: true } : {}) }
      await using agent = new Agent({ transport, connect })
      const served = await flood(agent, server[listener], protocol, init)
      expect([...served.values()].reduce((sum, count) => sum + count, 0)).toBe(REQUESTS)
      expect(served.size).toBeGreaterThanOrEqual(REQUESTS / (REQUESTS_PER_CONNECTION + PARALLEL))
      if (protocol === 'HTTP/1.1') expect(Math.max(...served.values())).toBeLessThanOrEqual(REQUESTS_PER_CONNECTION)
    },
  )
})
