/** A worker thread may be terminated at any moment (design, invariant 7). */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'rolldown'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { until, within } from './support/deadline.ts'
import { run } from './support/program.ts'
import { isFull } from './support/selection.ts'
import { CHUNK, flood, startServer, type RunningServer } from './support/servers.ts'

/**
 * The client as plain JavaScript: Node's type stripping is WebAssembly, and terminating workers that have loaded some
 * crashes V8 now and then (nodejs/node#64500). It lies as deep in the project as what is published.
 */
const script = join(import.meta.dirname, '..', 'target', 'worker-test', 'worker-client.js')

beforeAll(() =>
  build({
    input: join(import.meta.dirname, 'support', 'worker-client.ts'),
    platform: 'node',
    output: { file: script, format: 'esm', codeSplitting: false },
    logLevel: 'warn',
  }),
)

let server: RunningServer
let folder: string

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-worker-'))
  server = await startServer((request, response) => {
    switch (request.url) {
      case '/small':
        response.end('small')
        break
      case '/flood':
        flood(response)
        break
      case '/long':
        response.setHeader('content-length', 2 ** 40)
        flood(response)
        break
      case '/late/rest':
        response.setHeader('content-length', 2 ** 40)
        for (let chunk = 0; chunk < 64; chunk++) response.write(CHUNK)
        break
      case '/late/body':
        response.flushHeaders()
        break
      default:
        // A server that does not read does not learn of the end either.
        request.resume()
    }
  })
})

afterEach(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

/** How often a kind comes round: what is found once in many times is for the full run. */
const ROUNDS = isFull ? 15 : 5
const MANY_ROUNDS = isFull ? 50 : 15

describe('a worker is terminated, with the addon loaded in workers only, during', () => {
  test.each<[string, number]>([
    ['a body that is read', MANY_ROUNDS],
    ['a read that waits', ROUNDS],
    ['a body that is read from its socket', ROUNDS],
    ['a wait at a socket', ROUNDS],
    ['a pipe into a file', ROUNDS],
    ['a paused dispatch', ROUNDS],
    ['requests that were just submitted', ROUNDS],
    ['an upload', ROUNDS],
    ['a wait for dropped responses', ROUNDS],
    ['hundreds of small requests', ROUNDS],
    ['two of hundreds of small requests', ROUNDS],
    ['two of a body that is read', ROUNDS],
  ])('%s, %i times, and the process goes on', { timeout: 60_000 }, async (kind, rounds) => {
    // Workers that die at any moment are to write no cache.
    using client = run(pathToFileURL(script).href, [kind, server.origin, String(rounds), folder], {
      environment: { NODE_DISABLE_COMPILE_CACHE: '1' },
    })
    expect(await within(client.ended, { timeoutMs: 50_000, what: 'the process' })).toEqual({
      code: 0,
      signal: null,
      output: 'survived',
    })
    // The connections of the dead went with them.
    await until(() => server.sockets.size === 0)
  })
})
