/** Whether a series of samples goes up. */

/** The part of a run that is judged: before it, caches and pools fill. */
const JUDGED = 0.6

/** `[x, y]` in the order of x. */
export type Points = readonly (readonly [number, number])[]

export interface Trend {
  /** The later part of the series. */
  points: Points
  /** Units of y for one of x: the median of the slopes between all pairs (Theil–Sen), which outliers do not move. */
  slope: number
  /** The line's value where the judged part begins. */
  base: number
  /** What the line gains over the judged part. */
  rise: number
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** @throws Error for fewer than five samples after the warm-up */
export function trendOf(series: Points): Trend {
  const points = series.slice(Math.floor(series.length * (1 - JUDGED)))
  if (points.length < 5) throw new Error(`${series.length} samples are too few`)
  const slopes: number[] = []
  for (const [index, [x, y]] of points.entries()) {
    for (const [otherX, otherY] of points.slice(index + 1)) if (otherX > x) slopes.push((otherY - y) / (otherX - x))
  }
  const slope = slopes.length === 0 ? 0 : median(slopes)
  const [start, end] = [points[0]![0], points.at(-1)![0]]
  const base = median(points.map(([x, y]) => y - slope * (x - start)))
  return { points, slope, base, rise: slope * (end - start) }
}
