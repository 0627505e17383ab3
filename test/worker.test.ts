/** A worker thread may be terminated at any moment (design, invariant 7). */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'rolldown'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { until, within } from './support/deadline.ts'
import { run } from './support/program.ts'
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

describe('a worker is terminated, with the addon loaded in workers only, during', () => {
  test.each<[string, number]>([
    ['a body that is read', 50],
    ['a read that waits', 15],
    ['a body that is read from its socket', 15],
    ['a wait at a socket', 15],
    ['a pipe into a file', 15],
    ['a paused dispatch', 15],
    ['requests that were just submitted', 15],
    ['an upload', 15],
    ['a wait for dropped responses', 15],
    ['hundreds of small requests', 15],
    ['two of hundreds of small requests', 15],
    ['two of a body that is read', 15],
  ])('%s, %i times, and the process goes on', { timeout: 60_000 }, async (kind, rounds) => {
    using client = run(pathToFileURL(script).href, [kind, server.origin, String(rounds), folder])
    expect(await within(client.ended, { timeoutMs: 50_000, what: 'the process' })).toEqual({
      code: 0,
      signal: null,
      output: 'survived',
    })
    // The connections of the dead went with them.
    await until(() => server.sockets.size === 0)
  })
})
