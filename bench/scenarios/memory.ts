/** What waits costs memory: bodies that are paused, and connections that are idle. */
import { setTimeout as delay } from 'node:timers/promises'
import { dispatchRequest, type Dispatches } from '../contestants/handler.ts'
import { engineOf, ofBoth, sluiceAgent } from '../contestants/sluice.ts'
import { load } from '../installation.ts'
import { peakRss } from '../meter.ts'
import type { Scenario, Work } from './scenario.ts'

/** Bytes of a paused body. */
const BODY = 100_000_000
/** Memory is at rest when it has changed by less than this share between two looks, this many ms apart. */
const REST = 0.01
const LOOK_MS = 250
const LOOKS = 40

async function agentOf(contestant: string, connections: number): Promise<Dispatches> {
  if (contestant.startsWith('sluice ')) return sluiceAgent(engineOf(contestant))
  const { Agent } = (await load('undici')) as any
  return new Agent({ connections, pipelining: 1, keepAliveTimeout: 60_000 })
}

/** Milliseconds in which a client can give back what it held for work that is over. */
const SETTLE_MS = 3000

/** Resident memory at rest, in bytes. */
async function restingRss(): Promise<number> {
  await delay(SETTLE_MS)
  let last = 0
  for (let look = 0; look < LOOKS; look++) {
    globalThis.gc?.()
    const rss = process.memoryUsage.rss()
    if (Math.abs(rss - last) < REST * rss) return rss
    last = rss
    await delay(LOOK_MS)
  }
  return last
}

/** Starts `count` downloads whose first chunk pauses them, and resolves when all have been. */
async function pauseBodies(agent: Dispatches, origin: string, count: number): Promise<void> {
  await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<void>((resolve, reject) => {
          agent.dispatch(
            { origin, path: `/bytes/${BODY}`, method: 'GET' },
            {
              onRequestStart() {},
              onResponseStart(controller: { pause(): void }) {
                controller.pause()
                resolve()
              },
              onResponseData() {},
              onResponseEnd() {
                reject(new Error('a paused body has ended'))
              },
              onResponseError(_controller: unknown, error: Error) {
                reject(error)
              },
            },
          )
        }),
    ),
  )
}

async function openSockets(agent: Dispatches, origin: string, count: number): Promise<void> {
  // Nobody is answered before all have asked: each needs a connection of its own.
  const path = `/gather/${count}`
  await Promise.all(Array.from({ length: count }, () => dispatchRequest(agent, { origin, path, method: 'GET' })))
}

const contestants = [...ofBoth('sluice dispatch'), 'undici dispatch']

const work = (id: string, title: string, parallel: number, bytes: number): Work => ({
  id: `memory/${id}`,
  title,
  metric: 'rssAboveIdle',
  isThroughput: false,
  method: 'GET',
  path: '/',
  parallel,
  bytes,
  contestants,
})

export const memory: Scenario = {
  name: 'memory',
  isShared: false,
  // It does not depend on the processor: one round tells it.
  rounds: () => 1,
  works: ({ paused, idle }) => [
    work('paused', `${paused} paused bodies of 100 MB`, paused, BODY),
    work('idle', `${idle} idle sockets`, idle, 26),
  ],
  async measure(contestant, { id, parallel }, { server }) {
    const origin = `http://127.0.0.1:${server.http}`
    const agent = await agentOf(contestant, parallel)
    await dispatchRequest(agent, { origin, path: '/', method: 'GET' })
    const before = await restingRss()
    if (id === 'memory/paused') await pauseBodies(agent, origin, parallel)
    else await openSockets(agent, origin, parallel)
    const after = await restingRss()
    return { rssAboveIdle: (after - before) / 1e6, peakRss: peakRss() }
  },
}
