/** A byte stream over another source of bytes: pulled only as it is read, with a look at every chunk on the way. */
import type { ReadableStream } from 'node:stream/web'
import { ByteStream } from '../streams/byte-stream.ts'
import type { ByteSource, ReadableStreamConstructor } from '../streams/byte-stream.ts'

/** What is relayed: opened at the first read. `return` ends it early. */
export interface ChunkSource {
  next(): Promise<{ done?: boolean | undefined; value?: unknown }>
  return?(reason?: unknown): unknown
}

export interface RelayOptions {
  onChunk?: (chunk: Uint8Array) => void
  /** Before the end is told; what it throws is the stream's error. */
  onEnd?: () => void
  /** Errors the stream at once. */
  signal?: AbortSignal | null
}

const pulled = new WeakSet<object>()

/** Notes that `stream` was read from or cancelled: no implementation but the platform's says so. */
export function markDisturbed(stream: object): void {
  pulled.add(stream)
}

export function wasDisturbed(stream: object): boolean {
  return pulled.has(stream)
}

/** A stream of `Implementation` over what `open` gives. */
export function relayStream(
  open: () => ChunkSource,
  Implementation: ReadableStreamConstructor,
  { onChunk, onEnd, signal }: RelayOptions = {},
): ReadableStream {
  let source: ChunkSource | null = null
  let release = (): void => {}
  const underlying: ByteSource = {
    start(controller) {
      if (!signal) return
      const onAbort = (): void => {
        controller.error(signal.reason)
        Promise.resolve((source ??= open()).return?.(signal.reason)).catch(() => {})
      }
      signal.addEventListener('abort', onAbort, { once: true })
      release = () => signal.removeEventListener('abort', onAbort)
    },
    async pull(controller) {
      markDisturbed(bytes.stream)
      source ??= open()
      try {
        for (;;) {
          const { done, value } = await source.next()
          if (done === true) break
          const chunk = value as Uint8Array
          if (chunk.byteLength === 0) continue
          onChunk?.(chunk)
          // A byte stream transfers what it is given; a Buffer may share its memory.
          const isWhole = chunk.byteLength === chunk.buffer.byteLength
          controller.enqueue(isWhole ? chunk : new Uint8Array(chunk))
          return
        }
        onEnd?.()
      } catch (error) {
        release()
        throw error
      }
      release()
      bytes.close()
    },
    async cancel(reason) {
      markDisturbed(bytes.stream)
      release()
      await (source ??= open()).return?.(reason)
    },
  }
  const bytes = new ByteStream(underlying, Implementation)
  return bytes.stream
}

/** The chunks of `stream`, which is locked by this. */
export function chunksOf(stream: ReadableStream): ChunkSource {
  const reader = stream.getReader()
  return { next: () => reader.read(), return: (reason) => reader.cancel(reason) }
}
