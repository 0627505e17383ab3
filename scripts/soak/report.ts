/** What a run has shown: the verdicts, and the samples as a table and a picture. */
import { table } from '../support/table.ts'
import { chartOf } from './chart.ts'
import type { Series } from './chart.ts'
import type { Sample } from './samples.ts'
import { trendOf } from './trend.ts'
import type { Points } from './trend.ts'

const MiB = 1024 * 1024

interface Figure {
  name: string
  of(sample: Sample): number
  /** What a line fitted to the later part of a run may rise by: so many bytes move without a leak. */
  mayRise: number
}

/**
 * V8 gives its heap more room in steps of 16 and 32 MiB, the last of them after some 300 000 requests, whether or not it
 * uses that; so what it has is taken off the whole, and what it uses is a figure of its own.
 */
const FIGURES: Figure[] = [
  {
    name: 'memory outside of the heap',
    of: ({ rss, heapRoom }) => rss - heapRoom,
    mayRise: 24 * MiB,
  },
  { name: 'heap', of: ({ heap }) => heap, mayRise: 4 * MiB },
  { name: 'external', of: ({ external }) => external, mayRise: 8 * MiB },
]

/** What is to be there at no sample. */
const NOTHING = ['bufferedBytes', 'handles'] as const

export interface Verdict {
  isGood: boolean
  text: string
}

const pointsOf = (samples: readonly Sample[], of: (sample: Sample) => number, scale = 1): Points =>
  samples.map((sample) => [sample.requests, of(sample) / scale] as const)

/** `socketLimit`: what the agents may have open. */
export function judge(samples: readonly Sample[], socketLimit: number): Verdict[] {
  const verdicts: Verdict[] = []
  for (const { name, of, mayRise } of FIGURES) {
    const { base, rise, slope } = trendOf(pointsOf(samples, of))
    verdicts.push({
      isGood: rise <= mayRise,
      text:
        `${name}: ${(base / MiB).toFixed(1)} MiB after the warm-up, then ${(rise / MiB).toFixed(1)} MiB more ` +
        `(${slope.toFixed(1)} bytes a request; at most ${(mayRise / MiB).toFixed(1)} MiB)`,
    })
  }
  for (const name of NOTHING) {
    const most = Math.max(...samples.map((sample) => sample[name]))
    verdicts.push({ isGood: most === 0, text: `${name}: at most ${most} with no request under way (0 is right)` })
  }
  const sockets = Math.max(...samples.map((sample) => sample.sockets))
  verdicts.push({ isGood: sockets <= socketLimit, text: `sockets: at most ${sockets} (${socketLimit} may be open)` })
  return verdicts
}

/** At most `rows` of them. */
export function tableOf(samples: readonly Sample[], rows = 25): string {
  const step = Math.max(1, Math.ceil(samples.length / rows))
  const shown = samples.filter((_, index) => index % step === 0 || index === samples.length - 1)
  const mebibytes = (bytes: number): string => (bytes / MiB).toFixed(1)
  return table([
    ['requests', 'seconds', 'RSS MiB', 'heap MiB', 'of', 'external MiB', 'sockets', 'handles', 'buffered'],
    ...shown.map((sample) => [
      String(sample.requests),
      sample.seconds.toFixed(1),
      mebibytes(sample.rss),
      mebibytes(sample.heap),
      mebibytes(sample.heapRoom),
      mebibytes(sample.external),
      String(sample.sockets),
      String(sample.handles),
      String(sample.bufferedBytes),
    ]),
  ])
}

export function pictureOf(heading: string, samples: readonly Sample[]): string {
  const series = (title: string, of: (sample: Sample) => number, scale = 1, isFitted = false): Series => ({
    title,
    points: pointsOf(samples, of, scale),
    isFitted,
  })
  return chartOf(heading, 'requests', [
    series('RSS, MiB', ({ rss }) => rss, MiB),
    series("RSS without V8's heap, MiB", ({ rss, heapRoom }) => rss - heapRoom, MiB, true),
    series('heap in use, MiB', ({ heap }) => heap, MiB, true),
    series('sockets', ({ sockets }) => sockets),
    series('handles of requests', ({ handles }) => handles),
    series('bufferedBytes', ({ bufferedBytes }) => bufferedBytes),
  ])
}
