/**
 * The library more than once in one process: a module that is evaluated anew, as test suites do for each of their files,
 * and two versions in one tree of packages. Each copy works, with its own agents, and knows nothing of the others.
 */
import { copyFileSync, linkSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'rolldown'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { until, within } from './support/deadline.ts'
import { run } from './support/program.ts'
import { startServer, type RunningServer } from './support/servers.ts'

/** As deep in the project as what is published, and an addon of its own beside each copy. */
const root = join(import.meta.dirname, '..', 'target', 'copies-test')
const fileOf = (copy: string): string => join(root, copy, 'dist', 'lib', 'index.js')
const addonOf = (copy: string): string => join(root, copy, 'native', 'sluice.node')
const commonJs = join(root, 'one', 'dist', 'lib', 'index.cjs')
const client = join(root, 'copies-client.js')

const bundle = (input: string, file: string, format: 'esm' | 'cjs' = 'esm'): Promise<unknown> =>
  build({
    input: join(import.meta.dirname, 'support', input),
    platform: 'node',
    output: { file, format, codeSplitting: false },
    logLevel: 'warn',
  })

beforeAll(async () => {
  await bundle('copies-client.ts', client)
  await bundle('copies-entry.ts', commonJs, 'cjs')
  const built = join(import.meta.dirname, '..', 'native', 'sluice.node')
  for (const copy of ['one', 'two', 'link']) {
    await bundle('copies-entry.ts', fileOf(copy))
    mkdirSync(join(root, copy, 'native'), { recursive: true })
    rmSync(addonOf(copy), { force: true })
    // Two files with one inode are one library to the system, and two addons to Node.
    if (copy === 'link') linkSync(addonOf('one'), addonOf(copy))
    else copyFileSync(built, addonOf(copy))
  }
})

let server: RunningServer
let folder: string
let finish: (() => void) | null

beforeEach(async () => {
  finish = null
  folder = mkdtempSync(join(tmpdir(), 'sluice-copies-'))
  server = await startServer((request, response) => {
    const [, what, size] = request.url!.split('/')
    switch (what) {
      case 'bytes':
        response.end(Buffer.alloc(Number(size), 1))
        break
      case 'late':
        finish = () => response.end('late')
        break
      case 'release':
        request.socket.once('close', () => finish?.())
        response.setHeader('connection', 'close').end('released')
        break
      case 'unread':
        response.writeHead(200, { 'content-length': 1_000_000 }).write('some')
        break
      case 'rest':
        response.writeHead(200, { 'content-length': 6_000_000 })
        response.write(Buffer.alloc(4_000_000), () => setImmediate(() => response.end(Buffer.alloc(2_000_000))))
        break
      case 'broken':
        response.destroy()
        break
      default:
        response.end(request.url)
    }
  })
})

afterEach(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

describe.each([
  ['one addon', ['one', 'one']],
  ['two addons', ['one', 'two']],
  // As pnpm installs a package twice.
  ['an addon with two names', ['one', 'link']],
])('two copies over %s share a process:', (_, copies) => {
  async function expectToEnd(kind: string): Promise<void> {
    const args = [kind, server.origin, folder, ...copies.map(fileOf)]
    using program = run(pathToFileURL(client).href, args)
    expect(await within(program.ended, { timeoutMs: 25_000, what: 'the process' })).toEqual({
      code: 0,
      signal: null,
      output: 'as one',
    })
    // Those of a process that has ended are gone with it.
    await until(() => server.sockets.size === 0)
  }

  test('all that they can do', () => expectToEnd('all'))
  test('all that they can do in a worker', () => expectToEnd('worker: all'))
  test('a head that one of them awaits, which holds the process', () => expectToEnd('a head that one of them awaits'))
  test('workers that are terminated amid their requests', () => expectToEnd('worker: requests without end'))
})

test('a copy that nobody can reach is collected, with its connections and requests', async () => {
  const args = ['collected copies', server.origin, folder, commonJs, commonJs]
  using program = run(pathToFileURL(client).href, args, { flags: ['--expose-gc'] })
  expect(await within(program.ended, { timeoutMs: 25_000, what: 'the process' })).toEqual({
    code: 0,
    signal: null,
    output: 'as one',
  })
})
