/**
 * `node program.ts ROUTE`: runs the cases with the built-in `fetch` of the Node that runs it, over sluice's agent, and
 * prints an {@link Outcome} for each. Syntax and globals are those of Node 22.
 */
import { ok } from 'node:assert/strict'
import { certificateAuthority } from '../support/certificates.ts'
import { within } from '../support/deadline.ts'
import { cases } from './cases.ts'
import type { Fetch } from './cases.ts'
import { isRoute } from './routes.ts'
import type { Outcome, Route } from './routes.ts'
import { Agent } from '../../lib/index.ts'

/** How long one case may take, in ms: a limit for what hangs. */
const CASE_TIMEOUT = 30_000

/** Tells whether the built-in `fetch` came by at all: its own dispatcher answers the cases just as well. */
class CountingAgent extends Agent {
  dispatched = 0

  override dispatch(...args: Parameters<Agent['dispatch']>): boolean {
    this.dispatched++
    return super.dispatch(...args)
  }
}

async function fetchOver(route: Route, agent: Agent): Promise<Fetch> {
  switch (route) {
    case '{ dispatcher }':
      return (url, init) => globalThis.fetch(url, { ...init, dispatcher: agent as never })
    case 'setGlobalDispatcher of undici 7':
      ;(await import('undici7')).setGlobalDispatcher(agent)
      return globalThis.fetch
    case 'setGlobalDispatcher of undici 8':
      ;(await import('undici')).setGlobalDispatcher(agent as never)
      return globalThis.fetch
  }
}

const route = process.argv[2]
if (!isRoute(route)) throw new Error('usage: node program.ts ROUTE')
const agent = new CountingAgent({ connect: { ca: certificateAuthority } })
const fetch = await fetchOver(route, agent)
let failed = 0
for (const { name, run } of cases) {
  const before = agent.dispatched
  let error: string | null = null
  try {
    await within(run(fetch), { timeoutMs: CASE_TIMEOUT, what: name })
    ok(agent.dispatched > before, 'the agent was not asked')
  } catch (thrown) {
    failed++
    error = String(thrown instanceof Error ? (thrown.stack ?? thrown) : thrown)
  }
  process.stdout.write(`${JSON.stringify({ name, error } satisfies Outcome)}\n`)
}
// What has failed may hold its server. Otherwise the agent stays open: an idle one must let its process go.
if (failed > 0) process.exit(1)
