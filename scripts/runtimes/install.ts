import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CACHE = fileURLToPath(new URL('../../node_modules/.cache/sluice-runtimes', import.meta.url))

export interface Runtime {
  /** The program. */
  readonly path: string
  /** `22.19.0` */
  readonly version: string
}

/** The developer's machine or network is in the way; the message is for them, in one line. */
export class RuntimeError extends Error {}

/**
 * The newest Node of a major version, as of the day it was first asked for. It is installed beside the project's
 * dependencies, not as one of them: three runtimes are half a gigabyte that `npm ci` should not fetch.
 * @throws RuntimeError when it is not there and cannot be installed
 */
export function installRuntime(major: string): Runtime {
  const folder = join(CACHE, major)
  const path = join(folder, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  const version = versionOf(path) ?? install(major, folder, path)
  return { path, version }
}

function install(major: string, folder: string, path: string): string {
  process.stderr.write(`test:runtimes: installing Node ${major}\n`)
  // What an interrupted installation left behind is not repaired by another one.
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  // npm asks for leave to run the install script that brings the program.
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "allowScripts": { "node": true } }\n')
  const flags = ['--prefix', folder, '--no-save', '--no-audit', '--no-fund', '--loglevel=error']
  const { status, stderr, error } = npm(['install', ...flags, `node@${major}`], folder)
  const version = versionOf(path)
  if (version !== undefined) return version
  const reason = error?.message ?? firstErrorOf(stderr) ?? `exit code ${status}`
  throw new RuntimeError(`Node ${major} is not installed, and npm cannot install it: ${reason}`)
}

/** Under `npm run` this is the very npm that runs us; a shell is needed on Windows, where npm is a .cmd file. */
function npm(args: string[], cwd: string): ReturnType<typeof spawnSync> & { stderr: string } {
  const script = process.env.npm_execpath
  return script?.endsWith('.js')
    ? spawnSync(process.execPath, [script, ...args], { cwd, encoding: 'utf8' })
    : spawnSync('npm', args, { cwd, encoding: 'utf8', shell: process.platform === 'win32' })
}

/** `undefined` for a program that is missing or does not run. */
function versionOf(path: string): string | undefined {
  if (!existsSync(path)) return undefined
  const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
  return status === 0 ? stdout.trim().slice(1) : undefined
}

function firstErrorOf(output: string): string | undefined {
  return /^npm (?:error|ERR!) (.*)$/m.exec(output)?.[1]
}
