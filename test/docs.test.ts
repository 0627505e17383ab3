import { afterAll, beforeAll, expect, test } from 'vitest'
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

test.each(examples)('docs/$page:$line prints what it says', async (example) => {
  expect(await world.run(example)).toEqual(example.prints)
})
