/**
 * Files as the end of a pipe. `toFile` gives a `WritableStream` of either implementation; {@link fileTargetOf} gives a
 * native pipe the file inside it, to write without JavaScript. That pipe holds the stream's lock while it writes:
 * `getWriter()`, `target.open()`, the bytes through the descriptor, then `writer.close()` or `writer.abort(reason)`.
 */
import type { Buffer } from 'node:buffer'
import type { UnderlyingSink, WritableStream } from 'node:stream/web'
import { fileSettings, refuseUnknownOptions, type FileOptions } from './file-options.ts'
import { FileTarget } from './file-target.ts'

export { FileTarget, type FileOptions }

/** What a file sink can write. */
export type FileChunk = ArrayBufferView | ArrayBuffer

/** A constructor that makes `WritableStream`s: the platform's or another implementation's. */
export interface WritableStreams<Stream = unknown> {
  WritableStream: new (sink: UnderlyingSink<FileChunk>, strategy?: FileStrategy) => Stream
}

interface FileStrategy {
  highWaterMark?: number
  size?: (chunk?: FileChunk) => number
}

export interface ToFileOptions<Stream = WritableStream<FileChunk>> extends FileOptions {
  /** The streams implementation to use; the platform's by default. A pipe needs both ends from one implementation. */
  streams?: WritableStreams<Stream> | undefined
}

/** The underlying sink of a `WritableStream` that ends in a file. */
export interface FileSink extends UnderlyingSink<FileChunk> {
  readonly target: FileTarget
}

/** Bytes that may wait while a chunk is being written: the largest chunk of a body, so that reading goes on. */
const HIGH_WATER_MARK = 256 * 1024

/** The file inside each stream that {@link toFile} has made; it lives as long as the stream. */
const targets = new WeakMap<object, FileTarget>()

/**
 * An underlying sink for a file, to build a `WritableStream` with.
 *
 * @throws TypeError for a path or an option that is not valid, or is not known, by name.
 */
export function createFileSink(path: string | Buffer | URL, options: FileOptions = {}): FileSink {
  refuseUnknownOptions(options, ['mode', 'flags', 'atomic'])
  const target = new FileTarget(fileSettings(path, options))
  return {
    target,
    write: (chunk) => target.write(chunk),
    close: () => target.close(),
    abort: (reason) => target.abort(reason),
  }
}

/**
 * A `WritableStream` into a file, which is opened when the first byte arrives or the stream closes empty. On abort a
 * file that the stream created is removed; an existing one never is. Errors are Node's own (`code`, `syscall`, `path`).
 *
 * @throws TypeError for a path or an option that is not valid, or is not known, by name.
 * @example
 * await (await fetch(url)).body.pipeTo(toFile('out.bin', { atomic: true }))
 */
export function toFile<Stream extends object = WritableStream<FileChunk>>(
  path: string | Buffer | URL,
  options: ToFileOptions<Stream> = {},
): Stream {
  refuseUnknownOptions(options, ['mode', 'flags', 'atomic', 'streams'])
  const { streams, ...fileOptions } = options
  const sink = createFileSink(path, fileOptions)
  const stream = new (constructorOf<Stream>(streams))(sink, { highWaterMark: HIGH_WATER_MARK, size: sizeOf })
  targets.set(stream, sink.target)
  return stream
}

/** The file that a stream made by {@link toFile} writes to; `undefined` for any other stream. */
export function fileTargetOf(stream: object): FileTarget | undefined {
  return targets.get(stream)
}

function constructorOf<Stream>(
  streams: WritableStreams<Stream> | undefined,
): WritableStreams<Stream>['WritableStream'] {
  // Read at each call: a program may replace the global by another implementation.
  if (streams === undefined) return (globalThis as unknown as WritableStreams<Stream>).WritableStream
  if (typeof streams.WritableStream !== 'function') {
    throw new TypeError("option 'streams' must have a WritableStream constructor")
  }
  return streams.WritableStream
}

/** The size of a chunk in bytes; of what is no bytes, which the sink is going to refuse, 1. */
function sizeOf(chunk?: FileChunk): number {
  const size: unknown = (chunk as { byteLength?: unknown } | null | undefined)?.byteLength
  return typeof size === 'number' ? size : 1
}
