import { spawn } from 'node:child_process'
import { copyFileSync, existsSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { addonPath, root } from './paths.mjs'
import { SetupError } from './setup-error.mjs'

const library = { darwin: /\.dylib$/, win32: /\.dll$/ }[process.platform] ?? /\.so$/

/**
 * What cargo is asked for. `dist` is the addon as it is shipped and measured. `dev` is the one of the tests: it is built
 * together with the tests of the crates, so that both share their dependencies.
 */
const BUILDS = {
  dist: ['build', '--profile', 'dist', '-p', 'sluice-addon'],
  dev: ['build', '--all-targets', '-p', 'sluice-core', '-p', 'sluice-addon'],
}

/**
 * Builds the addon and puts it at `native/sluice.node`, in place of one of another profile. Silent when nothing is to be
 * done.
 *
 * @param {keyof typeof BUILDS} profile
 */
export async function buildAddon(profile) {
  const built = await cargoBuild(profile)
  if (isSame(built, addonPath)) return
  // A running program may have the old file mapped, and writing into it would crash that program: the new file takes
  // its name instead.
  const fresh = `${addonPath}.${process.pid}.tmp`
  try {
    copyFileSync(built, fresh)
    const { atime, mtime } = statSync(built)
    utimesSync(fresh, atime, mtime)
    renameSync(fresh, addonPath)
  } catch (error) {
    throw new SetupError(`cannot replace ${addonPath} (${error.code}): stop the programs that use it.`)
  } finally {
    rmSync(fresh, { force: true })
  }
}

/** The path of the built library, as cargo tells it: it knows about CARGO_TARGET_DIR and every other setting. */
function cargoBuild(profile) {
  const args = [...BUILDS[profile], '--message-format', 'json-render-diagnostics']
  const isFirst = !existsSync(addonPath)
  if (isFirst) process.stderr.write('setup: building the addon (a few minutes, once)\n')
  return new Promise((resolve, reject) => {
    // On the first build cargo draws its own progress; later only what it has to say is passed on.
    const cargo = spawn('cargo', args, { cwd: root, stdio: ['ignore', 'pipe', isFirst ? 'inherit' : 'pipe'] })
    let artifact
    createInterface({ input: cargo.stdout }).on('line', (line) => {
      const message = parse(line)
      if (message?.reason !== 'compiler-artifact' || message.target?.name !== 'sluice_addon') return
      artifact = message.filenames.find((name) => library.test(name)) ?? artifact
    })
    if (cargo.stderr !== null) {
      createInterface({ input: cargo.stderr }).on('line', (line) => {
        if (!/^\s*Finished /.test(line)) process.stderr.write(`${line}\n`)
      })
    }
    cargo.on('error', (error) => reject(new SetupError(`cargo does not start: ${error.message}`)))
    cargo.on('close', (code) => {
      if (code !== 0) reject(new SetupError('the addon does not build: see above.'))
      else if (artifact === undefined) reject(new SetupError('cargo built no library for the addon.'))
      else resolve(artifact)
    })
  })
}

function parse(line) {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/** The copy keeps the time of its original, so equal size and time mean equal bytes. */
function isSame(original, copy) {
  const a = statSync(original)
  const b = statSync(copy, { throwIfNoEntry: false })
  // A timestamp may lose its last digits on the way through JavaScript's milliseconds.
  return b !== undefined && a.size === b.size && Math.abs(a.mtimeMs - b.mtimeMs) < 2
}
