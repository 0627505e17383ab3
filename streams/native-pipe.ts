/**
 * `body.pipeTo(toFile(path))` inside Rust: both ends are locked, the runtime writes to the sink's own descriptor, and
 * both end as `ReadableStreamPipeTo` (Streams §4.9.1) says. Every other pipe takes the ordinary path.
 */
import type { ReadableStream, StreamPipeOptions, WritableStream } from 'node:stream/web'
import { bodyStreamState } from './body-stream.ts'
import type { BodyStreamState } from './body-stream.ts'
import { fileTargetOf } from './file-sink.ts'
import type { FileTarget } from './file-sink.ts'

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
  if (state === undefined || target === undefined || state.source.state !== 'open') return null
  if (stream.locked || destination.locked) return null
  if (target.state !== 'idle' && target.state !== 'open') return null
  return { stream, destination, state, target }
}

async function pipe(ends: Ends, options: StreamPipeOptions): Promise<void> {
  const { stream, destination, state } = ends
  const { signal, preventClose, preventAbort, preventCancel } = options
  const { source, controller } = state
  const reader = stream.getReader()
  const writer = destination.getWriter()
  // Both report through this function's own promise.
  reader.closed.catch(() => {})
  writer.closed.catch(() => {})
  writer.ready.catch(() => {})
  state.isDisturbed = true
  let onAbort: (() => void) | undefined
  let aborted = false
  const abortSeen = new Promise<void>((resolve) => {
    onAbort = () => {
      aborted = true
      source.stopPipe()
      resolve()
    }
  })
  signal?.addEventListener('abort', onAbort!, { once: true })
  try {
    // A failed request leaves no file, so it is opened when the first byte is there.
    if (!source.peek()) await Promise.race([source.ready(), abortSeen])
    if (!aborted && source.state === 'open') {
      const failure = await moveBytes(ends, () => aborted)
      if (failure !== null) {
        await Promise.allSettled([
          writer.abort(failure.error),
          preventCancel === true ? undefined : reader.cancel(failure.error),
        ])
        throw failure.error
      }
    }
    if (aborted && source.state === 'open') {
      const reason: unknown = signal?.reason
      await Promise.allSettled([
        preventAbort === true ? undefined : writer.abort(reason),
        preventCancel === true ? undefined : reader.cancel(reason),
      ])
      throw reason
    }
    if (source.state === 'ended') {
      controller.close()
      if (preventClose !== true) await writer.close()
      return
    }
    controller.error(source.error)
    if (preventAbort !== true) await Promise.allSettled([writer.abort(source.error)])
    throw source.error
  } finally {
    signal?.removeEventListener('abort', onAbort!)
    reader.releaseLock()
    writer.releaseLock()
  }

  async function moveBytes(
    { target }: { target: FileTarget },
    isAborted: () => boolean,
  ): Promise<{ error: unknown } | null> {
    let descriptor: number
    try {
      // Resolves behind every chunk that was written to the stream before, and fails if it takes no more.
      await writer.write(kNothing)
      descriptor = (await target.open()).fd
    } catch (error) {
      return { error }
    }
    // The abort came, or the connection broke, while the file was being opened.
    if (isAborted()) return null
    const piped = await new Promise<{ error: unknown }>((resolve) => {
      source.pipeToFile(descriptor, (_written, _isStopped, error) => resolve({ error }))
    })
    return piped.error === null ? null : piped
  }
}
