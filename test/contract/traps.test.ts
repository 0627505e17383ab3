/** undici-contract.md §8: the traps, by their numbers. What a trap shares with another section is said there at length. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { MessageChannel } from 'node:worker_threads'
import { gunzipSync, gzipSync } from 'node:zlib'
import { vi } from 'vitest'
import { until, within } from '../support/deadline.ts'
import { AGENTS, CURRENT, DISPATCHERS, REQWEST, SHIM, WIRE } from './support/contestants.ts'
import { EMPTY, OK, response } from './support/raw-server.ts'
import { row } from './support/row.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const ALL = [...DISPATCHERS, ...SHIM]

row('§8 trap 1: every method works through a Proxy of the dispatcher', {
  on: AGENTS,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = new Proxy(stage.open(), {})
    const answer = await agent.request({ origin: server.origin, path: '/', method: 'GET' })
    const body = await answer.body.text()
    const composed = agent.compose((dispatch) => (options, handler) => dispatch(options, handler))
    const twice = await (await composed.request({ origin: server.origin, path: '/', method: 'GET' })).body.text()
    const stats = typeof (agent as unknown as { stats: object }).stats
    await agent.close()
    return [body, twice, stats, agent.closed, agent.destroyed]
  },
  expected: ['ok', 'ok', 'object', true, true] as unknown[],
})

row('§8 trap 2: nothing is called after abort or destroy, whatever is on its way', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.http((_request, reply) => {
      for (let index = 0; index < 50; index++) reply.write(Buffer.alloc(20_000))
      reply.end()
    })
    const late: string[] = []
    for (let index = 0; index < 10; index++) {
      const observer = stage.send(stage.open(), server.origin, {}, { data: (gate) => gate.abort(new Error('enough')) })
      await observer.ended
      const events = observer.events.length
      for (let count = 0; count < 5; count++) await turn()
      if (observer.events.length !== events) late.push(observer.events.at(-1)!)
    }
    return late
  },
  expected: [],
})

row('§8 trap 3: abort delivers the error before it returns, from a timer of the handler as well', {
  on: DISPATCHERS,
  run: async (stage) => {
    const server = await stage.raw(() => {})
    const observer = stage.send(stage.open(), server.origin)
    await server.request()
    const seen = Promise.withResolvers<unknown>()
    setTimeout(() => {
      observer.gate.abort(new Error('late'))
      seen.resolve(observer.error?.message)
    }, 1)
    return seen.promise
  },
  expected: 'late' as unknown,
})

row('§8 trap 4: a reassigned abort is what others call; the rest goes on', {
  on: CURRENT,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const mine: unknown[] = []
    const observer = await stage.fetch(
      server.origin,
      {},
      {
        start: (gate) => {
          gate.abort = (reason) => void mine.push(reason)
        },
        data: (gate) => gate.abort('mine' as never),
      },
    )
    return [mine, observer.response]
  },
  expected: [['mine'], ['start', 'head 200', 'data', 'end']],
})

row('§8 trap 6: nothing is decoded, joined, followed or remembered', {
  on: DISPATCHERS,
  run: async (stage) => {
    const zipped = gzipSync('hello').toString('latin1')
    const server = await stage.raw((request) =>
      request.lines[0]!.includes('/zip')
        ? response('200 OK', ['content-encoding: gzip', `content-length: ${zipped.length}`], zipped)
        : response('302 Found', ['location: /zip', 'set-cookie: a=1', 'www-authenticate: Basic', 'content-length: 0']),
    )
    const agent = stage.open()
    const moved = await stage.send(agent, server.origin, { path: '/old' }).ended
    const zip = await stage.send(agent, server.origin, { path: '/zip' }).ended
    return [
      moved.head.status,
      moved.head.headers['location'],
      zip.head.headers['content-encoding'],
      gunzipSync(Buffer.concat(zip.chunks)).toString(),
      server.requests[1]!.lines.filter((line) => /^(?:cookie|referer|authorization|accept-encoding)/i.test(line)),
    ]
  },
  expected: [302, '/zip', 'gzip', 'hello', []] as unknown[],
})

row('§8 trap 6: no proxy from the environment', {
  isSerial: true,
  on: AGENTS,
  run: async (stage) => {
    const server = await stage.raw(OK)
    for (const name of ['http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY']) {
      const before = process.env[name]
      process.env[name] = 'http://127.0.0.1:1'
      stage.defer(() => {
        if (before === undefined) delete process.env[name]
        else process.env[name] = before
      })
    }
    return (await stage.fetch(server.origin)).body
  },
  expected: 'ok',
})

const PATHS = [
  '//a',
  '/a/../b',
  '/./a/.',
  '/%7e%41',
  '/a?',
  '/?a=b?c',
  "/a'b",
  '/a"b',
  '/a|b',
  '/[x]{y}',
  '/a\\b',
  '/caf\u00e9',
  '/%zz',
  '/a;b=c,d',
  '/http://x',
]

row('§8 trap 11: the path reaches the wire unchanged', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(EMPTY)
    const agent = stage.open()
    for (const path of PATHS) await stage.send(agent, server.origin, { path }).ended
    return server.requests.map(({ lines }) => lines[0]!.slice('GET '.length, -' HTTP/1.1'.length))
  },
  expected: PATHS,
})

row('§8 trap 11: characters that an engine may refuse: < > ^ `', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(EMPTY)
    const agent = stage.open()
    for (const path of ['/<a>', '/^', '/`', '/?<a>']) await stage.send(agent, server.origin, { path }).ended
    return server.requests.map(({ lines }) => lines[0]!.slice('GET '.length, -' HTTP/1.1'.length))
  },
  expected: ['/<a>', '/^', '/`', '/?<a>'],
})

row('§8 trap 11: an absolute URL as path, and a fragment', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(EMPTY)
    const agent = stage.open()
    for (const path of ['http://other.test/a?b', 'https://other.test', '/a#b']) {
      await stage.send(agent, server.origin, { path }).ended
    }
    return server.requests.map(({ lines }) => lines[0]!.slice('GET '.length, -' HTTP/1.1'.length))
  },
  expected: ['http://other.test/a?b', 'https://other.test', '/a#b'],
})

row('§8 trap 11: dot segments over reqwest', {
  on: REQWEST,
  run: async (stage) => {
    const server = await stage.raw(EMPTY)
    await stage.fetch(server.origin, { path: '/a/../b' })
    return server.requests[0]!.lines[0]
  },
  expected: 'GET /a/../b HTTP/1.1',
  differs: [{ id: 'C3', observed: 'GET /b HTTP/1.1' }],
})

row('§8 trap 14: chunks own their memory, and go through zlib, Buffer.concat and structuredClone', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.http((_request, reply) => {
      reply.write(Buffer.alloc(50_000, 1))
      setImmediate(() => reply.end(Buffer.alloc(50_000, 2)))
    })
    const observer = await stage.fetch(server.origin)
    const whole = Buffer.concat(observer.chunks)
    const zipped = gunzipSync(Buffer.concat(observer.chunks.map((chunk) => gzipSync(chunk))))
    const cloned = Buffer.concat(observer.chunks.map((chunk) => structuredClone(chunk)))
    return [observer.bytes, zipped.equals(whole), cloned.equals(whole)]
  },
  expected: [100_000, true, true],
})

row('§8 trap 19: headersTimeout does not count the wait in the queue', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw((_request, _socket, index) => (index === 0 ? undefined : OK))
    const agent = stage.open({ connections: 1 })
    const first = stage.send(agent, server.origin, { headersTimeout: 60_000 })
    const second = stage.send(agent, server.origin, { headersTimeout: 500 })
    await server.request()
    await stage.timeOut({ headersTimeout: 500 })
    for (const socket of server.sockets) socket.write(OK)
    return [(await first.ended).response, (await second.ended).response]
  },
  expected: [
    ['start', 'head 200', 'data', 'end'],
    ['start', 'head 200', 'data', 'end'],
  ],
})

row('§8 trap 19: headersTimeout does not count the upload', {
  on: DISPATCHERS,
  run: async (stage) => {
    const server = await stage.raw(OK)
    async function* slow(): AsyncGenerator<string> {
      yield 'hel'
      await until(() => server.received.some((bytes) => bytes.includes('hel')))
      await stage.timeOut({ headersTimeout: 500 })
      yield 'lo'
    }
    const observer = await stage.fetch(server.origin, { method: 'POST', body: slow(), headersTimeout: 500 })
    return [observer.response, stage.facts(observer.error)]
  },
  expected: [['start', 'head 200', 'data', 'end'], null],
})

row('§8 trap 20: an aborted request in the queue does not block those behind it', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ connections: 1 })
    const observers = [
      stage.send(agent, server.origin, { path: '/0' }),
      stage.send(agent, server.origin, { path: '/1' }, { start: (gate) => gate.abort(new Error('no')) }),
      stage.send(agent, server.origin, { path: '/2' }),
    ]
    const ends = []
    for (const observer of observers) ends.push((await observer.ended).response.at(-1))
    return [ends, server.requests.map(({ lines }) => lines[0])]
  },
  expected: [
    ['end', 'error inside start', 'end'],
    ['GET /0 HTTP/1.1', 'GET /2 HTTP/1.1'],
  ],
})

row('§8 trap 21: a request that reached the server is never sent again', {
  on: DISPATCHERS,
  run: async (stage) => {
    const server = await stage.raw((_request, socket, index) => {
      if (index === 0) return OK
      socket.destroy()
      return undefined
    })
    const agent = stage.open({})
    await stage.send(agent, server.origin).ended
    await turn()
    await turn()
    const posted = await stage.send(agent, server.origin, { method: 'POST', body: 'hello' }).ended
    const got = await stage.send(agent, server.origin).ended
    return [server.requests.length, posted.response, got.response]
  },
  expected: [3, ['start', 'error'], ['start', 'error']],
})

row('§8 trap 23: options are not written to, and may be used again', {
  on: DISPATCHERS,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    const headers = { 'X-A': '1', list: ['a', 'b'] }
    const options = { origin: server.origin, path: '/', method: 'POST', headers, body: 'hello', query: { q: 1 } }
    const before = JSON.stringify(options)
    for (let index = 0; index < 2; index++) {
      const observer = stage.observe()
      agent.dispatch(options, observer.handler)
      await observer.ended
    }
    return [JSON.stringify(options) === before, server.requests.map(({ lines }) => lines[0])]
  },
  expected: [true, ['POST /?q=1 HTTP/1.1', 'POST /?q=1 HTTP/1.1']],
})

row('§8 trap 25: a fake clock of the caller does not stop requests', {
  isSerial: true,
  on: AGENTS,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    const observer = stage.observe()
    vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearImmediate'] })
    const done = new Promise<void>((resolve) => {
      const poll = (): void =>
        observer.events.some((event) => event === 'end' || event === 'error') ? resolve() : queue(poll)
      queue(poll)
    })
    try {
      agent.dispatch({ origin: server.origin, path: '/', method: 'GET' }, observer.handler)
      await done
    } finally {
      vi.useRealTimers()
    }
    return observer.response
  },
  expected: ['start', 'head 200', 'data', 'end'],
})

const channel = new MessageChannel()
const queued: (() => void)[] = []
channel.port1.on('message', () => queued.shift()?.())
channel.port1.unref()

/** A turn of the event loop that no fake clock holds back. */
function queue(act: () => void): void {
  queued.push(act)
  channel.port2.postMessage(null)
}

row('§8 trap 15: an agent that was never closed lets the process end', {
  on: AGENTS,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const { library, engine } = stage.contestant
    const module = {
      'undici 8': import.meta.resolve('undici'),
      'undici 7': import.meta.resolve('undici7'),
      sluice: new URL('../../lib/index.ts', import.meta.url).href,
    }[library]
    const program = `
      const { Agent } = await import(${JSON.stringify(module)})
      const agent = new Agent(${engine === 'reqwest' ? "{ transport: 'reqwest' }" : ''})
      await new Promise((resolve, reject) => agent.dispatch({ origin: ${JSON.stringify(server.origin)}, path: '/', method: 'GET' }, {
        onRequestStart() {}, onResponseStart() {}, onResponseData() {}, onResponseEnd: resolve, onResponseError: reject,
      }))
      console.log('done')
    `
    const child = spawn(process.execPath, ['--input-type=module', '-e', program])
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    const [code] = await within(once(child, 'close'))
    return [code, output]
  },
  expected: [0, 'done\n'],
})

row("§8 trap 18: a failing request destroys the caller's stream, which emits no error for it", {
  on: DISPATCHERS,
  run: async (stage) => {
    const server = await stage.raw(() => {})
    const body = new Readable({ read() {} })
    const failures: Error[] = []
    body.on('error', (error) => failures.push(error))
    body.push('hel')
    const observer = stage.send(stage.open(), server.origin, { method: 'POST', body })
    await until(() => server.received.some((bytes) => bytes.includes('hel')))
    for (const socket of server.sockets) socket.resetAndDestroy()
    await observer.ended
    await until(() => body.destroyed)
    for (let index = 0; index < 10; index++) await turn()
    return [observer.error?.code, failures.map((error) => (error as NodeJS.ErrnoException).code)]
  },
  expected: ['ECONNRESET', []] as unknown[],
})

row('§8 trap 5 and 7: a lone set-cookie is a string, names of rawHeaders keep their case', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['Set-Cookie: a=1', 'Content-Length: 0', 'X-A: 1', 'X-A: 2']))
    const observer = await stage.fetch(server.origin)
    return [observer.head.headers, (observer.rawHeaders as Buffer[]).map(String)]
  },
  expected: [
    { 'set-cookie': 'a=1', 'content-length': '0', 'x-a': ['1', '2'] },
    ['Set-Cookie', 'a=1', 'Content-Length', '0', 'X-A', '1', 'X-A', '2'],
  ],
})
