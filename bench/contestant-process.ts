/**
 * One contestant's round: `contestant-process.ts` takes a {@link Task} as its first message and sends an {@link Outcome}
 * for each work, in their order.
 */
import { once } from 'node:events'
import type { Measurement } from './metrics.ts'
import type { ScenarioName } from './scenarios/names.ts'
import type { Context, Work } from './scenarios/scenario.ts'

export interface Task {
  scenario: ScenarioName
  contestant: string
  works: Work[]
  context: Context
}

export type Outcome = { id: string; measurement: Measurement } | { id: string; error: string }

process.on('disconnect', () => process.exit(0))
const [task] = (await once(process, 'message')) as [Task]
const { loadScenario } = await import('./scenarios/index.ts')
const scenario = await loadScenario(task.scenario)
for (const work of task.works) {
  let outcome: Outcome
  try {
    outcome = { id: work.id, measurement: await scenario.measure(task.contestant, work, task.context) }
  } catch (error) {
    outcome = { id: work.id, error: describe(error) }
  }
  process.send?.(outcome)
}

/** The first line of an error and of its causes: what fits into a table. */
function describe(error: unknown): string {
  const parts: string[] = []
  for (let at = error; at instanceof Error && parts.length < 4; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException
    parts.push(`${at.name}${typeof code === 'string' ? ` (${code})` : ''}: ${at.message.split('\n')[0]}`)
  }
  return parts.length === 0 ? String(error) : parts.join(' ← ')
}
