import { setTimeout as delay } from 'node:timers/promises'

/** How long a condition may take, in ms. */
export interface DeadlineOptions {
  /** ms until it fails; 10 000 by default. */
  timeoutMs?: number
  /** What is awaited, for the message of the failure. */
  what?: string
}

/**
 * Resolves with the first truthy result of `predicate`, asked again on every turn of the event loop at first and then
 * every few milliseconds.
 *
 * @throws Error naming what was awaited and the last result, after `timeoutMs`.
 */
export async function until<T>(
  predicate: () => T | Promise<T>,
  { timeoutMs = 10_000, what = predicate.toString() }: DeadlineOptions = {},
): Promise<NonNullable<T>> {
  const start = performance.now()
  for (let turn = 0; ; turn++) {
    const result = await predicate()
    if (result) return result
    if (performance.now() - start > timeoutMs) {
      throw new Error(`not within ${timeoutMs} ms: ${what} (last result: ${String(result)})`)
    }
    if (turn < 20) await new Promise<void>((resolve) => setImmediate(resolve))
    else await delay(5)
  }
}

/**
 * The promise's outcome, or a rejection after `timeoutMs`.
 *
 * @throws Error naming what was awaited.
 */
export async function within<T>(
  promise: Promise<T>,
  { timeoutMs = 10_000, what = 'the promise' }: DeadlineOptions = {},
): Promise<T> {
  const timer = Promise.withResolvers<never>()
  const timeout = setTimeout(() => {
    timer.reject(new Error(`${what} did not settle within ${timeoutMs} ms`))
  }, timeoutMs)
  try {
    return await Promise.race([promise, timer.promise])
  } finally {
    clearTimeout(timeout)
  }
}
