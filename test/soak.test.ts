/** The short form of `npm run soak`: requests that end in every way there is leave nothing behind. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { kinds } from '../scripts/soak/kinds.ts'
import { parseOptions } from '../scripts/soak/options.ts'
import { judge } from '../scripts/soak/report.ts'
import type { Sample } from '../scripts/soak/samples.ts'
import { trendOf } from '../scripts/soak/trend.ts'

const SECONDS = Number(process.env.SLUICE_SOAK_SECONDS ?? 40)
const MiB = 1024 * 1024

describe('a run is judged by what comes after its warm-up', () => {
  /** 50 samples; `rss` and whatever else by their number. */
  const run = (change: (index: number) => Partial<Sample>): Sample[] =>
    Array.from({ length: 50 }, (_, index) => ({
      requests: index * 1000,
      seconds: index,
      rss: 300 * MiB,
      heap: 20 * MiB,
      heapRoom: 30 * MiB,
      external: 4 * MiB,
      bufferedBytes: 0,
      sockets: 20,
      handles: 0,
      ...change(index),
    }))
  const bad = (samples: Sample[]): string[] =>
    judge(samples, 30)
      .filter(({ isGood }) => !isGood)
      .map(({ text }) => text.split(':')[0]!)

  test('room that V8 takes for its heap is no leak', () => {
    const steps = (index: number): number => (index > 25 ? 80 : 40) * MiB
    expect(bad(run((index) => ({ rss: 260 * MiB + steps(index), heapRoom: steps(index) })))).toEqual([])
  })

  test('caches that fill, and a moment that stands out, are no leak', () => {
    const filling = (index: number): number => 300 * MiB + 100 * MiB * (1 - Math.exp(-index / 4))
    expect(bad(run((index) => ({ rss: index === 40 ? 900 * MiB : filling(index) })))).toEqual([])
  })

  test.each<[string, (index: number) => Partial<Sample>]>([
    ['memory outside of the heap', (index) => ({ rss: 300 * MiB + index * MiB + (index % 2) * 3 * MiB })],
    ['heap', (index) => ({ heap: 20 * MiB + index * 200_000 })],
    ['external', (index) => ({ external: index * 512 * 1024 })],
    ['bufferedBytes', (index) => ({ bufferedBytes: index === 7 ? 1 : 0 })],
    ['handles', (index) => ({ handles: index === 30 ? 1 : 0 })],
    ['sockets', (index) => ({ sockets: index === 5 ? 31 : 20 })],
  ])('%s is found', (name, change) => {
    expect(bad(run(change))).toEqual([name])
  })

  test('the slope is that of most of the samples', () => {
    const { slope, rise } = trendOf(Array.from({ length: 20 }, (_, x) => [x, x === 15 ? 1000 : 2 * x] as const))
    expect(slope).toBeCloseTo(2, 1)
    expect(rise).toBeCloseTo(22, 0)
  })
})

test('a command line is read, and a wrong one refused', () => {
  expect(parseOptions(['--seconds', '5', '--seed', '7', '--over', 'tls'])).toEqual({
    requests: Infinity,
    seconds: 5,
    seed: 7,
    protocols: ['tls'],
    kinds: null,
    svg: null,
  })
  expect(parseOptions([])).toMatchObject({ requests: 1_000_000, protocols: ['http1', 'tls', 'http2'] })
  expect(() => parseOptions(['--requests', 'many'])).toThrow(/--requests/)
  expect(() => parseOptions(['--over', 'http3'])).toThrow(/http3/)
})

test(
  `requests of ${SECONDS} seconds leave no memory, socket, handle or buffered byte`,
  { timeout: SECONDS * 3000 + 120_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-soak-'))
    try {
      const svg = join(folder, 'soak.svg')
      const script = fileURLToPath(new URL('../scripts/soak.ts', import.meta.url))
      const child = spawn(process.execPath, [script, '--seconds', String(SECONDS), '--svg', svg])
      let output = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
      const [code] = (await once(child, 'close')) as [number | null]
      console.log(output)
      expect(code, output).toBe(0)
      for (const kind of [...Object.keys(kinds), 'killedWorker']) expect(output).toContain(`"${kind}":`)
      expect(readFileSync(svg, 'utf8')).toMatch(/^<svg .*<\/svg>\n$/s)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
)
