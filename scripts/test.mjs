/** Every test of the house: Rust, types, vitest. The last line is `N passed, N failed`; a suite that crashes fails. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { countCargo, countVitest } from './gate/counts.ts'
import { stream } from './gate/stream.mjs'
import { packageScript, root } from './setup/paths.mjs'

const counts = [await cargoTests('sluice-core', { SLUICE_ENGINE: 'reqwest' })]
// The same suite over the second engine.
counts.push(await cargoTests('sluice-core', { SLUICE_ENGINE: 'wire' }))
// The addon marshals between two worlds and is tested from JavaScript; a test of its own is run as soon as it has one.
if (hasRustTests('native/addon')) counts.push(await cargoTests('sluice-addon'))
counts.push(await typeCheck(), await vitest(process.argv.slice(2)))

const passed = counts.reduce((sum, count) => sum + count.passed, 0)
const failed = counts.reduce((sum, count) => sum + count.failed, 0)
process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 ? 0 : 1

async function cargoTests(crate, env = {}) {
  // Without --no-fail-fast the first broken file hides the outcome of the others.
  const { status, output } = await stream('cargo', ['test', '--release', '--no-fail-fast', '-p', crate], {
    keep: true,
    env: { ...process.env, ...env },
  })
  return countCargo(output, status)
}

async function typeCheck() {
  const { status } = await stream(process.execPath, [packageScript('typescript', 'bin/tsc'), '--noEmit'])
  process.stdout.write(`type check: ${status === 0 ? 'ok' : 'FAILED'}\n`)
  return { passed: 0, failed: status === 0 ? 0 : 1 }
}

async function vitest(args) {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-test-'))
  const report = join(folder, 'vitest.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile=${report}`]
  try {
    const { status } = await stream(process.execPath, [
      packageScript('vitest', 'vitest.mjs'),
      'run',
      ...reporters,
      ...args,
    ])
    return countVitest(existsSync(report) ? readFileSync(report, 'utf8') : undefined, status)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function hasRustTests(crate) {
  if (existsSync(join(root, crate, 'tests'))) return true
  const files = readdirSync(join(root, crate, 'src'), { recursive: true }).filter((file) => file.endsWith('.rs'))
  return files.some((file) => /#\[(tokio::)?test\b/.test(readFileSync(join(root, crate, 'src', file), 'utf8')))
}
