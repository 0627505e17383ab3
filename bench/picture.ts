/** The picture of the README: bars of some rows, as SVG that is read on light and on dark ground. */
import { metrics } from './metrics.ts'
import type { Row } from './rows.ts'

/** The works that are shown, and whose rows. */
export const shown: { work: string; contestants: string[] }[] = [
  {
    work: 'http1/get/64',
    contestants: ['sluice dispatch, wire', 'undici dispatch', 'sluice fetch, wire', 'built-in fetch'],
  },
  { work: 'http2/get/64', contestants: ['sluice dispatch, wire', 'undici dispatch'] },
  { work: 'stream/reader', contestants: ['sluice fetch, wire', 'undici fetch', 'built-in fetch'] },
  { work: 'stream/file', contestants: ['sluice fetch, wire', 'undici stream', 'curl'] },
]

const WIDTH = 760
const LABEL = 190
const BAR = 18
const GAP = 6
const HEADING = 30
const PADDING = 12
const VALUE = 130

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

/** A group of bars for each work that was measured, each group in its own scale. */
export function pictureOf(rows: readonly Row[]): string {
  const parts: string[] = []
  let y = PADDING
  for (const { work, contestants } of shown) {
    const bars = contestants
      .map((name) => rows.find((row) => row.work === work && row.contestant === name))
      .filter((row) => row?.values[row.metric] !== undefined) as Row[]
    if (bars.length === 0) continue
    const { metric, title } = bars[0]!
    const unit = metrics[metric].title
    const most = Math.max(...bars.map((row) => row.values[metric]!))
    y += HEADING
    parts.push(text(PADDING, y - 10, `${title} (${unit})`, 'heading'))
    for (const row of bars) {
      const value = row.values[metric]!
      const width = Math.max(1, ((WIDTH - LABEL - VALUE - PADDING) * value) / most)
      const kind = row.contestant.startsWith('sluice ') ? 'own' : 'other'
      parts.push(text(PADDING, y + BAR - 5, row.contestant, 'label'))
      parts.push(`<rect class="${kind}" x="${LABEL}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="3"/>`)
      const digits = metrics[metric].digits
      const figure = value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
      parts.push(text(LABEL + width + 6, y + BAR - 5, figure, 'label'))
      y += BAR + GAP
    }
  }
  const style =
    'text{font:13px system-ui,sans-serif;fill:#57606a}.heading{font-weight:600}.own{fill:#0969da}.other{fill:#afb8c1}' +
    '@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.own{fill:#58a6ff}.other{fill:#484f58}}'
  const height = y + PADDING
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}">\n` +
    `<style>${style}</style>\n${parts.join('\n')}\n</svg>\n`
  )
}

function text(x: number, y: number, content: string, kind: string): string {
  return `<text class="${kind}" x="${x.toFixed(1)}" y="${y}">${escape(content)}</text>`
}
