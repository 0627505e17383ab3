/** Reads any ReadableStream into a delivery: one chunk at a time, and none while the consumer is paused. */
import type { Delivery, GateController, HeaderRecord } from './dispatch-shim.ts'

/** What comes before and after the chunks. */
export interface StreamedHead {
  status: number
  statusText: string
  headers: HeaderRecord
  /** Called just before the head is delivered. */
  start(): void
  /** Asked when the stream has ended. */
  trailers(): Promise<HeaderRecord>
}

interface Reader {
  read(): Promise<{ done: boolean; value?: unknown }>
  cancel(reason: unknown): Promise<void>
}

/** The consumer's hold on a pump. */
export interface StreamPump {
  resume(): void
}

/** Starts in a microtask, so that nothing is called inside the caller's own call. */
export function pumpStream<Controller extends GateController>(
  delivery: Delivery<Controller>,
  stream: { getReader(): Reader } | null,
  head: StreamedHead,
): StreamPump {
  const reader = stream?.getReader() ?? null
  let wake: (() => void) | null = null
  const resumed = async (): Promise<void> => {
    while (delivery.controller.paused && delivery.isOpen()) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
  delivery.onDrop = (error) => {
    wake?.()
    reader?.cancel(error).catch(() => {})
  }
  const run = async (): Promise<void> => {
    await Promise.resolve()
    if (!delivery.start()) return
    head.start()
    delivery.head(head.status, head.headers, head.statusText)
    for (;;) {
      await resumed()
      if (!delivery.isOpen()) return
      const { done, value } = reader === null ? { done: true } : await reader.read()
      // The consumer may have paused while the read was under way.
      await resumed()
      if (!delivery.isOpen()) return
      if (done) break
      delivery.data(toBuffer(value))
    }
    const trailers = await head.trailers()
    await resumed()
    delivery.end(trailers)
  }
  run().catch((error: unknown) => delivery.fail(causeOf(error)))
  return { resume: () => wake?.() }
}

/** @throws TypeError for a chunk that is not bytes */
function toBuffer(chunk: unknown): Buffer {
  if (ArrayBuffer.isView(chunk)) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  if (chunk instanceof ArrayBuffer) return Buffer.from(chunk)
  throw new TypeError(`a chunk of the response body must be bytes, received ${chunk === null ? 'null' : typeof chunk}`)
}

/** A fetch's body fails with a `TypeError` around the error that a handler expects. */
function causeOf(error: unknown): unknown {
  return error instanceof TypeError && error.message === 'terminated' && error.cause !== undefined ? error.cause : error
}
