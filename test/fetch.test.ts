import { describe, expect, test } from 'vitest'
import { Agent as UndiciAgent } from 'undici'
import { Agent, errors, fetch, getGlobalAgent, setGlobalAgent } from '../lib/index.ts'
import type { FetchInit } from '../lib/index.ts'
import { startServer, startTcpServer } from './support/servers.ts'

/** Answers with what it was sent, as JSON. */
const startEcho = () =>
  startServer((request, response) => {
    response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers }))
  })

type Echo = { method: string; url: string; headers: Record<string, string> }

describe('arguments that make no request are TypeErrors', () => {
  test.each([
    ['a relative URL', '/a', {}, 'Failed to parse URL from /a'],
    ['no URL', 'http://', {}, 'Failed to parse URL from http://'],
    ['a URL with credentials', 'http://a:b@c.test/', {}, 'http://c.test'],
    ['a method with a space', 'http://a.test', { method: 'GE T' }, "'GE T' is not a valid HTTP method."],
    ['CONNECT', 'http://a.test', { method: 'connect' }, "'connect' HTTP method is unsupported."],
    ['TRACE', 'http://a.test', { method: 'TRACE' }, "'TRACE' HTTP method is unsupported."],
    ['a header name with a space', 'http://a.test', { headers: { 'x y': '1' } }, '"x y" is an invalid header name'],
    ['CRLF in a header', 'http://a.test', { headers: { 'x-a': 'b\r\nx-c: d' } }, '"x-a"'],
    ['NUL in a header', 'http://a.test', { headers: [['x-a', 'b\0']] }, '"x-a"'],
    ['a header beyond latin1', 'http://a.test', { headers: { 'x-a': '\u20ac' } }, '"x-a"'],
    ['a pair of three', 'http://a.test', { headers: [['a', 'b', 'c']] }, 'pair'],
    ['headers as a string', 'http://a.test', { headers: 'x' }, 'headers must be'],
    ['a body with GET', 'http://a.test', { body: 'x' }, 'Request with GET/HEAD method cannot have body.'],
    ['an unknown redirect mode', 'http://a.test', { redirect: 'no' }, "'no' is not a valid redirect value"],
    ['a signal that is none', 'http://a.test', { signal: {} }, 'AbortSignal'],
    ['an unknown mode', 'http://a.test', { mode: 'x' }, "'x' is not a valid mode value"],
    ['mode navigate', 'http://a.test', { mode: 'navigate' }, "invalid request mode 'navigate'"],
    ['unknown credentials', 'http://a.test', { credentials: 'x' }, "'x' is not a valid credentials value"],
    ['an unknown cache mode', 'http://a.test', { cache: 'x' }, "'x' is not a valid cache value"],
    ['only-if-cached across origins', 'http://a.test', { cache: 'only-if-cached' }, 'same-origin'],
    ['an unknown referrer policy', 'http://a.test', { referrerPolicy: 'x' }, "'x' is not a valid referrerPolicy"],
    ['a referrer that is no URL', 'http://a.test', { referrer: 'http://' }, 'Referrer "http://" is not a valid URL'],
    ['another duplex', 'http://a.test', { duplex: 'full' }, "'full' is not a valid duplex value"],
    ['an unknown priority', 'http://a.test', { priority: 'x' }, "'x' is not a valid priority value"],
    ['a window', 'http://a.test', { window: {} }, "'window' option must be null"],
  ])('%s', async (_name, input, init, message) => {
    const error = await fetch(input, init as unknown as FetchInit).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toContain(message)
  })

  test.each([
    ['another scheme', 'ftp://a.test/', 'unknown scheme ftp:'],
    ['a blocked port', 'http://a.test:25/', 'bad port 25 of a.test'],
  ])('%s never reaches the network', async (_name, input, message) => {
    await expect(fetch(input)).rejects.toMatchObject({
      name: 'TypeError',
      message: 'fetch failed',
      cause: { message: expect.stringContaining(message) as string },
    })
  })

  test.each([
    ['windowBytes', 0],
    ['headersTimeout', -1],
    ['timeout', 'x'],
    ['maxResponseSize', -2],
    ['dispatcher', {}],
    ['dispatcher', 'x'],
    ['streams', {}],
  ])('an invalid %s (%o) is refused by name', async (name, value) => {
    const error = await fetch('http://a.test', { [name]: value } as FetchInit).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(errors.InvalidArgumentError)
    expect((error as Error).message).toContain(`invalid ${name}`)
  })
})

describe('headers', () => {
  test.each([
    ['a record', { 'X-A': '1', 'x-b': ' 2 ' }],
    [
      'pairs',
      [
        ['X-A', '1'],
        ['x-b', '2'],
      ],
    ],
    ['Headers', new Headers({ 'X-A': '1', 'x-b': '2' })],
    ['a Map', new Map(Object.entries({ 'X-A': '1', 'x-b': '2' }))],
  ])('%s', async (_name, headers) => {
    await using server = await startEcho()
    await using agent = new Agent()
    const response = await fetch(server.origin, { headers: headers as Headers, dispatcher: agent })
    expect(((await response.json()) as Echo).headers).toMatchObject({ 'x-a': '1', 'x-b': '2' })
  })

  test('names that differ in case alone are one header, and latin1 values pass', async () => {
    await using server = await startEcho()
    await using agent = new Agent()
    const headers = { 'X-A': '1', 'x-a': '2', 'x-name': 'caf\u00e9' }
    const echo = (await (await fetch(server.origin, { headers, dispatcher: agent })).json()) as Echo
    expect(echo.headers).toMatchObject({ 'x-a': '1, 2', 'x-name': 'caf\u00e9' })
  })
})

describe('a Request', () => {
  test("gives its URL, method, headers and body, and init's members stand before them", async () => {
    await using server = await startServer(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += String(chunk)
      response.end(`${request.method} ${request.url} ${String(request.headers['x-a'])} ${body}`)
    })
    await using agent = new Agent()
    const make = () => new Request(`${server.origin}/r`, { method: 'PUT', headers: { 'x-a': '1' }, body: 'hello' })
    expect(await (await fetch(make(), { dispatcher: agent })).text()).toBe('PUT /r 1 hello')
    const init = { method: 'POST', headers: { 'x-a': '2' }, body: 'other', dispatcher: agent }
    expect(await (await fetch(make(), init)).text()).toBe('POST /r 2 other')
  })

  test('whose body was used is a TypeError', async () => {
    const request = new Request('http://a.test', { method: 'POST', body: 'x' })
    await request.text()
    await expect(fetch(request)).rejects.toThrow('already been used')
    const locked = new Request('http://a.test', { method: 'POST', body: 'x' })
    locked.body!.getReader()
    await expect(fetch(locked)).rejects.toThrow('already been used')
  })

  test('is aborted by its own signal', async () => {
    await using server = await startServer(() => {})
    await using agent = new Agent()
    const controller = new AbortController()
    const fetching = fetch(new Request(server.origin, { signal: controller.signal }), { dispatcher: agent })
    controller.abort(new Error('enough'))
    await expect(fetching).rejects.toThrow('enough')
  })
})

test('methods that WHATWG normalizes are upper-cased, others sent as they are', async () => {
  const sent: string[] = []
  await using server = await startTcpServer((socket) => {
    socket.on('data', (request) => {
      sent.push(request.toString().split(' ')[0]!)
      socket.write('HTTP/1.1 204 No Content\r\n\r\n')
    })
  })
  await using agent = new Agent()
  for (const method of ['get', 'Delete', 'OPTIONS', 'patch', 'PURGE']) {
    await fetch(server.origin, { method, dispatcher: agent })
  }
  expect(sent).toEqual(['GET', 'DELETE', 'OPTIONS', 'patch', 'PURGE'])
})

describe('redirect', () => {
  const startRedirect = () =>
    startServer((_request, response) => response.writeHead(302, { location: '/elsewhere' }).end('moved'))

  test('manual gives the 3xx as it is', async () => {
    await using server = await startRedirect()
    await using agent = new Agent()
    const response = await fetch(server.origin, { redirect: 'manual', dispatcher: agent })
    expect([response.status, response.headers.get('location'), response.redirected]).toEqual([302, '/elsewhere', false])
    expect(await response.text()).toBe('moved')
  })

  test.each([
    ['an agent', () => new Agent()],
    ['a foreign dispatcher', () => new UndiciAgent()],
  ])('error rejects it, over %s', async (_name, makeDispatcher) => {
    await using server = await startRedirect()
    const dispatcher = makeDispatcher()
    await expect(fetch(server.origin, { redirect: 'error', dispatcher })).rejects.toMatchObject({
      message: 'fetch failed',
      cause: { message: expect.stringContaining('unexpected redirect') as string },
    })
    await dispatcher.destroy()
  })
})

test('an answer that is not HTTP, and one without a body length, are told apart', async () => {
  await using server = await startTcpServer((socket) => {
    socket.once('data', (request) => {
      if (request.toString().startsWith('GET /close')) socket.end('HTTP/1.0 200 OK\r\n\r\nuntil the end')
      else socket.end('SSH-2.0-OpenSSH\r\n')
    })
  })
  await using agent = new Agent()
  expect(await (await fetch(`${server.origin}/close`, { dispatcher: agent })).text()).toBe('until the end')
  await expect(fetch(server.origin, { dispatcher: agent })).rejects.toThrow('fetch failed')
})

test('the global agent serves fetch, and can be replaced by any dispatcher', async () => {
  await using server = await startEcho()
  const first = getGlobalAgent()
  expect(first).toBeInstanceOf(Agent)
  expect(getGlobalAgent()).toBe(first)
  expect((await fetch(server.origin)).status).toBe(200)
  await using agent = new Agent()
  const paths: string[] = []
  setGlobalAgent({
    dispatch(options, handler) {
      paths.push(options.path)
      return agent.dispatch(options, handler)
    },
  })
  try {
    expect((await fetch(`${server.origin}/replaced`)).status).toBe(200)
    expect(paths).toEqual(['/replaced'])
    expect(() => setGlobalAgent({} as Agent)).toThrow(errors.InvalidArgumentError)
    expect(() => setGlobalAgent(null as never)).toThrow(errors.InvalidArgumentError)
  } finally {
    setGlobalAgent(first)
    await (first as Agent).destroy()
  }
})
