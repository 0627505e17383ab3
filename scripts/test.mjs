/**
 * The tests. The last line is `N passed, N failed`, and the lines before it name what failed; a suite that crashes fails.
 *
 * - without arguments: the tests of the crates, the types, vitest
 * - `PATTERN…`: the files of vitest whose path contains one of them, and nothing else
 * - `--core [PATTERN]`: the tests of the crates, those alone whose name contains the pattern
 * - `--full`: everything, with every combination of the matrices, of which the rest runs a selection
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { countCargo, countVitest } from './gate/counts.ts'
import { stream } from './gate/stream.mjs'
import { packageScript, root } from './setup/paths.mjs'

const args = process.argv.slice(2)
const flag = args[0] === '--core' || args[0] === '--full' ? args.shift() : undefined
if (flag === '--full') process.env.SLUICE_TEST = 'full'

const suites = []
if (flag === '--core') suites.push(() => crates(args))
else if (args.length > 0) suites.push(() => vitest(args))
else
  suites.push(
    () => crates([]),
    typeCheck,
    () => vitest([]),
  )

const counts = []
for (const suite of suites) {
  const start = performance.now()
  counts.push(await suite())
  process.stdout.write(`(${((performance.now() - start) / 1000).toFixed(1)} s)\n`)
}

const failures = counts.flatMap((count) => count.failures)
if (failures.length > 0) process.stdout.write(`\nfailed:\n${failures.map((line) => `  ${line}\n`).join('')}`)
const passed = counts.reduce((sum, count) => sum + count.passed, 0)
const failed = counts.reduce((sum, count) => sum + count.failed, 0)
process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 ? 0 : 1

async function crates(patterns) {
  // Together, as the set-up has built them. Without --no-fail-fast the first broken program hides the others' outcome.
  const packages = ['-p', 'sluice-core', '-p', 'sluice-addon']
  const { status, output } = await stream(
    'cargo',
    ['test', '--no-fail-fast', '--all-targets', ...packages, ...patterns],
    {
      keep: true,
    },
  )
  return countCargo(output, status)
}

async function typeCheck() {
  const { status } = await stream(process.execPath, [packageScript('typescript', 'bin/tsc'), '--noEmit'])
  process.stdout.write(`type check: ${status === 0 ? 'ok' : 'FAILED'}\n`)
  return { passed: 0, failed: status === 0 ? 0 : 1, failures: status === 0 ? [] : ['tsc: see above'] }
}

async function vitest(patterns) {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-test-'))
  const report = join(folder, 'vitest.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile=${report}`]
  try {
    const { status } = await stream(process.execPath, [
      packageScript('vitest', 'vitest.mjs'),
      'run',
      ...reporters,
      ...patterns,
    ])
    return countVitest(existsSync(report) ? readFileSync(report, 'utf8') : undefined, status, root)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
