import { until } from './deadline.ts'

/** How long a figure has stood still: rest is the one thing that no event tells of. */
export class Standstill {
  private readonly figure: () => number
  private last = -1
  private since = 0

  constructor(figure: () => number) {
    this.figure = figure
  }

  /** ms since the figure changed, at the looks that were taken. */
  look(): number {
    const now = this.figure()
    if (now !== this.last) {
      this.last = now
      this.since = performance.now()
    }
    return performance.now() - this.since
  }
}

/** The figure, once it is not 0 and has stood still for 150 ms. */
export async function untilStopped(figure: () => number): Promise<number> {
  const standstill = new Standstill(figure)
  await until(() => standstill.look() > 150 && figure() > 0)
  return figure()
}
