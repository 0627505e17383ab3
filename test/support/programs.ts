/** Modules as programs of their own: what depends on the environment, and the examples of the documentation. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const library = new URL('../../lib/index.ts', import.meta.url).href

/** Variables that would change what a program does. */
const UNSET =
  'NODE_OPTIONS NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED SSLKEYLOGFILE SSL_CERT_FILE SSL_CERT_DIR ' +
  'HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy'

/**
 * Runs `code` as a module in a folder of its own, and returns what it printed without the blanks around it. Imports of
 * `sluice` are this library's; without any, `fetch` and `Agent` are there. `files` lie in the folder; `launcher` stands before
 * the command.
 * @throws Error with what it printed, if it fails
 */
export async function runProgram(
  code: string,
  environment: Record<string, string>,
  files: Record<string, string> = {},
  launcher: readonly string[] = [],
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-program-'))
  try {
    const hasImport = /from ['"]sluice['"]/.test(code)
    const bound = hasImport
      ? code.replaceAll(/from ['"]sluice['"]/g, `from ${JSON.stringify(library)}`)
      : `import { fetch, Agent } from ${JSON.stringify(library)}\n${code}`
    const path = join(folder, 'program.mjs')
    await writeFile(path, bound)
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
    const env: NodeJS.ProcessEnv = { ...process.env, ...environment }
    for (const name of UNSET.split(' ')) if (environment[name] === undefined) delete env[name]
    const [command, ...args] = [...launcher, process.execPath, path]
    const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'pipe'], env, cwd: folder })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
    const [status] = (await once(child, 'close')) as [number | null]
    if (status !== 0) throw new Error(`the program failed (${status}):\n${output}`)
    return output.trim()
  } finally {
    await rm(folder, { recursive: true })
  }
}
