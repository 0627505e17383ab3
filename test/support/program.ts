/** Scripts of this folder as programs of their own, run to their end. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** How a program ended, and everything it printed. */
export interface Ended {
  code: number | null
  signal: string | null
  output: string
}

export interface Program extends Disposable {
  readonly ended: Promise<Ended>
  isRunning(): boolean
}

/** How a program is started, beside its arguments. */
export interface Start {
  /** In addition to this process's. */
  environment?: NodeJS.ProcessEnv
  /** Node's. */
  flags?: string[]
}

/** Starts `script`, a file of this folder or a URL; disposing of it kills it. */
export function run(script: string, args: string[], { environment = {}, flags = [] }: Start = {}): Program {
  const path = fileURLToPath(new URL(script, import.meta.url))
  const child = spawn(process.execPath, [...flags, path, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, output: output.trim() }) as Ended)
  return {
    ended,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  }
}
