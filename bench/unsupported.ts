/** What a contestant cannot do at all: told in its row, and no failure of the run. */
export class Unsupported extends Error {
  override name = 'Unsupported'
}

/** Whether a described error says that the contestant has no such feature. */
export function isUnsupported(description: string): boolean {
  return /^(?:Unsupported|NotSupportedError)\b|\bunknown option \w+$|\bis not supported by transport\b/.test(
    description,
  )
}
