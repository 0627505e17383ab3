/** A few of the schedules; `npm run fuzz` runs more. */
import { expect, test, vi } from 'vitest'
import { run } from './fuzz/stream-schedules.ts'
import { found, spyOnViews } from './support/views.ts'

test('bodies are read as the streams of the platform are, whatever is done to them', async () => {
  const views = spyOnViews()
  await run(1, 2000)
  expect(found(views)).toBeGreaterThan(0)
  vi.restoreAllMocks()
}, 120_000)
