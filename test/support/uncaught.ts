/** Exceptions that nobody catches, kept from the test runner. */

/**
 * Runs `work`, and returns what was thrown without anybody to catch it: during it, or in the turn of the event loop
 * behind it.
 */
export async function uncaught(
  work: () => Promise<unknown>,
  event: 'uncaughtException' | 'unhandledRejection' = 'uncaughtException',
): Promise<Error[]> {
  const errors: Error[] = []
  const runners = process.listeners(event as 'uncaughtException')
  process.removeAllListeners(event)
  process.on(event as 'uncaughtException', (error) => errors.push(error))
  try {
    await work()
    await new Promise((resolve) => setImmediate(resolve))
  } finally {
    process.removeAllListeners(event)
    for (const runner of runners) process.on(event as 'uncaughtException', runner)
  }
  return errors
}
