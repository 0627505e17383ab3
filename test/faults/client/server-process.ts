/** The fault server as a child, which ends with its standard input. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Answer, Command, ServerInfo } from '../server/program.ts'

const program = fileURLToPath(new URL('../server/program.ts', import.meta.url))

export class FaultServer implements Disposable {
  readonly info: ServerInfo
  readonly #child: ChildProcess
  readonly #waiting: Record<number, (answer: Answer) => void> = {}
  #id = 0

  private constructor(child: ChildProcess, lines: Interface, info: ServerInfo) {
    this.#child = child
    this.info = info
    lines.on('line', (line) => {
      const answer = JSON.parse(line) as Answer
      this.#waiting[answer.id]?.(answer)
      delete this.#waiting[answer.id]
    })
  }

  /** @throws Error when it ends before it has said its ports */
  static async start(slots: number): Promise<FaultServer> {
    const child = spawn(process.execPath, [program, String(slots)], { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines = createInterface(child.stdout)
    const ended = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`the fault server ended by itself (${signal ?? `exit code ${code}`})`)
    })
    ended.catch(() => {})
    const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string]
    return new FaultServer(child, lines, JSON.parse(line) as ServerInfo)
  }

  ask(command: Omit<Command, 'id'>): Promise<Answer> {
    const id = ++this.#id
    return new Promise((resolve) => {
      this.#waiting[id] = resolve
      this.#child.stdin!.write(`${JSON.stringify({ id, ...command })}\n`)
    })
  }

  [Symbol.dispose](): void {
    this.#child.stdin!.end()
  }
}
