import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { root } from './paths.mjs'
import { SetupError } from './setup-error.mjs'

const run = promisify(execFile)

/** The oldest Node that can run the setup itself; the project's own Node comes from its packages. */
const OLDEST_NODE = 20

/** @throws SetupError when this Node is too old. */
export function checkNode() {
  if (Number.parseInt(process.versions.node, 10) < OLDEST_NODE) {
    throw new SetupError(
      `Node ${process.versions.node} is too old: install Node ${OLDEST_NODE} or newer (https://nodejs.org).`,
    )
  }
}

/** @throws SetupError when cargo, rustc or a C compiler is missing or too old. */
export async function checkRustToolchain() {
  const oldest = oldestRust()
  const [cargo, rustc, compiler] = await Promise.all([versionOf('cargo'), versionOf('rustc'), hasCompiler()])
  for (const [tool, version] of [
    ['cargo', cargo],
    ['rustc', rustc],
  ]) {
    if (version === undefined) {
      throw new SetupError(`${tool} is missing: install Rust ${oldest} or newer with rustup (https://rustup.rs).`)
    }
    if (isOlder(version, oldest)) {
      throw new SetupError(
        `${tool} ${version} is too old: run \`rustup update stable\` (${oldest} or newer is needed).`,
      )
    }
  }
  if (!compiler) {
    throw new SetupError(
      {
        win32: 'no C compiler: install the Visual Studio Build Tools with "Desktop development with C++".',
        darwin: 'no C compiler: run `xcode-select --install`.',
      }[process.platform] ?? 'no C compiler: install gcc or clang (Debian, Ubuntu: `apt-get install build-essential`).',
    )
  }
}

/** `rust-version` of the workspace: it is written once, in Cargo.toml. */
function oldestRust() {
  const manifest = readFileSync(join(root, 'Cargo.toml'), 'utf8')
  return /^rust-version\s*=\s*"([\d.]+)"/m.exec(manifest)?.[1] ?? '1.88'
}

async function versionOf(tool) {
  const output = await outputOf(tool, ['--version'])
  return output === undefined ? undefined : /\d+\.\d+(\.\d+)?/.exec(output)?.[0]
}

async function hasCompiler() {
  if (process.platform === 'win32') {
    const installer = join(process.env['ProgramFiles(x86)'] ?? 'C:\\Program Files (x86)', 'Microsoft Visual Studio')
    if (existsSync(join(installer, 'Installer', 'vswhere.exe'))) return true
  }
  const candidates = process.env.CC === undefined ? ['cc', 'gcc', 'clang'] : [process.env.CC]
  for (const compiler of candidates) {
    if ((await outputOf(compiler, ['--version'])) !== undefined) return true
  }
  return false
}

/** What the command prints, `undefined` when it is not there or fails. */
async function outputOf(command, args) {
  try {
    return (await run(command, args, { cwd: root, windowsHide: true })).stdout
  } catch {
    return undefined
  }
}

function isOlder(version, oldest) {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [oldestMajor = 0, oldestMinor = 0] = oldest.split('.').map(Number)
  return major < oldestMajor || (major === oldestMajor && minor < oldestMinor)
}
