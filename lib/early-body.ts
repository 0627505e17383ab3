/**
 * The body of a `Request`, whose stream does not say what it was made from. It is read from the call on, so that the
 * Request is used at once (Fetch §5.6), and what comes whole within a few turns is sent as bytes: with its length, and
 * again where a redirect asks for it.
 */
import type { ReadableStream, ReadableStreamDefaultReader } from 'node:stream/web'
import type { BodySource, DispatchBody } from './request-body.ts'

/** Bytes gathered at most, but for one chunk more. */
const MOST_BYTES = 512 * 1024

/** Turns of the event loop in which a body that was made from memory comes. */
const TURNS = 3

// Taken when the module loads: test suites install clocks of their own.
const { setImmediate: startImmediate } = globalThis

type Read = Promise<{ done: boolean; value?: unknown }>

/** Looks like a stream to whoever sends it, and gives first what was gathered. */
export class EarlyBody {
  private readonly reader: ReadableStreamDefaultReader
  private readonly chunks: Uint8Array[] = []
  private pending: Read | null = null

  constructor(stream: ReadableStream) {
    this.reader = stream.getReader()
    this.readAhead()
  }

  /** What to send: bytes, or a stream. */
  async open(): Promise<DispatchBody> {
    let length = 0
    const over = afterTurns(TURNS)
    for (;;) {
      // What it fails with is told again to whoever reads on.
      const result = await Promise.race([this.pending!, over]).catch(() => null)
      if (result === null) break
      if (result.done) return length === 0 ? { kind: 'none' } : { kind: 'bytes', bytes: Buffer.concat(this.chunks) }
      // What is no bytes is for the sender to judge.
      if (!(result.value instanceof Uint8Array) || length >= MOST_BYTES) break
      this.chunks.push(result.value)
      length += result.value.byteLength
      this.readAhead()
    }
    return { kind: 'stream', source: this as unknown as BodySource, length: null }
  }

  getReader(): this {
    return this
  }

  read(): Read {
    if (this.chunks.length > 0) return Promise.resolve({ done: false, value: this.chunks.shift() })
    const { pending } = this
    this.pending = null
    return pending ?? (this.reader.read() as Read)
  }

  cancel(reason: unknown): Promise<void> {
    this.chunks.length = 0
    return this.reader.cancel(reason)
  }

  private readAhead(): void {
    this.pending = this.reader.read() as Read
    this.pending.catch(() => {})
  }
}

async function afterTurns(turns: number): Promise<null> {
  for (let turn = 0; turn < turns; turn++) await new Promise<void>((resolve) => void startImmediate(resolve))
  return null
}
