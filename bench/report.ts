import { goalCells } from './goals.ts'
import { markdownResults, markdownTable } from './print-results.ts'
import type { RunFile } from './run-file.ts'

/** `RESULTS.md` of a run. `findings` is what its author wrote about rows that are not met, and is kept. */
export function reportOf({ machine, config, command, rows, verdicts }: RunFile, findings: string): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`)
  const missed = verdicts.filter(({ isMet }) => isMet === false).length
  const unknown = verdicts.filter(({ isMet }) => isMet === null).length
  return `# Results

Written by \`${command}\`; do not edit but for "What limits it". Figures are medians of ${config.rounds} rounds, with half
the distance between the extremes as spread; every contestant ran in a process of its own, the rounds interleaved. A ratio
is the row's first figure over that of the row it names. Losing rows are here too.

| | |
|---|---|
| processor | ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB |
| system | ${machine.system} |
| Node | ${machine.node} |
| versions | ${versions.join(', ')} |
| commit | ${machine.commit} |
| date | ${machine.date} |

The server is \`bench/server\`, on the same machine: client and server share its cores.

## The goals

${verdicts.length - missed - unknown} met, ${missed} not met, ${unknown} not measured, counting both engines.

${markdownTable(goalCells(verdicts))}
## What limits it

${findings.trim()}

## All rows

${markdownResults(rows)}`
}

/** What stands under "What limits it" in an older report. */
export function findingsOf(report: string): string {
  return /## What limits it\n\n([\s\S]*?)\n\n## All rows/.exec(report)?.[1] ?? 'Nothing was written yet.'
}
