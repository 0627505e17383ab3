/**
 * A row of the contract: one body, run by every contestant, and what undici does with it. sluice does the same, or the
 * row names a difference that COMPATIBILITY.md admits, and then sluice does exactly what the row says of it.
 */
import { isDeepStrictEqual } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { ADMITTED } from './compatibility.ts'
import { DISPATCHERS, selected } from './contestants.ts'
import type { Contestant } from './contestants.ts'
import { Stage } from './stage.ts'
import { report } from './tally.ts'
import type { RowTally } from './tally.ts'

type Expected<T> = T | ((contestant: Contestant) => T)

export interface Difference<T> {
  /** Of the list in COMPATIBILITY.md. */
  id: string
  /** Whose difference it is: every sluice by default. */
  when?: (contestant: Contestant) => boolean
  /** What sluice does instead. */
  observed: Expected<T>
}

export interface Row<T> {
  /** Every dispatcher with every generation of handler by default. */
  on?: readonly Contestant[]
  run(stage: Stage): Promise<T> | T
  /** What undici 8 does. */
  expected: Expected<T>
  /** What undici 7 does where it is something else; sluice follows 8. */
  undici7?: Expected<T>
  differs?: readonly Difference<T>[]
  /** One contestant after the other, for what is of the whole process. */
  isSerial?: boolean
}

const tallies: RowTally[] = []

/** @param title starts with the section of the contract: `§3 …` */
export function row<T>(
  title: string,
  { on = DISPATCHERS, run, expected, undici7, differs = [], isSerial }: Row<T>,
): void {
  for (const { id, when } of differs) {
    const isUsed = on.some((contestant) => contestant.library === 'sluice' && (when === undefined || when(contestant)))
    if (!isUsed) throw new Error(`${title}: ${id} is nobody's difference`)
  }
  const section = /^§\d/.exec(title)![0]
  const tally: RowTally = { section, title, outcome: 'holds', ids: [] }
  tallies.push(tally)
  const expectedOf = (contestant: Contestant): T =>
    valueOf(contestant.library === 'undici 7' && undici7 !== undefined ? undici7 : expected, contestant)

  const check = async (contestant: Contestant): Promise<void> => {
    const difference =
      contestant.library === 'sluice' ? differs.find(({ when }) => when === undefined || when(contestant)) : undefined
    const fails = (): void => {
      tally.outcome = 'fails'
    }
    try {
      await using stage = new Stage(contestant)
      const observed = await run(stage)
      if (difference === undefined) {
        expect(observed).toEqual(expectedOf(contestant))
        return
      }
      const { id } = difference
      tally.ids.push(id)
      if (tally.outcome === 'holds') tally.outcome = 'differs'
      expect(ADMITTED.has(id), `${id} stands in COMPATIBILITY.md`).toBe(true)
      expect(isDeepStrictEqual(observed, expectedOf(contestant)), `${id} still differs`).toBe(false)
      expect(observed).toEqual(valueOf(difference.observed, contestant))
    } catch (error) {
      fails()
      throw error
    }
  }

  const chosen = selected(on)
  describe(title, () => {
    for (const contestant of on) {
      // undici 7 is only asked where it is said to do something else.
      const isAsked = undici7 !== undefined && contestant.library === 'undici 7'
      if (!isAsked && !chosen.includes(contestant)) continue
      if (isSerial === true) test(contestant.name, () => check(contestant))
      else test.concurrent(contestant.name, () => check(contestant))
    }
  })
}

function valueOf<T>(value: Expected<T>, contestant: Contestant): T {
  return typeof value === 'function' ? (value as (contestant: Contestant) => T)(contestant) : value
}

afterAll(() => {
  process.stdout.write(`${report(tallies).join('\n')}\n`)
})
