/**
 * Which rows of a matrix run. All of them with `SLUICE_TEST=full`; without it, those that differ from the default in one
 * dimension at most, so that every value is tested, with the default of everything else.
 */

/** Whether every row runs. */
export const isFull = process.env['SLUICE_TEST'] === 'full'

/** The dimensions that matrices share: what a row is where nothing else is said. */
const DEFAULTS = {
  engine: 'wire',
  transport: 'wire',
  generation: 'current',
  path: 'Agent.dispatch',
  version: 'HTTP/1.1',
  way: 'fetch',
} as const

/**
 * The rows to run, in their order: the one that is nearest to the defaults, and those that differ from it in one
 * dimension at most. What is no dimension, a function say, counts for nothing.
 *
 * @param own defaults of dimensions that only this matrix has
 */
export function select<Row extends object>(
  rows: readonly Row[],
  own: Partial<Row> = {},
  isComplete = isFull,
): readonly Row[] {
  if (isComplete || rows.length === 0) return rows
  const defaults: Record<string, unknown> = { ...DEFAULTS, ...own }
  const dimensions = Object.keys(defaults).filter((name) => name in rows[0]!)
  const differences = (one: object, two: object): number =>
    dimensions.filter((name) => Reflect.get(one, name) !== Reflect.get(two, name)).length
  const base = rows.reduce((best, row) => (differences(row, defaults) < differences(best, defaults) ? row : best))
  return rows.filter((row) => differences(row, base) <= 1)
}
