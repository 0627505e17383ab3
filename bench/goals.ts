/** What sluice wants to be: ratios within one run, as data, and their verdicts over its rows. */
import { engines, type Engine } from './contestants/sluice.ts'
import { metrics, type Metric } from './metrics.ts'
import type { Row } from './rows.ts'

export interface Goal {
  title: string
  work: string
  metric: Metric
  /** sluice's row, without the engine. */
  contestant: string
  /** The row it is compared with; none where `bound` is a figure of its own. */
  rival: string | null
  /** `≥` or `≤` of the ratio (or of the figure, without a rival). */
  sense: 'at least' | 'at most'
  bound: number
}

/** MB of all bodies of an agent, at its defaults, and a tenth. */
const BUDGET_MB = ((64 * 1024 ** 2) / 1e6) * 1.1

const goal = (
  title: string,
  work: string,
  contestant: string,
  rival: string | null,
  bounds: Partial<Record<Metric, number>>,
): Goal[] =>
  (Object.entries(bounds) as [Metric, number][]).map(([metric, bound]) => ({
    title,
    work,
    metric,
    contestant,
    rival,
    sense: metrics[metric].isBetter === 'more' ? 'at least' : 'at most',
    bound,
  }))

export const goals: Goal[] = [
  ...goal('small GET, 64 at once, dispatch', 'http1/get/64', 'sluice dispatch', 'undici dispatch', {
    perSecond: 1.4,
    threadMicros: 0.28,
    processMicros: 0.8,
  }),
  ...goal('small GET, 64 at once, fetch', 'http1/get/64', 'sluice fetch', 'built-in fetch', {
    perSecond: 4.5,
    threadMicros: 0.12,
  }),
  ...goal('one at a time, dispatch', 'http1/get/1', 'sluice dispatch', 'undici dispatch', { meanMicros: 1 }),
  ...goal('one at a time, fetch', 'http1/get/1', 'sluice fetch', 'built-in fetch', { meanMicros: 0.5 }),
  ...goal('POST 1 KiB, 64 at once', 'http1/post/64', 'sluice dispatch', 'undici dispatch', { perSecond: 1.4 }),
  ...goal('HTTP/2 GET, 64 at once', 'http2/get/64', 'sluice dispatch', 'undici dispatch', {
    perSecond: 3,
    threadMicros: 0.15,
  }),
  ...goal('HTTP/2 POST, 64 at once', 'http2/post/64', 'sluice dispatch', 'undici dispatch', {
    perSecond: 3,
    threadMicros: 0.15,
  }),
  ...goal('2 GiB, default reader', 'stream/reader', 'sluice fetch', 'built-in fetch', {
    gbPerSecond: 1.4,
    cpuPerGb: 0.7,
    threadPerGb: 0.4,
  }),
  ...goal('2 GiB, BYOB', 'stream/byob', 'sluice fetch', 'net socket', { gbPerSecond: 0.95 }),
  ...goal('2 GiB, BYOB', 'stream/byob', 'sluice fetch', 'built-in fetch', { cpuPerGb: 0.35, threadPerGb: 0.15 }),
  ...goal('1 GiB into a file in memory', 'stream/file', 'sluice fetch', 'undici stream', { gbPerSecond: 3 }),
  ...goal('1 GiB into a file in memory', 'stream/file', 'sluice fetch', 'curl', { cpuPerGb: 1.1 }),
  ...goal('upload 1 GiB from a generator', 'upload/generator', 'sluice request', 'undici request', { cpuPerGb: 0.75 }),
  ...goal('upload 1 GiB from a file', 'upload/file', 'sluice fetch', 'curl', { cpuPerGb: 1.1 }),
  ...goal('1000 paused 100 MB bodies', 'memory/paused', 'sluice dispatch', 'undici dispatch', { rssAboveIdle: 0.25 }),
  ...goal('1000 paused 100 MB bodies, MB', 'memory/paused', 'sluice dispatch', null, { rssAboveIdle: BUDGET_MB }),
  ...goal('import and first response', 'startup/first', 'sluice fetch', 'built-in fetch', { firstMs: 1 }),
]

export interface Verdict {
  goal: Goal
  engine: Engine
  /** The ratio, or the figure without a rival; `null` when a row is missing. */
  reached: number | null
  isMet: boolean | null
}

/** Each goal for each engine. */
export function judge(rows: readonly Row[], wanted: readonly Goal[] = goals): Verdict[] {
  return wanted.flatMap((goal) => engines.map((engine) => verdictOf(goal, engine, rows)))
}

function verdictOf(goal: Goal, engine: Engine, rows: readonly Row[]): Verdict {
  const valueOf = (contestant: string): number | undefined =>
    rows.find((row) => row.work === goal.work && row.contestant === contestant)?.values[goal.metric]
  const own = valueOf(`${goal.contestant}, ${engine}`)
  const other = goal.rival === null ? 1 : valueOf(goal.rival)
  if (own === undefined || other === undefined) return { goal, engine, reached: null, isMet: null }
  const reached = own / other
  return { goal, engine, reached, isMet: goal.sense === 'at least' ? reached >= goal.bound : reached <= goal.bound }
}

/** Cells of the goals' table: a heading row, and a row for each goal with both engines. */
export function goalCells(verdicts: readonly Verdict[]): string[][] {
  const byGoal = Map.groupBy(verdicts, ({ goal }) => goal)
  const heading = ['work', 'figure', 'against', 'goal', ...engines.flatMap((engine) => [engine, 'met'])]
  return [
    heading,
    ...[...byGoal].map(([goal, both]) => {
      const unit = goal.rival === null ? '' : '×'
      return [
        goal.title,
        metrics[goal.metric].title,
        goal.rival ?? 'the budget',
        `${goal.sense === 'at least' ? '≥' : '≤'} ${goal.bound.toFixed(2)}${unit}`,
        ...both.flatMap(({ reached, isMet }) => [
          reached === null ? '–' : `${reached.toFixed(2)}${unit}`,
          isMet === null ? '–' : isMet ? 'yes' : 'no',
        ]),
      ]
    }),
  ]
}
