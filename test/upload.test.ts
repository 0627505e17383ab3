/** Streamed request bodies: how they cross, how far they are read ahead, and how they end. */
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import type { DispatchOptions } from '../lib/index.ts'
import { binding } from '../native/binding.ts'
import { until } from './support/deadline.ts'
import { Recorder, send } from './support/recorder.ts'
import { startServer, startTcpServer } from './support/servers.ts'

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

describe.each(['wire', 'reqwest'] as const)('a source that was sent before, %s', (transport) => {
  test.each<[string, () => Body]>([
    ['an async generator', () => ReadableStream.from(['one'])[Symbol.asyncIterator]() as never],
    ['a generator', () => ['one'][Symbol.iterator]() as never],
    ['a ReadableStream', () => ReadableStream.from(['one']) as never],
  ])('%s is refused, and nothing is sent', async (_name, open) => {
    const received: string[] = []
    await using server = await startServer((request, response) => {
      void read(request).then((body) => {
        received.push(body.toString())
        response.end()
      })
    })
    await using agent = new Agent({ transport })
    const body = open()
    const first = post(agent, server.origin, body)
    await first.ended
    expect(first.error).toBe(null)
    const second = post(agent, server.origin, body)
    await second.ended
    expect(second.error).toBeInstanceOf(TypeError)
    expect(received).toEqual(['one'])
  })

  test('an iterable that begins anew is sent as often as it is asked for', async () => {
    await using server = await startEcho()
    await using agent = new Agent({ transport })
    const body = ['one', 'two']
    for (let turn = 0; turn < 2; turn++) {
      const recorder = post(agent, server.origin, body)
      await recorder.ended
      expect(recorder.body.toString()).toBe('onetwo')
    }
  })
})

describe.each(['fetch', 'dispatch'] as const)('the source of a %s', (way) => {
  /** What a stream's source is cancelled with, and what the request fails with. */
  async function failed(agent: Agent, origin: string, end: () => void): Promise<[unknown, unknown]> {
    const cancelled = Promise.withResolvers<unknown>()
    const body = new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(64 * 1024))
      },
      cancel: (reason) => cancelled.resolve(reason),
    }) as never
    setTimeout(end, 50)
    if (way === 'fetch') {
      const failure = await fetch(origin, { method: 'POST', body, duplex: 'half', dispatcher: agent }).catch(
        (error: unknown) => error,
      )
      return [await cancelled.promise, failure]
    }
    const recorder = post(agent, origin, body)
    await recorder.ended
    return [await cancelled.promise, recorder.error]
  }

  test('is cancelled with the error of a connection that was reset', async () => {
    await using server = await startTcpServer((socket) => void socket.pause())
    await using agent = new Agent()
    const reset = (): void => {
      for (const socket of server.sockets) socket.resetAndDestroy()
    }
    const [reason, error] = await failed(agent, server.origin, reset)
    expect(reason).toBe(error)
    expect(way === 'fetch' ? (error as Error).cause : error).toMatchObject({ code: 'ECONNRESET' })
  })

  test('is cancelled with the error of an agent that was destroyed', async () => {
    await using server = await startTcpServer((socket) => void socket.pause())
    const agent = new Agent()
    const [reason, error] = await failed(agent, server.origin, () => void agent.destroy(new Error('mine')))
    expect(reason).toBe(error)
    expect(way === 'fetch' ? (error as Error).cause : error).toMatchObject({ message: 'mine' })
  })
})

test.each([
  [65_536, 1],
  [65_536, 4],
  [300_000, 1],
])(
  'the handler hears that a body is sent whose chunks of %i bytes, %i of them, use the credit up',
  async (size, count) => {
    await using server = await startEcho()
    await using agent = new Agent({ uploadWindowBytes: 65_536 })
    const told: string[] = []
    async function* generate(): AsyncGenerator<Uint8Array> {
      for (let chunk = 0; chunk < count; chunk++) yield new Uint8Array(size)
    }
    const recorder = new Recorder('current', { head: () => told.push('head') })
    Object.assign(recorder.handler, { onRequestSent: () => told.push('sent') })
    const headers = { 'content-length': String(size * count) }
    send(agent, server.origin, recorder, { method: 'POST', body: generate(), headers })
    await recorder.ended
    expect(recorder.bytes).toBe(size * count)
    expect(told).toEqual(['sent', 'head'])
  },
)
