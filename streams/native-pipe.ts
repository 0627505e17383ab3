/**
 * `body.pipeTo(toFile(path))` inside Rust: both ends are locked, the runtime writes to the sink's own descriptor, and
 * both end as `ReadableStreamPipeTo` (Streams §4.9.1) says. Every other pipe takes the ordinary path.
 */
import type { ReadableStream, StreamPipeOptions, WritableStream } from 'node:stream/web'
import { getSystemErrorMap } from 'node:util'
import type { CoreErrorInfo } from '../native/binding.ts'
import { bodyStreamState } from './body-stream.ts'
import type { BodyStreamState } from './body-stream.ts'
import { fileTargetOf } from './file-sink.ts'
import type { FileTarget } from './file-sink.ts'
import { NativeSource } from './native-source.ts'

const kNothing = new Uint8Array(0)

type PipeTo = (destination: WritableStream, options?: StreamPipeOptions) => Promise<void>

/** Gives `stream`, made by `createBodyStream`, a `pipeTo` that recognises a file. */
export function recogniseFiles(stream: ReadableStream): void {
  const ordinary = stream.pipeTo
  Object.defineProperty(stream, 'pipeTo', {
    configurable: true,
    writable: true,
    value: function pipeTo(this: ReadableStream, destination: WritableStream, options?: StreamPipeOptions) {
      const ends = this === stream ? nativeEnds(stream, destination, options) : null
      return ends === null ? (ordinary as PipeTo).call(this, destination, options) : pipe(ends, options ?? {})
    },
  })
}

interface Ends {
  stream: ReadableStream
  destination: WritableStream
  state: BodyStreamState
  source: NativeSource
  target: FileTarget
}

/** The two ends, where Rust can serve both; `null` leaves the call, with all its checks, to the ordinary path. */
function nativeEnds(stream: ReadableStream, destination: WritableStream, options: unknown): Ends | null {
  // libuv's descriptors on Windows mean nothing to Rust's runtime.
  if (process.platform === 'win32') return null
  if (typeof destination !== 'object' || destination === null) return null
  if (options !== undefined && (typeof options !== 'object' || options === null)) return null
  const signal = (options as StreamPipeOptions | undefined)?.signal
  if (signal !== undefined && (!(signal instanceof AbortSignal) || signal.aborted)) return null
  const state = bodyStreamState(stream)
  const target = fileTargetOf(destination)
  if (state === undefined || target === undefined) return null
  const { source } = state
  if (!(source instanceof NativeSource) || source.state !== 'open') return null
  if (stream.locked || destination.locked || !state.isBetweenReads) return null
  if (target.state !== 'idle' && target.state !== 'open') return null
  return { stream, destination, state, source, target }
}

/** Why a sink takes no more. */
interface SinkFailure {
  error: unknown
  /** Whether the stream around the file has failed or closed by itself. */
  isKnown: boolean
}

async function pipe({ stream, destination, state, source, target }: Ends, options: StreamPipeOptions): Promise<void> {
  const { signal } = options
  const { controller } = state
  const reader = stream.getReader()
  const writer = destination.getWriter()
  // It reports through this function's own promise.
  reader.closed.catch(() => {})
  state.isDisturbed = true
  const stop = Promise.withResolvers<void>()
  let isAborted = false
  const onAbort = (): void => {
    isAborted = true
    source.stopPipe()
    stop.resolve()
  }
  let lost: SinkFailure | null = null
  const onSinkGone = (error: unknown): void => {
    lost = { error, isKnown: true }
    stop.resolve()
  }
  // Chunks written before may still fail, and a close may be under way.
  writer.closed.then(() => onSinkGone(new TypeError('the file is closed')), onSinkGone)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    // A failed request leaves no file, so it is opened when the first byte is there.
    if (!source.peek()) await Promise.race([source.ready(), stop.promise])
    const failure = lost ?? (isAborted || source.state !== 'open' ? null : await moveBytes())
    if (failure !== null) await endAtSink(failure)
    else if (isAborted && source.state === 'open') await endAtSignal(signal!.reason)
    else await endAtSource()
  } finally {
    signal?.removeEventListener('abort', onAbort)
    reader.releaseLock()
    writer.releaseLock()
  }

  async function moveBytes(): Promise<SinkFailure | null> {
    try {
      // Resolves behind every chunk that was written to the stream before, and fails if it takes no more.
      await writer.write(kNothing)
    } catch (error) {
      return { error, isKnown: true }
    }
    try {
      const { fd } = await target.open()
      // The abort came, or the connection broke, while the file was being opened.
      if (isAborted || source.state !== 'open') return null
      const info = await new Promise<CoreErrorInfo | null>((resolve) => source.pipeToFile(fd, resolve))
      return info === null ? null : { error: fileError(info), isKnown: false }
    } catch (error) {
      return { error, isKnown: false }
    }
  }

  async function endAtSink({ error, isKnown }: SinkFailure): Promise<never> {
    await Promise.allSettled([
      isKnown ? undefined : writer.abort(error),
      options.preventCancel ? undefined : reader.cancel(error),
    ])
    throw error
  }

  async function endAtSignal(reason: unknown): Promise<never> {
    await Promise.allSettled([
      options.preventAbort ? undefined : writer.abort(reason),
      options.preventCancel ? undefined : reader.cancel(reason),
    ])
    throw reason
  }

  async function endAtSource(): Promise<void> {
    if (source.state === 'ended') {
      controller.close()
      if (!options.preventClose) await writer.close()
      return
    }
    controller.error(source.error)
    if (!options.preventAbort) await Promise.allSettled([writer.abort(source.error)])
    throw source.error
  }
}

/** The error that `fs.write` would have given. */
function fileError({ code, errno = 0, syscall = 'write' }: CoreErrorInfo): Error {
  const [name, text] = getSystemErrorMap().get(errno) ?? [code, 'i/o error']
  return Object.assign(new Error(`${name}: ${text}, ${syscall}`), { errno, code: name, syscall })
}
