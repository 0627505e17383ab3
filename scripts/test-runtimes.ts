/**
 * `npm run test:runtimes [MAJOR…]`: the built-in `fetch` of Node 22, 24 and 26 over sluice's agent. One line for each
 * runtime, route and case; the last line is `N passed, N failed`.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { installRuntime, RuntimeError } from './runtimes/install.ts'
import type { Runtime } from './runtimes/install.ts'
import { cases } from '../test/runtimes/cases.ts'
import { routes } from '../test/runtimes/routes.ts'
import type { Outcome, Route } from '../test/runtimes/routes.ts'

const MAJORS = ['22', '24', '26']
/** How long a program may take for all of its cases, in ms: a limit for what hangs. */
const PROGRAM_TIMEOUT = 300_000

const program = fileURLToPath(new URL('../test/runtimes/program.ts', import.meta.url))

let passed = 0
let failed = 0

function report(runtime: Runtime, route: Route, { name, error }: Outcome): void {
  if (error === null) passed++
  else failed++
  const label = `node ${runtime.version}  ${route}  ${name}`
  process.stdout.write(
    error === null ? `ok      ${label}\n` : `FAILED  ${label}\n${error.replaceAll(/^/gm, '        ')}\n`,
  )
}

async function runProgram(runtime: Runtime, route: Route): Promise<void> {
  const child = spawn(runtime.path, ['--disable-warning=ExperimentalWarning', program, route], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: PROGRAM_TIMEOUT,
    killSignal: 'SIGKILL',
  })
  const ended = once(child, 'close')
  let hasFailed = false
  const missing = new Set(cases.map(({ name }) => name))
  for await (const line of createInterface(child.stdout)) {
    const outcome = JSON.parse(line) as Outcome
    missing.delete(outcome.name)
    hasFailed ||= outcome.error !== null
    report(runtime, route, outcome)
  }
  const [code, signal] = (await ended) as [number | null, string | null]
  const end = signal === null ? `exit code ${code}` : `killed by ${signal}`
  hasFailed ||= missing.size > 0
  for (const name of missing) report(runtime, route, { name, error: `not run: ${end}` })
  // A program whose cases all passed has an agent left, which is idle and must not hold it.
  if (!hasFailed) report(runtime, route, { name: 'the process ends by itself', error: code === 0 ? null : end })
}

try {
  const wanted = process.argv.slice(2)
  const unknown = wanted.find((major) => !MAJORS.includes(major))
  if (unknown !== undefined) throw new RuntimeError(`no such runtime: ${unknown} (${MAJORS.join(', ')} are there)`)
  for (const major of wanted.length > 0 ? wanted : MAJORS) {
    const runtime = installRuntime(major)
    for (const route of routes) await runProgram(runtime, route)
  }
} catch (error) {
  if (!(error instanceof RuntimeError)) throw error
  process.stderr.write(`test:runtimes: ${error.message}\n`)
  failed++
}
process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 ? 0 : 1
