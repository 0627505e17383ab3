/** Series of samples as SVG that is read on light and on dark ground, each over its own scale. */
import { trendOf } from './trend.ts'
import type { Points } from './trend.ts'

export interface Series {
  title: string
  points: Points
  /** Whether a line is fitted to the judged part. */
  isFitted: boolean
}

const WIDTH = 760
const PANEL = 120
const HEADING = 28
const MARGIN = 14
const AXIS = 70

const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
const format = (value: number): string => value.toLocaleString('en', { maximumFractionDigits: 1 })

/** `unit` is that of x. */
export function chartOf(heading: string, unit: string, series: readonly Series[]): string {
  const parts = [text(MARGIN, MARGIN + 10, heading, 'heading')]
  let y = MARGIN + HEADING
  for (const one of series) {
    parts.push(panel(one, y))
    y += PANEL + HEADING
  }
  const last = Math.max(...series.map(({ points }) => points.at(-1)?.[0] ?? 0))
  parts.push(text(AXIS, y - 4, '0', 'label'), text(WIDTH - MARGIN, y - 4, `${format(last)} ${unit}`, 'label end'))
  const height = y + MARGIN
  const style =
    'text{font:13px system-ui,sans-serif;fill:#57606a}.heading{font-weight:600}.end{text-anchor:end}' +
    'polyline{fill:none;stroke:#0969da;stroke-width:1.5}.fit{stroke:#cf222e;stroke-dasharray:5 4}' +
    '.frame{fill:none;stroke:#d0d7de}' +
    '@media(prefers-color-scheme:dark){text{fill:#c9d1d9}polyline{stroke:#58a6ff}.fit{stroke:#ff7b72}.frame{stroke:#30363d}}'
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}">\n` +
    `<style>${style}</style>\n${parts.join('\n')}\n</svg>\n`
  )
}

function panel({ title, points, isFitted }: Series, top: number): string {
  const values = points.map(([, value]) => value)
  const most = Math.max(...values, 1)
  const lastX = points.at(-1)?.[0] || 1
  const place = ([x, value]: readonly [number, number]): string => {
    const left = AXIS + (x / lastX) * (WIDTH - AXIS - MARGIN)
    return `${left.toFixed(1)},${(top + PANEL - (value / most) * (PANEL - 10)).toFixed(1)}`
  }
  const parts = [
    text(AXIS, top - 6, title, 'label'),
    `<rect class="frame" x="${AXIS}" y="${top}" width="${WIDTH - AXIS - MARGIN}" height="${PANEL}"/>`,
    text(AXIS - 6, top + 14, format(most), 'label end'),
    text(AXIS - 6, top + PANEL, '0', 'label end'),
    `<polyline points="${points.map(place).join(' ')}"/>`,
  ]
  if (isFitted) {
    const { points: judged, base, rise } = trendOf(points)
    const ends = [place([judged[0]![0], base]), place([judged.at(-1)![0], base + rise])]
    parts.push(`<polyline class="fit" points="${ends.join(' ')}"/>`)
  }
  return parts.join('\n')
}

function text(x: number, y: number, content: string, kind: string): string {
  return `<text class="${kind}" x="${x}" y="${y}">${escape(content)}</text>`
}
