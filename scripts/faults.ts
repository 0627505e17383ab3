/**
 * `npm run faults`: every kind of fault, many times, by every path over every protocol it has. Prints the table of kinds
 * and codes, and what was not as expected; the last line is `N as expected, N not`.
 */
import { parseArgs } from 'node:util'
import { writeDocsTable } from '../test/faults/client/docs.ts'
import { markdownTables } from '../test/faults/client/markdown.ts'
import { rowsOf, runAll } from '../test/faults/client/plan.ts'
import type { Row } from '../test/faults/client/plan.ts'
import { openSockets } from '../test/faults/client/sockets.ts'
import { paths, protocols } from '../test/faults/kind.ts'
import type { Path, Protocol } from '../test/faults/kind.ts'
import { kinds } from '../test/faults/kinds.ts'

const HELP = `npm run faults -- [OPTIONS]
  --times N         runs of each kind on each path over each protocol; 20 by default
  --kind PATTERN    kinds whose name has it, a regular expression
  --path PATH       dispatch, legacy, fetch or toFile; may be repeated
  --protocol P      h1, h1s or h2; may be repeated
  --slots N         runs at a time; 24 by default
  --outcomes        what every kind has come to
  --write           writes the table into docs/reliability.md
`

const { values } = parseArgs({
  options: {
    times: { type: 'string', default: '20' },
    kind: { type: 'string', default: '' },
    path: { type: 'string', multiple: true, default: [] },
    protocol: { type: 'string', multiple: true, default: [] },
    slots: { type: 'string', default: '24' },
    outcomes: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const print = (text: string): void => void process.stdout.write(text)

function wantedOf<T extends string>(given: string[], all: readonly T[]): T[] {
  const unknown = given.find((name) => !(all as readonly string[]).includes(name))
  if (unknown !== undefined) throw new Error(`${unknown}: it is one of ${all.join(', ')}`)
  return given as T[]
}

function describe(row: Row): string {
  const { outcomes } = row
  const told = (['dispatch', 'fetch'] as const).map((side) =>
    Object.entries(outcomes[side])
      .map(([outcome, count]) => `${outcome} ×${count}`)
      .join(', '),
  )
  return `${row.name}: ${told[0] === told[1] ? told[0] : told.join('; fetch: ')}`
}

function complain(row: Row): string {
  if (row.isAwaited) return `RIGHT   ${describe(row)}\n        it was expected to fail, until ${row.kind.awaits}\n`
  const problems = Object.entries(row.problems).map(
    ([problem, count]) => `        ${count} of ${row.runs}: ${problem}\n`,
  )
  return `WRONG   ${describe(row)}\n${problems.join('')}`
}

async function main(): Promise<void> {
  const pattern = new RegExp(values.kind)
  const wanted: Path[] = wantedOf(values.path, paths)
  const rows = rowsOf(
    kinds.filter(({ name }) => pattern.test(name)),
    wantedOf<Protocol>(values.protocol, protocols),
  )
  const rejections: unknown[] = []
  process.on('unhandledRejection', (reason) => rejections.push(reason))
  const pathsOf = () => (wanted.length > 0 ? wanted : paths)
  const settings = { pathsOf, slots: Number(values.slots) }
  // What the process keeps for good is there after its first requests.
  await runAll({ ...settings, rows: rowsOf(rows.slice(0, 1).map(({ kind }) => kind)), times: 1 })
  const before = openSockets()
  const start = performance.now()
  let told = start
  await runAll({
    ...settings,
    rows,
    times: Number(values.times),
    onRun(done, all) {
      if (performance.now() - told < 10_000) return
      told = performance.now()
      process.stderr.write(`${done} of ${all} runs\n`)
    },
  })
  const seconds = ((performance.now() - start) / 1000).toFixed(0)
  const table = markdownTables()
  if (values.write) writeDocsTable(table)
  print(`${table}\n`)
  if (values.outcomes) for (const row of rows) print(`${describe(row)}\n`)
  const unexpected = rows.filter((row) => !row.isAsExpected)
  for (const row of unexpected) print(complain(row))
  for (const reason of rejections) print(`WRONG   an unhandled rejection: ${String(reason)}\n`)
  const left = openSockets() - before
  if (left > 0) print(`WRONG   ${left} sockets are left in this process\n`)
  const runs = rows.reduce((sum, row) => sum + row.runs, 0)
  const wrong = unexpected.length + rejections.length + (left > 0 ? 1 : 0)
  const awaited = rows.filter((row) => row.isAwaited && row.isAsExpected).length
  print(`\n${runs} runs in ${seconds} s; ${awaited} rows are expected failures\n`)
  print(`${rows.length - unexpected.length} as expected, ${wrong} not\n`)
  process.exitCode = wrong === 0 ? 0 : 1
}

if (values.help) print(HELP)
else await main()
