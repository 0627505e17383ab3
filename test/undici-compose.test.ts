import { EventEmitter } from 'node:events'
import { gzipSync } from 'node:zlib'
import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import * as undici8 from 'undici'
import * as undici7 from 'undici7'
import { Agent } from '../lib/index.ts'
import { startFlood, startServer, startTcpServer } from './support/servers.ts'

describe.each([
  ['undici 8', undici8 as unknown as typeof undici7],
  ['undici 7', undici7],
])('%s', (_name, undici) => {
  const { interceptors } = undici
  const as = (agent: Agent): undici7.Dispatcher => agent

  test('redirect follows', async () => {
    await using server = await startServer((request, response) => {
      if (request.url === '/end') response.end(`${request.method} at the end`)
      else response.writeHead(302, { location: request.url === '/first' ? '/second' : '/end' }).end('elsewhere')
    })
    await using agent = new Agent()
    const dispatcher = as(agent).compose(interceptors.redirect({ maxRedirections: 3 }))
    const { statusCode, body } = await undici.request(`${server.origin}/first`, { dispatcher })
    expect([statusCode, await body.text()]).toEqual([200, 'GET at the end'])
  })

  test('retry asks again after a status and after a dropped connection', async () => {
    let turn = 0
    await using server = await startTcpServer((socket) => {
      socket.on('data', () => {
        turn++
        if (turn === 1) socket.destroy()
        else if (turn === 2) socket.write('HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n')
        else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
      })
    })
    await using agent = new Agent()
    const dispatcher = as(agent).compose(interceptors.retry({ minTimeout: 1, maxTimeout: 1 }))
    const { statusCode, body } = await undici.request(server.origin, { dispatcher })
    expect([statusCode, await body.text(), turn]).toEqual([200, 'ok', 3])
  })

  test('RetryAgent resumes a body that broke off', async () => {
    const ranges: (string | undefined)[] = []
    await using server = await startServer((request, response) => {
      ranges.push(request.headers.range)
      response.setHeader('etag', '"a"')
      if (ranges.length === 1) {
        response.setHeader('content-length', '10')
        response.write('hello', () => response.destroy())
      } else {
        response.writeHead(206, { 'content-range': 'bytes 5-9/10', 'content-length': '5' }).end('world')
      }
    })
    await using agent = new Agent()
    const dispatcher = new undici.RetryAgent(agent, { minTimeout: 1, maxTimeout: 1 })
    const { body } = await undici.request(server.origin, { dispatcher })
    expect(await body.text()).toBe('helloworld')
    expect(ranges).toEqual([undefined, 'bytes=5-9'])
  })

  test('dump swallows the body', async () => {
    await using server = await startFlood({ length: 1024 * 1024 })
    await using agent = new Agent()
    const dispatcher = as(agent).compose(interceptors.dump({ maxSize: 2 * 1024 * 1024 }))
    const { statusCode, body } = await undici.request(server.origin, { dispatcher })
    expect([statusCode, await body.text()]).toEqual([200, ''])
  })

  test('dump refuses a body over its limit', async () => {
    await using server = await startFlood({ length: 1024 * 1024 })
    await using agent = new Agent()
    const dispatcher = as(agent).compose(interceptors.dump({ maxSize: 1024 }))
    await expect(undici.request(server.origin, { dispatcher })).rejects.toMatchObject({ name: 'AbortError' })
  })

  test('decompress decodes', async () => {
    const plain = 'compressible '.repeat(100_000)
    await using server = await startServer((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(plain))
    })
    await using agent = new Agent()
    const { decompress } = interceptors as unknown as Record<
      string,
      () => undici7.Dispatcher.DispatcherComposeInterceptor
    >
    const dispatcher = as(agent).compose(decompress!())
    const { headers, body } = await undici.request(server.origin, { dispatcher })
    expect(headers['content-encoding']).toBeUndefined()
    expect(await body.text()).toBe(plain)
  })

  test('responseError turns a status into an error', async () => {
    await using server = await startServer((_request, response) => {
      response.writeHead(418, { 'content-type': 'application/json' }).end('{"tea":true}')
    })
    await using agent = new Agent()
    const dispatcher = as(agent).compose(interceptors.responseError())
    await expect(undici.request(server.origin, { dispatcher })).rejects.toMatchObject({
      code: 'UND_ERR_RESPONSE',
      statusCode: 418,
      body: { tea: true },
    })
  })

  test('cache answers a second request by itself', async () => {
    let turn = 0
    await using server = await startServer((_request, response) => {
      response.writeHead(200, { 'cache-control': 'public, max-age=60' }).end(`${++turn}`)
    })
    await using agent = new Agent()
    const dispatcher = as(agent).compose(interceptors.cache())
    const said: string[] = []
    for (let index = 0; index < 2; index++) {
      said.push(await (await undici.request(server.origin, { dispatcher })).body.text())
    }
    expect(said).toEqual(['1', '1'])
  })
})

test("undici's own methods work on the agent, and on a composed one", async () => {
  await using server = await startServer(async (request, response) => {
    response.end(`${request.method} ${request.url} ${await text(request)}`)
  })
  await using agent = new Agent()
  const composed = agent.compose(
    (dispatch) => (options, handler) => dispatch({ ...options, path: '/composed' }, handler),
  )
  const { origin } = server
  const { body } = await agent.request({ origin, path: '/r', method: 'POST', body: 'b' })
  expect(await body.text()).toBe('POST /r b')
  expect(await (await composed.request({ origin, path: '/r', method: 'GET' })).body.text()).toBe('GET /composed ')

  const out = new PassThrough()
  const [said] = await Promise.all([text(out), agent.stream({ origin, path: '/s', method: 'GET' }, () => out)])
  expect(said).toBe('GET /s ')

  const duplex = agent.pipeline({ origin, path: '/p', method: 'POST' }, (data) => data.body)
  expect(await text(Readable.from(['x']).pipe(duplex))).toBe('POST /p x')

  const called = Promise.withResolvers<number>()
  agent.request({ origin, path: '/c', method: 'GET' }, (error, data) => {
    if (error) called.reject(error)
    else data.body.dump().then(() => called.resolve(data.statusCode), called.reject)
  })
  expect(await called.promise).toBe(200)
})

test.each(['agent', 'composed'])("undici's upgrade and connect hand over a socket of the %s", async (kind) => {
  await using server = await startTcpServer((socket) => {
    socket.once('data', (head) => {
      const isConnect = head.toString().startsWith('CONNECT')
      const switching = '101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo'
      socket.write(`HTTP/1.1 ${isConnect ? '200 OK\r\nx: y' : switching}\r\n\r\n`)
      socket.pipe(socket)
    })
  })
  await using agent = new Agent()
  const dispatcher =
    kind === 'agent' ? agent : agent.compose((dispatch) => (options, handler) => dispatch(options, handler))
  const { origin } = server
  const upgraded = await dispatcher.upgrade({ origin, path: '/', protocol: 'echo' } as never)
  expect(upgraded.headers).toEqual({ connection: 'upgrade', upgrade: 'echo' })
  upgraded.socket.end('one')
  expect(await text(upgraded.socket)).toBe('one')

  const connected = await dispatcher.connect({ origin, path: 'a.test:1' })
  expect([connected.statusCode, connected.headers]).toEqual([200, { x: 'y' }])
  connected.socket.end('two')
  expect(await text(connected.socket)).toBe('two')
})

test('the built-in fetch takes a composed agent', async () => {
  await using server = await startServer((request, response) => response.end(request.url))
  await using agent = new Agent()
  const events: string[] = []
  const dispatcher = agent.compose((dispatch) => (options, handler) => {
    events.push('onRequestStart' in handler ? 'current' : 'legacy')
    return dispatch({ ...options, path: '/composed' }, handler)
  })
  const response = await globalThis.fetch(server.origin, { dispatcher: dispatcher as never })
  expect([await response.text(), events]).toEqual(['/composed', ['current']])
})

describe.each([
  ['undici 8', undici8.MockAgent],
  ['undici 7', undici7.MockAgent as unknown as typeof undici8.MockAgent],
] as const)('a MockAgent of %s around an agent', (_name, MockAgent) => {
  test('answers what is mocked, and lets the rest out or not', async () => {
    await using server = await startServer((_request, response) => response.end('real'))
    const agent = new Agent()
    const mock = new MockAgent({ agent: agent as never })
    mock.get('http://mocked.test').intercept({ path: '/a' }).reply(200, 'mocked')
    const ask = async (origin: string, path: string): Promise<string> =>
      (await mock.request({ origin, path, method: 'GET' })).body.text()
    expect(await ask('http://mocked.test', '/a')).toBe('mocked')
    expect(await ask(server.origin, '/')).toBe('real')
    mock.disableNetConnect()
    await expect(ask(server.origin, '/')).rejects.toThrow('net.connect disabled')
    // The agent itself serves its mocks as well, as undici's does.
    await expect(agent.request({ origin: server.origin, path: '/', method: 'GET' })).rejects.toThrow('net.connect')
    await mock.close()
    expect([agent.closed, agent.destroyed]).toEqual([true, true])
  })

  test('leaves other agents alone', async () => {
    await using server = await startServer((_request, response) => response.end('real'))
    await using other = new Agent()
    await using agent = new Agent()
    const mock = new MockAgent({ agent: agent as never })
    mock.get(server.origin).intercept({ path: '/' }).reply(200, 'mocked')
    const { body } = await other.request({ origin: server.origin, path: '/', method: 'GET' })
    expect(await body.text()).toBe('real')
    expect(agent).toBeInstanceOf(EventEmitter)
  })
})
