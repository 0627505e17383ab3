/**
 * Errors of the caller's own that go through the core as a number: what the request ends with is the very object. The
 * last few are kept; a request that was given up leaves its error behind.
 */
const KEPT = 64

const errors = new Map<number, unknown>()
let last = 0

/** @returns the number that stands for `error` */
export function keepError(error: unknown): number {
  last = (last + 1) % 0x7fff_ffff || 1
  errors.set(last, error)
  if (errors.size > KEPT) errors.delete(errors.keys().next().value!)
  return last
}

/** The error itself, for as long as it is kept: several requests may share one lookup. */
export function findError(ticket: number): Error | null {
  const error = errors.get(ticket)
  return error instanceof Error ? error : null
}
