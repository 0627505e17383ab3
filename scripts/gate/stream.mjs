import { spawn } from 'node:child_process'
import { root } from '../setup/paths.mjs'

/**
 * Runs a command and shows what it prints while it runs.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{ keep?: boolean, env?: NodeJS.ProcessEnv }} [options] `keep`: also return its standard output
 * @returns {Promise<{ status: number, output: string }>} `status` is 1 for a command that was killed or not found
 */
export function stream(command, args, { keep = false, env = process.env } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', keep ? 'pipe' : 'inherit', 'inherit'] })
    let output = ''
    child.stdout?.setEncoding('utf8').on('data', (text) => {
      output += text
      process.stdout.write(text)
    })
    child.on('error', (error) => {
      process.stderr.write(`${error.message}\n`)
      resolve({ status: 1, output })
    })
    child.on('close', (status) => resolve({ status: status ?? 1, output }))
  })
}
