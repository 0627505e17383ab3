/**
 * A file to be written once, front to back: opened late, removed again if it fails. It knows nothing of streams, so
 * that a native pipe can write through its descriptor while a `WritableStream` around it stays locked.
 *
 * The states go `idle → open → closed`, and from each of the first two to `aborted`. A failed write or close aborts
 * the target by itself: a `WritableStream` does not call its sink's `abort` when the sink is what failed.
 */
import { Buffer } from 'node:buffer'
import { constants, type BigIntStats } from 'node:fs'
import { link, lstat, open, realpath, rename, stat, unlink, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { getSystemErrorMap, types } from 'node:util'
import type { FileSettings } from './file-options.ts'

type Path = string | Buffer

/** An open file, and what becomes of its name. */
interface OpenFile {
  readonly handle: FileHandle
  /** The name it was opened under. */
  readonly path: Path
  /** Which file it is, if opening it brought it into being: only then may it be removed. */
  readonly created: Identity | undefined
  /** Where it is moved to on close. */
  readonly destination: Path | undefined
}

const { O_CREAT, O_EXCL } = constants

export class FileTarget {
  readonly #settings: FileSettings
  #state: 'idle' | 'open' | 'closed' | 'aborted' = 'idle'
  #reason: unknown
  #opening: Promise<OpenFile> | undefined
  #fd: number | undefined
  #bytesWritten = 0

  constructor(settings: FileSettings) {
    this.#settings = settings
  }

  /** The path given, made absolute. */
  get path(): string | Buffer {
    return this.#settings.path
  }

  /** `idle` until something is to be written: a target that stays idle never touches the disk. */
  get state(): 'idle' | 'open' | 'closed' | 'aborted' {
    return this.#state
  }

  /** The file descriptor, while the file is open. Writes through it go on where the last one ended. */
  get fd(): number | undefined {
    return this.#fd
  }

  /** Bytes written by {@link write}; those written through {@link fd} are not among them. */
  get bytesWritten(): number {
    return this.#bytesWritten
  }

  /**
   * Opens the file; further calls return the same handle, which belongs to the target: {@link close} closes it.
   *
   * @throws the error of `fs.open` (`code`, `syscall`, `path`), or the reason of {@link abort}.
   */
  async open(): Promise<FileHandle> {
    return (await this.#open()).handle
  }

  /**
   * Writes all of the chunk and resolves when the operating system has it; an empty chunk does not open the file.
   *
   * @throws TypeError for what is not bytes, and the errors of `fs.write`. Either aborts the target.
   */
  async write(chunk: ArrayBufferView | ArrayBuffer): Promise<void> {
    try {
      const bytes = bytesOf(chunk)
      if (bytes.byteLength === 0) return
      const { handle } = await this.#open()
      for (let offset = 0; offset < bytes.byteLength;) {
        // No position: the file's own offset also counts what was written through the descriptor.
        const { bytesWritten } = await handle.write(bytes, offset, bytes.byteLength - offset, null)
        offset += bytesWritten
        this.#bytesWritten += bytesWritten
      }
    } catch (error) {
      await this.#discard(error)
      throw error
    }
  }

  /**
   * Closes the file; one that was never opened is created empty. An atomic target takes its name now.
   *
   * @throws the errors of `fs.open`, `fs.close`, `fs.rename`; the target is then aborted.
   */
  async close(): Promise<void> {
    if (this.#state === 'closed') return
    try {
      const file = await this.#open()
      this.#fd = undefined
      await file.handle.close()
      if (file.destination !== undefined) await this.#moveTo(file.path, file.destination)
      this.#state = 'closed'
    } catch (error) {
      await this.#discard(error)
      throw error
    }
  }

  /**
   * Gives the file up: closes it and removes it if it was created here. An existing file keeps what it has by then,
   * with `atomic` everything. Resolves at once on a target that is closed or aborted already.
   *
   * @throws the errors of `fs.unlink`, when the file cannot be removed.
   */
  async abort(reason?: unknown): Promise<void> {
    if (this.#state === 'closed' || this.#state === 'aborted') return
    this.#state = 'aborted'
    this.#reason = reason
    this.#fd = undefined
    // An opening under way is not stopped: a file that appears behind our back would stay.
    const file = await this.#opening?.catch(() => undefined)
    if (file === undefined) return
    await closeQuietly(file.handle)
    if (file.created !== undefined) await removeIfSame(file.path, file.created)
  }

  async #open(): Promise<OpenFile> {
    if (this.#state === 'idle') {
      this.#state = 'open'
      this.#opening = openFile(this.#settings)
    }
    const file = await this.#opening
    if (this.#state === 'aborted') throw this.#reason ?? new TypeError('the file was given up')
    if (this.#state === 'closed' || file === undefined) throw new TypeError('the file is closed')
    this.#fd = file.handle.fd
    return file
  }

  async #moveTo(temporary: Path, destination: Path): Promise<void> {
    if ((this.#settings.flags & O_EXCL) === 0) {
      await rename(temporary, destination)
      return
    }
    // `rename` replaces what has meanwhile appeared under the name; `link` refuses.
    await link(temporary, destination)
    await unlink(temporary)
  }

  /** Cleans up after a failure that is about to be reported, and that matters more than a failure of cleaning up. */
  async #discard(error: unknown): Promise<void> {
    await this.abort(error).catch(() => {})
  }
}

function openFile(settings: FileSettings): Promise<OpenFile> {
  return settings.atomic ? openTemporary(settings) : openInPlace(settings)
}

async function openInPlace({ path, flags, mode }: FileSettings): Promise<OpenFile> {
  if ((flags & O_CREAT) !== 0) {
    try {
      // Exclusively first: only then is it certain that the file was not there before.
      const handle = await open(path, flags | O_EXCL, mode)
      return { handle, path, created: await identityOf(handle), destination: undefined }
    } catch (error) {
      if ((flags & O_EXCL) !== 0 || codeOf(error) !== 'EEXIST') throw error
    }
  }
  return { handle: await open(path, flags, mode), path, created: undefined, destination: undefined }
}

async function openTemporary({ path, flags, mode }: FileSettings): Promise<OpenFile> {
  const exclusive = (flags & O_EXCL) !== 0
  const destination = exclusive ? path : await resolveLink(path)
  const existing = await stat(destination).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  })
  // Now rather than after the last byte, when the rename would fail, or would put a file in a device's place.
  if (existing?.isDirectory() === true) throw openError('EISDIR', path)
  if (existing !== undefined && exclusive) throw openError('EEXIST', path)
  if (existing !== undefined && !existing.isFile()) throw openError('EINVAL', path)
  const permissions = mode ?? (existing === undefined ? undefined : existing.mode & 0o7777)
  const temporary = siblingOf(destination)
  const handle = await open(temporary, 'wx', permissions)
  const file = { handle, path: temporary, created: await identityOf(handle), destination }
  if (existing === undefined || mode !== undefined) return file
  try {
    // The umask has taken bits away that the old file had.
    await handle.chmod(existing.mode & 0o7777)
    return file
  } catch (error) {
    await closeQuietly(handle)
    await unlink(temporary).catch(() => {})
    throw error
  }
}

/** A link stays a link: what it points to is replaced. */
async function resolveLink(path: Path): Promise<Path> {
  try {
    return Buffer.isBuffer(path) ? await realpath(path, { encoding: 'buffer' }) : await realpath(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return path
    throw error
  }
}

/** The error that `fs.open` would give. */
function openError(wanted: string, path: Path): Error {
  const [errno, [code, message]] = [...getSystemErrorMap()].find(([, [name]]) => name === wanted) ?? [0, [wanted, '']]
  const name = path.toString()
  return Object.assign(new Error(`${code}: ${message}, open '${name}'`), { errno, code, syscall: 'open', path: name })
}

/** `.name.random.tmp` in the same folder: only within a file system is a rename atomic. */
function siblingOf(path: Path): Path {
  const random = process.getBuiltinModule('node:crypto').randomBytes(6).toString('hex')
  if (!Buffer.isBuffer(path)) return join(dirname(path), `.${shortened(basename(path))}.${random}.tmp`)
  // Latin-1 keeps every byte of a name that may not be UTF-8.
  const text = path.toString('latin1')
  return Buffer.from(join(dirname(text), `.${shortened(basename(text))}.${random}.tmp`), 'latin1')
}

/** File systems take names of 255 bytes; a character may have 4 of them, and the sibling's name is 18 longer. */
function shortened(name: string): string {
  return Buffer.byteLength(name) > 255 - 18 ? Array.from(name).slice(0, 50).join('') : name
}

type Identity = Pick<BigIntStats, 'dev' | 'ino'>

/** `undefined` when the file cannot be told from others any more: then it is better left alone. */
async function identityOf(handle: FileHandle): Promise<Identity | undefined> {
  return handle.stat({ bigint: true }).catch(() => undefined)
}

/** Removes the file unless another has taken its name since. */
async function removeIfSame(path: Path, identity: Identity): Promise<void> {
  try {
    const found = await lstat(path, { bigint: true })
    if (found.dev === identity.dev && found.ino === identity.ino) await unlink(path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
}

/** Closes what is given up anyway; closing twice is an error of no interest. */
async function closeQuietly(handle: FileHandle): Promise<void> {
  await handle.close().catch(() => {})
}

function bytesOf(chunk: unknown): Uint8Array {
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  if (types.isAnyArrayBuffer(chunk)) return new Uint8Array(chunk)
  throw new TypeError(
    `a file takes chunks of bytes (ArrayBuffer or a view of one), not ${chunk === null ? 'null' : typeof chunk}`,
  )
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
