/** One line for people: the message of the deepest cause, with its code if the message does not tell it. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // `fetch failed` says nothing; its cause says host, phase and code.
  if (error.cause instanceof Error) return describeError(error.cause)
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const message = (error.message || error.name).replaceAll(/\s*\n\s*/g, ' ')
  return code === '' || message.includes(code) ? message : `${message} (${code})`
}
