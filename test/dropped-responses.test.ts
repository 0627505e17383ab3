/**
 * Responses that were dropped unread give their connections back, although nothing that V8 sees grows: in processes of
 * their own, which are not helped to collect.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createSecureServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Agent } from '../lib/index.ts'
import { binding } from '../native/binding.ts'
import { certificate } from './support/certificates.ts'
import { within } from './support/deadline.ts'
import { collectGarbage, untilCollected } from './support/gc.ts'
import { startServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'

const MiB = 1024 * 1024
const client = fileURLToPath(new URL('./support/dropped-client.ts', import.meta.url))
/** More than what is read ahead of a consumer, and than one read takes. */
const LARGE = Buffer.alloc(MiB)
let server: RunningServer

beforeAll(async () => {
  server = await startServer((request, response) => {
    if (request.url === '/endless') {
      response.write('an event')
      const timer = setInterval(() => response.write('another'), 50)
      response.on('close', () => clearInterval(timer))
      return
    }
    response.setHeader('content-length', LARGE.byteLength)
    response.end(LARGE)
  })
})

afterAll(() => server.close())

/** What the client sends, put together. @throws Error with what it printed, if it does not end well */
async function drop(kind: string, count: number, origin = server.origin): Promise<Record<string, any>> {
  const child = fork(client, [kind, origin, String(count)], {
    execArgv: [],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  let output = ''
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (output += chunk))
  const seen = {}
  child.on('message', (message) => Object.assign(seen, message))
  try {
    const [code, signal] = (await within(once(child, 'close'), {
      timeoutMs: 55_000,
      what: `${kind}: the process`,
    })) as [number | null, string | null]
    if (code !== 0) throw new Error(`${kind} ended with ${signal ?? code}:\n${output}`)
    return seen
  } finally {
    child.kill('SIGKILL')
  }
}

describe('with all connections behind dropped responses, the next request is answered', { timeout: 60_000 }, () => {
  test.each(['fetch', 'clone', 'body', 'partly read', 'composed', 'undici request', 'undici fetch', 'endless'])(
    '%s',
    async (kind) => {
      expect(await drop(kind, 100)).toEqual({ warnings: [] })
    },
  )

  test('a connection that is read all the while does not keep the others', async () => {
    expect(await drop('beside one that is read', 40)).toEqual({ warnings: [] })
  })

  test('streams of an HTTP/2 connection', async () => {
    const http2 = createSecureServer(certificate('signed'), (_request, response) => {
      response.stream.on('error', () => {})
      // Without an end.
      response.stream.write('an event')
    })
    http2.listen(0, '127.0.0.1')
    await once(http2, 'listening')
    try {
      const origin = `https://localhost:${(http2.address() as AddressInfo).port}`
      expect(await drop('http2', 100, origin)).toEqual({ warnings: [] })
    } finally {
      http2.close()
    }
  })
})

test.skipIf(process.platform !== 'linux').each(['unlimited', 'unlimited undici request'])(
  '%s connections behind dropped responses stay few',
  { timeout: 60_000 },
  async (kind) => {
    const { most } = await drop(kind, 1500)
    expect(most).toBeLessThan(1000)
  },
)

test('unread responses that are held bring one warning that names the origin, and no memory is told of afterwards', async () => {
  const { warnings, left } = await drop('live', 0)
  expect(warnings).toEqual([
    {
      name: 'SluiceWarning',
      code: 'SLUICE_UNREAD_RESPONSES',
      message: expect.stringContaining(`16 responses of ${server.origin} `),
    },
  ])
  expect(left).toBe(0)
})

test('responses that are read late cost few collections', async () => {
  const { presses, warnings } = await drop('read late', 1500)
  expect(warnings).toEqual([])
  expect(presses).toBeLessThan(10)
})

describe('a dispatched request that its handler has paused', () => {
  /** Dispatches, and pauses at the head. */
  async function pauseAtHead(agent: InstanceType<typeof Agent>): Promise<object> {
    const head = Promise.withResolvers<void>()
    const handler = {
      onRequestStart() {},
      onResponseStart(controller: { pause(): void }) {
        controller.pause()
        head.resolve()
      },
      onResponseData() {},
      onResponseEnd: () => ended.push('end'),
      onResponseError: (_controller: unknown, error: Error) => ended.push(error.name),
    }
    agent.dispatch({ origin: server.origin, path: '/large', method: 'GET' }, handler as never)
    await head.promise
    return handler
  }

  let ended: string[]

  beforeEach(() => {
    ended = []
  })

  test('is cancelled when nobody has it any more, and leaves its agent', async () => {
    await using agent = new Agent({ connections: 1 })
    await pauseAtHead(agent)
    await untilCollected(() => binding.counters().handles === 0)
    await agent.close()
    expect(ended).toEqual([])
  })

  test('tells a handler that somebody has of the end of the agent', async () => {
    const agent = new Agent({ connections: 1 })
    const handlers = [await pauseAtHead(agent)]
    for (let round = 0; round < 5; round++) await collectGarbage()
    await agent.destroy()
    expect(ended).toEqual(['ClientDestroyedError'])
    expect(handlers).toHaveLength(1)
  })
})
