/**
 * Bodies under schedules of everything that a program and a server may do to them, in either implementation of streams,
 * compared with the platform's own byte stream: the same bytes in the same reads, the same errors, and nothing that hangs.
 */
import { Agent, fetch } from '../../lib/index.ts'
import { implementations } from '../support/bodies.ts'
import { ScriptedBody, startBodyServer, type BodyServer } from '../support/body-server.ts'
import { within } from '../support/deadline.ts'
import { startRun, type StreamRun } from '../support/stream-runs.ts'
import { makeSchedule, printSchedule, type Schedule } from '../support/stream-schedule.ts'

export const name = 'stream schedules'
/** Cases of a long run. */
export const longCases = 100_000

/** Schedules at once. */
const LANES = 24

/**
 * Runs `cases` schedules, those of the seeds from `seed` on.
 * @throws Error with the seed, the schedule and the difference; `run(thatSeed, 1)` runs it again
 */
export async function run(seed: number, cases: number): Promise<void> {
  const server = await startBodyServer()
  let next = seed
  let failure: unknown = null
  const lane = async (): Promise<void> => {
    const agent = new Agent()
    try {
      while (next < seed + cases && failure === null) await runSchedule(makeSchedule(next++), server, agent)
    } catch (error) {
      failure ??= error
    } finally {
      await agent.destroy()
    }
  }
  await Promise.all(Array.from({ length: Math.min(LANES, cases) }, lane))
  await server.close()
  if (failure !== null) throw failure
}

async function runSchedule(schedule: Schedule, server: BodyServer, agent: Agent): Promise<void> {
  const { framing, length, first, isAtOnce, seed } = schedule
  const body = new ScriptedBody(framing, length, first, isAtOnce, seed % 4093)
  const controller = new AbortController()
  const { streams } = implementations.find((implementation) => implementation.name === schedule.streams)!
  let started: StreamRun | null = null
  try {
    const pending = fetch(server.origin + server.offer(body), {
      dispatcher: agent,
      signal: controller.signal,
      streams: streams as any,
    })
    const response = await within(pending, { timeoutMs: 30_000, what: 'the response' })
    started = startRun({ schedule, body, agent, controller, response: response as Response })
    await started.run()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new Error(`seed ${seed}: ${message}\n${printSchedule(schedule)}\n${started?.describe() ?? 'no response'}`, {
      cause: error,
    })
  } finally {
    if (!body.isEnded) body.drop()
  }
}
