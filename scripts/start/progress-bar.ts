import { amount } from './format.ts'

/** How often the size is looked at, ms. */
const INTERVAL = 100
const WIDTH = 30

export interface ProgressOptions {
  label: string
  /** Bytes that are expected, `undefined` when nobody knows. */
  total: number | undefined
  /** Bytes that are there now. */
  size: () => number
  output?: NodeJS.WriteStream
}

/** Shows how far a transfer is: a bar on a terminal, else a line per quarter. */
export class ProgressBar implements Disposable {
  readonly #options: ProgressOptions
  readonly #output: NodeJS.WriteStream
  readonly #start = performance.now()
  readonly #timer: NodeJS.Timeout
  #quarters = 0

  constructor(options: ProgressOptions) {
    this.#options = options
    this.#output = options.output ?? process.stderr
    this.#timer = setInterval(() => {
      this.#show(options.size())
    }, INTERVAL)
    this.#show(0)
  }

  /** Stops; the bar shows the end of a transfer that came through. */
  finish(bytes: number): void {
    this.#show(bytes)
    this[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    if (this.#timer.hasRef()) {
      clearInterval(this.#timer)
      this.#timer.unref()
      if (this.#output.isTTY) this.#output.write('\n')
    }
  }

  #show(bytes: number): void {
    const { label, total } = this.#options
    const ms = performance.now() - this.#start
    const speed = ms === 0 ? 0 : bytes / 1e3 / ms
    const part = total === undefined || total === 0 ? undefined : Math.min(bytes / total, 1)
    const percent = part === undefined ? '' : ` ${Math.floor(part * 100)}%`
    const line = `${label}${percent}  ${amount(bytes)}  ${speed.toFixed(0)} MB/s`
    if (this.#output.isTTY) {
      const filled = Math.round((part ?? 0) * WIDTH)
      const bar = part === undefined ? '' : `[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] `
      // Back to the start of the line, and clear what a longer line has left.
      this.#output.write(`\r${bar}${line}\u001b[K`)
      return
    }
    const quarters = Math.floor((part ?? 0) * 4)
    if (quarters > this.#quarters) this.#output.write(`${line}\n`)
    this.#quarters = Math.max(this.#quarters, quarters)
  }
}
