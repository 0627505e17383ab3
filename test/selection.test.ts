/** The rows of a matrix that run are few, and leave no value out. */
import { describe, expect, test } from 'vitest'
import { AGENTS, APIS, DISPATCHERS, LEGACY, REQWEST, selected, WIRE } from './contract/support/contestants.ts'
import { select } from './support/selection.ts'

const values = { version: ['1', '2'], transport: ['wire', 'reqwest'], way: ['fetch', 'dispatch', 'upgrade'] }
const defaults = { version: '1', transport: 'wire', way: 'fetch' }
const product: readonly Record<string, string>[] = values.version.flatMap((version) =>
  values.transport.flatMap((transport) => values.way.map((way) => ({ version, transport, way }))),
)

describe('of a whole product', () => {
  const rows = select(product, defaults, false)

  test('every value runs, with the default of every other dimension, and nothing else does', () => {
    for (const [dimension, all] of Object.entries(values)) {
      for (const value of all) expect(rows).toContainEqual({ ...defaults, [dimension]: value })
    }
    expect(rows).toHaveLength(1 + 1 + 1 + 2)
  })

  test('the order is kept', () => {
    expect(rows).toEqual(product.filter((row) => rows.includes(row)))
  })

  test('all of it runs when it is asked for', () => {
    expect(select(product, defaults, true)).toEqual(product)
  })
})

test('a matrix without the default starts from the row that is nearest to it', () => {
  const second = product.filter(({ version, way }) => version === '2' && way !== 'fetch')
  expect(select(second, defaults, false)).toEqual([
    { version: '2', transport: 'wire', way: 'dispatch' },
    { version: '2', transport: 'wire', way: 'upgrade' },
    { version: '2', transport: 'reqwest', way: 'dispatch' },
  ])
})

test('what is no dimension selects nothing', () => {
  const rows = product.map((row) => ({ name: Object.values(row).join(), run: () => row }))
  expect(select(rows, {}, false)).toEqual(rows)
  expect(select<object>([], {}, false)).toEqual([])
})

describe('of the contestants', () => {
  const names = (contestants: typeof DISPATCHERS): string[] => selected(contestants, false).map(({ name }) => name)

  test('every engine and every generation runs, and undici 8 as the reference', () => {
    expect(names(DISPATCHERS)).toEqual(['undici 8', 'sluice', 'sluice, legacy handler', 'sluice over reqwest'])
    expect(names(WIRE)).toEqual(['undici 8', 'sluice', 'sluice, legacy handler'])
    expect(names(AGENTS)).toEqual(['undici 8', 'sluice', 'sluice over reqwest'])
    expect(names(REQWEST)).toEqual(['undici 8', 'sluice over reqwest'])
    expect(names(LEGACY)).toEqual(['sluice, legacy handler'])
  })

  test('both undicis run over sluice', () => {
    expect(names(APIS)).toEqual([
      'undici 8',
      'undici 8 over sluice',
      'undici 7 over sluice',
      'undici 8 over sluice over reqwest',
    ])
  })
})
