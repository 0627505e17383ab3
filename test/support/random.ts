/** Random choices that are the same for the same seed (mulberry32). */
export class Random {
  private state: number

  constructor(seed: number) {
    this.state = seed >>> 0
  }

  /** An integer from 0 to `limit - 1`. */
  below(limit: number): number {
    this.state = (this.state + 0x6d2b_79f5) >>> 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * limit)
  }

  isOneIn(count: number): boolean {
    return this.below(count) === 0
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  /** Mostly short, now and then as long as `most`. */
  length(most: number): number {
    return this.below(this.isOneIn(20) ? most + 1 : 40)
  }

  bytes(length: number, from = 0, to = 0xff): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length)
    for (let index = 0; index < length; index++) bytes[index] = from + this.below(to - from + 1)
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
      const limit = this.of([0x80, 0x100, 0xd800, 0x11_0000])
      const point = this.below(limit)
      if (point < 0xd800 || point > 0xdfff) text += String.fromCodePoint(point)
    }
    return text
  }
}
