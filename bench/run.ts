/**
 * The benchmarks: `node scripts/run.mjs bench/run.ts [--only http1,stream] [--rounds 3] [--json[=FILE]] [--report]
 * [--assert 0.95] …`; `config.ts` has every flag. It exits with 1 when `--assert` fails, or when nothing was measured.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { table } from '../scripts/support/table.ts'
import { root } from './paths.ts'
import { readConfig, type Config } from './config.ts'
import { runContestant } from './contestant.ts'
import { packageOf, programOf } from './contestants/index.ts'
import { isInstalled } from './contestants/programs.ts'
import { goalCells } from './goals.ts'
import { buildServer, installContestants, installedVersion } from './installation.ts'
import { pictureOf } from './picture.ts'
import { printResults } from './print-results.ts'
import { Progress } from './progress.ts'
import { findingsOf, reportOf } from './report.ts'
import { belowFloor, rowsOf, type Row, type Series } from './rows.ts'
import { runFile } from './run-file.ts'
import { loadScenario } from './scenarios/index.ts'
import type { Context, Scenario, Work } from './scenarios/scenario.ts'
import { ServerProcess } from './server-process.ts'
import { isUnsupported } from './unsupported.ts'

const config = readConfigOrExit()
installContestants()
// What npm would publish: loading TypeScript sources is not what `startup` measures.
if (config.only.includes('startup')) buildPackage()
const executable = await buildServer()
const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'sluice-bench-'))
const rows: Row[] = []
try {
  for (const name of config.only) {
    using server = await ServerProcess.start(executable)
    const scenario = await loadScenario(name)
    const measured = await runScenario(scenario, { config, server: server.info, folder })
    if (measured.length > 0) printResults(measured)
    rows.push(...measured)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
finish()

function readConfigOrExit(): Config {
  try {
    return readConfig(process.argv.slice(2), process.env)
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message}\n`)
    process.exit(1)
  }
}

function buildPackage(): void {
  const { status } = spawnSync(process.execPath, [join(root, 'scripts', 'build.mjs')], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) throw new Error('the package does not build')
}

/** All rounds of a scenario: in each of them every contestant has its turn. */
async function runScenario(scenario: Scenario, context: Context): Promise<Row[]> {
  const works = scenario
    .works(config)
    .filter(({ id }) => config.works.length === 0 || config.works.some((part) => id.includes(part)))
    .map((work) => ({ ...work, contestants: work.contestants.filter(isWanted) }))
  const series = new Map(works.map((work) => [work.id, new Map<string, Series>()]))
  const turns = turnsOf(scenario, works)
  const rounds = scenario.rounds?.(config) ?? config.rounds
  using progress = new Progress(turns.length * rounds)
  for (let round = 0; round < rounds; round++) {
    for (const turn of turns) {
      progress.tell(`${scenario.name} ${round + 1}/${rounds}: ${turn.contestant}`)
      const outcomes = await runContestant({ scenario: scenario.name, ...turn, context })
      for (const outcome of outcomes) {
        const of = series.get(outcome.id)!
        if (!of.has(turn.contestant))
          of.set(turn.contestant, { contestant: turn.contestant, measurements: [], errors: [] })
        const own = of.get(turn.contestant)!
        if ('error' in outcome) own.errors.push(outcome.error)
        else own.measurements.push(outcome.measurement)
      }
    }
  }
  return works.flatMap((work) => rowsOf(work, [...series.get(work.id)!.values()]))
}

/** A turn is a process: of all works of a contestant, or of one. */
function turnsOf({ isShared }: Scenario, works: Work[]): { contestant: string; works: Work[] }[] {
  const names = [...new Set(works.flatMap(({ contestants }) => contestants))]
  const ofName = (contestant: string): Work[] => works.filter(({ contestants }) => contestants.includes(contestant))
  if (isShared) return names.map((contestant) => ({ contestant, works: ofName(contestant) }))
  return works.flatMap((work) => work.contestants.map((contestant) => ({ contestant, works: [work] })))
}

/** Whether a contestant is asked for, and there is what it needs. */
function isWanted(contestant: string): boolean {
  const isAsked = config.contestants.length === 0 || config.contestants.some((part) => contestant.includes(part))
  const needed = packageOf(contestant)
  const program = programOf(contestant)
  if (!isAsked || (needed !== undefined && installedVersion(needed) === undefined)) return false
  return program === undefined || isInstalled(program)
}

function finish(): void {
  const command = `npm run bench:all${process.argv
    .slice(2)
    .map((arg) => ` ${arg}`)
    .join('')}`
  const run = runFile(rows, config, command.replace(/^npm run bench:all /, 'npm run bench:all -- '))
  const judged = run.verdicts.filter(({ reached }) => reached !== null)
  if (judged.length > 0) {
    process.stdout.write(
      `\nThe goals\n\n${table(goalCells(run.verdicts.filter(({ goal }) => judged.some((one) => one.goal === goal))))}`,
    )
  }
  if (config.json !== null) writeFileSync(resolve(root, config.json), `${JSON.stringify(run, null, 2)}\n`)
  if (config.report) {
    const path = join(root, 'bench', 'RESULTS.md')
    const findings = findingsOf(existsSync(path) ? readFileSync(path, 'utf8') : '')
    writeFileSync(path, reportOf(run, findings))
    writeFileSync(join(root, 'bench', 'results.svg'), pictureOf(rows))
  }
  const failed = rows.filter(({ error }) => error !== null && !isUnsupported(error))
  for (const { work, contestant, error } of failed) process.stdout.write(`\nERROR ${work}, ${contestant}: ${error}\n`)
  if (rows.every(({ rounds }) => rounds === 0)) {
    process.stdout.write('\nnothing was measured\n')
    process.exitCode = 1
  }
  if (config.assert === null) return
  const low = belowFloor(rows, config.assert)
  for (const { work, contestant, ratio, rival } of low) {
    const reason = ratio === null ? 'an error' : `${ratio.toFixed(2)}× of ${rival}`
    process.stdout.write(`\nBELOW ${config.assert}: ${work}, ${contestant}: ${reason}\n`)
  }
  if (low.length > 0) process.exitCode = 1
}
