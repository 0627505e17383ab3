/**
 * Requests that end in every way there is leave nothing behind (design, invariant 5).
 *
 * 20 000 requests in the suite; `SLUICE_LEAK_REQUESTS=100000` runs as many as the project's promise names.
 */
import { expect, test } from 'vitest'
import { Child } from '../scripts/support/child.ts'
import { until } from './support/deadline.ts'
import { CHUNK, startServer } from './support/servers.ts'

const REQUESTS = Number(process.env.SLUICE_LEAK_REQUESTS ?? 20_000)
const MiB = 1024 * 1024
/** What the medians of two halves of the steady part may differ by: pages move by a few MiB without a leak. */
const TOLERANCE = 4 * MiB

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}

test(`${REQUESTS} requests leave no memory, socket, handle or task`, { timeout: 300_000 }, async () => {
  await using server = await startServer((request, response) => {
    switch (request.url) {
      case '/small':
        response.end('small')
        break
      case '/large':
        response.end(CHUNK)
        break
      case '/broken':
        response.writeHead(200, { 'content-length': 1000 })
        response.write('some', () => response.destroy())
        break
      case '/flood':
        // More than a window, and no end: what else there would be waits in the kernel.
        for (let chunk = 0; chunk < 16; chunk++) response.write(CHUNK)
        break
      default:
    }
  })
  using client = new Child(new URL('./support/leak-client.ts', import.meta.url), [server.origin, String(REQUESTS)])
  const { samples, seconds, outcomes } = await client.next<{
    samples: number[]
    seconds: number
    outcomes: Record<string, number>
  }>()
  const steady = samples.slice(samples.length * 0.4)
  const first = median(steady.slice(0, steady.length / 2))
  const second = median(steady.slice(steady.length / 2))
  console.log(
    `${REQUESTS} requests in ${seconds.toFixed(1)} s, MiB at each twentieth:`,
    samples.map((bytes) => (bytes / MiB).toFixed(1)).join(' '),
  )
  expect(Object.values(outcomes)).toEqual(Array(10).fill(REQUESTS / 10))
  expect(second - first).toBeLessThanOrEqual(TOLERANCE)
  const nothing = { handles: 0, awaited: 0, tasks: 0, running: 0, bufferedBytes: 0 }
  const left = await until(
    async () => {
      const counters = await client.ask<Record<string, number>>({})
      return Object.keys(nothing).every((name) => counters[name] === 0) ? counters : null
    },
    { what: 'the counters to be 0' },
  )
  expect(left).toMatchObject({ ...nothing, roots: 0 })
  // Idle connections outlive their requests by the agent's keep-alive.
  await until(() => server.sockets.size === 0)
})
