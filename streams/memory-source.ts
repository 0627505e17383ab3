/** A body that is in memory as a whole, read like one that comes from the network. */
import type { SourceState } from './native-source.ts'

export class MemorySource {
  state: SourceState
  /** The failure of a `failed` source. */
  error: unknown = undefined
  /** Nothing is waited for, and nobody is kept from its turn for long. */
  readonly isGreedy = false
  onAborted: ((error: unknown) => void) | null = null
  private readonly bytes: Uint8Array
  /** Looked at rather than listened to: it may outlive many bodies. */
  private readonly signal: AbortSignal | null
  private at = 0

  /** An aborted `signal` fails what has not been read. */
  constructor(bytes: Uint8Array, signal: AbortSignal | null) {
    this.bytes = bytes
    this.state = bytes.byteLength === 0 ? 'ended' : 'open'
    this.signal = signal
  }

  /** All the rest in fresh memory. */
  pull(): Uint8Array<ArrayBuffer> | null {
    const rest = this.take(this.bytes.byteLength)
    return rest.byteLength === 0 ? null : new Uint8Array(rest)
  }

  /** How many bytes were written into `view`. */
  pullInto(view: Uint8Array): number {
    const bytes = this.take(view.byteLength)
    view.set(bytes)
    return bytes.byteLength
  }

  ready(): Promise<void> {
    return Promise.resolve()
  }

  nextTurn(): Promise<void> {
    return Promise.resolve()
  }

  /** @throws the signal's reason, where it has come first */
  cancel(): void {
    this.failIfAborted()
    if (this.state === 'failed') throw this.error
    if (this.state === 'open') this.state = 'cancelled'
  }

  private take(max: number): Uint8Array {
    this.failIfAborted()
    if (this.state !== 'open') return this.bytes.subarray(0, 0)
    const bytes = this.bytes.subarray(this.at, this.at + max)
    this.at += bytes.byteLength
    if (this.at === this.bytes.byteLength) this.state = 'ended'
    return bytes
  }

  private failIfAborted(): void {
    if (this.state !== 'open' || this.signal?.aborted !== true) return
    this.state = 'failed'
    this.error = this.signal.reason
  }
}
