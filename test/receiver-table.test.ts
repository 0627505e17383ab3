import { describe, expect, test } from 'vitest'
import { ReceiverTable } from '../streams/receiver-table.ts'

describe('a table of receivers', () => {
  test('finds each by its id, and none after it was deleted', () => {
    const table = new ReceiverTable<string>()
    const ids = Array.from({ length: 1000 }, (_, index) => table.add(`r${index}`))
    expect(new Set(ids).size).toBe(1000)
    expect(ids.map((id) => table.get(id))).toEqual(ids.map((_, index) => `r${index}`))
    for (const id of ids.filter((_, index) => index % 2 === 0)) table.delete(id)
    expect(ids.map((id) => table.get(id))).toEqual(ids.map((_, index) => (index % 2 === 0 ? undefined : `r${index}`)))
    table.delete(ids[0]!)
    expect(table.get(0)).toBeUndefined()
  })

  test('does not give an id out again while one that came later is there', () => {
    const table = new ReceiverTable<number>()
    const old = table.add(-1)
    const seen = new Set([old])
    for (let round = 0; round < 10_000; round++) {
      const id = table.add(round)
      expect(seen.has(id)).toBe(false)
      seen.add(id)
      expect(table.get(id)).toBe(round)
      table.delete(id)
    }
    expect(table.get(old)).toBe(-1)
  })

  test('takes another receiver for an id, known or not', () => {
    const table = new ReceiverTable<string>()
    const id = table.add('first')
    table.set(id, 'second')
    expect(table.get(id)).toBe('second')
    table.delete(id)
    table.set(id, 'third')
    table.set(id + 64, 'beside it')
    expect([table.get(id), table.get(id + 64)]).toEqual(['third', 'beside it'])
    table.delete(id)
    expect([table.get(id), table.get(id + 64)]).toEqual([undefined, 'beside it'])
  })
})
