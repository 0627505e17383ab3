/** What the targets share. */
import { Random } from '../support/random.ts'

/** `text` with one to three of its characters left out, replaced or added. */
export function mutate(random: Random, text: string, alphabet: readonly string[]): string {
  let characters = Array.from(text)
  for (let left = 1 + random.below(3); left > 0; left--) {
    const at = random.below(characters.length + 1)
    const kind = random.below(3)
    characters = [
      ...characters.slice(0, at),
      ...(kind > 0 ? [random.pick(alphabet)] : []),
      ...characters.slice(kind === 2 ? at : at + 1),
    ]
  }
  return characters.join('')
}

/** Seeds of `cases` cases, each of which can be run again as `run(seed, 1)`. */
export async function eachSeed(
  name: string,
  seed: number,
  cases: number,
  check: (random: Random) => void | Promise<void>,
): Promise<void> {
  for (let offset = 0; offset < cases; offset++) {
    try {
      await check(new Random(seed + offset))
    } catch (cause) {
      throw new Error(
        `${name}: run(${seed + offset}, 1) fails: ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause },
      )
    }
  }
}
