/**
 * Files as the beginning of a pipe. `fromFile` gives a `ReadableStream` of either implementation; as a request body its
 * bytes are read by the runtime and never enter JavaScript.
 */
import type { Buffer } from 'node:buffer'
import { closeSync, constants, fstatSync, openAsBlob, openSync, readSync } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { basename } from 'node:path'
import type { ReadableByteStreamController, ReadableStream, UnderlyingByteSource } from 'node:stream/web'
import { ByteStream } from './byte-stream.ts'
import type { ByteSource, ReadableStreamConstructor } from './byte-stream.ts'
import { absolutePath, refuseUnknownOptions } from './file-options.ts'

export interface FromFileOptions<Stream = ReadableStream<Uint8Array>> {
  /** The first byte, from 0, the default. */
  start?: number | undefined
  /** The last byte, which is included, as in `fs.createReadStream`. The file's last by default. */
  end?: number | undefined
  /** The streams implementation to use; the platform's by default. */
  streams?: { ReadableStream: new (source: UnderlyingByteSource, strategy?: object) => Stream } | undefined
}

/** A part of a regular file. */
export interface FileRange {
  readonly path: string | Buffer
  readonly start: number
  /** Bytes. */
  readonly length: number
}

/** What a form is told of a file. */
export interface FilePartOptions {
  /** The file name; the path's last part by default. */
  name?: string | undefined
  /** The MIME type; none by default, which a form sends as `application/octet-stream`. */
  type?: string | undefined
}

/** A file as a part of a form. */
export interface FilePart {
  /**
   * A platform `File` of the same bytes, whose length is known and which is read from the disk when its turn comes. The
   * stream is locked by this. A file that changes after it cannot be read: `NotReadableError`.
   *
   * @throws TypeError for a stream that was used and for options that are not valid, and for what is no regular file;
   * Node's own error if the file cannot be opened
   * @example
   * form.append('video', await fromFile('video.mp4', { start: 1000 }).file({ type: 'video/mp4' }))
   */
  file(options?: FilePartOptions): Promise<File>
}

/** Bytes of one read. */
const PIECE = 256 * 1024

/** What a stream made by {@link fromFile} reads. */
class FileSource implements ByteSource {
  readonly autoAllocateChunkSize = PIECE
  readonly path: string | Buffer
  readonly first: number
  readonly last: number
  /** A byte was asked for, or the stream was given up. */
  isTouched = false
  /** It was given to a request. */
  isSent = false
  private position: number
  private handle: FileHandle | null = null
  /** Pipes have no positions. */
  private isSeekable = true

  constructor(path: string | Buffer, first: number, last: number) {
    this.path = path
    this.first = first
    this.last = last
    this.position = first
  }

  async pull(controller: ReadableByteStreamController): Promise<void> {
    this.isTouched = true
    try {
      await this.read(controller)
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async cancel(): Promise<void> {
    this.isTouched = true
    await this.close()
  }

  private async read(controller: ReadableByteStreamController): Promise<void> {
    const { byobRequest } = controller
    const view = byobRequest!.view as Uint8Array
    this.handle ??= await this.open()
    const wanted = Math.min(view.byteLength, this.last - this.position + 1)
    const { bytesRead } =
      wanted <= 0 ? { bytesRead: 0 } : await this.handle.read(view, 0, wanted, this.isSeekable ? this.position : null)
    this.position += bytesRead
    if (bytesRead > 0) {
      byobRequest!.respond(bytesRead)
      return
    }
    await this.close()
    controller.close()
    byobRequest!.respond(0)
  }

  private async open(): Promise<FileHandle> {
    const handle = await open(this.path, 'r')
    this.isSeekable = this.first > 0 || (await handle.stat()).isFile()
    return handle
  }

  private async close(): Promise<void> {
    const { handle } = this
    this.handle = null
    await handle?.close()
  }
}

/** The source of each stream that {@link fromFile} has made; it lives as long as the stream. */
const sources = new WeakMap<object, FileSource>()

/**
 * A byte stream of a file, or of a part of it, opened at the first read. As the body of `fetch` and `dispatch` it has
 * an exact content-length, is read outside JavaScript, and is sent again where a redirect asks for it (307, 308).
 * What is no regular file goes chunked. Errors are Node's own (`code`, `syscall`, `path`).
 *
 * @throws TypeError for a path or an option that is not valid, or is not known, by name; RangeError for `start` and
 * `end` that are no positions, or in the wrong order
 * @example
 * await fetch(url, { method: 'PUT', body: fromFile('video.mp4', { start: 1000, end: 1999 }) })
 */
export function fromFile<Stream extends object = ReadableStream<Uint8Array>>(
  path: string | Buffer | URL,
  options: FromFileOptions<Stream> = {},
): Stream & FilePart {
  refuseUnknownOptions(options, ['start', 'end', 'streams'])
  const { start = 0, end = Infinity, streams } = options
  assertPosition('start', start)
  if (end !== Infinity) assertPosition('end', end)
  if (end < start) throw new RangeError(`option 'start' (${start}) must not be beyond 'end' (${end})`)
  const source = new FileSource(absolutePath(path), start, end)
  const stream = new ByteStream(source, constructorOf(streams)).stream as unknown as Stream
  sources.set(stream, source)
  const file: FilePart['file'] = (told = {}) => toFilePart(stream, source, told)
  return Object.defineProperty(stream, 'file', { value: file }) as Stream & FilePart
}

async function toFilePart(stream: object, source: FileSource, options: FilePartOptions): Promise<File> {
  refuseUnknownOptions(options, ['name', 'type'])
  const { path, first, last } = source
  const { name = basename(path.toString()), type = '' } = options
  if (typeof name !== 'string') throw new TypeError("option 'name' must be a string")
  if (typeof type !== 'string') throw new TypeError("option 'type' must be a string")
  if (!isUnreadFile(stream)) throw new TypeError('the stream of the file was read or is locked')
  lockFile(stream)
  // Says what is wrong with the path, which `openAsBlob` does not.
  const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  try {
    if (!(await handle.stat()).isFile())
      throw new TypeError(`${path.toString()} is no regular file: its length is not known`)
  } finally {
    await handle.close()
  }
  const whole = await openAsBlob(path)
  return new File([whole.slice(first, last === Infinity ? whole.size : last + 1)], name, { type })
}

function assertPosition(name: string, value: unknown): void {
  if (typeof value !== 'number') throw new TypeError(`option '${name}' must be a number of bytes`)
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`option '${name}' must be a whole number of bytes from 0, not ${value}`)
  }
}

function constructorOf(streams: FromFileOptions<unknown>['streams']): ReadableStreamConstructor {
  // Read at each call: a program may replace the global by another implementation.
  if (streams === undefined) return globalThis.ReadableStream as unknown as ReadableStreamConstructor
  if (typeof (streams.ReadableStream as ReadableStreamConstructor | undefined) !== 'function') {
    throw new TypeError("option 'streams' must have a ReadableStream constructor")
  }
  return streams.ReadableStream
}

/** Whether `stream` is one of {@link fromFile} that nobody has read from or locked. */
export function isUnreadFile(stream: object): boolean {
  const source = sources.get(stream)
  return source !== undefined && !source.isTouched && !(stream as ReadableStream).locked
}

/**
 * What such a stream stands for; `null` where the runtime cannot read it: it is no regular file, or this is Windows,
 * whose descriptors are Node's alone.
 * @throws Node's own error if the file cannot be opened or read
 */
export function fileRangeOf(stream: object): FileRange | null {
  const { path, first, last } = sources.get(stream)!
  if (process.platform === 'win32') return null
  // A pipe without a writer would block.
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = fstatSync(descriptor)
    // Says EISDIR, which opening did not.
    if (stats.isDirectory()) readSync(descriptor, new Uint8Array(1))
    if (!stats.isFile()) return null
    return { path, start: first, length: Math.max(0, Math.min(last + 1, stats.size) - first) }
  } finally {
    closeSync(descriptor)
  }
}

/** Whether `stream` is one of {@link fromFile} that a request was given, and nobody else. */
export function isSentFile(stream: object): boolean {
  return sources.get(stream)?.isSent === true
}

/** The stream belongs to a request now. */
export function lockFile(stream: object): void {
  const source = sources.get(stream)!
  if (source.isSent) return
  ;(stream as ReadableStream).getReader()
  source.isSent = true
}
