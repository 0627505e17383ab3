/** curl and wrk, the limit from outside: used where they are installed. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import type { Measurement } from '../metrics.ts'

export function isInstalled(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined
}

interface Run {
  stdout: string
  /** CPU of the program, user and system. */
  processSeconds: number
}

/** Runs a program; a shell in between tells its CPU time, which Node does not. @throws Error when it fails */
async function run(program: string, args: string[]): Promise<Run> {
  const script = '"$@"; status=$?; times >&2; exit $status'
  const child = spawn('sh', ['-c', script, 'sh', program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${stderr}`)
  return { stdout, processSeconds: readTimes(stderr) }
}

/** What the shell's `times` says of its children: the last line, `0m0.120s 0m0.350s`. */
export function readTimes(text: string): number {
  const line = text.trim().split('\n').at(-1)!
  const times = [...line.matchAll(/(\d+)m([\d.]+)s/g)].map(
    ([, minutes, seconds]) => Number(minutes) * 60 + Number(seconds),
  )
  if (times.length !== 2) throw new Error(`not a line of \`times\`: ${line}`)
  return times[0]! + times[1]!
}

/** `curl` with these arguments moves `bytes`; its time is the transfer's own, without the start of the program. */
export async function curl(args: string[], bytes: number): Promise<Measurement> {
  const write = ['-w', '%{size_download} %{size_upload} %{time_total} %{http_code}']
  const { stdout, processSeconds } = await run('curl', ['-sS', '--noproxy', '*', ...write, ...args])
  const [down = 0, up = 0, seconds = NaN, status] = stdout.trim().split('\n').at(-1)!.split(' ').slice(-4).map(Number)
  if (status !== 200) throw new Error(`status ${status}`)
  if (Math.max(down, up) !== bytes) throw new Error(`${Math.max(down, up)} bytes moved in place of ${bytes}`)
  return { gbPerSecond: bytes / 1e9 / seconds, cpuPerGb: processSeconds / (bytes / 1e9) }
}

/** `wrk` on one thread over `connections`, for `seconds`. */
export async function wrk(url: string, connections: number, seconds: number): Promise<Measurement> {
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', url]
  const { stdout, processSeconds } = await run('wrk', args)
  return readWrk(stdout, processSeconds)
}

/** @throws Error when the text is not wrk's */
export function readWrk(text: string, processSeconds: number): Measurement {
  const find = (pattern: RegExp): string => {
    const match = pattern.exec(text)
    if (match === null) throw new Error(`not what wrk prints: ${text}`)
    return match[1]!
  }
  const micros = (duration: string): number => {
    const unit = { us: 1, ms: 1e3, s: 1e6, m: 6e7 }[/[a-z]+$/.exec(duration)?.[0] ?? '']
    return unit === undefined ? NaN : parseFloat(duration) * unit
  }
  const requests = Number(find(/(\d+) requests in/))
  return {
    perSecond: Number(find(/Requests\/sec:\s+([\d.]+)/)),
    meanMicros: micros(find(/Latency\s+([\d.]+\w+)/)),
    p50Micros: micros(find(/50%\s+([\d.]+\w+)/)),
    p99Micros: micros(find(/99%\s+([\d.]+\w+)/)),
    processMicros: (processSeconds / requests) * 1e6,
  }
}
