import type { Client, Outcome } from './contestant-process.ts'
import { table } from '../support/table.ts'

export interface Result {
  client: Client
  /** Bytes in the file. */
  bytes: number
  /** Whether the file is, byte for byte, what the server sent. */
  isIntact: boolean
  outcome: Outcome
}

const NAMES: Record<Client, string> = { sluice: 'sluice', 'built-in': 'built-in fetch' }

/** The contestants side by side. */
export function report(results: Result[]): string {
  const row = (title: string, cell: (result: Result) => string): string[] => [title, ...results.map(cell)]
  const measured = (cell: (outcome: Exclude<Outcome, { error: string }>, result: Result) => string) => {
    return (result: Result): string => ('error' in result.outcome ? '-' : cell(result.outcome, result))
  }
  const rows = [
    row('', ({ client }) => NAMES[client]),
    row('bytes', ({ bytes }) => String(bytes)),
    row('SHA-256', ({ isIntact }) => (isIntact ? 'matches' : 'DIFFERS')),
    row(
      'MB/s',
      measured(({ ms }, { bytes }) => (bytes / 1e3 / ms).toFixed(0)),
    ),
    row(
      'peak RSS, MB',
      measured(({ peakMemory }) => (peakMemory / 1e6).toFixed(0)),
    ),
    row(
      'JS-thread CPU, s',
      measured(({ threadCpu }) => (threadCpu / 1000).toFixed(2)),
    ),
    row(
      'process CPU, s',
      measured(({ processCpu }) => (processCpu / 1000).toFixed(2)),
    ),
  ]
  const errors = results.map(({ client, outcome }) =>
    'error' in outcome ? `${NAMES[client]}: ${outcome.error}\n` : '',
  )
  return `\n${table(rows)}${errors.join('')}\n`
}
