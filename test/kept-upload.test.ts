/** Large bodies in memory: they cross in pieces, against credit, and once more where they are sent again. */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:http2'
import type { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import type { AgentOptions } from '../lib/index.ts'
import { rejection, sha256 } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { startH2c } from './support/http2-servers.ts'
import { Recorder, send } from './support/recorder.ts'
import { select } from './support/selection.ts'
import { startServer } from './support/servers.ts'
import { untilStopped } from './support/standstill.ts'

const WINDOW = 256 * 1024
const PIECE = 64 * 1024
/** More than the sockets hold between them, and no whole number of pieces. */
const body = randomBytes(24 * 1024 * 1024 + 12_345)
const hash = sha256(body)

/** The hash of what comes, if all of it does. */
async function read(stream: Readable): Promise<string> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of stream) chunks.push(chunk as Buffer)
  } catch {
    return 'broken off'
  }
  return sha256(Buffer.concat(chunks))
}

/** Until the server's sockets are full, and what is held waits for them: more than half of a window. */
async function untilHeld(agent: Agent): Promise<void> {
  await untilStopped(() => agent.stats.bufferedBytes)
  expect(agent.stats.bufferedBytes).toBeGreaterThanOrEqual(WINDOW / 2)
}

/** Both ways in: the text of the response. */
const ways = {
  fetch: async (dispatcher: Agent, origin: string, sent: Uint8Array): Promise<string> =>
    (await fetch(origin, { method: 'POST', body: sent, dispatcher })).text(),
  dispatch: async (agent: Agent, origin: string, sent: Uint8Array): Promise<string> => {
    const recorder = send(agent, origin, new Recorder(), { method: 'POST', body: sent })
    await recorder.ended
    if (recorder.error !== null) throw recorder.error
    return recorder.body.toString()
  },
}

interface Server extends AsyncDisposable {
  origin: string
}

/** Answers with the hash of what it was sent, read from when `ready` is over. */
const servers: Record<'HTTP/1.1' | 'HTTP/2', (ready?: Promise<void>) => Promise<Server>> = {
  'HTTP/1.1': (ready) =>
    startServer(async (request, response) => {
      request.pause()
      await ready
      response.end(await read(request))
    }),
  'HTTP/2': (ready) =>
    startH2c(async (stream) => {
      stream.pause()
      await ready
      const text = await read(stream)
      stream.respond({ ':status': 200 })
      stream.end(text)
    }),
}

const rows = (['HTTP/1.1', 'HTTP/2'] as const).flatMap((version) =>
  (['wire', 'reqwest'] as const).flatMap((transport) =>
    (['fetch', 'dispatch'] as const).map((way) => ({ version, transport, way })),
  ),
)

const options = (version: string, transport: 'wire' | 'reqwest'): AgentOptions => ({
  transport,
  uploadWindowBytes: WINDOW,
  useH2c: version === 'HTTP/2',
})

describe.each(select(rows))('$way over $version on $transport', ({ version, transport, way }) => {
  test('what a server does not read stays with its caller, and arrives whole', async () => {
    const { promise: ready, resolve: goOn } = Promise.withResolvers<void>()
    await using server = await servers[version](ready)
    await using agent = new Agent(options(version, transport))
    const answer = ways[way](agent, server.origin, body)
    await untilHeld(agent)
    expect(agent.stats.bufferedBytes).toBeLessThanOrEqual(WINDOW + PIECE)
    goOn()
    expect(await answer).toBe(hash)
    await until(() => agent.stats.bufferedBytes === 0)
  })
})

describe.each(['fetch', 'dispatch'] as const)('%s', (way) => {
  test('sends again what was refused, although all of it has crossed', async () => {
    const small = body.subarray(0, 2 * 1024 * 1024)
    let streams = 0
    await using server = await startH2c(async (stream) => {
      if (++streams === 1) {
        await until(() => agent.stats.bufferedBytes > small.byteLength / 2)
        stream.close(constants.NGHTTP2_REFUSED_STREAM)
        return
      }
      const text = await read(stream)
      stream.respond({ ':status': 200 })
      stream.end(text)
    })
    await using agent = new Agent({ useH2c: true, uploadWindowBytes: 4 * 1024 * 1024 })
    expect(await ways[way](agent, server.origin, small)).toBe(sha256(small))
    expect(streams).toBe(2)
  })
})

test.each(['wire', 'reqwest'] as const)('a redirect in the midst of it has it sent again on %s', async (transport) => {
  await using server = await startServer(async (request, response) => {
    if (request.url === '/') {
      request.once('data', () => response.writeHead(307, { location: '/again' }).end())
      return
    }
    response.end(await read(request))
  })
  await using agent = new Agent({ transport })
  expect(await ways.fetch(agent, server.origin, body)).toBe(hash)
})

test('fetch sends what the body was when it was called', async () => {
  await using server = await servers['HTTP/1.1']()
  await using agent = new Agent()
  const mine = Buffer.from(body)
  const answer = ways.fetch(agent, server.origin, mine)
  mine.fill(0)
  expect(await answer).toBe(hash)
})

test('memory that is taken away is one error, and the connection is dropped', async () => {
  const { promise: ready, resolve: goOn } = Promise.withResolvers<void>()
  await using server = await servers['HTTP/1.1'](ready)
  await using agent = new Agent({ uploadWindowBytes: WINDOW })
  const mine = new Uint8Array(body)
  const recorder = send(agent, server.origin, new Recorder(), { method: 'POST', body: mine })
  await untilHeld(agent)
  structuredClone(mine, { transfer: [mine.buffer] })
  goOn()
  await recorder.ended
  expect(recorder.calls).toEqual(['start', 'error'])
  expect(recorder.error).toMatchObject({
    name: 'RequestContentLengthMismatchError',
    code: 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
  })
  await until(() => agent.stats.bufferedBytes === 0)
})

test.each([2 ** 20, 2 ** 20 + 1])(
  'memory of %i bytes that grows before it crosses is sent as it is then',
  async (length) => {
    await using server = await servers['HTTP/1.1']()
    await using agent = new Agent()
    const buffer = new ArrayBuffer(length, { maxByteLength: 2 ** 21 })
    const recorder = send(agent, server.origin, new Recorder(), { method: 'POST', body: new Uint8Array(buffer) })
    buffer.resize(2 ** 21)
    await recorder.ended
    expect(recorder.body.toString()).toBe(sha256(new Uint8Array(2 ** 21)))
  },
)

test('an abort lets go of it', async () => {
  await using server = await servers['HTTP/1.1'](new Promise(() => {}))
  await using agent = new Agent({ uploadWindowBytes: WINDOW })
  const controller = new AbortController()
  const init = { method: 'POST', body, dispatcher: agent, signal: controller.signal }
  const failed = rejection(fetch(server.origin, init))
  await untilHeld(agent)
  const reason = new Error('enough')
  controller.abort(reason)
  expect(await failed).toBe(reason)
  await until(() => agent.stats.bufferedBytes === 0)
})

test('an early answer ends it', async () => {
  await using server = await startServer((request, response) => {
    request.pause()
    response.writeHead(413).end('too much')
  })
  await using agent = new Agent({ uploadWindowBytes: WINDOW })
  expect(await ways.dispatch(agent, server.origin, body)).toBe('too much')
  await until(() => agent.stats.bufferedBytes === 0)
})

test('handlers are told of the whole once', async () => {
  await using server = await servers['HTTP/1.1']()
  await using agent = new Agent()
  const told: unknown[] = []
  const recorder = new Recorder()
  Object.assign(recorder.handler, {
    onBodySent: (chunk: unknown) => told.push(chunk),
    onRequestSent: () => told.push('sent'),
  })
  send(agent, server.origin, recorder, { method: 'POST', body })
  await recorder.ended
  expect(recorder.body.toString()).toBe(hash)
  expect(told).toHaveLength(2)
  expect(told[0]).toBe(body)
  expect(told[1]).toBe('sent')
})
