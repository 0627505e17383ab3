import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** What the server prints: its ports, and the certificate of its authority. */
export interface ServerInfo {
  http: number
  https: number
  h2c: number
  websocket: number
  proxy: number
  delayedHttp: number
  delayedHttps: number
  /** PEM. */
  ca: string
  pid: number
}

/** The server as a child, which ends with its standard input. */
export class ServerProcess implements Disposable {
  readonly info: ServerInfo
  private readonly child: ChildProcess

  private constructor(child: ChildProcess, info: ServerInfo) {
    this.child = child
    this.info = info
  }

  /** @throws Error when it ends before it has said its ports */
  static async start(executable: string): Promise<ServerProcess> {
    const child = spawn(executable, { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines = createInterface({ input: child.stdout })
    const ended = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`the server ended by itself (${signal ?? `exit code ${code}`})`)
    })
    ended.catch(() => {})
    const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string]
    return new ServerProcess(child, JSON.parse(line) as ServerInfo)
  }

  [Symbol.dispose](): void {
    this.child.stdin?.end()
  }
}
