/**
 * The tie between an `AbortSignal` and one fetch. A signal may live as long as the program, so it holds the response's
 * source weakly, and the listener goes when the fetch is over.
 */
import type { NativeSource } from '../streams/native-source.ts'

export class AbortLink {
  private readonly signal: AbortSignal | null
  private onSignal: ((reason: unknown) => void) | null = null
  private source: WeakRef<NativeSource> | null = null
  private readonly listener = (): void => this.fire()

  constructor(signal: AbortSignal | null) {
    this.signal = signal
  }

  /** Calls `onSignal` with the signal's reason until the head has come. */
  onAbort(onSignal: (reason: unknown) => void): void {
    if (this.signal === null) return
    this.onSignal = onSignal
    this.signal.addEventListener('abort', this.listener, { once: true })
  }

  /** From now on the signal aborts `source`. */
  watchSource(source: NativeSource): void {
    if (this.signal === null) return
    this.onSignal = null
    this.source = new WeakRef(source)
    if (this.signal.aborted) this.fire()
  }

  /** The fetch is over. */
  release(): void {
    this.onSignal = null
    this.source = null
    this.signal?.removeEventListener('abort', this.listener)
  }

  private fire(): void {
    const reason: unknown = this.signal?.reason
    const { onSignal, source } = this
    this.release()
    if (onSignal !== null) onSignal(reason)
    else source?.deref()?.abort(reason)
  }
}
