/** The place of the table in `docs/reliability.md`. */
import { readFileSync, writeFileSync } from 'node:fs'

const PAGE = new URL('../../../docs/reliability.md', import.meta.url)
const [BEGIN, END] = ['<!-- faults -->\n\n', '\n<!-- /faults -->\n'] as const

function parts(): [before: string, table: string, after: string] {
  const page = readFileSync(PAGE, 'utf8')
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)]
  if (begin < 0 || end < 0) throw new Error('docs/reliability.md has no place for the table')
  const start = begin + BEGIN.length
  return [page.slice(0, start), page.slice(start, end), page.slice(end)]
}

export function docsTable(): string {
  return parts()[1]
}

export function writeDocsTable(table: string): void {
  const [before, , after] = parts()
  writeFileSync(PAGE, before + table + after)
}
