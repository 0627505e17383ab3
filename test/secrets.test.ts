/** Nothing that can be printed of sluice tells a password, a token, a key or a header that it was given. */
import { describe, expect, test } from 'vitest'
import { EnvHttpProxyAgent } from 'undici'
import { Agent, errors, fetch } from '../lib/index.ts'
import type { AgentOptions, FetchInit } from '../lib/index.ts'
import { rejection } from './support/bodies.ts'
import { certificate, certificateAuthority } from './support/certificates.ts'
import { until } from './support/deadline.ts'
import { errorOf } from './support/dispatch.ts'
import { startProxy } from './support/proxies.ts'
import { Recorder, send } from './support/recorder.ts'
import { findSecrets, SECRET } from './support/secrets.ts'
import { closedPort, startServer, startTcpServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'

const client = certificate('client')
const HEADERS = {
  authorization: `Bearer ${SECRET}`,
  cookie: `session=${SECRET}`,
  'proxy-authorization': `Basic ${SECRET}`,
  'x-api-key': SECRET,
}

const expectNone = (value: unknown): void => expect(findSecrets(value)).toEqual([])

test('the search finds what is planted, wherever it is', () => {
  for (const value of [
    new Error('x', { cause: new Error(SECRET) }),
    Object.defineProperty(new Error('x'), 'hidden', { value: { deep: [SECRET] } }),
    Object.assign(new Error('x'), { [Symbol('s')]: Buffer.from(`me:${SECRET}`) }),
    { a: { b: { c: { d: { e: client.key } } } } },
    { basic: `Basic ${Buffer.from(`me:${SECRET}`).toString('base64')}` },
    new Map([[Symbol('k'), new URL(`http://me:${SECRET}@a.test`)]]),
    new EnvHttpProxyAgent({ httpProxy: `http://me:${SECRET}@a.test` }),
  ]) {
    expect(findSecrets(value)).not.toEqual([])
  }
})

describe('an agent shows where its proxy is, and which options it has', () => {
  const tls = { ca: certificateAuthority, cert: client.cert, key: client.key, passphrase: SECRET }
  test.each<[string, AgentOptions, string]>([
    ['user and password', { proxy: `http://me:${SECRET}@proxy.test:81` }, 'http://proxy.test:81'],
    ['user and password, as a URL', { proxy: new URL(`https://me:${SECRET}@proxy.test:81/`) }, 'https://proxy.test:81'],
    ['user and password, without a scheme', { proxy: `me:${SECRET}@proxy.test:81` }, 'http://proxy.test:81'],
    ['a proxy of SOCKS', { proxy: `socks5://me:${SECRET}@proxy.test:81` }, 'socks5://proxy.test:81'],
    ['a token', { proxy: { uri: 'http://proxy.test:81', token: `Bearer ${SECRET}` } }, 'http://proxy.test:81'],
    ['auth', { proxy: { uri: 'http://proxy.test:81', auth: btoa(`me:${SECRET}`) } }, 'http://proxy.test:81'],
    ['headers', { proxy: { url: 'http://proxy.test:81', headers: { 'x-key': SECRET } } }, 'http://proxy.test:81'],
    ['a key', { connect: tls }, 'connect.key'],
    ['a key in tls', { tls: { ...tls, key: { pem: client.key, passphrase: SECRET } } }, 'connect.passphrase'],
    ['both, on reqwest', { connect: tls, transport: 'reqwest' }, 'reqwest'],
  ])('%s', async (_what, options, shown) => {
    await using agent = new Agent(options)
    for (const value of [agent, agent.compose((dispatch) => dispatch), agent.stats]) expectNone(value)
    const { inspect } = await import('node:util')
    expect(inspect(agent)).toContain(shown)
    expect(JSON.stringify(agent)).toContain(shown)
    // Not even where nobody asks objects how they want to be shown.
    expect(inspect(agent, { customInspect: false, depth: Infinity, showHidden: true })).not.toContain(SECRET)
    expect(inspect(agent, { customInspect: false, depth: Infinity, showHidden: true })).not.toContain('PRIVATE KEY')
  })

  test('also of the environment', async () => {
    process.env['http_proxy'] = `http://me:${SECRET}@proxy.test:81`
    try {
      await using agent = new Agent({ proxy: 'env' })
      expectNone(agent)
    } finally {
      delete process.env['http_proxy']
    }
  })
})

describe('an option that is refused is named and not repeated', () => {
  const badKey = client.key.replace(/\n.{20}/, `\n${SECRET}`)
  test.each<[string, unknown]>([
    ['a proxy that is no URL', { proxy: `http://me:${SECRET}@bad host` }],
    ['a proxy with a bad port', { proxy: `http://me:${SECRET}@h.test:99999` }],
    ['a proxy whose password ends it', { proxy: `http://me:${SECRET}/x@h.test` }],
    ['a proxy with a control character', { proxy: `http://me:${SECRET}\n@h.test` }],
    ['an unknown scheme', { proxy: `gopher://me:${SECRET}@h.test` }],
    ['a bad uri', { proxy: { uri: `http://me:${SECRET}@bad host` } }],
    ['a token', { proxy: { uri: 'http://h.test', token: `${SECRET}\n` } }],
    ['auth', { proxy: { uri: 'http://h.test', auth: `${SECRET}\n` } }],
    ['both of them', { proxy: { uri: 'http://h.test', auth: SECRET, token: SECRET } }],
    ['a header of the proxy', { proxy: { uri: 'http://h.test', headers: { x: `${SECRET}\n` } } }],
    ['a key', { connect: { cert: client.cert, key: badKey } }],
    ['the key of another certificate', { connect: { cert: certificate('signed').cert, key: client.key } }],
    ['a key in place of the certificate', { connect: { cert: client.key, key: client.key } }],
    ['a passphrase that is none', { connect: { cert: client.cert, key: { pem: client.key, passphrase: { SECRET } } } }],
    ['a passphrase alone', { connect: { passphrase: SECRET, key: client.key } }],
    ['a key in a ca', { connect: { ca: client.key } }],
  ])('%s', (_what, options) => {
    const error = errorOf(() => new Agent(options as AgentOptions))
    expect(error).toBeInstanceOf(errors.InvalidArgumentError)
    expectNone(error)
    expect(error.message).toMatch(/proxy|Proxy|connect\./)
  })
})

test('a certificate that the core refuses is not repeated', async () => {
  const ca = `-----BEGIN ${SECRET}\n-----BEGIN CERTIFICATE-----\n`
  await using agent = new Agent({ connect: { ca } })
  await using server = await startTcpServer(() => {})
  const error = await rejection(fetch(`https://127.0.0.1:${server.port}`, { dispatcher: agent }))
  expectNone(error)
  expect(error.cause.message).toContain('connect.ca')
})

describe('the errors of a request', () => {
  /** Ends every connection when it was spoken to. */
  const startResetter = (): Promise<RunningServer> =>
    startTcpServer((socket) => socket.once('data', () => socket.resetAndDestroy()))

  const transports = ['wire', 'reqwest'] as const
  test.each(transports)('tell nothing of its headers, path and query, on %s', async (transport) => {
    await using server = await startResetter()
    await using agent = new Agent({ transport })
    const closed = await closedPort()
    for (const url of [
      `${server.origin}/${SECRET}?token=${SECRET}`,
      `http://127.0.0.1:${closed}/${SECRET}?q=${SECRET}`,
    ]) {
      expectNone(await rejection(fetch(url, { headers: HEADERS, dispatcher: agent })))
      const recorder = new Recorder()
      const { origin, pathname, search } = new URL(url)
      await send(agent, origin, recorder, { path: pathname + search, headers: HEADERS }).ended
      expectNone(recorder.error)
    }
  })

  test.each<[string, string, FetchInit]>([
    ['a URL with credentials', `http://me:${SECRET}@127.0.0.1:1/`, {}],
    ['no URL', `http://me:${SECRET}@bad host:99999/${SECRET}`, {}],
    ['no URL behind a blank', ` http://me:${SECRET}@h:99999/${SECRET}`, {}],
    ['no URL behind line breaks', `\r\nht\ntp://me:${SECRET}@h:99999/${SECRET}`, {}],
    ['no URL, which ends in its password', `http://me:${SECRET}`, {}],
    ['no URL, with a query', `/x?${SECRET}#${SECRET}`, {}],
    ['another scheme', `javascript:${SECRET}`, {}],
    ['another scheme with a host', `ftp://h.test/${SECRET}`, {}],
    ['a blocked port', `http://h.test:25/${SECRET}`, {}],
    ['a faulty data: URL', `data:text/plain;base64,${SECRET}!`, {}],
    ['a header beyond latin1', 'http://h.test', { headers: { authorization: `${SECRET}\u0100` } }],
    ['a header with a line break', 'http://h.test', { headers: { authorization: `${SECRET}\nx` } }],
    ['a referrer', 'http://h.test', { referrer: `http://me:${SECRET}@bad host` }],
  ])('for %s', async (_what, url, init) => {
    await using agent = new Agent()
    for (const dispatcher of [agent, agent.compose((dispatch) => dispatch)]) {
      const error = await rejection(fetch(url, { ...init, dispatcher }))
      expect(error).toBeInstanceOf(TypeError)
      expectNone(error)
    }
  })

  test.each([
    ['an origin with credentials', { origin: `http://me:${SECRET}@127.0.0.1:1` }],
    ['no origin', { origin: `http://me:${SECRET}@bad host` }],
    ['an origin with a path', { origin: `http://h.test/${SECRET}` }],
    ['a faulty path', { path: `/${SECRET} x` }],
    ['a faulty header', { headers: { authorization: `${SECRET}\n` } }],
    ['a faulty host', { headers: { host: [SECRET] } }],
  ])('of a dispatch with %s', async (_what, options) => {
    await using agent = new Agent()
    const recorder = new Recorder()
    agent.dispatch({ origin: 'http://127.0.0.1:1', path: '/', method: 'GET', ...options } as never, recorder.handler)
    await recorder.ended
    expectNone(recorder.error)
  })

  test.each([
    `http://me:${SECRET}@127.0.0.1/`,
    `ftp://me:${SECRET}@127.0.0.1/${SECRET}`,
    `http://me:${SECRET}@[bad/`,
    `javascript:${SECRET}`,
    `http://me:${SECRET}@127.0.0.1:25/`,
    `http://127.0.0.1:25/${SECRET}?${SECRET}`,
    `http://127.0.0.1:99999/${SECRET}`,
    `//me:${SECRET}@/`,
  ])('of a redirect to %s', async (location) => {
    await using server = await startServer((_request, response) => {
      response.writeHead(302, { location }).end()
    })
    await using agent = new Agent()
    for (const dispatcher of [agent, agent.compose((dispatch) => dispatch)]) {
      for (const redirect of ['follow', 'error'] as const) {
        const error = await rejection(fetch(`${server.origin}/?${SECRET}`, { dispatcher, redirect, headers: HEADERS }))
        expectNone(error)
        expect(error.cause.message).not.toBe('')
      }
    }
  })

  test.each<[string, (ports: { reset: number; closed: number; refusing: number }) => string]>([
    ['that resets', ({ reset }) => `http://me:${SECRET}@127.0.0.1:${reset}`],
    ['of SOCKS that resets', ({ reset }) => `socks5://me:${SECRET}@127.0.0.1:${reset}`],
    ['that is not there', ({ closed }) => `http://me:${SECRET}@127.0.0.1:${closed}`],
    ['of SOCKS that is not there', ({ closed }) => `socks4a://${SECRET}@127.0.0.1:${closed}`],
    ['of TLS that speaks none', ({ reset }) => `https://me:${SECRET}@127.0.0.1:${reset}`],
    ['that refuses', ({ refusing }) => `http://me:${SECRET}@127.0.0.1:${refusing}`],
    ['whose name is unknown', () => `http://me:${SECRET}@nowhere.invalid:1`],
  ])('of a proxy %s', async (_what, urlOf) => {
    await using server = await startResetter()
    await using refusing = await startProxy({ refusesWith: 407 })
    const proxy = urlOf({ reset: server.port, closed: await closedPort(), refusing: refusing.port })
    await using agent = new Agent({ proxy })
    for (const origin of ['http://origin.test', 'https://origin.test']) {
      const failure = await fetch(origin, { dispatcher: agent, headers: HEADERS }).catch((error: Error) => error)
      expectNone(failure)
    }
  })
})

test('what a handler, a listener and a reader are given tells nothing of the request', async () => {
  await using server = await startServer((_request, response) => response.end('ok'))
  await using agent = new Agent({ proxy: false, connections: 1 })
  const given: unknown[] = []
  for (const event of ['connect', 'disconnect', 'connectionError', 'drain'] as const) {
    agent.on(event, (...args: unknown[]) => given.push(args))
  }
  const response = await fetch(server.origin, { dispatcher: agent, headers: HEADERS })
  for (const value of [response, response.body, response.headers, response.trailers, response.clone()])
    expectNone(value)
  await response.text()
  const hooks = { start: look, head: look, data: look, end: look }
  const leaks: string[] = []
  function look(): void {
    for (const value of [recorder.controller, agent, agent.stats]) leaks.push(...findSecrets(value))
  }
  const recorder = new Recorder('current', hooks)
  const sent = send(agent, server.origin, recorder, { headers: HEADERS })
  look()
  await sent.ended
  expect(recorder.calls.at(-1)).toBe('end')
  look()
  expect(leaks).toEqual([])
  await agent.close()
  await until(() => given.length >= 2)
  for (const args of given) expectNone(args)
})

test('an interceptor that prints the handler of a fetch sees no header', async () => {
  await using server = await startServer((_request, response) => response.end('ok'))
  await using agent = new Agent()
  const composed = agent.compose((dispatch) => (options, handler) => {
    expectNone(handler)
    return dispatch(options, handler)
  })
  expect(await (await fetch(server.origin, { dispatcher: composed, headers: HEADERS })).text()).toBe('ok')
})
