/**
 * `npm run bench:smoke`: many small GETs, some at a time, by sluice, undici and the built-in fetch. Each contestant has
 * a process of its own, the rounds are interleaved, and the table gives medians. It prints and judges nothing: a shared
 * machine has no say in what is correct.
 */
import { cpus } from 'node:os'
import { Child } from '../scripts/support/child.ts'
import { table } from '../scripts/support/table.ts'
import { contestants } from './smoke/contestants.ts'
import { median, spread } from './smoke/statistics.ts'
import type { Measurement } from './smoke/client-process.ts'

const REQUESTS = 20_000
const CONCURRENCY = 64
const WARM_UP = 4000
const ROUNDS = 3

using server = new Child(new URL('smoke/server-process.ts', import.meta.url))
const { port } = await server.next<{ port: number }>()

const measurements = new Map<string, Measurement[]>()
for (let round = 0; round < ROUNDS; round++) {
  for (const { name } of contestants) {
    const args = [name, port, REQUESTS, CONCURRENCY, WARM_UP].map(String)
    using client = new Child(new URL('smoke/client-process.ts', import.meta.url), args)
    const outcome = await client.next<Measurement | { error: string }>()
    if ('error' in outcome) throw new Error(`${name}: ${outcome.error}`)
    measurements.set(name, [...(measurements.get(name) ?? []), outcome])
  }
}

const rows = contestants.map(({ name, rival }) => {
  const of = (key: keyof Measurement, who = name): number => median(measurements.get(who)!.map((m) => m[key]))
  const against = (key: keyof Measurement): string =>
    rival === undefined ? '' : `${(of(key) / of(key, rival)).toFixed(2)}×`
  return [
    name,
    of('perSecond').toFixed(0),
    `±${spread(measurements.get(name)!.map((m) => m.perSecond)).toFixed(0)}%`,
    against('perSecond'),
    of('processMicros').toFixed(1),
    against('processMicros'),
    of('threadMicros').toFixed(1),
    against('threadMicros'),
    rival ?? '',
  ]
})

process.stdout.write(
  `${REQUESTS} GETs, ${CONCURRENCY} at once, medians of ${ROUNDS} rounds; Node ${process.versions.node}, ` +
    `${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}\n\n` +
    table([
      ['', 'requests/s', 'spread', 'ratio', 'process µs/req', 'ratio', 'JS thread µs/req', 'ratio', 'ratios to'],
      ...rows,
    ]),
)
