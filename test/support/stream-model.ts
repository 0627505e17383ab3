/**
 * The platform's own byte stream over a source that does nothing but enqueue, fed with what the stream under test takes
 * and at the moment it does. Which bytes come when is the network's and not compared; everything that follows is.
 */
import type { BodyBytes } from '../../streams/body-stream.ts'
import { MemorySource } from '../../streams/memory-source.ts'

export class StreamModel {
  readonly stream: ReadableStream<Uint8Array>
  /** How many of `bytes` were taken. */
  taken = 0
  /** What went wrong in the source. */
  fault: unknown = null
  private readonly source: BodyBytes
  private readonly bytes: Uint8Array
  private readonly signal: AbortSignal
  private controller!: ReadableByteStreamController
  /** The stream under test has seen how the source ended. */
  private isTold = false
  private isOver = false

  /** `bytes` is what the server has to send, `signal` the fetch's. */
  constructor(source: BodyBytes, bytes: Uint8Array, signal: AbortSignal) {
    this.source = source
    this.bytes = bytes
    this.signal = signal
    this.follow()
    this.stream = new ReadableStream({
      type: 'bytes',
      start: (controller) => {
        this.controller = controller
      },
      // Nothing is answered within the call that asks for it, or when nobody asks any more.
      pull: async (controller: ReadableByteStreamController) => {
        await Promise.resolve()
        if (this.isTold && (this.stream.locked || controller.byobRequest !== null)) this.finish()
      },
      cancel: () => {
        if (this.isInMemory && source.state === 'open' && signal.aborted) throw signal.reason
        this.isOver = true
      },
    })
  }

  /** The whole body has come with its head: an abort shows when somebody asks for bytes. */
  private get isInMemory(): boolean {
    return this.source instanceof MemorySource
  }

  /** An abort of the fetch: an error that comes before what is queued. */
  abort(fetchAborts: () => void): void {
    const before = this.source.state
    fetchAborts()
    if (before !== 'open' || this.source.state !== 'failed' || this.isOver) return
    this.isOver = true
    this.controller.error(this.source.error)
  }

  /** The body is read without its stream, which it is where it is in memory. */
  consume(): void {
    if (!this.isInMemory || this.isOver) return
    this.isOver = true
    if (this.signal.aborted && this.bytes.length > 0) {
      this.controller.error(this.signal.reason)
      return
    }
    this.taken = this.bytes.length
    if (this.taken > 0) this.controller.enqueue(this.bytes.slice())
    this.controller.close()
  }

  private follow(): void {
    const { source } = this
    const pull = source.pull.bind(source)
    const pullInto = source.pullInto.bind(source)
    source.pull = () => {
      const chunk = pull()
      this.give(chunk?.byteLength ?? 0)
      return chunk as Buffer<ArrayBuffer>
    }
    source.pullInto = (view) => {
      const filled = pullInto(view)
      this.give(filled)
      return filled
    }
  }

  private give(count: number): void {
    try {
      const chunk = this.bytes.slice(this.taken, this.taken + count)
      this.taken += count
      if (this.isOver && count > 0) throw new Error(`${count} bytes were taken after the end`)
      if (count > 0) this.controller.enqueue(chunk)
      this.finish()
    } catch (error) {
      this.fault ??= error
    }
  }

  /** An end that shows without a read. */
  look(): void {
    this.finish()
  }

  /** Behind bytes that are queued an end waits for the next pull: see `ByteStream.close`. */
  private finish(): void {
    const { source, controller } = this
    if (this.isOver || source.state === 'open') return
    this.isTold = true
    if ((controller.desiredSize ?? 0) < 0) return
    this.isOver = true
    if (source.state === 'failed') {
      controller.error(source.error)
    } else if (source.state === 'ended') {
      try {
        controller.close()
        controller.byobRequest?.respond(0)
      } catch {
        // It has failed: the last bytes are no whole element of the view.
      }
    }
  }
}
