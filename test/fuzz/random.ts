/** A generator of random choices that is the same everywhere for the same seed (SplitMix32). */
export class Random {
  private state: number

  constructor(seed: number) {
    this.state = seed >>> 0
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    this.state = (this.state + 0x9e3779b9) >>> 0
    let word = this.state
    word = Math.imul(word ^ (word >>> 16), 0x21f0aaad)
    word = Math.imul(word ^ (word >>> 15), 0x735a2d97)
    return ((word ^ (word >>> 15)) >>> 0) % limit
  }

  /** One time in `times`. */
  rarely(times: number): boolean {
    return this.below(times) === 0
  }

  pick<Item>(list: readonly Item[]): Item {
    return list[this.below(list.length)]!
  }

  /** `least` to `most` items of `list` in a row. */
  text(list: readonly string[], least: number, most: number): string {
    let text = ''
    for (let left = least + this.below(most - least + 1); left > 0; left--) text += this.pick(list)
    return text
  }
}

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
