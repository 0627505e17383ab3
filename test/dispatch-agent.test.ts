import { Readable } from 'node:stream'
import { expect, test, vi } from 'vitest'
import { Agent, DispatchController, errors } from '../lib/index.ts'
import type { DispatchInterceptor } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { Recorder, send } from './support/recorder.ts'
import type { Generation } from './support/recorder.ts'
import { closedPort, startServer, startTcpServer } from './support/servers.ts'

const generations: Generation[] = ['current', 'legacy']

test.each(generations)('abort inside onRequestStart sends nothing (%s handler)', async (generation) => {
  const paths: (string | undefined)[] = []
  await using server = await startServer((request, response) => {
    paths.push(request.url)
    response.end()
  })
  await using agent = new Agent()
  const reason = new Error('not now')
  const aborted = new Recorder(generation, { start: (gate) => gate.abort(reason) })
  const failed = new Recorder(generation, {
    start: () => {
      throw reason
    },
  })
  send(agent, server.origin, aborted, { path: '/aborted' })
  send(agent, server.origin, failed, { path: '/failed' })
  await send(agent, server.origin, new Recorder(), { path: '/sent' }).ended
  await send(agent, server.origin, new Recorder(), { path: '/sent' }).ended
  expect(paths).toEqual(['/sent', '/sent'])
  for (const { calls, error } of [aborted, failed]) {
    expect(calls).toEqual(['start', 'error'])
    expect(error).toBe(reason)
  }
})

test('a body is not read when the request is aborted in onRequestStart, and is ended', async () => {
  await using server = await startServer((_request, response) => response.end())
  await using agent = new Agent()
  const pull = vi.fn()
  const cancel = vi.fn()
  const body = new ReadableStream({ pull, cancel }, { highWaterMark: 0 })
  const recorder = new Recorder('current', { start: (gate) => gate.abort(new Error('not now')) })
  await send(agent, server.origin, recorder, { method: 'POST', body }).ended
  await until(() => cancel.mock.calls.length)
  expect(pull).not.toHaveBeenCalled()
})

test('dispatch returns true and calls nothing before it returns, not even for a port that refuses', async () => {
  await using agent = new Agent()
  const recorder = new Recorder()
  const origin = `http://127.0.0.1:${await closedPort()}`
  expect(agent.dispatch({ origin, path: '/', method: 'GET' }, recorder.handler)).toBe(true)
  expect(recorder.calls).toEqual([])
  await recorder.ended
  expect(recorder.error).toMatchObject({ code: 'ECONNREFUSED' })
})

test.each(generations)('an invalid request is reported before dispatch returns (%s handler)', async (generation) => {
  await using agent = new Agent()
  const recorder = new Recorder(generation)
  // undici's pool leaves it to one of its clients, and has room for others.
  expect(agent.dispatch({ origin: 'http://127.0.0.1:9', path: 'x', method: 'GET' }, recorder.handler)).toBe(true)
  expect(recorder.calls).toEqual(['error'])
  expect(recorder.error).toBeInstanceOf(errors.InvalidArgumentError)
  const refused = new Recorder(generation)
  expect(agent.dispatch({ origin: 'ftp://a.test', path: '/', method: 'GET' }, refused.handler)).toBe(false)
  expect(refused.calls).toEqual(['error'])
  expect(agent.stats).toEqual({})
})

test('a handler that is no object, or cannot be told, has its error thrown', async () => {
  await using agent = new Agent()
  const request = { origin: 'http://127.0.0.1:9', path: 'x', method: 'GET' }
  expect(() => agent.dispatch(request, null as never)).toThrow('handler must be an object')
  expect(() => agent.dispatch(request, {})).toThrow('path must be an absolute URL or start with a slash')
})

test('a handler may be dispatched again from within its own callbacks', async () => {
  await using server = await startServer((request, response) => response.end(request.url))
  await using agent = new Agent()
  const again = (path: string) => (): void => {
    if (recorder.calls.length < 8) send(agent, server.origin, recorder, { path })
  }
  const recorder: Recorder = new Recorder('current', { end: again('/again') })
  send(agent, server.origin, recorder, { path: '/first' })
  await until(() => recorder.calls.filter((call) => call === 'end').length === 2)
  expect(recorder.body.toString()).toBe('/first/again')
  expect(recorder.calls.filter((call) => call === 'nested')).toEqual([])
})

test('what is called on a controller before it has a request is remembered and applied', () => {
  const reason = new Error('early')
  const handle = () => ({ abort: vi.fn(), pause: vi.fn(), resume: vi.fn() })

  const aborted = new DispatchController()
  aborted.pause()
  aborted.abort(reason)
  aborted.abort(new Error('second'))
  const first = handle()
  aborted.setRequestHandle(first)
  expect(first.abort.mock.calls).toEqual([[reason]])
  expect(first.pause).not.toHaveBeenCalled()

  const paused = new DispatchController()
  paused.pause()
  const second = handle()
  paused.setRequestHandle(second)
  expect(second.pause).toHaveBeenCalledOnce()
  paused.resume()
  paused.resume()
  expect(second.resume).toHaveBeenCalledOnce()

  const resumed = new DispatchController()
  resumed.pause()
  resumed.resume()
  const third = handle()
  resumed.setRequestHandle(third)
  expect([third.abort.mock.calls, third.pause.mock.calls, third.resume.mock.calls]).toEqual([[], [], []])

  const bare = new DispatchController()
  bare.abort()
  const fourth = handle()
  bare.setRequestHandle(fourth)
  expect(fourth.abort.mock.calls[0]![0]).toBeInstanceOf(errors.RequestAbortedError)
  expect(bare.reason).toBeUndefined()
})

test('compose runs the last interceptor first, on a proxy that is still the agent', async () => {
  await using server = await startServer((request, response) => response.end(request.headers['x-order']))
  await using agent = new Agent()
  const add =
    (name: string): DispatchInterceptor =>
    (dispatch) =>
    (options, handler) => {
      const before = (options.headers as Record<string, string> | undefined)?.['x-order'] ?? ''
      return dispatch({ ...options, headers: { 'x-order': before + name } }, handler)
    }
  const composed = agent.compose(add('a'), add('b')).compose([add('c')])
  const recorder = new Recorder()
  await send(composed, server.origin, recorder).ended
  expect(recorder.body.toString()).toBe('cba')
  expect(composed).toBeInstanceOf(Agent)
  expect(composed.closed).toBe(false)
  await composed.close()
  expect([composed.destroyed, agent.destroyed]).toEqual([true, true])
})

test('compose refuses what is no interceptor', async () => {
  await using agent = new Agent()
  expect(() => agent.compose(1 as never)).toThrow(/invalid interceptor/)
  expect(() => agent.compose((() => undefined) as never)).toThrow(/invalid interceptor/)
  expect(() => agent.compose((() => () => true) as never)).toThrow(/invalid interceptor/)
  expect(agent.compose().dispatch).toBeTypeOf('function')
})

test('what a transport cannot send is refused by name, not sent differently', async () => {
  await using agent = new Agent({ transport: 'reqwest' })
  const request = { origin: 'http://127.0.0.1:9', path: '/', method: 'GET' }
  const rows = [
    [{ method: 'CONNECT', path: 'a:1' }, "CONNECT is not supported by transport 'reqwest'"],
    [{ upgrade: 'websocket' }, "upgrade is not supported by transport 'reqwest'"],
    [{ expectContinue: true }, "expectContinue is not supported by transport 'reqwest'"],
    [{ servername: 'a.test' }, "servername is not supported by transport 'reqwest'"],
    [{ typeOfService: 4 }, 'typeOfService not supported'],
    [{ path: 'http://a.test/' }, "an absolute URL as path is not supported by transport 'reqwest'"],
    [{ upgrade: 'x', body: 'y' }, 'a body with upgrade or CONNECT is not supported'],
  ] as const
  for (const [options, message] of rows) {
    const recorder = new Recorder()
    Object.assign(recorder.handler, { onRequestUpgrade: () => {} })
    agent.dispatch({ ...request, ...options }, recorder.handler)
    expect(recorder.error).toMatchObject({ code: 'UND_ERR_NOT_SUPPORTED', message })
  }
})

test("a body's failure never comes in the turn of its head, when nobody listens for it yet", async () => {
  const head = 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfive.'
  await using server = await startTcpServer((socket) => socket.once('data', () => socket.end(head)))
  await using agent = new Agent()
  let isSameTurn: boolean | null = null
  const recorder: Recorder = new Recorder('legacy', {
    head: () => {
      isSameTurn = true
      setImmediate(() => (isSameTurn = false))
    },
    error: () => expect(isSameTurn).toBe(false),
  })
  await send(agent, server.origin, recorder).ended
  expect(recorder.order).toEqual(['start', 'head', 'data', 'error'])
})

test('a stream of more or fewer bytes than it announced fails its request', async () => {
  await using server = await startServer((request, response) => {
    request.resume().on('end', () => response.end('x'))
  })
  await using agent = new Agent()
  for (const chunks of [['hel', 'lo', '!'], ['hell']]) {
    const recorder = new Recorder()
    const options = { method: 'POST', headers: { 'content-length': '5' }, body: chunks }
    await send(agent, server.origin, recorder, options).ended
    expect(recorder.error).toMatchObject({ code: 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH' })
    expect(recorder.error).toBeInstanceOf(errors.RequestContentLengthMismatchError)
  }
})

test('a stream that fails while its request waits fails it when its turn comes, unstarted', async () => {
  const held = Promise.withResolvers<void>()
  await using server = await startServer(async (_request, response) => {
    await held.promise
    response.end('x')
  })
  await using agent = new Agent({ connections: 1 })
  const first = send(agent, server.origin, new Recorder())
  const body = new Readable({ read() {} })
  const second = send(agent, server.origin, new Recorder(), { method: 'POST', body })
  await until(() => server.sockets.size === 1)
  const failure = new Error('disk full')
  body.destroy(failure)
  await new Promise((resolve) => body.once('close', resolve))
  expect(second.calls).toEqual([])
  held.resolve()
  await Promise.all([first.ended, second.ended])
  expect([second.calls, second.error]).toEqual([['error'], failure])
  expect(server.accepted).toBe(1)
})

test('what was sent is told: a sized body at once, a stream chunk by chunk', async () => {
  await using server = await startServer((request, response) => {
    request.resume().on('end', () => response.end('x'))
  })
  await using agent = new Agent()
  const generate = async function* (): AsyncGenerator<string | Buffer> {
    yield 'one'
    yield ''
    yield Buffer.from('two')
  }
  for (const [body, told] of [
    [null, ['sent']],
    ['text', ['text', 'sent']],
    [generate(), ['one', 'two', 'sent']],
  ] as const) {
    const calls: string[] = []
    const recorder = new Recorder('current', { start: () => calls.push('start'), head: () => calls.push('head') })
    Object.assign(recorder.handler, {
      onBodySent: (chunk: Uint8Array) => calls.push(String(chunk)),
      onRequestSent: () => calls.push('sent'),
    })
    await send(agent, server.origin, recorder, { method: 'POST', body }).ended
    expect(calls).toEqual(['start', ...told, 'head'])
  }
})
