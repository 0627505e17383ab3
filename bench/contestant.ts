import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Outcome, Task } from './contestant-process.ts'

const script = fileURLToPath(new URL('contestant-process.ts', import.meta.url))

/**
 * Runs a contestant's works in a process of its own. Each work has an outcome: one that the process did not live to tell
 * is an error.
 */
export function runContestant(task: Task): Promise<Outcome[]> {
  const { promise, resolve } = Promise.withResolvers<Outcome[]>()
  const outcomes: Outcome[] = []
  const child = fork(script, { execArgv: ['--expose-gc', '--no-warnings'], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  let stderr = ''
  let timedOut = false
  let timer: NodeJS.Timeout
  const rearm = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      timedOut = true
      child.kill('SIGKILL')
    }, task.context.config.timeout)
  }
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-4000)))
  child.on('message', (outcome: Outcome) => {
    rearm()
    outcomes.push(outcome)
    if (outcomes.length === task.works.length) child.kill('SIGKILL')
  })
  child.on('error', (error) => (stderr += error.message))
  child.on('close', (code, signal) => {
    clearTimeout(timer)
    const how = timedOut ? `no answer within ${task.context.config.timeout} ms` : `ended with ${signal ?? code}`
    const last = /^\w*Error.*$|panicked.*$/m.exec(stderr)?.[0]
    const error = last === undefined ? how : `${how}: ${last}`
    resolve(task.works.map(({ id }) => outcomes.find((outcome) => outcome.id === id) ?? { id, error }))
  })
  rearm()
  child.send(task)
  return promise
}
