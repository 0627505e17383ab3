import { createHash } from 'node:crypto'
import { getEventListeners } from 'node:events'
import type { ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import * as undici8 from 'undici'
import * as undici7 from 'undici7'
import { Agent, errors, fetch } from '../lib/index.ts'
import type { DispatcherLike, DispatchHandler } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { collectGarbage, untilCollected } from './support/gc.ts'
import { countingBlock, startFlood, startServer, startTcpServer } from './support/servers.ts'

type Foreign = DispatcherLike & { destroy(): Promise<void> }

describe.each<{ name: string; open: () => Foreign }>([
  { name: "undici 8's agent", open: () => new undici8.Agent() as unknown as Foreign },
  { name: "undici 7's agent", open: () => new undici7.Agent() as unknown as Foreign },
  {
    name: 'a composed agent of sluice',
    open: () => new Agent().compose((dispatch) => (options, handler) => dispatch(options, handler)),
  },
])('fetch through $name', ({ open }) => {
  test('gives head, body and trailers', async () => {
    await using server = await startTcpServer((socket) => {
      socket.on('data', () =>
        socket.write(
          'HTTP/1.1 201 Made\r\nset-cookie: a\r\nset-cookie: b\r\nx-one: 1\r\ntransfer-encoding: chunked\r\n' +
            'trailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n',
        ),
      )
    })
    const dispatcher = open()
    const response = await fetch(`${server.origin}/p#hash`, { dispatcher })
    expect(response).toBeInstanceOf(Response)
    expect([response.status, response.statusText, response.url]).toEqual([201, 'Made', `${server.origin}/p`])
    expect([response.headers.getSetCookie(), response.headers.get('x-one')]).toEqual([['a', 'b'], '1'])
    expect(await response.text()).toBe('abc')
    expect((await response.trailers).get('x-sum')).toBe('1')
    await dispatcher.destroy()
  })

  test.each([
    ['a string', () => 'hello'],
    ['bytes', () => Buffer.from('hello')],
    ['a Blob', () => new Blob(['hello'])],
    ['a stream', () => ReadableStream.from([Buffer.from('he'), Buffer.from('llo')])],
  ])('sends %s', async (_name, makeBody) => {
    await using server = await startServer(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += String(chunk)
      response.end(`${request.method} ${request.headers['content-length'] ?? 'chunked'} ${body}`)
    })
    const dispatcher = open()
    const response = await fetch(server.origin, { method: 'POST', body: makeBody(), dispatcher })
    expect(await response.text()).toMatch(/^POST (5|chunked) hello$/)
    await dispatcher.destroy()
  })

  test('holds the server back while nobody reads, and gives everything after', async () => {
    const length = 64 * 1024 * 1024
    await using server = await startFlood({ length })
    await using other = await startServer((_request, response) => response.end('other'))
    const dispatcher = open()
    const response = await fetch(server.origin, { dispatcher })
    for (let turn = 0; turn < 10; turn++) await (await fetch(other.origin, { dispatcher })).text()
    expect(server.sent).toBeLessThan(length / 2)
    const hash = createHash('sha256')
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) hash.update(chunk)
    const block = countingBlock()
    const expected = createHash('sha256')
    for (let at = 0; at < length; at += block.length) expected.update(block)
    expect(hash.digest('hex')).toBe(expected.digest('hex'))
    await dispatcher.destroy()
  })

  test('reads into views of the caller', async () => {
    const length = 1_000_000
    await using server = await startFlood({ length })
    const dispatcher = open()
    const reader = (await fetch(server.origin, { dispatcher })).body!.getReader({ mode: 'byob' })
    let view = new Uint8Array(10_000)
    let read = 0
    for (;;) {
      const { done, value } = await reader.read(view)
      if (done) break
      read += value.byteLength
      view = new Uint8Array(value.buffer)
    }
    expect(read).toBe(length)
    await dispatcher.destroy()
  })

  test('cancel drops the connection', async () => {
    await using server = await startFlood({ length: 64 * 1024 * 1024 })
    const dispatcher = open()
    const response = await fetch(server.origin, { dispatcher })
    const [socket] = server.sockets
    await response.body!.cancel('a reason that is no error')
    // undici 7 opens another connection at once.
    await until(() => socket!.destroyed)
    await dispatcher.destroy()
  })

  test('a response that nobody holds releases its connection, one that is read does not', async () => {
    await using server = await startFlood({ length: 64 * 1024 * 1024 })
    const dispatcher = open()
    const reader = (await fetch(server.origin, { dispatcher })).body!.getReader()
    const [read] = server.sockets
    const { signal } = new AbortController()
    await fetch(server.origin, { dispatcher, signal })
    const dropped = [...server.sockets].find((socket) => socket !== read)
    let bytes = 0
    await untilCollected(() => {
      void reader.read().then(({ value }) => (bytes += value?.byteLength ?? 0))
      return dropped!.destroyed
    })
    expect(read!.destroyed).toBe(false)
    expect(bytes).toBeGreaterThan(0)
    expect(getEventListeners(signal, 'abort')).toEqual([])
    await reader.cancel()
    await dispatcher.destroy()
  })

  test('a read that waits is not collected', async () => {
    let answer: ServerResponse | null = null
    await using server = await startServer((_request, response) => {
      answer = response
      response.flushHeaders()
    })
    const dispatcher = open()
    const reading = (async () => (await fetch(server.origin, { dispatcher })).text())()
    await until(() => answer)
    for (let turn = 0; turn < 5; turn++) await collectGarbage()
    answer!.end('late')
    expect(await reading).toBe('late')
    await dispatcher.destroy()
  })

  test('a body cut short fails the reading', async () => {
    await using server = await startTcpServer((socket) =>
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello')),
    )
    const dispatcher = open()
    const response = await fetch(server.origin, { dispatcher })
    await expect(response.text()).rejects.toMatchObject({ message: 'terminated', cause: { code: 'UND_ERR_SOCKET' } })
    await dispatcher.destroy()
  })

  test.each(['windowBytes', 'timeout', 'maxResponseSize'])('refuses %s, which only an agent can keep', async (name) => {
    const dispatcher = open()
    const fetching = fetch('http://a.test', { dispatcher, [name]: 1000 })
    await expect(fetching).rejects.toBeInstanceOf(errors.InvalidArgumentError)
    await expect(fetching).rejects.toThrow(name)
    await dispatcher.destroy()
  })
})

test.each([
  ['undici 8', undici8 as unknown as typeof undici7],
  ['undici 7', undici7],
])("%s's MockAgent answers fetch", async (_name, undici) => {
  const mock = new undici.MockAgent()
  mock.disableNetConnect()
  mock
    .get('http://mocked.test')
    .intercept({ path: '/a?b=c', method: 'POST', body: 'hello' })
    .reply(202, { mocked: true }, { headers: { 'x-a': '1' } })
  const dispatcher = mock as unknown as DispatcherLike
  const response = await fetch('http://mocked.test/a?b=c', { method: 'POST', body: 'hello', dispatcher })
  expect([response.status, response.headers.get('x-a'), await response.json()]).toEqual([202, '1', { mocked: true }])
  await expect(fetch('http://mocked.test/other', { dispatcher })).rejects.toThrow('fetch failed')
  await mock.close()
})

test('asks a dispatcher for nothing before somebody reads, and for no more than is read', async () => {
  const length = 16 * 1024 * 1024
  await using server = await startFlood({ length })
  await using agent = new Agent()
  let delivered = 0
  const dispatcher = agent.compose((dispatch) => (options, handler) => {
    const { onResponseData } = handler as DispatchHandler
    const counted: DispatchHandler = Object.create(handler) as DispatchHandler
    counted.onResponseData = (controller, chunk) => {
      delivered += chunk.byteLength
      onResponseData!.call(counted, controller, chunk)
    }
    return dispatch(options, counted)
  })
  const response = await fetch(server.origin, { dispatcher })
  await using other = await startServer((_request, reply) => reply.end('other'))
  const roundTrips = async (): Promise<void> => {
    for (let turn = 0; turn < 3; turn++) await (await fetch(other.origin, { dispatcher: agent })).text()
  }
  await roundTrips()
  expect(delivered).toBe(0)
  const reader = response.body!.getReader()
  const { value } = await reader.read()
  await roundTrips()
  expect(delivered).toBe(value!.byteLength)
  reader.releaseLock()
  let read = value!.byteLength
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) read += chunk.byteLength
  expect([read, delivered]).toEqual([length, length])
})

test('1xx responses are passed over', async () => {
  await using server = await startTcpServer((socket) =>
    socket.once('data', () =>
      socket.write('HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'),
    ),
  )
  for (const dispatcher of [new Agent(), new undici8.Agent() as unknown as Agent]) {
    const response = await fetch(server.origin, { dispatcher })
    expect([response.status, await response.text()]).toEqual([200, 'ok'])
    await dispatcher.destroy()
  }
})
