/**
 * Cases of our own after web-platform-tests, each named by the file it follows. Each runs on the built-in fetch, so that
 * it is known to be right, and on sluice over both engines and over a dispatcher of undici's; those of streams also with
 * web-streams-polyfill. What a contestant does not do stands in `exclusions.ts` and must go on failing, or the line is to
 * be removed.
 */
import { afterAll, describe, expect, test } from 'vitest'
import { within } from '../support/deadline.ts'
import './cases/abort.ts'
import './cases/basic.ts'
import './cases/byte-streams.ts'
import './cases/form-parsing.ts'
import './cases/headers.ts'
import './cases/local-urls.ts'
import './cases/parsing.ts'
import './cases/piping.ts'
import './cases/readable-streams.ts'
import './cases/redirect.ts'
import './cases/request-body.ts'
import './cases/request-init.ts'
import './cases/response.ts'
import { Context } from './context.ts'
import type { Name } from './context.ts'
import { EXCLUSIONS, NOT_FOLLOWED } from './exclusions.ts'
import { cases } from './registry.ts'
import type { Case } from './registry.ts'

/** What hangs has failed; no case takes a fraction of it. */
const DEADLINE_MS = 8000
/** A case that is known to fail may do so by hanging; it is one that holds, or fails by itself, within milliseconds. */
const EXCLUDED_DEADLINE_MS = 500

const counts = new Map<Name, { held: number; excluded: number }>()

function namesOf({ isOfStreams }: Case): Name[] {
  const names: Name[] = ['built-in', 'sluice', 'sluice, reqwest', 'sluice, undici']
  return isOfStreams ? [...names, 'sluice, polyfill'] : names
}

const isExcluded = (one: Case, name: Name): boolean =>
  EXCLUSIONS.some(({ title, on }) => title === one.name && (on as readonly Name[]).includes(name))

async function run(one: Case, name: Name, timeoutMs = DEADLINE_MS): Promise<void> {
  await using context = new Context(name)
  await within(Promise.resolve(one.run(context)), { timeoutMs, what: one.name })
}

function count(name: Name, outcome: 'held' | 'excluded'): void {
  const of = counts.get(name) ?? { held: 0, excluded: 0 }
  of[outcome]++
  counts.set(name, of)
}

for (const [file, ofFile] of Map.groupBy(cases, (one) => one.file)) {
  describe(file, () => {
    for (const one of ofFile) {
      for (const name of namesOf(one)) {
        if (isExcluded(one, name)) {
          test.concurrent(`${one.title} (${name}): excluded, and still fails`, async () => {
            await expect(run(one, name, EXCLUDED_DEADLINE_MS)).rejects.toBeDefined()
            count(name, 'excluded')
          })
        } else {
          test.concurrent(`${one.title} (${name})`, async () => {
            await run(one, name)
            count(name, 'held')
          })
        }
      }
    }
  })
}

test('what is not followed has a reason, and no case', () => {
  const followed = new Set(cases.map(({ file }) => file))
  for (const { path, reason } of NOT_FOLLOWED) {
    expect(reason).not.toBe('')
    expect(followed.has(path), path).toBe(false)
  }
})

test('every exclusion names a case and who fails it', () => {
  const known = new Map(cases.map((one) => [one.name, namesOf(one)]))
  const unknown = EXCLUSIONS.filter(
    ({ title, on }) => on.length === 0 || on.some((name) => !known.get(title)?.includes(name)),
  )
  expect(unknown).toEqual([])
  expect(new Set(cases.map(({ name }) => name)).size, 'no two cases have one name').toBe(cases.length)
})

afterAll(() => {
  const lines = [...counts].map(([name, { held, excluded }]) => `wpt, ${name}: ${held} hold, ${excluded} excluded`)
  const files = new Set(cases.map(({ file }) => file)).size
  process.stdout.write(
    `wpt: ${cases.length} cases after ${files} files, ${NOT_FOLLOWED.length} paths not followed\n${lines.join('\n')}\n`,
  )
})
