/** The value in the middle; of an even number of values the mean of the two. */
export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Half the distance between the extremes, in % of the median. */
export function spread(values: number[]): number {
  return ((Math.max(...values) - Math.min(...values)) / 2 / median(values)) * 100
}
