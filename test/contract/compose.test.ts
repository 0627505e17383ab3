/** undici-contract.md §6: `compose`, the built-in interceptors of both undicis, RetryAgent and MockAgent. */
import { gzipSync, brotliCompressSync } from 'node:zlib'
import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { Dispatch, DispatcherSurface } from '../../lib/index.ts'
import { AGENTS, APIS, APIS_WIRE, CURRENT } from './support/contestants.ts'
import { OK, response } from './support/raw-server.ts'
import { row } from './support/row.ts'
import type { Stage } from './support/stage.ts'

/** Status and text of `request` over the agent with the interceptor. */
async function request(
  stage: Stage,
  dispatcher: DispatcherSurface,
  url: string,
  options: object = {},
): Promise<[number, string]> {
  const answer = await stage.contestant.undici.request(url, { dispatcher: dispatcher as never, ...options })
  return [answer.statusCode, await answer.body.text()]
}

const composed = (stage: Stage, interceptor: unknown, options?: object): DispatcherSurface =>
  stage.open(options).compose(interceptor as never)

const refusals = (act: () => unknown): string => {
  try {
    act()
    return 'accepted'
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`
  }
}

row('§6 compose takes functions, a list of them, and nothing for null', {
  on: CURRENT,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const order: string[] = []
    const named =
      (name: string) =>
      (dispatch: Dispatch): Dispatch =>
      (options, handler) => {
        order.push(name)
        return dispatch(options, handler)
      }
    const agent = stage.open()
    await stage.send(agent.compose(named('a'), named('b')), server.origin).ended
    await stage.send(agent.compose([named('c'), named('d')]), server.origin).ended
    await stage.send(agent.compose(null as never, undefined as never, named('e')), server.origin).ended
    await stage.send(agent.compose(named('f')).compose(named('g')), server.origin).ended
    return order
  },
  expected: ['b', 'a', 'd', 'c', 'e', 'g', 'f'],
})

row('§6 an interceptor that is none', {
  on: CURRENT,
  run: (stage) => {
    const agent = stage.open()
    return [
      refusals(() => agent.compose(5 as never)),
      refusals(() => agent.compose('x' as never)),
      refusals(() => agent.compose((() => null) as never)),
      refusals(() => agent.compose((() => () => true) as never)),
      refusals(() => agent.compose((() => (_options: unknown) => true) as never)),
    ]
  },
  expected: [
    'TypeError: invalid interceptor, expected function received number',
    'TypeError: invalid interceptor, expected function received string',
    'TypeError: invalid interceptor',
    'TypeError: invalid interceptor',
    'TypeError: invalid interceptor',
  ],
  undici7: [
    'TypeError: invalid interceptor, expected function received number',
    'TypeError: invalid interceptor, expected function received string',
    'accepted',
    'accepted',
    'accepted',
  ],
})

row('§6 the composed dispatcher is the agent but for dispatch: getters, methods, listeners, writes', {
  on: AGENTS,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open() as DispatcherSurface & Record<string, unknown>
    const proxy = agent.compose((dispatch) => (options, handler) => dispatch(options, handler)) as typeof agent
    await stage.send(proxy, server.origin).ended
    proxy['mine'] = 5
    const facts = [
      proxy instanceof (agent.constructor as never),
      proxy === agent,
      proxy.closed,
      proxy.destroyed,
      typeof proxy['stats'],
      agent['mine'],
      proxy.dispatch.length,
      proxy.listenerCount('connect'),
    ]
    await proxy.close()
    return [...facts, agent.closed, agent.destroyed, proxy.destroyed]
  },
  expected: [true, false, false, false, 'object', 5, 2, 0, true, true, true] as unknown[],
})

row('§6 dispatch is re-entrant: from every callback, with the same handler', {
  on: CURRENT,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    let left = 4
    const again = (): void => {
      if (left-- > 0) agent.dispatch({ origin: server.origin, path: `/${left}`, method: 'GET' }, observer.handler)
    }
    const observer = stage.send(agent, server.origin, {}, { start: again, head: again, data: again, end: again })
    await observer.ended
    while (observer.events.filter((event) => event === 'end').length < 5) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    return [observer.events.some((event) => event.includes('inside')), observer.body, server.requests.length]
  },
  expected: [false, 'okokokokok', 5],
})

row('§6 redirect follows, and swallows what it leaves', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.http((incoming, reply) => {
      if (incoming.url === '/end') reply.end(`${incoming.method} at the end`)
      else
        reply
          .writeHead(incoming.url === '/first' ? 301 : 302, {
            location: incoming.url === '/first' ? '/second' : '/end',
          })
          .end('elsewhere')
    })
    const { interceptors } = stage.contestant.undici
    const agent = composed(stage, interceptors.redirect({ maxRedirections: 3 }))
    return [
      await request(stage, agent, `${server.origin}/first`),
      await request(stage, agent, `${server.origin}/first`, { method: 'POST', body: 'hello' }),
    ]
  },
  expected: [
    [200, 'GET at the end'],
    [200, 'GET at the end'],
  ],
})

row('§6 redirect: 307 sends the body again, and after the most hops the redirect itself is the answer', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.http((incoming, reply) => {
      if (incoming.url === '/end') void text(incoming).then((body) => reply.end(`${incoming.method} ${body}`))
      else if (incoming.url!.startsWith('/hop'))
        reply.writeHead(302, { location: `${incoming.url}p` }).end(incoming.url)
      else reply.writeHead(307, { location: '/end' }).end()
    })
    const { interceptors } = stage.contestant.undici
    return [
      await request(stage, composed(stage, interceptors.redirect({ maxRedirections: 3 })), `${server.origin}/first`, {
        method: 'POST',
        body: 'hello',
      }),
      await request(stage, composed(stage, interceptors.redirect({ maxRedirections: 2 })), `${server.origin}/hop`),
    ]
  },
  expected: [
    [200, 'POST hello'],
    [302, '/hoppp'],
  ],
})

row('§6 retry: after a status, and after a connection that was lost before the response', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.raw((_request, socket, index) => {
      if (index === 0) return response('503 Unavailable', ['content-length: 0'])
      if (index === 1) socket.destroy()
      return index === 1 ? undefined : OK
    })
    const { interceptors } = stage.contestant.undici
    const agent = composed(stage, interceptors.retry({ minTimeout: 1, maxRetries: 3 }))
    return [await request(stage, agent, server.origin), server.requests.length]
  },
  expected: [[200, 'ok'], 3],
})

row('§6 retry: the rest of a body by range, where the connection was lost inside it', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.raw((_request, socket, index) => {
      if (index === 0) {
        socket.end(response('200 OK', ['etag: "v"', 'content-length: 10', 'accept-ranges: bytes'], 'hello'))
        return undefined
      }
      return response('206 Partial Content', ['etag: "v"', 'content-length: 5', 'content-range: bytes 5-9/10'], 'world')
    })
    const { interceptors } = stage.contestant.undici
    const agent = composed(stage, interceptors.retry({ minTimeout: 1, maxRetries: 2 }))
    const answer = await request(stage, agent, server.origin)
    const range = server.requests[1]!.lines.filter((line) => /^(?:range|if-match):/i.test(line))
    return [answer, range.map((line) => line.toLowerCase())]
  },
  expected: [
    [200, 'helloworld'],
    ['range: bytes=5-9', 'if-match: "v"'],
  ],
})

row('§6 retry: gives up with the last error', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.raw((_request, socket) => void socket.end())
    const { interceptors } = stage.contestant.undici
    const agent = composed(stage, interceptors.retry({ minTimeout: 1, maxRetries: 2 }))
    const failure = await request(stage, agent, server.origin).catch((error: Error) => stage.facts(error))
    return [failure, server.requests.length]
  },
  expected: [{ name: 'SocketError', code: 'UND_ERR_SOCKET', message: 'other side closed' }, 3] as unknown[],
})

row('§6 dump: the body is read and dropped', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['content-length: 100'], 'x'.repeat(100)))
    const { interceptors } = stage.contestant.undici
    const agent = composed(stage, interceptors.dump({ maxSize: 1000 }))
    const small = await request(stage, agent, server.origin)
    const over = await request(stage, composed(stage, interceptors.dump({ maxSize: 50 })), server.origin).catch(
      (error: Error) => error.name,
    )
    return [small, over]
  },
  expected: [[200, ''], 'AbortError'] as unknown[],
})

row('§6 responseError: 4xx and 5xx are a ResponseError', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.raw(
      response('404 Not Found', ['content-type: application/json', 'x-a: 1', 'content-length: 9'], '{"why":1}'),
    )
    const { interceptors } = stage.contestant.undici
    const failure = (await request(stage, composed(stage, interceptors.responseError()), server.origin).catch(
      (error: unknown) => error,
    )) as Record<string, any>
    return [failure['name'], failure['code'], failure['statusCode'], failure['body'], failure['headers']['x-a']]
  },
  expected: ['ResponseError', 'UND_ERR_RESPONSE', 404, { why: 1 }, '1'] as unknown[],
})

row('§6 dns: the origin becomes an address, host stays the name, and a name is looked up once', {
  on: APIS_WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const { interceptors } = stage.contestant.undici
    const lookups: string[] = []
    const lookup = (name: { hostname: string }, _: unknown, callback: (...args: unknown[]) => void): void => {
      lookups.push(name.hostname)
      callback(null, [{ address: '127.0.0.1', family: 4, ttl: 1000 }])
    }
    const agent = composed(stage, interceptors.dns({ lookup: lookup as never, dualStack: false, affinity: 4 }))
    const answers = []
    for (let index = 0; index < 3; index++)
      answers.push(await request(stage, agent, `http://named.test:${server.port}/`))
    return [answers, lookups, new Set(server.requests.map(({ lines }) => stage.mask(lines[1]!)))]
  },
  expected: [
    [
      [200, 'ok'],
      [200, 'ok'],
      [200, 'ok'],
    ],
    ['named.test'],
    new Set(['host: named.test:PORT']),
  ],
})

row('§6 cache: a fresh response is not asked for again, a stale one is revalidated', {
  on: APIS,
  run: async (stage) => {
    let asked = 0
    const server = await stage.http((incoming, reply) => {
      asked++
      if (incoming.headers['if-none-match'] === '"v"')
        reply.writeHead(304, { etag: '"v"', date: new Date().toUTCString() }).end()
      else
        reply
          .writeHead(200, {
            'cache-control': incoming.url === '/fresh' ? 'max-age=100' : 'max-age=0, must-revalidate, stale-if-error=0',
            etag: '"v"',
            vary: 'accept',
          })
          .end(`body of ${incoming.url}`)
    })
    const { interceptors } = stage.contestant.undici
    const agent = composed(stage, interceptors.cache())
    const answers = []
    for (const path of ['/fresh', '/fresh', '/stale', '/stale'])
      answers.push(await request(stage, agent, server.origin + path))
    return [answers, asked]
  },
  expected: [
    [
      [200, 'body of /fresh'],
      [200, 'body of /fresh'],
      [200, 'body of /stale'],
      [200, 'body of /stale'],
    ],
    3,
  ],
})

row('§6 decompress: gzip, br and both', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.http((incoming, reply) => {
      const encoding = incoming.url!.slice(1)
      const bytes = {
        gzip: gzipSync('hello'),
        br: brotliCompressSync('hello'),
        'gzip,br': brotliCompressSync(gzipSync('hello')),
      }
      reply.writeHead(200, { 'content-encoding': encoding }).end(bytes[encoding as 'br'])
    })
    const { interceptors } = stage.contestant.undici
    const agent = composed(stage, interceptors.decompress())
    const answers = []
    for (const encoding of ['gzip', 'br', 'gzip,br'])
      answers.push(await request(stage, agent, `${server.origin}/${encoding}`))
    return answers
  },
  expected: [
    [200, 'hello'],
    [200, 'hello'],
    [200, 'hello'],
  ],
})

row('§6 deduplicate: the same request at the same time is sent once', {
  on: APIS,
  run: async (stage) => {
    const answers: (() => void)[] = []
    const server = await stage.http((_request, reply) => answers.push(() => reply.end('ok')))
    const { interceptors } = stage.contestant.undici as unknown as { interceptors: Record<string, () => unknown> }
    const agent = composed(stage, interceptors['deduplicate']!())
    const both = Promise.all([request(stage, agent, server.origin), request(stage, agent, server.origin)])
    while (answers.length === 0) await new Promise((resolve) => setImmediate(resolve))
    answers[0]!()
    return [await both, answers.length]
  },
  expected: [
    [
      [200, 'ok'],
      [200, 'ok'],
    ],
    1,
  ],
})

row('§6 interceptors one over another', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.http((incoming, reply) => {
      if (incoming.url === '/end') reply.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('hello'))
      else if (incoming.url === '/busy') reply.writeHead(302, { location: '/end' }).end()
      else reply.writeHead(302, { location: '/busy' }).end()
    })
    const { interceptors } = stage.contestant.undici
    const agent = stage
      .open()
      .compose(
        interceptors.decompress() as never,
        interceptors.retry({ minTimeout: 1 }) as never,
        interceptors.redirect({ maxRedirections: 5 }) as never,
        interceptors.responseError() as never,
      )
    return request(stage, agent, server.origin)
  },
  expected: [200, 'hello'] as [number, string],
})

row('§6 RetryAgent', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.raw((_request, _socket, index) =>
      index === 0 ? response('503 Unavailable', ['content-length: 0']) : OK,
    )
    const { RetryAgent } = stage.contestant.undici
    const agent = new RetryAgent(stage.open() as never, { minTimeout: 1, maxRetries: 2 })
    return [await request(stage, agent as never, server.origin), server.requests.length]
  },
  expected: [[200, 'ok'], 2],
})

row('§6 MockAgent over the agent: what is mocked, and what passes', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const { MockAgent } = stage.contestant.undici
    const mock = new MockAgent({ agent: stage.open() as never })
    stage.defer(() => mock.close())
    mock.get('http://mocked.test').intercept({ path: '/a' }).reply(201, 'mocked')
    mock.enableNetConnect()
    return [
      await request(stage, mock as never, 'http://mocked.test/a'),
      await request(stage, mock as never, server.origin),
    ]
  },
  expected: [
    [201, 'mocked'],
    [200, 'ok'],
  ],
})

row('§6 request(): status, headers, body, trailers, opaque, onInfo', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.raw(
      response('200 Fine', ['x-a: 1', 'transfer-encoding: chunked'], '2\r\nok\r\n0\r\nx-sum: 5\r\n\r\n'),
    )
    const answer = await stage.open().request({ origin: server.origin, path: '/', method: 'GET', opaque: 7 as never })
    const { statusCode, headers, opaque } = answer
    const body = await answer.body.text()
    return [statusCode, headers['x-a'], opaque, body, answer.trailers]
  },
  expected: [200, '1', 7, 'ok', { 'x-sum': '5' }] as unknown[],
})

row('§6 request(): onInfo, and raw headers', {
  on: APIS_WIRE,
  run: async (stage) => {
    const server = await stage.raw(
      `HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n${response('200 OK', ['X-Raw: 1', 'content-length: 0'])}`,
    )
    const infos: unknown[] = []
    const answer = await stage.open().request({
      origin: server.origin,
      path: '/',
      method: 'GET',
      onInfo: (info) => infos.push(info.statusCode),
      responseHeaders: 'raw',
    })
    await answer.body.dump()
    return [infos, (answer.headers as unknown as (Buffer | string)[]).map(String)]
  },
  expected: [[103], ['X-Raw', '1', 'content-length', '0']] as unknown[],
})

row('§6 request(): a body that is destroyed early, a signal before and inside', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.http((_request, reply) => void reply.write('some'))
    const agent = stage.open()
    const { undici } = stage.contestant
    const options = { dispatcher: agent as never }
    const one = await undici.request(server.origin, options)
    const failure = once(one.body, 'error') as Promise<[Error]>
    one.body.destroy(new Error('enough'))
    const before = new AbortController()
    before.abort(new Error('never'))
    const inside = new AbortController()
    const two = await undici.request(server.origin, { ...options, signal: inside.signal })
    inside.abort(new Error('later'))
    return [
      (await failure)[0].message,
      await undici.request(server.origin, { ...options, signal: before.signal }).catch((error: Error) => error.message),
      await two.body.text().catch((error: Error) => error.message),
    ]
  },
  expected: ['enough', 'never', 'later'],
})

row('§6 stream() and pipeline()', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.http((incoming, reply) => void incoming.pipe(reply))
    const agent = stage.open()
    const { undici } = stage.contestant
    const sink = new PassThrough()
    const received = text(sink)
    await undici.stream(
      server.origin,
      { method: 'POST', body: Readable.from(['hel', 'lo']) as never, dispatcher: agent as never },
      () => sink,
    )
    const piped = text(
      Readable.from(['wor', 'ld']).pipe(
        undici.pipeline(server.origin, { method: 'POST', dispatcher: agent as never }, ({ body }) => body as never),
      ),
    )
    return [await received, await piped]
  },
  expected: ['hello', 'world'],
})
