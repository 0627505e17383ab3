/** Streamed request bodies: how they cross, how far they are read ahead, and how they end. */
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Agent } from '../lib/index.ts'
import type { DispatchOptions } from '../lib/index.ts'
import { binding } from '../native/binding.ts'
import { until } from './support/deadline.ts'
import { Recorder, send } from './support/recorder.ts'
import { startServer, startTcpServer } from './support/servers.ts'
import { untilStopped } from './support/standstill.ts'

const MIB = 1024 * 1024
const engines = ['wire', 'reqwest'] as const
type Body = DispatchOptions['body']

afterEach(() => {
  vi.restoreAllMocks()
})

async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** Answers with what it was sent. */
function startEcho(): ReturnType<typeof startServer> {
  return startServer((request, response) => void read(request).then((body) => response.end(body)))
}

function post(agent: Agent, origin: string, body: Body, options: Partial<DispatchOptions> = {}): Recorder {
  return send(agent, origin, new Recorder(), { method: 'POST', body, ...options })
}

/** 1 KiB each, and no two alike. */
const kibs = (count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, index) => Buffer.alloc(1024, `${index},`))

describe('small chunks', () => {
  const chunks = kibs(2048)
  const whole = Buffer.concat(chunks)

  async function* generate(): AsyncGenerator<Uint8Array> {
    yield* chunks
  }

  test.each<[string, () => Body]>([
    ['an async generator', generate],
    ['an iterable', () => chunks],
    ['a Readable', () => Readable.from(chunks)],
    ['a ReadableStream', () => ReadableStream.from(chunks) as never],
  ])('of %s cross together, 16 and more at once', async (_name, open) => {
    await using server = await startEcho()
    await using agent = new Agent()
    const crossings = vi.spyOn(binding, 'uploadWrite')
    const recorder = post(agent, server.origin, open())
    await recorder.ended
    expect(recorder.error).toBe(null)
    expect(recorder.body.equals(whole)).toBe(true)
    expect(crossings.mock.calls.length).toBeLessThan(chunks.length / 16)
  })

  test('may share a buffer that the source writes into again', async () => {
    await using server = await startEcho()
    await using agent = new Agent()
    async function* reuse(): AsyncGenerator<Uint8Array> {
      const buffer = Buffer.alloc(1024)
      for (const chunk of chunks) {
        buffer.set(chunk)
        yield buffer
      }
    }
    const recorder = post(agent, server.origin, reuse())
    await recorder.ended
    expect(recorder.body.equals(whole)).toBe(true)
  })

  test('keep their order among large ones', async () => {
    await using server = await startEcho()
    await using agent = new Agent()
    const mixed = kibs(300).map((chunk, index) => (index % 7 === 0 ? Buffer.alloc(40_000, chunk) : chunk))
    const recorder = post(agent, server.origin, mixed)
    await recorder.ended
    expect(recorder.body.equals(Buffer.concat(mixed))).toBe(true)
  })

  test('go out before the source has another one', async () => {
    let received = ''
    await using server = await startServer((request, response) => {
      request.on('data', (chunk: Buffer) => (received += chunk.toString()))
      request.on('end', () => response.end())
    })
    await using agent = new Agent()
    async function* talk(): AsyncGenerator<string> {
      for (const word of ['a', 'b', 'c']) {
        yield word
        await until(() => received.endsWith(word))
      }
    }
    const recorder = post(agent, server.origin, talk())
    await recorder.ended
    expect([recorder.error, received]).toEqual([null, 'abc'])
  })
})

describe.each(engines)('a stalled server, %s', (transport) => {
  const window = 256 * 1024

  test.each([1024, 64 * 1024])('stops a source of 1 GiB within the window, chunks of %i', async (size) => {
    await using server = await startTcpServer((socket) => void socket.pause())
    await using agent = new Agent({ transport, uploadWindowBytes: window })
    let pulled = 0
    let isEnded = false
    async function* generate(): AsyncGenerator<Uint8Array> {
      const chunk = Buffer.alloc(size)
      try {
        while (pulled < 1024 * MIB) {
          pulled += size
          yield chunk
        }
      } finally {
        isEnded = true
      }
    }
    const recorder = post(agent, server.origin, generate())
    const stopped = await untilStopped(() => pulled)
    expect(agent.stats.bufferedBytes).toBeLessThanOrEqual(window + size)
    // The kernels at both ends took the rest.
    expect(stopped).toBeLessThan(64 * MIB)
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(pulled).toBe(stopped)
    const reason = new Error('enough')
    recorder.gate.abort(reason)
    expect(recorder.error).toBe(reason)
    await until(() => isEnded)
    expect(pulled).toBe(stopped)
    if (transport === 'wire') await until(() => agent.stats.bufferedBytes === 0)
  })
})
