import { metrics, type Metric } from './metrics.ts'
import type { Row } from './rows.ts'
import { isUnsupported } from './unsupported.ts'
import { table } from '../scripts/support/table.ts'

/** One work's heading and its table: the best row first, errors last. */
export function formatResults(rows: readonly Row[]): string {
  const works = Map.groupBy(rows, (row) => row.work)
  return [...works.values()]
    .map((group) => `${group[0]!.title}\n\n${table(cellsOf(group))}${errorsOf(group)}`)
    .join('\n')
}

/** The same as Markdown. */
export function markdownResults(rows: readonly Row[]): string {
  const works = Map.groupBy(rows, (row) => row.work)
  return [...works.values()]
    .map((group) => `### ${group[0]!.title}\n\n${markdownTable(cellsOf(group))}\n${errorsOf(group)}`)
    .join('\n')
}

export function printResults(rows: readonly Row[], output: { write(text: string): unknown } = process.stdout): void {
  output.write(`\n${formatResults(rows)}`)
}

/** Cells of a heading row and of a row for each contestant; a column nobody has a figure for is left out. */
export function cellsOf(group: readonly Row[]): string[][] {
  const present = (Object.keys(metrics) as Metric[]).filter((metric) => group.some(({ values }) => metric in values))
  const sorted = group.toSorted(byRank)
  const heading = ['', ...present.map((metric) => metrics[metric].title), 'spread', 'ratio', 'to']
  return [heading, ...sorted.map((row) => cells(row, present))]
}

function cells(row: Row, present: Metric[]): string[] {
  const figures = present.map((metric) => {
    const value = row.values[metric]
    return value === undefined ? '' : value.toFixed(metrics[metric].digits)
  })
  return [
    row.contestant,
    ...figures,
    row.spread === null ? '' : `±${row.spread.toFixed(0)}%`,
    row.ratio === null ? (row.rounds === 0 ? failure(row) : '') : `${row.ratio.toFixed(2)}×`,
    row.ratio === null ? '' : row.rival!,
  ]
}

function failure({ error }: Row): string {
  return isUnsupported(error ?? '') ? 'none' : 'ERROR'
}

function byRank(a: Row, b: Row): number {
  const { isBetter } = metrics[a.metric]
  const [first, second] = [a, b].map((row) => row.values[a.metric])
  if (first === undefined || second === undefined) return Number(first === undefined) - Number(second === undefined)
  return isBetter === 'more' ? second - first : first - second
}

function errorsOf(group: readonly Row[]): string {
  return group
    .filter(({ error }) => error !== null)
    .map(({ contestant, error }) => `\n${contestant}: ${error}\n`)
    .join('')
}

export function markdownTable(rows: readonly string[][]): string {
  const line = (cellsOfRow: readonly string[]): string =>
    `| ${cellsOfRow.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`
  const [heading, ...body] = rows
  return [line(heading!), line(heading!.map((_, i) => (i === 0 ? '---' : '---:'))), ...body.map(line)].join('')
}
