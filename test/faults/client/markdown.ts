/** The table of kinds and codes, as `docs/reliability.md` has it. */
import { groups } from '../kinds.ts'
import { isAwaited, protocols, protocolsOf } from '../kind.ts'
import type { Expectation, Kind, Protocol } from '../kind.ts'

const tell = (expectation: Expectation): string =>
  [expectation]
    .flat()
    .map((outcome) => `\`${outcome}\``)
    .join(' or ')

function cell(kind: Kind | undefined, protocol: Protocol): string {
  if (kind === undefined) return ''
  const { expect } = kind
  const isOne = typeof expect === 'string' || Array.isArray(expect)
  const { dispatch, fetch } = (isOne ? { dispatch: expect, fetch: expect } : expect) as Record<string, Expectation>
  const outcome = isOne ? tell(dispatch!) : `${tell(dispatch!)}; fetch: ${tell(fetch!)}`
  return isAwaited(kind, protocol) ? `${outcome} (not yet)` : outcome
}

function rows(kinds: readonly Kind[]): string[][] {
  const names = [...new Set(kinds.map(({ name }) => name))]
  return names.map((name) => {
    const cells = protocols.map((protocol) =>
      cell(
        kinds.find((kind) => kind.name === name && protocolsOf(kind).includes(protocol)),
        protocol,
      ),
    )
    const [h1, h1s, h2] = cells as [string, string, string]
    const both = h1 === h1s || h1s === '' ? h1 : h1 === '' ? `TLS: ${h1s}` : `${h1}; TLS: ${h1s}`
    return [name, both, h2].map((text) => text.replaceAll('|', '\\|') || '–')
  })
}

/** A table for each group. */
export function markdownTables(): string {
  return Object.entries(groups)
    .map(([title, kinds]) => {
      const lines = [['kind', 'HTTP/1.1', 'HTTP/2'], ['---', '---', '---'], ...rows(kinds)]
      return `### ${title}\n\n${lines.map((cells) => `| ${cells.join(' | ')} |\n`).join('')}`
    })
    .join('\n')
}
