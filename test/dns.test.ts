import { lookup as systemLookup } from 'node:dns'
import { describe, expect, test } from 'vitest'
import { Agent, errors, fetch } from '../lib/index.ts'
import type { AgentOptions, LookupFunction } from '../lib/index.ts'
import { rejection } from './support/bodies.ts'
import { errorOf } from './support/dispatch.ts'
import { runProgram } from './support/programs.ts'
import { Recorder, send } from './support/recorder.ts'
import { closedPort, startServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'

const startPlain = (): Promise<RunningServer> => startServer((request, response) => response.end(request.headers.host))

describe.each(['wire', 'reqwest'] as const)('over %s', (transport) => {
  const text = async (agent: Agent, url: string): Promise<string> => (await fetch(url, { dispatcher: agent })).text()

  test('hosts of resolve are not looked up, whatever their case', async () => {
    await using server = await startPlain()
    const lookup = (): void => expect.unreachable()
    await using agent = new Agent({ transport, resolve: { 'Name.test': ['127.0.0.1'] }, connect: { lookup } })
    expect(await text(agent, `http://name.test:${server.port}`)).toBe(`name.test:${server.port}`)
    expect(await text(agent, `http://NAME.test:${server.port}`)).toBe(`name.test:${server.port}`)
  })

  test.each([
    ['a list', (callback: (...args: any[]) => void) => callback(null, [{ address: '127.0.0.1', family: 4 }])],
    ['one address', (callback: (...args: any[]) => void) => callback(null, '127.0.0.1', 4)],
    ['either, later', (callback: (...args: any[]) => void) => void setImmediate(callback, null, '127.0.0.1', 4)],
    [
      'two answers, of which the first counts',
      (callback: (...args: any[]) => void) => {
        callback(null, '127.0.0.1', 4)
        callback(new Error('late'))
      },
    ],
  ])('connect.lookup may answer with %s', async (_name, reply) => {
    await using server = await startPlain()
    const asked: unknown[] = []
    const lookup: LookupFunction = (host, options, callback) => {
      asked.push([host, options])
      reply(callback)
    }
    await using agent = new Agent({ transport, connect: { lookup } })
    expect(await text(agent, `http://name.test:${server.port}`)).toBe(`name.test:${server.port}`)
    expect(asked).toEqual([['name.test', { all: true, family: 0, hints: 0 }]])
  })

  test("Node's dns.lookup is one", async () => {
    await using server = await startPlain()
    await using agent = new Agent({ transport, connect: { lookup: systemLookup } })
    expect(await text(agent, `http://localhost:${server.port}`)).toBe(`localhost:${server.port}`)
  })

  test.each([
    ['given to the callback', (callback: (error: Error) => void, error: Error) => callback(error)],
    [
      'thrown',
      (_callback: (error: Error) => void, error: Error) => {
        throw error
      },
    ],
  ])('the error of connect.lookup, %s, is the very one', async (_name, fail) => {
    const error = Object.assign(new Error('no such thing'), { code: 'EOWN' })
    const lookup: LookupFunction = (_host, _options, callback) => fail(callback, error)
    await using agent = new Agent({ transport, connect: { lookup } })
    expect((await rejection(text(agent, 'http://name.test'))).cause).toBe(error)
    const recorder = new Recorder()
    await send(agent, 'http://name.test', recorder).ended
    expect(recorder.error).toBe(error)
  })

  test.each([[[]], ['nonsense'], [[{ address: '1.2.3' }]], [undefined], [[null]]])(
    'connect.lookup that answers %o is ERR_INVALID_IP_ADDRESS',
    async (answer) => {
      const lookup: LookupFunction = (_host, _options, callback) => callback(null, answer as never)
      await using agent = new Agent({ transport, connect: { lookup } })
      const { cause } = await rejection(text(agent, 'http://name.test'))
      expect(cause.code).toBe('ERR_INVALID_IP_ADDRESS')
    },
  )

  test('a lookup that never answers is a connect timeout', async () => {
    await using agent = new Agent({ transport, connectTimeout: 30, connect: { lookup: () => {} } })
    expect((await rejection(text(agent, 'http://name.test'))).cause.code).toBe('UND_ERR_CONNECT_TIMEOUT')
  })

  test('requests at one time share a lookup; dnsCacheTimeout keeps its answer', async () => {
    await using server = await startServer((_request, response) => {
      response.setHeader('connection', 'close')
      response.end('x')
    })
    const count = async (options: AgentOptions): Promise<number[]> => {
      let lookups = 0
      const waiting: (() => void)[] = []
      const lookup: LookupFunction = (_host, _options, callback) => {
        lookups++
        waiting.push(() => callback(null, '127.0.0.1', 4))
      }
      await using agent = new Agent({ transport, ...options, connect: { lookup } })
      const url = `http://name.test:${server.port}`
      const first = Promise.all([text(agent, url), text(agent, url), text(agent, url)])
      await expect.poll(() => waiting.length).toBe(1)
      waiting.pop()!()
      await first
      const together = lookups
      const second = text(agent, url)
      if (options.dnsCacheTimeout === undefined) {
        await expect.poll(() => waiting.length).toBe(1)
        waiting.pop()!()
      }
      await second
      return [together, lookups]
    }
    expect(await count({})).toEqual([1, 2])
    expect(await count({ dnsCacheTimeout: 60_000 })).toEqual([1, 1])
  })

  test('a failed lookup is not kept', async () => {
    await using server = await startPlain()
    let lookups = 0
    const lookup: LookupFunction = (_host, _options, callback) =>
      lookups++ === 0 ? callback(new Error('once')) : callback(null, '127.0.0.1', 4)
    await using agent = new Agent({ transport, dnsCacheTimeout: 60_000, connect: { lookup } })
    await rejection(text(agent, `http://name.test:${server.port}`))
    expect(await text(agent, `http://name.test:${server.port}`)).toBe(`name.test:${server.port}`)
  })

  test('an address that refuses is not the end while there is another', async () => {
    await using server = await startPlain()
    await using agent = new Agent({ transport, resolve: { 'two.test': ['127.0.0.2', '127.0.0.1'] } })
    expect(await text(agent, `http://two.test:${server.port}`)).toBe(`two.test:${server.port}`)
  })
})

test('every address that failed is in the error', async () => {
  const port = await closedPort()
  await using agent = new Agent({ resolve: { 'two.test': ['127.0.0.2', '127.0.0.1'] } })
  const recorder = new Recorder()
  await send(agent, `http://two.test:${port}`, recorder).ended
  expect(recorder.error).toMatchObject({ code: 'ECONNREFUSED' })
  const { errors: all } = recorder.error as unknown as AggregateError
  expect(all.map(({ address }) => address)).toEqual(['127.0.0.2', '127.0.0.1'])
})

test.each([
  [{ resolve: [] }, 'invalid resolve'],
  [{ resolve: { 'a.test': [] } }, 'invalid resolve: a.test needs IP addresses'],
  [{ resolve: { 'a.test': 'b.test' } }, 'invalid resolve: a.test needs IP addresses'],
  [{ resolve: { 'a b': '::1' } }, 'invalid resolve: a b is no host'],
  [{ dnsCacheTimeout: -1 }, 'invalid dnsCacheTimeout'],
  [{ connect: { lookup: 'x' } }, 'invalid connect.lookup'],
])('%o is refused when the agent is made', (options, message) => {
  const error = errorOf(() => new Agent(options as AgentOptions))
  expect(error).toBeInstanceOf(errors.InvalidArgumentError)
  expect(error.message).toBe(message)
})

test('an agent that is collected goes on answering for its requests', async () => {
  await using server = await startPlain()
  const asked = Promise.withResolvers<() => void>()
  const run = (): Promise<Response> => {
    const lookup: LookupFunction = (_host, _options, callback) => asked.resolve(() => callback(null, '127.0.0.1', 4))
    return fetch(`http://name.test:${server.port}`, { dispatcher: new Agent({ connect: { lookup } }) })
  }
  const response = run()
  const reply = await asked.promise
  globalThis.gc!()
  reply()
  expect((await response).status).toBe(200)
})

test('a worker may be terminated while a lookup of it is under way', async () => {
  const library = new URL('../lib/index.ts', import.meta.url).href
  const code = `
    import { Worker } from 'node:worker_threads'
    import { once } from 'node:events'
    const source = \`
      const { parentPort } = require('node:worker_threads')
      import(${JSON.stringify(library)}).then(({ fetch, Agent }) => {
        const lookup = () => parentPort.postMessage('asked')
        return fetch('http://name.test', { dispatcher: new Agent({ connect: { lookup } }) })
      })\`
    const worker = new Worker(source, { eval: true })
    console.log(...(await once(worker, 'message')))
    await worker.terminate()
    console.log('gone')`
  expect(await runProgram(code, {})).toBe('asked\ngone')
})
