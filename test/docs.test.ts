import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createFetchRequest } from '../lib/fetch-request.ts'
import { optionNames } from '../lib/option-table.ts'
import { findExamples, startWorld } from './support/examples.ts'
import type { ExampleWorld } from './support/examples.ts'

const examples = findExamples()
let world: ExampleWorld

beforeAll(async () => {
  world = await startWorld()
})

afterAll(() => world[Symbol.asyncDispose]())

test('every example of the documentation is one that runs, and says what it prints', () => {
  const dumb = examples.filter(({ isRunnable, prints }) => !isRunnable || prints.length === 0)
  expect(dumb.map(({ page, line }) => `${page}:${line}`)).toEqual([])
  expect(examples.length).toBeGreaterThan(0)
})

/** Option and last column of each row of the table in `docs/options.md`. */
function optionRows(): Map<string, string> {
  const page = readFileSync(new URL('../docs/options.md', import.meta.url), 'utf8')
  const rows = page.split('\n').filter((line) => line.startsWith('| `'))
  return new Map(rows.map((line) => line.split('|').map((cell) => cell.trim())).map((cells) => [cells[1]!, cells[4]!]))
}

test('docs/options.md has every option of an Agent, and says which of them fetch takes', () => {
  const rows = optionRows()
  expect([...rows.keys()].toSorted()).toEqual(optionNames.map((name) => `\`${name}\``).toSorted())
  const ofFetch = [...rows].filter(([, places]) => places.includes('`fetch`')).map(([name]) => name.slice(1, -1))
  const { limits } = createFetchRequest('http://a.test', {})
  expect(ofFetch.toSorted()).toEqual([...Object.keys(limits), 'streams'].toSorted())
})

test.concurrent.each(examples)('docs/$page:$line prints what it says', async (example) => {
  expect(await world.run(example)).toEqual(example.prints)
})
