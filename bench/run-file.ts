import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { spawnSync } from 'node:child_process'
import { root } from './paths.ts'
import { judge, type Verdict } from './goals.ts'
import type { Config } from './config.ts'
import { installedVersion, manifest } from './installation.ts'
import type { Row } from './rows.ts'

/** Where and with what a run was made. */
export interface Machine {
  cpu: string
  cores: number
  memoryGb: number
  system: string
  node: string
  versions: Record<string, string>
  /** The commit, and whether files differ from it. */
  commit: string
  date: string
}

/** What the JSON holds. */
export interface RunFile {
  machine: Machine
  config: Config
  command: string
  rows: Row[]
  verdicts: Verdict[]
}

function output(program: string, args: string[]): string {
  const { stdout, status } = spawnSync(program, args, { cwd: root, encoding: 'utf8' })
  return status === 0 ? stdout.trim() : ''
}

export function describeMachine(): Machine {
  const { dependencies, optionalDependencies } = manifest()
  const versions: Record<string, string> = {}
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    const version = installedVersion(name)
    if (version !== undefined) versions[name] = version
  }
  const curl = /^curl (\S+)/.exec(output('curl', ['--version']))?.[1]
  if (curl !== undefined) versions.curl = curl
  versions.rustc = /^rustc (\S+)/.exec(output('rustc', ['--version']))?.[1] ?? 'unknown'
  const commit = output('git', ['rev-parse', '--short', 'HEAD']) || 'unknown'
  // The report and the pictures are what a run leaves behind; they are no difference.
  const isChanged = output('git', ['status', '--porcelain', '--', 'lib', 'streams', 'native', 'Cargo.lock']) !== ''
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 1e9),
    system: `${process.platform} ${release()}${congestionControl()}`,
    node: process.versions.node,
    versions,
    commit: isChanged ? `${commit}, changed` : commit,
    date: new Date().toISOString().slice(0, 10),
  }
}

export function runFile(rows: Row[], config: Config, command: string): RunFile {
  return { machine: describeMachine(), config, command, rows, verdicts: judge(rows) }
}

/** Who paces what is sent, on the loopback too: BBR's timers run in whichever thread is at hand, and count as its time. */
function congestionControl(): string {
  try {
    return `, TCP ${readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim()}`
  } catch {
    return ''
  }
}
