/**
 * `node scripts/run.mjs [--addon=dist|dev|none] SCRIPT [ARGS…]`: sets the clone up, then runs the script on the project's own
 * Node. The PATH cannot do this: in a fresh clone the shell has already settled which `node` it means.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { projectNode, root } from './setup/paths.mjs'
import { setUp, takeAddonFlag } from './setup.mjs'

const args = process.argv.slice(2)
const addon = takeAddonFlag(args)
const [script, ...rest] = args
if (script === undefined) throw new Error('usage: node scripts/run.mjs [--addon=dist|dev|none] SCRIPT [ARGS…]')

await setUp(addon)
const child = spawn(projectNode, [join(root, script), ...rest], {
  stdio: 'inherit',
  cwd: process.env.INIT_CWD ?? root,
})
// Ctrl-C reaches the whole group; this process only waits, so that the child can clean up.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (signal !== 'SIGINT') child.kill(signal)
  })
}
child.on('error', (error) => {
  process.stderr.write(`${error.message}\n`)
  process.exit(1)
})
child.on('exit', (code, signal) => {
  if (signal === null) process.exit(code ?? 1)
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
})
