/** An upload whose server takes nothing ends by the timeout of its phase, whatever the body is; a slow source is waited for. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Agent, fetch, fromFile } from '../lib/index.ts'
import type { FetchInit } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { startH2c } from './support/http2-servers.ts'
import { Recorder, send } from './support/recorder.ts'
import { startServer, startTcpServer } from './support/servers.ts'

/** More than the sockets and the engine hold between them. */
const MUCH = 16 * 1024 * 1024
const LIMITS = { headersTimeout: 100, bodyTimeout: 100 }

const folder = mkdtempSync(join(tmpdir(), 'sluice-upload-timeout-'))
const path = join(folder, 'body.bin')
beforeAll(() => writeFileSync(path, Buffer.alloc(MUCH, 7)))
afterAll(() => rmSync(folder, { recursive: true }))

/** What became of the source of a body; one that is no stream has none. */
interface Source {
  isEnded: boolean
}

const chunk = Buffer.alloc(64 * 1024, 7)

const bodies: Record<string, (source: Source) => FetchInit['body']> = {
  'bytes in memory': () => Buffer.alloc(MUCH, 7),
  'a small string': () => 'x'.repeat(100_000),
  'a file': () => fromFile(path) as never,
  'a form': () => {
    const form = new FormData()
    form.append('file', new Blob([Buffer.alloc(MUCH, 7)]), 'name')
    return form
  },
  'a generator': (source) => {
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield chunk
      } finally {
        source.isEnded = true
      }
    }
    return endless()
  },
  'a ReadableStream': (source) =>
    new ReadableStream({
      pull: (controller) => controller.enqueue(chunk),
      cancel: () => {
        source.isEnded = true
      },
    }),
}

interface Server extends AsyncDisposable {
  origin: string
  /** Connections of HTTP/1.1, streams of HTTP/2. */
  open(): number
}

type Version = 'HTTP/1.1' | 'HTTP/2'

/** Reads nothing of a body; answers it with a part of a response first, or does not. */
async function startDeaf(version: Version, answers: boolean): Promise<Server> {
  let streams = 0
  if (version === 'HTTP/2') {
    const server = await startH2c((stream) => {
      streams++
      stream.pause().on('close', () => streams--)
      if (answers) {
        stream.respond({ ':status': 200 })
        stream.write('early')
      }
    })
    return Object.assign(server, { open: () => streams })
  }
  const server = await startTcpServer((socket) => {
    socket.on('error', () => {}).on('end', () => socket.destroy())
    if (!answers) return void socket.pause()
    socket.once('data', () => {
      socket.pause()
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nearly')
    })
  })
  const open = (): number => {
    // A socket that nobody reads does not see its end.
    for (const socket of server.sockets) socket.resume()
    return server.sockets.size
  }
  return Object.assign(server, { open })
}

/** Answers at once, with what it is sent, as it is sent. */
async function startEcho(version: Version): Promise<AsyncDisposable & { origin: string }> {
  if (version === 'HTTP/1.1') return startServer((request, response) => void request.pipe(response))
  return startH2c((stream) => {
    stream.respond({ ':status': 200 })
    stream.pipe(stream)
  })
}

/** The error of a request whose response is read to its end. */
const ways = {
  fetch: async (agent: Agent, origin: string, body: FetchInit['body']): Promise<Error & { code?: string }> => {
    const reading = fetch(origin, { method: 'POST', body, dispatcher: agent }).then((response) => response.text())
    const error = (await reading.then(
      () => new Error('it went well'),
      (reason: unknown) => reason,
    )) as Error
    return error.cause as Error
  },
  dispatch: async (agent: Agent, origin: string, body: FetchInit['body']): Promise<Error & { code?: string }> => {
    const recorder = send(agent, origin, new Recorder(), { method: 'POST', body: body as never })
    await recorder.ended
    return recorder.error!
  },
}

const rows = (['HTTP/1.1', 'HTTP/2'] as const).flatMap((version) =>
  (['fetch', 'dispatch'] as const).map((way) => ({ version, way })),
)

describe.each(rows)('$way over $version to a server that reads nothing', ({ version, way }) => {
  const open = (): Agent => new Agent({ ...LIMITS, useH2c: version === 'HTTP/2' })

  test.each(Object.keys(bodies))('%s ends with headersTimeout, and its source', async (kind) => {
    await using server = await startDeaf(version, false)
    await using agent = open()
    const source = { isEnded: !kind.startsWith('a generator') && !kind.startsWith('a Readable') }
    const error = await ways[way](agent, server.origin, bodies[kind]!(source))
    expect(error).toMatchObject({ name: 'HeadersTimeoutError', code: 'UND_ERR_HEADERS_TIMEOUT' })
    await until(() => source.isEnded)
    await until(() => agent.stats.bufferedBytes === 0)
    await until(() => server.open() === 0)
  })

  test.each(['bytes in memory', 'a generator'])('but answers, %s ends with bodyTimeout', async (kind) => {
    await using server = await startDeaf(version, true)
    await using agent = open()
    const source = { isEnded: kind !== 'a generator' }
    const error = await ways[way](agent, server.origin, bodies[kind]!(source))
    expect(error).toMatchObject({ name: 'BodyTimeoutError', code: 'UND_ERR_BODY_TIMEOUT' })
    await until(() => source.isEnded)
    await until(() => agent.stats.bufferedBytes === 0)
    await until(() => server.open() === 0)
  })
})

describe.each(rows)('$way over $version', ({ version, way }) => {
  test('a source that is slower than both timeouts is waited for', async () => {
    await using server = await startEcho(version)
    await using agent = new Agent({ ...LIMITS, useH2c: version === 'HTTP/2' })
    async function* slow(): AsyncGenerator<string> {
      yield 'one '
      await delay(3 * LIMITS.bodyTimeout)
      yield 'two'
    }
    if (way === 'fetch') {
      const response = await fetch(server.origin, { method: 'POST', body: slow(), dispatcher: agent })
      expect(await response.text()).toBe('one two')
    } else {
      const recorder = send(agent, server.origin, new Recorder(), { method: 'POST', body: slow() as never })
      await recorder.ended
      expect([recorder.error, recorder.body.toString()]).toEqual([null, 'one two'])
    }
  })
})
