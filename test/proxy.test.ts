import { once } from 'node:events'
import { createSecureServer, createServer as createH2cServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { Agent, errors, fetch } from '../lib/index.ts'
import type { AgentOptions, ProxyOption } from '../lib/index.ts'
import { rejection } from './support/bodies.ts'
import { certificate, certificateAuthority } from './support/certificates.ts'
import { errorOf } from './support/dispatch.ts'
import { runProgram } from './support/programs.ts'
import { startProxy, startSocksProxy } from './support/proxies.ts'
import { Recorder, send } from './support/recorder.ts'
import { closedPort, startServer, startTlsServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'

const connect = { ca: certificateAuthority }
const BASIC = `Basic ${Buffer.from('me:s x').toString('base64')}`

const startPlain = (): Promise<RunningServer> =>
  startServer((request, response) => response.end(JSON.stringify({ url: request.url, headers: request.headers })))
const startSecure = (): Promise<RunningServer> => startTlsServer((_request, response) => response.end('"safe"'))

async function ask(origin: string, options: AgentOptions): Promise<any> {
  await using agent = new Agent({ connect, ...options })
  return await (await fetch(origin, { dispatcher: agent })).json()
}

test('an http request goes to the proxy as a whole URL, and the origin sees nothing of the proxy', async () => {
  await using server = await startPlain()
  await using proxy = await startProxy()
  const seen = await ask(`${server.origin}/a?b=c`, { proxy: { uri: proxy.url, headers: { 'x-proxy': '1' } } })
  expect(proxy.requests).toMatchObject([
    { method: 'GET', target: `${server.origin}/a?b=c`, headers: { 'x-proxy': '1', host: `127.0.0.1:${server.port}` } },
  ])
  expect(seen.url).toBe('/a?b=c')
})

test('an https request goes through CONNECT, host and port named, and TLS is with the origin', async () => {
  await using server = await startSecure()
  await using proxy = await startProxy()
  expect(await ask(server.origin, { proxy: proxy.url })).toBe('safe')
  expect(proxy.requests).toMatchObject([
    { method: 'CONNECT', target: `localhost:${server.port}`, headers: { host: `localhost:${server.port}` } },
  ])
  expect(proxy.requests[0]!.headers).not.toHaveProperty('proxy-authorization')
})

test('requests share the connections that lead through a proxy, and those of another proxy do not', async () => {
  await using server = await startSecure()
  await using proxy = await startProxy()
  await using agent = new Agent({ connect, proxy: proxy.url })
  for (let index = 0; index < 3; index++) await (await fetch(server.origin, { dispatcher: agent })).text()
  expect([proxy.requests.length, server.accepted]).toEqual([1, 1])
  await ask(server.origin, { proxy: false })
  expect([proxy.requests.length, server.accepted]).toEqual([1, 2])
})

test('a proxy of https is spoken to over TLS', async () => {
  await using plain = await startPlain()
  await using secure = await startSecure()
  await using proxy = await startProxy({ isSecure: true })
  expect((await ask(plain.origin, { proxy: proxy.url })).url).toBe('/')
  expect(await ask(secure.origin, { proxy: proxy.url })).toBe('safe')
  expect(proxy.requests.map(({ method }) => method)).toEqual(['GET', 'CONNECT'])
  const error = await rejection(ask(plain.origin, { connect: {}, proxy: proxy.url }))
  expect(error.cause.code).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
})

test.each([
  ['in its URL', (url: string): ProxyOption => url.replace('//', '//me:s%20x@')],
  ['as a URL object', (url: string): ProxyOption => new URL(url.replace('//', '//me:s%20x@'))],
  ['as a token', (uri: string): ProxyOption => ({ uri, token: BASIC })],
  ['as auth', (url: string): ProxyOption => ({ url, auth: BASIC.slice(6) })],
])('a proxy is told who asks, %s', async (_name, optionOf) => {
  await using plain = await startPlain()
  await using secure = await startSecure()
  await using proxy = await startProxy({ authorization: BASIC })
  const seen = await ask(plain.origin, { proxy: optionOf(proxy.url) })
  expect(seen.headers).not.toHaveProperty('proxy-authorization')
  expect(await ask(secure.origin, { proxy: optionOf(proxy.url) })).toBe('safe')
})

test('a refused CONNECT says the status of the proxy', async () => {
  await using secure = await startSecure()
  await using proxy = await startProxy({ authorization: 'x' })
  const { cause } = await rejection(ask(secure.origin, { proxy: proxy.url }))
  expect(cause).toBeInstanceOf(errors.RequestAbortedError)
  expect(cause).toMatchObject({ code: 'UND_ERR_ABORTED', statusCode: 407, phase: 'connect' })
  expect(cause.message).toContain('Proxy response (407) !== 200 when HTTP Tunneling')
  expect(secure.accepted).toBe(0)

  await using closed = await startProxy({ refusesWith: 503 })
  await using agent = new Agent({ connect, proxy: closed.url })
  const recorder = new Recorder()
  await send(agent, secure.origin, recorder).ended
  expect(recorder.error).toMatchObject({ message: 'Proxy response (503) !== 200 when HTTP Tunneling', statusCode: 503 })
})

test("a proxy's 407 to an http request is a response", async () => {
  await using plain = await startPlain()
  await using proxy = await startProxy({ authorization: 'x' })
  await using agent = new Agent({ proxy: proxy.url })
  const response = await fetch(plain.origin, { dispatcher: agent })
  expect([response.status, await response.text()]).toEqual([407, 'who are you'])
})

test('a proxy that is not there is named by its address', async () => {
  const port = await closedPort()
  const { cause } = await rejection(ask('https://localhost:8443', { proxy: `http://127.0.0.1:${port}` }))
  expect(cause).toMatchObject({ code: 'ECONNREFUSED', address: '127.0.0.1', port })
})

test('HTTP/2 is negotiated through a proxy', async () => {
  const server = createSecureServer({ ...certificate('signed'), allowHTTP1: true }, (request, response) =>
    response.end(JSON.stringify(request.httpVersion)),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  await using proxy = await startProxy()
  const { port } = server.address() as AddressInfo
  expect(await ask(`https://localhost:${port}`, { proxy: proxy.url })).toBe('2.0')
  server.close()
})

test('HTTP/2 without TLS goes through a tunnel, where the origin speaks first', async () => {
  const server = createH2cServer((request, response) => response.end(JSON.stringify(request.httpVersion)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  await using proxy = await startProxy()
  const { port } = server.address() as AddressInfo
  expect(await ask(`http://127.0.0.1:${port}`, { proxy: proxy.url, useH2c: true })).toBe('2.0')
  expect(proxy.requests).toMatchObject([{ method: 'CONNECT' }])
  server.close()
})

test('every hop of a redirect has the proxy of its own origin', async () => {
  await using secure = await startSecure()
  await using plain = await startServer((_request, response) =>
    response.writeHead(307, { location: `${secure.origin}/next` }).end(),
  )
  await using proxy = await startProxy({ authorization: BASIC })
  expect(await ask(plain.origin, { proxy: { uri: proxy.url, token: BASIC } })).toBe('safe')
  expect(proxy.requests.map(({ method, target }) => `${method} ${target}`)).toEqual([
    `GET ${plain.origin}/`,
    `CONNECT localhost:${secure.port}`,
  ])
})

describe('SOCKS', () => {
  test('socks5h gives the proxy the name, socks5 the address', async () => {
    await using server = await startPlain()
    await using proxy = await startSocksProxy()
    const url = (scheme: string): string => proxy.url.replace('socks5h', scheme)
    const resolve = { 'name.test': '127.0.0.1' }
    for (const scheme of ['socks5h', 'socks', 'socks5']) {
      await ask(`http://name.test:${server.port}`, { proxy: url(scheme), resolve })
    }
    expect(proxy.requests.map(({ target }) => target.split(':')[0])).toEqual(['name.test', 'name.test', '127.0.0.1'])
  })

  test('TLS is with the origin', async () => {
    await using server = await startSecure()
    await using proxy = await startSocksProxy()
    expect(await ask(server.origin, { proxy: proxy.url })).toBe('safe')
  })

  test('user and password are told', async () => {
    await using server = await startPlain()
    await using proxy = await startSocksProxy({ user: 'me', password: 's x' })
    const url = (who: string): string => proxy.url.replace('//', `//${who}@`)
    expect((await ask(server.origin, { proxy: url('me:s%20x') })).url).toBe('/')
    const wrong = await rejection(ask(server.origin, { proxy: url('me:other') }))
    expect(wrong.cause).toMatchObject({ name: 'Socks5ProxyError', code: 'UND_ERR_SOCKS5_AUTH_FAILED' })
    const nobody = await rejection(ask(server.origin, { proxy: proxy.url }))
    expect(nobody.cause.code).toBe('UND_ERR_SOCKS5_AUTH_REJECTED')
  })

  test('a refusal has the number of the reply in its code', async () => {
    await using server = await startPlain()
    await using proxy = await startSocksProxy({ reply: 2 })
    const { cause } = await rejection(ask(server.origin, { proxy: proxy.url }))
    expect(cause).toBeInstanceOf(errors.Socks5ProxyError)
    expect(cause.code).toBe('UND_ERR_SOCKS5_REPLY_2')
  })
})

describe.concurrent('the environment', () => {
  const program = (origin: string, init = '{}'): string =>
    `console.log(await (await fetch(${JSON.stringify(origin)}, ${init})).text())`

  test.each([
    ['HTTP_PROXY', 1],
    ['http_proxy', 1],
    ['ALL_PROXY', 1],
    ['all_proxy', 1],
    ['HTTPS_PROXY', 0],
  ])('%s serves %i of a fetch over http', async (name, count) => {
    await using server = await startServer((_request, response) => response.end('ok'))
    await using proxy = await startProxy()
    expect(await runProgram(program(server.origin), { [name]: proxy.url })).toBe('ok')
    expect(proxy.requests).toHaveLength(count)
  })

  test('HTTPS_PROXY serves a fetch over https', async () => {
    await using server = await startTlsServer((_request, response) => response.end('safe'))
    await using proxy = await startProxy()
    const NODE_EXTRA_CA_CERTS = new URL('fixtures/tls/ca.crt', import.meta.url).pathname
    expect(await runProgram(program(server.origin), { HTTPS_PROXY: proxy.url, NODE_EXTRA_CA_CERTS })).toBe('safe')
    expect(proxy.requests).toMatchObject([{ method: 'CONNECT' }])
  })

  test.each(['127.0.0.1', '127.0.0.0/8', '*', 'other.test, 127.0.0.1'])(
    'NO_PROXY=%s leaves it out',
    async (NO_PROXY) => {
      await using server = await startServer((_request, response) => response.end('ok'))
      await using proxy = await startProxy()
      expect(await runProgram(program(server.origin), { HTTP_PROXY: proxy.url, NO_PROXY })).toBe('ok')
      expect(proxy.requests).toHaveLength(0)
    },
  )

  test.each<[string, string, boolean]>([
    ['shop.test', 'shop.test', true],
    ['.shop.test', 'www.shop.test', true],
    ['shop.test', 'www.shop.test', true],
    ['shop.test', 'workshop.test', false],
    ['10.0.0.0/8', '127.0.0.1', false],
    ['::1', '[::1]', true],
    ['::/64', '[::1]', true],
    ['*.shop.test', 'www.shop.test', true],
    ['other.test shop.test', 'shop.test', true],
    ['shop.test:PORT', 'www.shop.test', true],
    ['shop.test:1', 'www.shop.test', false],
    ['[::1]:PORT', '[::1]', true],
    ['*:1', 'shop.test', false],
  ])('NO_PROXY=%s for %s: left out is %s', async (list, host, isLeftOut) => {
    await using server = await startServer((_request, response) => response.end('ok'), { host: '::' })
    const NO_PROXY = list.replace('PORT', `${server.port}`)
    await using proxy = await startProxy()
    const agent = `{ dispatcher: new Agent({ proxy: 'env', resolve: { 'shop.test': '127.0.0.1', 'www.shop.test': '127.0.0.1' } }) }`
    const code = program(`http://${host}:${server.port}`, agent)
    expect(await runProgram(code, { HTTP_PROXY: proxy.url, NO_PROXY })).toBe('ok')
    expect(proxy.requests).toHaveLength(isLeftOut ? 0 : 1)
  })

  test('an agent heeds it only when it is told to', async () => {
    await using server = await startServer((_request, response) => response.end('ok'))
    await using proxy = await startProxy()
    const env = { HTTP_PROXY: proxy.url }
    for (const [options, count] of [
      ['{}', 0],
      ['{ proxy: false }', 0],
      [`{ proxy: 'env' }`, 1],
      [`{ proxy: 'system' }`, 2],
    ] as const) {
      await runProgram(program(server.origin, `{ dispatcher: new Agent(${options}) }`), env)
      expect(proxy.requests).toHaveLength(count)
    }
  })

  test('under CGI HTTP_PROXY is what a client sent, and is not believed', async () => {
    await using server = await startServer((_request, response) => response.end('ok'))
    await using proxy = await startProxy()
    await runProgram(program(server.origin), { HTTP_PROXY: proxy.url, REQUEST_METHOD: 'GET' })
    expect(proxy.requests).toHaveLength(0)
  })
})

test.each([
  ['nonsense', 'invalid proxy: it is no URL and no host:port'],
  ['ftp://a.test', 'invalid proxy: no proxy speaks ftp:'],
  [5, 'invalid proxy'],
  [{ uri: 5 }, 'invalid proxy.uri'],
  [{}, 'Proxy uri is mandatory'],
  [{ uri: 'http://a.test', tunnel: true }, 'unknown option proxy.tunnel'],
  [{ uri: 'http://a.test', token: 'a', auth: 'b' }, 'proxy.auth cannot be used in combination with proxy.token'],
  [{ uri: 'http://a.test', token: 'a\r\nb: c' }, 'invalid proxy.token'],
  [{ uri: 'http://a.test', headers: { 'a b': 'c' } }, 'invalid proxy.headers: a b'],
])('a proxy of %o is refused when the agent is made', (proxy, message) => {
  const error = errorOf(() => new Agent({ proxy } as AgentOptions))
  expect(error).toBeInstanceOf(errors.InvalidArgumentError)
  expect(error.message).toBe(message)
})

test('what cannot go together with a proxy is refused', () => {
  const proxy = 'http://a.test'
  expect(() => new Agent({ proxy, transport: 'reqwest' })).toThrow(
    "option proxy is not supported by transport 'reqwest'",
  )
  expect(() => new Agent({ proxy, socketPath: '/x' })).toThrow('socketPath and proxy exclude each other')
})
