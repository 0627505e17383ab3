import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { hasProjectNode, root } from './paths.mjs'
import { SetupError } from './setup-error.mjs'

/** Runs `npm ci` when the installed packages are missing or are not those of the lock file. */
export function installPackages() {
  if (isInstalled()) return
  process.stderr.write('setup: installing the npm packages\n')
  // Under `npm run` this is the very npm that runs us; a shell is needed on Windows, where npm is a .cmd file.
  const npmScript = process.env.npm_execpath
  const { status, error } = npmScript?.endsWith('.js')
    ? spawnSync(process.execPath, [npmScript, 'ci', '--no-audit', '--no-fund', '--loglevel=error'], options)
    : spawnSync('npm ci --no-audit --no-fund --loglevel=error', { ...options, shell: true })
  if (status !== 0) throw new SetupError(`\`npm ci\` failed (${error?.message ?? `exit code ${status}`}): see above.`)
  if (!hasProjectNode()) {
    throw new SetupError(
      'the `node` package has no program: its install script did not run; `npm config delete ignore-scripts`, then `npm ci`.',
    )
  }
}

const options = { cwd: root, stdio: ['ignore', process.stderr, process.stderr] }

/**
 * npm writes what it installed into a hidden lock file when it is done, so this file is the stamp: it also tells an
 * interrupted installation, and one that the user made by hand.
 */
function isInstalled() {
  const wanted = packagesOf('package-lock.json')
  const installed = packagesOf(join('node_modules', '.package-lock.json'))
  if (installed === undefined || !hasProjectNode()) return false
  for (const [path, entry] of Object.entries(wanted ?? {})) {
    if (path === '') continue
    const found = installed[path]
    // Optional packages of other platforms are in the lock file only.
    if (found === undefined ? !entry.optional : found.version !== entry.version) return false
  }
  return true
}

function packagesOf(file) {
  try {
    return JSON.parse(readFileSync(join(root, file), 'utf8')).packages
  } catch {
    return undefined
  }
}
