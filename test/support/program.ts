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

/** Starts `script`, a file of this folder or a URL, with `flags` of Node's; disposing of it kills it. */
export function run(script: string, args: string[], flags: string[] = []): Program {
  const path = fileURLToPath(new URL(script, import.meta.url))
  const child = spawn(process.execPath, [...flags, path, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, output: output.trim() }) as Ended)
  return {
    ended,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  }
}
