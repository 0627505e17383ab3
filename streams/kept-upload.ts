/**
 * A large request body in memory on its way to the runtime: it crosses in pieces, against byte credit, and once more
 * where the runtime sends it again. Its bytes must not change until then.
 */
import { binding } from '../native/binding.ts'
import { UploadLengthError } from './upload.ts'
import type { UploadObserver } from './upload.ts'

export class KeptUpload {
  /** Until the last byte has crossed, or nobody takes more. */
  isRunning = true
  /** Called when `isRunning` has become false. */
  onOver: (() => void) | null = null
  private bytes: Uint8Array | null
  private readonly onFailure: (error: unknown) => void
  private readonly observer: UploadObserver | null
  private id = 0

  /** `onFailure` is told of an {@link UploadLengthError}, where the memory was taken away or has become smaller. */
  constructor(bytes: Uint8Array, onFailure: (error: unknown) => void, observer: UploadObserver | null = null) {
    this.bytes = bytes
    this.onFailure = onFailure
    this.observer = observer
  }

  /** Starts sending; `id` is the request's, which crosses in this very tick. */
  start(id: number): void {
    this.id = id
    queueMicrotask(() => {
      this.onReady()
      if (this.bytes === null) return
      this.observer?.bodySent(this.bytes)
      this.observer?.requestSent()
    })
  }

  /** The runtime has room, or begins again. */
  onReady(): void {
    if (this.bytes === null) return
    const isRunning = binding.uploadFrom(this.id, this.bytes)
    if (isRunning === undefined) {
      this.stop()
      this.onFailure(new UploadLengthError())
      return
    }
    this.isRunning = isRunning
    if (!isRunning) this.onOver?.()
  }

  stop(): void {
    this.isRunning = false
    this.bytes = null
  }
}
