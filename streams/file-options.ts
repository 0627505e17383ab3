/** The options of a file sink, and what they mean to the operating system. */
import { Buffer } from 'node:buffer'
import { constants } from 'node:fs'
import { isAbsolute, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface FileOptions {
  /** Permissions of a file that is created, before the umask, as `fs.open` takes them; `0o666` by default. */
  mode?: number | string | undefined
  /** How to open the file, in Node's words: `'w'` (the default), `'wx'`, `'a'`, `'r+'` … It must be writable. */
  flags?: string | undefined
  /**
   * Write a temporary sibling and rename it over the target on close, so that nobody ever sees half a file and the
   * old one survives a failure. The permissions of an existing target are kept unless `mode` is given. Goes with
   * flags `'w'` and `'wx'`. It is not synced to the disk.
   */
  atomic?: boolean | undefined
}

/** {@link FileOptions}, checked. */
export interface FileSettings {
  readonly path: string | Buffer
  readonly flags: number
  readonly mode: number | string | undefined
  readonly atomic: boolean
}

const { O_APPEND, O_CREAT, O_EXCL, O_RDWR, O_SYNC, O_TRUNC, O_WRONLY } = constants

/** Node's flag strings that can write; as in Node, the letters after the first come in either order. */
const FLAGS: ReadonlyMap<string, number> = new Map([
  ['r+', O_RDWR],
  ['rs+', O_RDWR | O_SYNC],
  ['w', O_TRUNC | O_CREAT | O_WRONLY],
  ['wx', O_TRUNC | O_CREAT | O_WRONLY | O_EXCL],
  ['w+', O_TRUNC | O_CREAT | O_RDWR],
  ['wx+', O_TRUNC | O_CREAT | O_RDWR | O_EXCL],
  ['a', O_APPEND | O_CREAT | O_WRONLY],
  ['ax', O_APPEND | O_CREAT | O_WRONLY | O_EXCL],
  ['as', O_APPEND | O_CREAT | O_WRONLY | O_SYNC],
  ['a+', O_APPEND | O_CREAT | O_RDWR],
  ['ax+', O_APPEND | O_CREAT | O_RDWR | O_EXCL],
  ['as+', O_APPEND | O_CREAT | O_RDWR | O_SYNC],
])
const OTHER_SPELLINGS: ReadonlyMap<string, string> = new Map([
  ['sr+', 'rs+'],
  ['xw', 'wx'],
  ['xw+', 'wx+'],
  ['xa', 'ax'],
  ['xa+', 'ax+'],
  ['sa', 'as'],
  ['sa+', 'as+'],
])

/** @throws TypeError naming the option, or the path, that is not valid. */
export function fileSettings(path: string | Buffer | URL, options: FileOptions = {}): FileSettings {
  const { mode, flags = 'w', atomic = false } = options
  const bits = FLAGS.get(OTHER_SPELLINGS.get(flags) ?? flags)
  if (bits === undefined) {
    throw new TypeError(`option 'flags' must be one of Node's flags for writing, not ${describe(flags)}`)
  }
  if (typeof atomic !== 'boolean') {
    throw new TypeError(`option 'atomic' must be a boolean, not ${describe(atomic)}`)
  }
  if (atomic && (bits & O_TRUNC) === 0) {
    throw new TypeError(`option 'atomic' replaces the file, which flags ${describe(flags)} do not`)
  }
  if (!isMode(mode)) {
    throw new TypeError(`option 'mode' must be permission bits (a number or an octal string), not ${describe(mode)}`)
  }
  return { path: absolutePath(path), flags: bits, mode, atomic }
}

/** @throws TypeError naming the first option that is not one of `known`: none is accepted and ignored. */
export function refuseUnknownOptions(options: object, known: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`unknown option '${name}' (known: ${known.join(', ')})`)
  }
}

function isMode(mode: unknown): boolean {
  if (mode === undefined) return true
  if (typeof mode === 'string') return /^[0-7]{1,6}$/.test(mode)
  return typeof mode === 'number' && Number.isInteger(mode) && mode >= 0 && mode <= 0o7777
}

/** Settles the path now: the file is opened later, when the working directory may be another. */
export function absolutePath(path: string | Buffer | URL): string | Buffer {
  const settled = path instanceof URL ? fileURLToPath(path) : path
  if (typeof settled !== 'string' && !Buffer.isBuffer(settled)) {
    throw new TypeError(`the path must be a string, a Buffer or a file: URL, not ${describe(path)}`)
  }
  if (settled.includes('\0')) throw new TypeError('the path must not contain a null byte')
  // An empty path stays one, so that opening it fails with ENOENT as everywhere in Node.
  if (settled.length === 0 || isAbsolute(settled.toString('latin1')))
    return Buffer.isBuffer(settled) ? Buffer.from(settled) : settled
  return Buffer.isBuffer(settled) ? Buffer.concat([Buffer.from(process.cwd() + sep), settled]) : resolve(settled)
}

function describe(value: unknown): string {
  return typeof value === 'string'
    ? `'${value}'`
    : value === null || typeof value !== 'object'
      ? String(value)
      : 'an object'
}
