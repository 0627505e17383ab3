/** Random choices that follow from a seed alone (mulberry32), so that a failure can be repeated. */
export class Random {
  private state: number

  constructor(seed: number) {
    // Neighbouring seeds begin far from each other.
    this.state = Math.imul(seed ^ 0x9e37_79b9, 0x85eb_ca6b) >>> 0
  }

  /** From 0 to 1, without 1. */
  next(): number {
    this.state = (this.state + 0x6d2b_79f5) >>> 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number from 0 to `limit - 1`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  isOneIn(count: number): boolean {
    return this.below(count) === 0
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!
  }

  /** One of `choices`, as often as its weight says. */
  weigh<Item>(choices: readonly (readonly [number, Item])[]): Item {
    let left = this.next() * choices.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, item] of choices) if ((left -= weight) < 0) return item
    return choices.at(-1)![1]
  }

  /** Mostly short, now and then as long as `most`. */
  length(most: number): number {
    return this.below(this.isOneIn(20) ? most + 1 : 40)
  }

  bytes(length: number, from = 0, to = 0xff): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length)
    for (let index = 0; index < length; index++) bytes[index] = this.int(from, to)
    return bytes
  }

  /** Latin1 without control characters. */
  latin1(length: number): string {
    return Buffer.from(this.bytes(length, 0x20)).toString('latin1').replaceAll('\x7f', ' ')
  }

  /** Any characters there are, control characters and those beyond the first plane among them. */
  text(length: number): string {
    let text = ''
    while (text.length < length) {
      const point = this.below(this.pick([0x80, 0x100, 0xd800, 0x11_0000]))
      if (point < 0xd800 || point > 0xdfff) text += String.fromCodePoint(point)
    }
    return text
  }

  /** `least` to `most` items of `list`, one behind the other. */
  sequence(list: readonly string[], least: number, most: number): string {
    return Array.from({ length: this.int(least, most) }, () => this.pick(list)).join('')
  }
}
