/** HTTP/2 as its server sees it: windows, streams, pings, and what it may say to end them. */
import { once } from 'node:events'
import { createServer } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import type { AgentOptions } from '../lib/index.ts'
import { readRest, rejection } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { ACK, FRAME, startFrameServer, windowsOf, words } from './support/http2-frames.ts'
import { Recorder, send } from './support/recorder.ts'

const KiB = 1024
const MiB = 1024 * KiB
const RTT_SECONDS = 0.04
const BYTES_PER_SECOND = 20e6

const h2c = (options: AgentOptions = {}): Agent => new Agent({ useH2c: true, ...options })

describe('the windows', () => {
  async function windows(options: AgentOptions): Promise<{ stream: number; connection: number }> {
    await using server = await startFrameServer()
    await using agent = h2c(options)
    const failed = rejection(fetch(server.origin, { dispatcher: agent }))
    // They come before the first request.
    await server.frame(FRAME.HEADERS)
    await agent.destroy()
    await failed
    return windowsOf(server.connections[0]!.frames)
  }

  test.each(['wire', 'reqwest'] as const)(
    'let 20 MB/s through where a round trip takes 40 ms, over %s',
    async (transport) => {
      const { stream, connection } = await windows({ transport })
      expect(stream).toBeGreaterThanOrEqual(BYTES_PER_SECOND * RTT_SECONDS)
      expect(connection).toBeGreaterThan(60 * stream)
    },
  )

  test('are options', async () => {
    const own = { initialWindowSize: 123_456, connectionWindowSize: 7_654_321 }
    const expected = { stream: 123_456, connection: 7_654_321 }
    expect(await windows(own)).toEqual(expected)
    const { initialWindowSize, connectionWindowSize } = own
    expect(await windows({ h2Options: { settings: { initialWindowSize }, connectionWindowSize } })).toEqual(expected)
    expect((await windows({ initialWindowSize: 100_000 })).connection).toBe(100 * 100_000)
  })

  test('of a connection stay within maxBufferedBytes', async () => {
    expect(await windows({ maxBufferedBytes: 4 * MiB })).toMatchObject({ connection: 4 * MiB })
    expect(await windows({ maxBufferedBytes: 4 * MiB, connectionWindowSize: 8 * MiB })).toMatchObject({
      connection: 4 * MiB,
    })
    const { stream, connection } = await windows({ maxBufferedBytes: 128 * KiB })
    expect([stream, connection]).toEqual([128 * KiB, 128 * KiB])
  })
})

interface Flooding extends AsyncDisposable {
  readonly origin: string
  readonly sessions: number
}

/** Answers with `bytes` zeros. */
async function startBodies(bytes: number): Promise<Flooding> {
  const server = createServer({ maxSessionMemory: 1000 })
  const sessions = new Set<{ destroy(): void }>()
  let count = 0
  server.on('session', (session) => {
    count++
    sessions.add(session)
  })
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {})
    stream.respond({ ':status': 200, 'content-length': bytes })
    stream.end(Buffer.alloc(bytes))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get sessions() {
      return count
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test('a hundred responses that nobody reads stall no other, and what is held of them is counted', async () => {
  const size = 2 * MiB
  await using server = await startBodies(size)
  await using agent = h2c()
  const get = async (): Promise<ReadableStreamDefaultReader<Uint8Array>> =>
    (await fetch(server.origin, { dispatcher: agent })).body!.getReader()
  const unread = await Promise.all(Array.from({ length: 100 }, get))
  // Each has sent all that it may.
  await until(() => agent.stats.bufferedBytes >= 100 * 800 * KiB)
  for (let turn = 0; turn < 3; turn++) expect((await readRest(await get())).byteLength).toBe(size)
  expect(server.sessions).toBe(2)
  const rests = await Promise.all(unread.map(readRest))
  expect(rests.every(({ byteLength }) => byteLength === size)).toBe(true)
  expect(agent.stats.bufferedBytes).toBe(0)
})

describe('streams', () => {
  test.each([{ maxConcurrentStreams: 2 }, { h2Options: { maxConcurrentStreams: 2 } }])(
    '%o is how many a connection has; another is opened, or waited for',
    async (options) => {
      await using server = await startFrameServer()
      const headers = (connection: number): number[] =>
        server.connections[connection]!.frames.filter(({ type }) => type === FRAME.HEADERS).map(({ stream }) => stream)
      await using agent = h2c(options)
      const all = Array.from({ length: 5 }, () => send(agent, server.origin, new Recorder()))
      await until(() => server.connections.length === 3 && headers(2).length === 1)
      expect([headers(0), headers(1), headers(2)]).toEqual([[1, 3], [1, 3], [1]])
      await agent.destroy()
      for (const { ended } of all) await ended

      await using narrow = h2c({ ...options, connections: 1 })
      const recorders = Array.from({ length: 3 }, () => send(narrow, server.origin, new Recorder()))
      await until(() => server.connections.length === 4 && headers(3).length === 2)
      // END_STREAM and END_HEADERS; ':status: 204' of the static table.
      server.connections[3]!.send(FRAME.HEADERS, 5, 1, Buffer.from([0x89]))
      await until(() => headers(3).length === 3)
      expect(headers(3)).toEqual([1, 3, 5])
      for (const stream of [3, 5]) server.connections[3]!.send(FRAME.HEADERS, 5, stream, Buffer.from([0x89]))
      for (const recorder of recorders) await recorder.ended
      expect(recorders.map(({ status }) => status)).toEqual([204, 204, 204])
    },
  )

  test('that have no room make an agent busy', async () => {
    await using server = await startFrameServer()
    // Windows of 1 MiB: two streams.
    await using agent = h2c({ connections: 1, maxBufferedBytes: 2 * MiB, initialWindowSize: MiB })
    const connected = once(agent, 'connect')
    const recorders = [send(agent, server.origin, new Recorder())]
    await connected
    const dispatch = (): boolean => {
      const recorder = new Recorder()
      recorders.push(recorder)
      return agent.dispatch({ origin: server.origin, path: '/', method: 'GET' }, recorder.handler)
    }
    expect([dispatch(), dispatch()]).toEqual([false, false])
    await using wide = h2c({ connections: 1 })
    const isConnected = once(wide, 'connect')
    send(wide, server.origin, new Recorder())
    await isConnected
    expect(wide.dispatch({ origin: server.origin, path: '/', method: 'GET' }, new Recorder().handler)).toBe(true)
    await agent.destroy()
    for (const { ended } of recorders) await ended
  })

  test.each([
    [1, 'PROTOCOL_ERROR'],
    [2, 'INTERNAL_ERROR'],
    [8, 'CANCEL'],
    [11, 'ENHANCE_YOUR_CALM'],
    [13, 'HTTP_1_1_REQUIRED'],
  ])('RST_STREAM with code %i is readable', async (code, name) => {
    await using server = await startFrameServer()
    await using agent = h2c()
    const failed = rejection(fetch(server.origin, { dispatcher: agent }))
    const { stream } = await server.frame(FRAME.HEADERS)
    server.connections[0]!.send(FRAME.RST_STREAM, 0, stream, words(code))
    const { cause } = await failed
    expect(cause).toMatchObject({ name: 'Error', code: 'ERR_HTTP2_STREAM_ERROR' })
    expect(cause.message).toContain(`Stream closed with error code NGHTTP2_${name}`)
    expect(server.connections).toHaveLength(1)
  })

  test('REFUSED_STREAM is asked again, and is readable when it does not end', async () => {
    await using server = await startFrameServer()
    await using agent = h2c()
    const failed = rejection(fetch(server.origin, { dispatcher: agent, method: 'POST', body: 'x' }))
    const REFUSED = 7
    for (let connection = 0; connection < 4; connection++) {
      const { stream } = await server.frame(FRAME.HEADERS, connection)
      server.connections[connection]!.send(FRAME.RST_STREAM, 0, stream, words(REFUSED))
    }
    expect((await failed).cause.message).toContain('NGHTTP2_REFUSED_STREAM')
    expect(server.connections).toHaveLength(4)
  })
})

describe('GOAWAY', () => {
  test('with an error is readable, and nothing is sent again', async () => {
    await using server = await startFrameServer()
    await using agent = h2c()
    const failed = rejection(fetch(server.origin, { dispatcher: agent }))
    await server.frame(FRAME.HEADERS)
    const ENHANCE_YOUR_CALM = 11
    server.connections[0]!.send(FRAME.GOAWAY, 0, 0, words(0, ENHANCE_YOUR_CALM))
    const { cause } = await failed
    expect(cause).toMatchObject({ name: 'SocketError', code: 'UND_ERR_SOCKET' })
    expect(cause.message).toContain(`GOAWAY with code ${ENHANCE_YOUR_CALM}`)
    expect(server.connections).toHaveLength(1)
  })

  test('that is graceful lets what was begun end, and sends the rest elsewhere', async () => {
    await using server = await startFrameServer()
    await using agent = h2c()
    const first = fetch(server.origin, { dispatcher: agent })
    await server.frame(FRAME.HEADERS)
    const second = fetch(server.origin, { dispatcher: agent, method: 'PUT', body: 'x' })
    await until(() => server.connections[0]!.frames.some(({ stream, type }) => stream === 3 && type === FRAME.HEADERS))
    // Stream 1 is the last that will be served.
    server.connections[0]!.send(FRAME.GOAWAY, 0, 0, words(1, 0))
    await server.frame(FRAME.HEADERS, 1)
    server.connections[1]!.send(FRAME.HEADERS, 5, 1, Buffer.from([0x89]))
    expect((await second).status).toBe(204)
    server.connections[0]!.send(FRAME.HEADERS, 5, 1, Buffer.from([0x89]))
    expect((await first).status).toBe(204)
  })
})

describe('pings', () => {
  test.each([{ pingInterval: 20 }, { h2Options: { pingInterval: 20 } }])('go out with %o', async (options) => {
    await using server = await startFrameServer()
    await using agent = h2c({ ...options, keepAliveTimeout: 60_000 })
    const response = fetch(server.origin, { dispatcher: agent })
    await server.frame(FRAME.HEADERS)
    const pings = (): number =>
      server.connections[0]!.frames.filter(({ type, flags }) => type === FRAME.PING && (flags & ACK) === 0).length
    await until(() => pings() >= 2)
    server.connections[0]!.send(FRAME.HEADERS, 5, 1, Buffer.from([0x89]))
    expect((await response).status).toBe(204)
    // On an idle connection too.
    const before = pings()
    await until(() => pings() > before)
  })

  test('of the server are answered', async () => {
    await using server = await startFrameServer()
    await using agent = h2c({ pingInterval: 0 })
    const failed = rejection(fetch(server.origin, { dispatcher: agent }))
    await server.frame(FRAME.HEADERS)
    server.connections[0]!.send(FRAME.PING, 0, 0, Buffer.from('12345678'))
    const { flags, payload } = await server.frame(FRAME.PING)
    expect([flags, payload.toString()]).toEqual([ACK, '12345678'])
    await agent.destroy()
    await failed
  })
})
