/**
 * Every kind of fault twice, on a path that its place in the table decides; `npm run faults` has the other paths, and
 * more of each. What was known to be wrong and is right now fails, until its row says so.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import { markdownTables } from './faults/client/markdown.ts'
import { docsTable } from './faults/client/docs.ts'
import { rowsOf, runAll } from './faults/client/plan.ts'
import type { Row } from './faults/client/plan.ts'
import { paths } from './faults/kind.ts'
import type { Path } from './faults/kind.ts'
import { kinds } from './faults/kinds.ts'

const rows = rowsOf(kinds)
const TIMES = 2
/** Runs at a time: most of them wait for a timeout. */
const SLOTS = 16

/** Where the two ways differ, `fetch` has the fault. */
function pathOf({ kind }: Row, index: number): Path {
  const hasOne = typeof kind.expect === 'string' || Array.isArray(kind.expect)
  const some = hasOne ? paths : (['fetch', 'toFile'] as const)
  return some[index % some.length]!
}

beforeAll(() => runAll({ rows, times: TIMES, slots: SLOTS, pathsOf: (row, index) => [pathOf(row, index)] }), 300_000)

const right = rows.filter((row) => !row.isAwaited)
const awaited = rows.filter((row) => row.isAwaited && row.kind.isRare !== true)
const rare = rows.filter((row) => row.isAwaited && row.kind.isRare === true)

test('every row has run', () => {
  expect(rows.filter((row) => row.runs !== TIMES).map((row) => row.name)).toEqual([])
})

test.each(right)('$name: one right end, and nothing is left of it', (row) => {
  expect(row.problems).toEqual({})
})

describe('not right yet', () => {
  // One that passes is marked by its row no longer.
  test.fails.each(awaited)('$name: $kind.awaits', (row) => {
    expect(row.problems).toEqual({})
  })

  test.each(rare)('$name: $kind.awaits, now and then', (row) => {
    const others = Object.keys(row.problems).filter((problem) => !/: (?:it is|the next request:) /.test(problem))
    expect(others).toEqual([])
  })
})

test('docs/reliability.md has the table', () => {
  expect(docsTable()).toBe(markdownTables())
})
