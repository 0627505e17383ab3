import { spawnSync } from 'node:child_process'
import { root } from '../setup/paths.mjs'

/**
 * Runs every step, also after a failed one, so that one run tells everything; says which failed.
 *
 * @param {[name: string, command: string, args: string[]][]} steps
 * @returns {boolean} whether all succeeded
 */
export function runSteps(steps) {
  const failed = []
  for (const [name, command, args] of steps) {
    const start = performance.now()
    const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
    if (error) process.stderr.write(`${error.message}\n`)
    if (status !== 0) failed.push(name)
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    process.stdout.write(`${status === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)\n`)
  }
  if (failed.length > 0) process.stdout.write(`failed: ${failed.join(', ')}\n`)
  return failed.length === 0
}
