/** Any ReadableStream into a handler: one chunk at a time, and none while the consumer is paused. */
import { Delivery } from './dispatch-shim.ts'
import type { GateController, GateHandler, HeaderRecord } from './dispatch-shim.ts'

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

/** A delivery fed from a stream. */
export class StreamDispatch<Controller extends GateController> extends Delivery<Controller> {
  private readonly reader: Reader | null
  private readonly response: StreamedHead
  private wake: (() => void) | null = null

  constructor(
    handler: GateHandler<Controller>,
    controller: Controller,
    stream: { getReader(): Reader } | null,
    response: StreamedHead,
  ) {
    super(handler, controller)
    this.reader = stream?.getReader() ?? null
    this.response = response
    this.run().catch((error: unknown) => this.drop(causeOf(error)))
  }

  /** Nothing to tell: the next read waits until the controller runs again. */
  pause(): void {}

  resume(): void {
    const { wake } = this
    this.wake = null
    wake?.()
  }

  protected override dropSource(error: unknown): void {
    this.reader?.cancel(error).catch(() => {})
  }

  protected override onDone(): void {
    this.resume()
  }

  private async run(): Promise<void> {
    // Nothing is called inside the caller's own call.
    await Promise.resolve()
    if (!this.start()) return
    this.response.start()
    this.head(this.response.status, this.response.headers, this.response.statusText)
    while (await this.isRunning()) {
      const { done, value } = this.reader === null ? { done: true } : await this.reader.read()
      // The consumer may have paused while the read was under way.
      if (!(await this.isRunning())) return
      if (done) break
      this.data(toBuffer(value))
    }
    const trailers = await this.response.trailers()
    if (await this.isRunning()) this.end(trailers)
  }

  /** Waits out a pause; false once the request is over. */
  private async isRunning(): Promise<boolean> {
    while (this.controller.paused && this.isOpen()) {
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    }
    return this.isOpen()
  }
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
