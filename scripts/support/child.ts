import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** A script in a process of its own, spoken to by messages. */
export class Child implements Disposable {
  readonly #process: ChildProcess
  readonly #ended: Promise<never>

  constructor(script: URL, args: string[] = []) {
    const path = fileURLToPath(script)
    this.#process = fork(path, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#ended = once(this.#process, 'exit').then(([code, signal]) => {
      throw new Error(`${path} ended by itself (${signal ?? `exit code ${code}`})`)
    })
    // Whoever waits for a message hears of the end.
    this.#ended.catch(() => {})
  }

  /** The next message. @throws Error when the process ends before it. */
  async next<T>(): Promise<T> {
    const [message] = (await Promise.race([once(this.#process, 'message'), this.#ended])) as [T]
    return message
  }

  /** Asks, and resolves with the next message. */
  async ask<T>(question: object): Promise<T> {
    const answer = this.next<T>()
    this.#process.send(question)
    return answer
  }

  [Symbol.dispose](): void {
    this.#process.kill('SIGKILL')
  }
}
