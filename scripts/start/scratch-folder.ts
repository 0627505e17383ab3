import { mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder for files that nobody shall find afterwards: it goes with the process, by whatever end it can see coming. */
export class ScratchFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'sluice-start-'))
  readonly #remove = (): void => {
    rmSync(this.path, { recursive: true, force: true })
  }

  constructor() {
    process.on('exit', this.#remove)
    for (const [signal, number] of [
      ['SIGINT', 2],
      ['SIGTERM', 15],
      ['SIGHUP', 1],
    ] as const) {
      // `exit` and not the signal's default, which would skip the removal; 128 + n is what a shell expects.
      process.once(signal, () => process.exit(128 + number))
    }
  }

  /** Bytes that can still be written here. */
  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.path)
    return bavail * bsize
  }

  [Symbol.dispose](): void {
    process.off('exit', this.#remove)
    this.#remove()
  }
}
