/**
 * How many rows hold, by section. Every file of the suite counts its own; the last one to finish says the sum, for a run
 * of the whole suite has a process for each file and no order between them.
 */
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'

export type Outcome = 'holds' | 'differs' | 'fails'

export interface RowTally {
  section: string
  title: string
  outcome: Outcome
  ids: string[]
}

const AN_HOUR = 3_600_000
const folder = new URL('../../../node_modules/.cache/sluice-contract/', import.meta.url)

/** The lines to print: of this file's rows, or of all when this was the last file of the suite. */
export function report(rows: readonly RowTally[]): string[] {
  const files = readdirSync(new URL('..', import.meta.url)).filter((name) => name.endsWith('.test.ts')).length
  mkdirSync(folder, { recursive: true })
  // What runs of single files have left: the number of a process comes again.
  for (const name of readdirSync(folder)) {
    const old = new URL(name, folder)
    if (Date.now() - (statSync(old, { throwIfNoEntry: false })?.mtimeMs ?? 0) > AN_HOUR) rmSync(old, { force: true })
  }
  // The forks of one run have one parent.
  const log = new URL(`${process.ppid}.jsonl`, folder)
  appendFileSync(log, `${JSON.stringify(rows)}\n`)
  const parts = readFileSync(log, 'utf8').trim().split('\n')
  const own = summary(rows)
  if (parts.length < files) return own
  rmSync(log, { force: true })
  return [...own, ...total(parts.flatMap((part) => JSON.parse(part) as RowTally[]))]
}

function summary(rows: readonly RowTally[]): string[] {
  const sections = Map.groupBy(rows, ({ section }) => section)
  return [...sections]
    .toSorted(([one], [two]) => one.localeCompare(two, 'en', { numeric: true }))
    .map(([section, own]) => {
      const count = (outcome: Outcome): number => own.filter((row) => row.outcome === outcome).length
      const ids = [...new Set(own.flatMap((row) => row.ids))].toSorted((one, two) =>
        one.localeCompare(two, 'en', { numeric: true }),
      )
      const differing = count('differs') === 0 ? '' : `, ${count('differs')} differ (${ids.join(', ')})`
      const failing = count('fails') === 0 ? '' : `, ${count('fails')} FAIL`
      return `contract ${section}: ${count('holds')} of ${own.length} rows hold${differing}${failing}`
    })
}

function total(rows: readonly RowTally[]): string[] {
  const ids = new Set(rows.flatMap((row) => row.ids))
  const holding = rows.filter((row) => row.outcome === 'holds').length
  return [
    '',
    'undici contract, rows by section:',
    ...summary(rows),
    `contract: ${holding} of ${rows.length} rows hold, ${ids.size} differences on purpose`,
  ]
}
