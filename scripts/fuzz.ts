/**
 * `npm run fuzz -- [--seed N] [--cases N] [--only NAME]`: the targets of `test/fuzz` at length. Each generates its cases from
 * a seed, so that a failure is repeated by naming that seed; the tests of the gate run a few seconds of the same.
 */
import { readdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { table } from './support/table.ts'

interface Target {
  name: string
  /** Cases of a long run. */
  longCases: number
  /** Runs so many cases. @throws Error with the seed of the case that failed */
  run(seed: number, cases: number): void | Promise<void>
}

/** Cases between two lines of progress. */
const BATCHES = 20

const { values } = parseArgs({
  options: { seed: { type: 'string' }, cases: { type: 'string' }, only: { type: 'string' } },
})
const folder = new URL('../test/fuzz/', import.meta.url)
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)
const rows = [['target', 'cases', 'seconds', 'outcome']]
let isGood = true

for (const file of readdirSync(folder).toSorted()) {
  const target = (await import(new URL(file, folder).href)) as Partial<Target>
  // What the targets share lies beside them.
  if (target.run === undefined || target.name === undefined || target.longCases === undefined) continue
  if (values.only !== undefined && !target.name.includes(values.only)) continue
  rows.push(await runTarget(target as Target))
}

process.stdout.write(`\nseed ${seed}\n${table(rows)}`)
process.exit(isGood ? 0 : 1)

async function runTarget({ name, longCases, run }: Target): Promise<string[]> {
  const cases = values.cases === undefined ? longCases : Number(values.cases)
  const batch = Math.max(1, Math.ceil(cases / BATCHES))
  const start = performance.now()
  let done = 0
  try {
    for (; done < cases; done += batch) {
      await run(seed + done, Math.min(batch, cases - done))
      process.stdout.write(`${name}: ${Math.min(done + batch, cases)} of ${cases}\n`)
    }
    return [name, `${cases}`, seconds(start), 'ok']
  } catch (error) {
    isGood = false
    process.stdout.write(`${name}: ${error instanceof Error ? error.stack : String(error)}\n`)
    return [name, `${done}`, seconds(start), 'FAILED']
  }
}

function seconds(start: number): string {
  return ((performance.now() - start) / 1000).toFixed(1)
}
