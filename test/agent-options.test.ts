import { createServer as createH2cServer, createSecureServer } from 'node:http2'
import type { Http2Server } from 'node:http2'
import { createServer } from 'node:http'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { Agent as UndiciAgent } from 'undici'
import { Agent, errors, fetch } from '../lib/index.ts'
import type { AgentOptions } from '../lib/index.ts'
import { certificate, certificateAuthority } from './support/certificates.ts'
import { until } from './support/deadline.ts'
import { base, errorOf, facts, fullHandler, undiciError } from './support/dispatch.ts'
import { dispatchPaths } from './support/dispatch-paths.ts'
import { Recorder, send } from './support/recorder.ts'
import { startServer, startTcpServer, startTlsServer } from './support/servers.ts'

test.each([
  ['unknown', { interceptors: 1 }, 'unknown option interceptors'],
  ['misspelt', { headerTimeout: 1 }, 'unknown option headerTimeout'],
  ['inherited', { toString: 1 }, 'unknown option toString'],
  ['unknown inside connect', { connect: { lookUp: 1 } }, 'unknown option connect.lookUp'],
  ['unknown inside h2Options', { h2Options: { settings: { x: 1 } } }, 'unknown option h2Options.settings.x'],
  ['negative', { timeout: -1 }, 'invalid timeout'],
  ['no number', { connectTimeout: '5' }, 'invalid connectTimeout'],
  ['fractional bytes', { windowBytes: 0.5 }, 'invalid windowBytes'],
  ['too large', { maxHeaderSize: 1024 * 1024 * 1024 }, 'invalid maxHeaderSize'],
  ['no boolean', { strictContentLength: 1 }, 'invalid strictContentLength'],
  ['no streams', { streams: { ReadableStream: 1 } }, 'invalid streams'],
  [
    'beyond reqwest',
    { transport: 'reqwest', connections: 1 },
    "option connections is not supported by transport 'reqwest'",
  ],
  [
    'beyond reqwest inside connect',
    { transport: 'reqwest', connect: { servername: 'a' } },
    "option connect.servername is not supported by transport 'reqwest'",
  ],
])('an option that is %s is refused by name', (_name, options, message) => {
  expect(() => new Agent(options as AgentOptions)).toThrow(errors.InvalidArgumentError)
  expect(() => new Agent(options as AgentOptions)).toThrow(message)
})

test.each([
  ['connect', { connect: () => {} }, 'option connect is not supported as a function'],
  ['factory', { factory: () => {} }, 'option factory is not supported'],
  ['maxCachedSessions', { maxCachedSessions: 0 }, 'option maxCachedSessions is not supported'],
  ['pfx', { connect: { pfx: 'x' } }, 'option connect.pfx is not supported'],
  [
    'checkServerIdentity',
    { tls: { checkServerIdentity: () => {} } },
    'option tls.checkServerIdentity is not supported',
  ],
])("undici's %s, which no native core can honour, is refused by name", (_name, options, message) => {
  expect(() => new Agent(options as AgentOptions)).toThrow(errors.NotSupportedError)
  expect(() => new Agent(options as AgentOptions)).toThrow(message)
})

test.each([
  { factory: 1 },
  { connect: 1 },
  { connect: 'x' },
  { maxOrigins: 0 },
  { maxOrigins: NaN },
  { maxOrigins: '1' },
])('an agent is refused with the words of undici: %o', (options) => {
  const ours = errorOf(() => new Agent(options as AgentOptions))
  expect(facts(ours)).toEqual(facts(errorOf(() => new UndiciAgent(options as never))))
  expect(ours).toBeInstanceOf(errors.InvalidArgumentError)
})

test.each([
  { headersTimeout: -1 },
  { headersTimeout: 1.5 },
  { bodyTimeout: 'x' },
  { keepAliveTimeout: 0 },
  { keepAliveMaxTimeout: 0 },
  { keepAliveTimeoutThreshold: 'x' },
  { connections: -1 },
  { connections: 'x' },
  { socketPath: 1 },
  { localAddress: 'foo' },
  { maxHeaderSize: 0 },
  { maxResponseSize: -2 },
  { allowH2: 1 },
  { useH2c: 1 },
  { maxConcurrentStreams: 0 },
  { initialWindowSize: 0 },
  { connectionWindowSize: 0.5 },
  { pingInterval: -1 },
  { h2Options: { pingInterval: -1 } },
  { h2Options: { settings: { initialWindowSize: 0 } } },
  { h2Options: { useH2c: 1 } },
  { h2Options: { maxConcurrentStreams: 0 } },
  { maxRequestsPerClient: -1 },
  { keepAlive: true },
  { socketTimeout: 1 },
  { requestTimeout: 1 },
  { idleTimeout: 1 },
  { maxKeepAliveTimeout: 1 },
])('a value is refused at the first dispatch, with the words of undici: %o', async (options) => {
  const theirs = undiciError(base, fullHandler, new UndiciAgent(options as never))
  await using agent = new Agent(options as AgentOptions)
  for (let turn = 0; turn < 2; turn++) {
    const recorder = new Recorder()
    expect(agent.dispatch(base, recorder.handler)).toBe(false)
    expect(recorder.calls).toEqual(['error'])
    expect(facts(recorder.error!)).toEqual(facts(theirs))
  }
  await expect(fetch('http://127.0.0.1:8080', { dispatcher: agent })).rejects.toMatchObject({ cause: facts(theirs) })
  expect(agent.stats).toEqual({})
})

test.each([
  { connections: null },
  { connections: 0 },
  { pipelining: 10 },
  { keepAliveTimeout: null },
  { connect: null },
])('a value that undici takes is taken: %o', async (options) => {
  await using server = await startServer((_request, response) => response.end('x'))
  await using agent = new Agent(options)
  const recorder = new Recorder()
  await send(agent, server.origin, recorder).ended
  expect(recorder.body.toString()).toBe('x')
})

test('pipelining: 0 sends one request per connection and says so', async () => {
  const connections: (string | undefined)[] = []
  await using server = await startServer((request, response) => {
    connections.push(request.headers.connection)
    response.end('x')
  })
  await using agent = new Agent({ pipelining: 0 })
  for (let turn = 0; turn < 3; turn++) await send(agent, server.origin, new Recorder(), { reset: false }).ended
  expect([connections, server.accepted]).toEqual([['close', 'close', 'close'], 3])
})

test('maxRequestsPerClient closes a connection that has served as many', async () => {
  await using server = await startServer((_request, response) => response.end('x'))
  await using agent = new Agent({ maxRequestsPerClient: 2 })
  for (let turn = 0; turn < 4; turn++) await send(agent, server.origin, new Recorder()).ended
  expect(server.accepted).toBe(2)
})

test('socketPath is where every connection goes', async () => {
  const path = join(await mkdtemp(join(tmpdir(), 'sluice-')), 'socket')
  const server = createServer((request, response) => response.end(request.headers.host))
  await new Promise<void>((resolve) => server.listen(path, resolve))
  for (const options of [{ socketPath: path }, { connect: { socketPath: path } }]) {
    await using agent = new Agent(options)
    const recorder = new Recorder()
    await send(agent, 'http://over.test', recorder).ended
    expect(recorder.body.toString()).toBe('over.test')
  }
  await new Promise((resolve) => server.close(resolve))
})

test('localAddress is where connections come from', async () => {
  const froms: (string | undefined)[] = []
  await using server = await startServer((request, response) => {
    froms.push(request.socket.remoteAddress)
    response.end('x')
  })
  await using agent = new Agent({ localAddress: '127.0.0.2' })
  await send(agent, server.origin, new Recorder()).ended
  expect(froms).toEqual(['127.0.0.2'])
})

test("the limits of undici's WebSocket and EventSource are the agent's", () => {
  const theirs = new UndiciAgent() as unknown as Agent
  const ours = new Agent()
  expect(ours.webSocketOptions).toEqual(theirs.webSocketOptions)
  expect(ours.eventSourceOptions).toEqual(theirs.eventSourceOptions)
  const own = new Agent({ webSocket: { maxPayloadSize: 5 }, eventSource: { maxEventSize: 6 } })
  expect([own.webSocketOptions.maxPayloadSize, own.eventSourceOptions.maxEventSize]).toEqual([5, 6])
})

test('options that are absent or undefined have their defaults', async () => {
  await using server = await startServer((_request, response) => response.end('x'))
  for (const options of [undefined, {}, { headersTimeout: undefined, connect: undefined, streams: undefined }]) {
    await using agent = new Agent(options)
    await send(agent, server.origin, new Recorder()).ended
  }
  expect(() => new Agent(null as never)).toThrow(errors.InvalidArgumentError)
})

test('a certificate that is no PEM is refused when the agent is made', () => {
  expect(() => new Agent({ connect: { ca: 'nonsense' } })).toThrow(errors.InvalidArgumentError)
})

describe('TLS', () => {
  test.each([
    ['a string', certificateAuthority],
    ['a Buffer', Buffer.from(certificateAuthority)],
    ['a list', [certificateAuthority, Buffer.from(certificateAuthority)]],
  ])('connect.ca as %s is trusted', async (_name, ca) => {
    await using server = await startTlsServer((_request, response) => response.end('safe'))
    await using agent = new Agent({ connect: { ca } })
    const recorder = new Recorder()
    await send(agent, server.origin, recorder).ended
    expect(recorder.body.toString()).toBe('safe')
    expect(await (await fetch(server.origin, { dispatcher: agent })).text()).toBe('safe')
  })

  test('rejectUnauthorized: false takes any certificate', async () => {
    await using agent = new Agent({ connect: { rejectUnauthorized: false } })
    for (const name of ['self-signed', 'expired', 'wrong-host'] as const) {
      await using server = await startTlsServer((_request, response) => response.end('any'), { certificate: name })
      const recorder = new Recorder()
      await send(agent, server.origin, recorder).ended
      expect(recorder.body.toString()).toBe('any')
    }
  })
})

interface Http2 extends AsyncDisposable {
  origin: string
}

async function listen(server: Http2Server, scheme: string): Promise<Http2> {
  const sessions = new Set<{ destroy(): void }>()
  server.on('session', (session) => sessions.add(session))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    origin: `${scheme}://${scheme === 'https' ? 'localhost' : '127.0.0.1'}:${port}`,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const startH2c = (): Promise<Http2> =>
  listen(
    createH2cServer((request, response) => response.end(`HTTP/${request.httpVersion}`)),
    'http',
  )

const startH2 = (): Promise<Http2> =>
  listen(
    createSecureServer({ ...certificate('signed'), allowHTTP1: true }, (request, response) => {
      response.setHeader('set-cookie', ['a=1', 'b=2'])
      response.end(`HTTP/${request.httpVersion}`)
    }),
    'https',
  )

describe('HTTP/2', () => {
  test('useH2c speaks it without TLS', async () => {
    await using server = await startH2c()
    await using agent = new Agent({ useH2c: true })
    const recorder = new Recorder()
    await send(agent, server.origin, recorder).ended
    expect([recorder.body.toString(), recorder.statusText]).toEqual(['HTTP/2.0', ''])
    expect(recorder.headers).not.toHaveProperty(':status')
    expect(await (await fetch(server.origin, { dispatcher: agent })).text()).toBe('HTTP/2.0')
  })

  test('it is negotiated over TLS, and raw headers are then the parsed object', async () => {
    await using server = await startH2()
    await using agent = new Agent({ connect: { ca: certificateAuthority } })
    let raw: unknown
    const recorder: Recorder = new Recorder('current', { head: () => (raw = recorder.controller!.rawHeaders) })
    await send(agent, server.origin, recorder).ended
    expect(recorder.body.toString()).toBe('HTTP/2.0')
    expect(recorder.headers['set-cookie']).toEqual(['a=1', 'b=2'])
    expect(raw).toEqual(recorder.headers)
  })

  test('a legacy handler gets flat Buffers all the same', async () => {
    await using server = await startH2()
    await using agent = new Agent({ connect: { ca: certificateAuthority } })
    const recorder = new Recorder('legacy')
    await send(agent, server.origin, recorder).ended
    expect(recorder.headers['set-cookie']).toEqual(['a=1', 'b=2'])
  })

  test('allowH2: false of the agent or of one request keeps to HTTP/1.1', async () => {
    await using server = await startH2()
    await using agent = new Agent({ connect: { ca: certificateAuthority } })
    await using without = new Agent({ connect: { ca: certificateAuthority }, allowH2: false })
    const one = new Recorder()
    await send(agent, server.origin, one, { allowH2: false }).ended
    const two = new Recorder()
    await send(without, server.origin, two).ended
    expect([one.body.toString(), two.body.toString()]).toEqual(['HTTP/1.1', 'HTTP/1.1'])
  })

  test('a hundred requests share a connection, bodies whole', async () => {
    await using server = await startH2c()
    await using agent = new Agent({ useH2c: true })
    const recorders = Array.from({ length: 100 }, () => send(agent, server.origin, new Recorder()))
    for (const recorder of recorders) await recorder.ended
    expect(recorders.every(({ body }) => body.toString() === 'HTTP/2.0')).toBe(true)
  })
})

describe.each(dispatchPaths)('timeouts and limits over $path', ({ open }) => {
  test.each([
    ['headersTimeout', 'UND_ERR_HEADERS_TIMEOUT'],
    ['timeout', 'SLUICE_ERR_TIMEOUT'],
  ])('%s ends a request whose head does not come', async (option, code) => {
    await using server = await startServer(() => {})
    await using dispatcher = open({ [option]: 50 })
    const recorder = new Recorder()
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.calls.at(-1)).toBe('error')
    expect(recorder.error!.code).toBe(code)
    await until(() => server.sockets.size === 0)
  })

  test.each([
    ['bodyTimeout', 'UND_ERR_BODY_TIMEOUT'],
    ['timeout', 'SLUICE_ERR_TIMEOUT'],
  ])('%s ends a body that goes silent', async (option, code) => {
    await using server = await startServer((_request, response) => void response.write('first'))
    await using dispatcher = open({ [option]: 50 })
    const recorder = new Recorder()
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.order).toEqual(['start', 'head', 'data', 'error'])
    expect(recorder.error!.code).toBe(code)
    await until(() => server.sockets.size === 0)
  })

  test('maxResponseSize ends a body that is larger', async () => {
    await using server = await startServer((_request, response) => response.end(Buffer.alloc(100_000)))
    await using dispatcher = open({ maxResponseSize: 50_000 })
    const recorder = new Recorder()
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.error).toMatchObject({ code: 'UND_ERR_RES_EXCEEDED_MAX_SIZE' })
    await using exact = open({ maxResponseSize: 100_000 })
    const whole = new Recorder()
    await send(exact, server.origin, whole).ended
    expect(whole.bytes).toBe(100_000)
  })

  test('maxHeaderSize ends a head that is larger', async () => {
    await using server = await startServer((_request, response) => {
      response.setHeader('x-large', 'x'.repeat(20_000))
      response.end()
    })
    await using dispatcher = open()
    const recorder = new Recorder()
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.error).toMatchObject({ code: 'UND_ERR_HEADERS_OVERFLOW' })
    await using larger = open({ maxHeaderSize: 32 * 1024 })
    const whole = new Recorder()
    await send(larger, server.origin, whole).ended
    expect(whole.headers['x-large']).toHaveLength(20_000)
  })
})

test('headersTimeout and bodyTimeout of a request stand before those of the agent, 0 for none', async () => {
  await using server = await startServer((request, response) => {
    if (request.url === '/body') response.write('first')
  })
  await using agent = new Agent()
  const head = new Recorder()
  await send(agent, server.origin, head, { headersTimeout: 50 }).ended
  expect(head.error).toMatchObject({ code: 'UND_ERR_HEADERS_TIMEOUT' })
  const body = new Recorder()
  await send(agent, server.origin, body, { path: '/body', bodyTimeout: 50 }).ended
  expect(body.error).toMatchObject({ code: 'UND_ERR_BODY_TIMEOUT' })

  await using strict = new Agent({ headersTimeout: 50, bodyTimeout: 50 })
  const patient = send(strict, server.origin, new Recorder(), { headersTimeout: 0, bodyTimeout: 0 })
  await send(strict, server.origin, new Recorder()).ended
  expect(patient.calls).not.toContain('error')
})

test('a paused body does not time out', async () => {
  await using server = await startServer((request, response) => {
    if (request.url === '/paused') response.end(Buffer.alloc(100_000))
  })
  await using agent = new Agent({ bodyTimeout: 50, headersTimeout: 100 })
  const paused = send(agent, server.origin, new Recorder('current', { head: (gate) => gate.pause() }), {
    path: '/paused',
  })
  await until(() => paused.calls.includes('head'))
  // Its time out is twice the paused body's.
  await send(agent, server.origin, new Recorder()).ended
  expect(paused.calls).toEqual(['start', 'head'])
  paused.gate.resume()
  await paused.ended
  expect([paused.error, paused.bytes]).toEqual([null, 100_000])
})

test.each([{ connectTimeout: 50 }, { connect: { timeout: 50 } }])(
  'a connection that does not come about within %o is ConnectTimeoutError',
  async (options) => {
    // Accepts TCP and never answers the TLS handshake.
    await using server = await startTcpServer((socket) => socket.resume().on('end', () => socket.destroy()))
    await using agent = new Agent(options)
    const recorder = new Recorder()
    await send(agent, `https://127.0.0.1:${server.port}`, recorder).ended
    expect(recorder.error).toMatchObject({ name: 'ConnectTimeoutError', code: 'UND_ERR_CONNECT_TIMEOUT' })
    expect(recorder.error!.message).toContain(`127.0.0.1:${server.port}`)
    await until(() => server.sockets.size === 0)
  },
)

test('an idle connection is dropped after keepAliveTimeout', async () => {
  await using server = await startServer((_request, response) => response.end('x'))
  await using agent = new Agent({ keepAliveTimeout: 20 })
  await send(agent, server.origin, new Recorder()).ended
  const gone = new Promise<Error>((resolve) => agent.once('disconnect', (_origin, _targets, error) => resolve(error)))
  expect(await gone).toMatchObject({ code: 'UND_ERR_INFO', message: 'socket idle timeout' })
  await until(() => server.sockets.size === 0)
})
