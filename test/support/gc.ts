import { setTimeout as delay } from 'node:timers/promises'
import { until, type DeadlineOptions } from './deadline.ts'

/**
 * Collects garbage and lets finalizers run: they are called on later turns of the event loop.
 *
 * @throws Error when Node runs without `--expose-gc`.
 */
export async function collectGarbage(): Promise<void> {
  if (globalThis.gc === undefined) throw new Error('run node with --expose-gc')
  // The stack of this very turn may still hold what is to be collected.
  await new Promise<void>((resolve) => setImmediate(resolve))
  globalThis.gc()
  await new Promise<void>((resolve) => setImmediate(resolve))
}

/** Collects garbage until `predicate` holds; one collection does not free everything that is unreachable. */
export async function untilCollected(predicate: () => unknown, options: DeadlineOptions = {}): Promise<void> {
  await until(
    async () => {
      await collectGarbage()
      if (predicate()) return true
      await delay(5)
      return false
    },
    { what: predicate.toString(), ...options },
  )
}
