/** The list of differences in COMPATIBILITY.md and the rows that name them are the same list. */
import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, expect, test } from 'vitest'
import { ADMITTED } from './support/compatibility.ts'
import { report } from './support/tally.ts'

/** Every id that a row of the suite differs by; such a row fails once sluice does what undici does. */
const named = new Set(
  readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith('.test.ts'))
    .flatMap((file) => readFileSync(`${import.meta.dirname}/${file}`, 'utf8').match(/(?<=id: ')C\d+(?=')/g) ?? []),
)

const byNumber = (one: string, two: string): number => Number(one.slice(1)) - Number(two.slice(1))

test('every difference of a row stands in COMPATIBILITY.md, and every line there has a row', () => {
  expect([...ADMITTED.keys()].toSorted(byNumber)).toEqual([...named].toSorted(byNumber))
})

test('every line says what both do, and why', () => {
  for (const [id, cells] of ADMITTED) {
    expect(
      cells.split(' | ').map((cell) => cell.trim().length > 0),
      id,
    ).toEqual([true, true, true])
  }
})

test('there are no more than 20', () => {
  expect(ADMITTED.size).toBeLessThanOrEqual(20)
})

afterAll(() => {
  process.stdout.write(`${report([]).join('\n')}\n`)
})
