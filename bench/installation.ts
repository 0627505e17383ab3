/** What the benchmarks need beside the project: the contestants of `bench/package.json`, and the server. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { root } from './paths.ts'

const folder = join(root, 'bench')

interface Manifest {
  dependencies: Record<string, string>
  optionalDependencies: Record<string, string>
}

/** The version of a contestant that is installed; none otherwise. */
export function installedVersion(name: string): string | undefined {
  const file = join(folder, 'node_modules', name, 'package.json')
  if (!existsSync(file)) return undefined
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

export function manifest(): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
}

/**
 * Installs the contestants, when one is missing. An optional one that cannot be installed is told and left out.
 * @throws Error when mitata or undici are missing then
 */
export function installContestants(): void {
  const { dependencies, optionalDependencies } = manifest()
  const missing = (names: object): string[] => Object.keys(names).filter((name) => installedVersion(name) === undefined)
  if (missing({ ...dependencies, ...optionalDependencies }).length === 0) return
  process.stderr.write('bench: installing the contestants\n')
  // Not `npm ci`: a lock file made on one system may lack the optional packages of another.
  const { status } = spawnSync('npm install --no-save --no-audit --no-fund --loglevel=error', {
    cwd: folder,
    shell: true,
    stdio: ['ignore', process.stderr, process.stderr],
    // npm leaves out optional packages that do not suit the Node it runs on, which must be the project's.
    env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ''}` },
  })
  const needed = missing(dependencies)
  if (needed.length > 0) throw new Error(`bench: cannot install ${needed.join(', ')} (npm ended with ${status})`)
  for (const name of missing(optionalDependencies)) process.stderr.write(`bench: ${name} is left out: not installed\n`)
}

/** Imports a contestant: typed by its caller, since the type check runs without it. */
export async function load(name: string): Promise<unknown> {
  return import(name)
}

/** Builds the server and gives its path, as cargo tells it. */
export function buildServer(): Promise<string> {
  const args = ['build', '--release', '-p', 'sluice-bench-server', '--message-format', 'json-render-diagnostics']
  return new Promise((resolve, reject) => {
    const cargo = spawn('cargo', args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
    let executable: string | undefined
    createInterface({ input: cargo.stdout }).on('line', (line) => {
      if (!line.startsWith('{')) return
      const message = JSON.parse(line) as { executable?: string; target?: { name: string } }
      if (message.target?.name === 'sluice-bench-server') executable = message.executable ?? executable
    })
    cargo.on('error', (error) => reject(new Error(`cargo does not start: ${error.message}`)))
    cargo.on('close', (code) => {
      if (code === 0 && executable !== undefined) resolve(executable)
      else reject(new Error(`the server does not build (cargo ended with ${code})`))
    })
  })
}
