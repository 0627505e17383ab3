/** undici-contract.md §3 and §4 over HTTP/2, where they are not those of HTTP/1.1. */
import { createSecureServer, constants } from 'node:http2'
import type { Http2SecureServer, ServerHttp2Stream, IncomingHttpHeaders } from 'node:http2'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import type { DispatcherSurface } from '../../lib/index.ts'
import { until } from '../support/deadline.ts'
import { certificate } from '../support/certificates.ts'
import { AGENTS } from './support/contestants.ts'
import { row } from './support/row.ts'
import type { Stage } from './support/stage.ts'

const CONTESTANTS = AGENTS.filter(({ engine }) => engine !== 'reqwest')
const CURRENT = CONTESTANTS.filter(({ library }) => library !== 'undici 7')

interface Running {
  origin: string
  server: Http2SecureServer
  /** The sessions that were opened. */
  sessions: number
}

/** An HTTP/2 server that does not fall back; its agent offers HTTP/2 first. */
async function start(
  stage: Stage,
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
  settings: object = {},
): Promise<Running> {
  const server = createSecureServer({ ...certificate('signed'), settings })
  const running: Running = { origin: '', server, sessions: 0 }
  server.on('session', (session) => {
    running.sessions++
    session.on('error', () => {})
    stage.defer(() => session.destroy())
  })
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {})
    onStream(stream, headers)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  await stage.adopt(
    Promise.resolve({ port: (server.address() as { port: number }).port, close: async () => void server.close() }),
  )
  running.origin = `https://localhost:${(server.address() as { port: number }).port}`
  return running
}

function open(stage: Stage, options: { connect?: object; [name: string]: unknown } = {}): DispatcherSurface {
  return stage.openTrusting({ allowH2: true, ...options })
}

const answer = (stream: ServerHttp2Stream): void => {
  stream.respond({ ':status': 200, 'x-one': '1', 'set-cookie': ['a=1', 'b=2'] })
  stream.end('ok')
}

row('§3 HTTP/2: the order of the callbacks', {
  on: CONTESTANTS,
  run: async (stage) => {
    const { origin } = await start(stage, answer)
    const observer = await stage.send(open(stage), origin).ended
    return [observer.response, observer.body]
  },
  expected: [['start', 'head 200', 'data', 'end'], 'ok'],
})

row('§3 HTTP/2: statusMessage is empty, rawHeaders is the object', {
  on: CURRENT,
  run: async (stage) => {
    const { origin } = await start(stage, answer)
    const observer = await stage.send(open(stage), origin).ended
    const { date: _, ...headers } = { ...observer.head.headers }
    for (const symbol of Object.getOwnPropertySymbols(headers)) delete headers[symbol as never]
    const raw = observer.rawHeaders as Record<string, unknown>
    return [observer.head.statusText, headers, Array.isArray(raw), raw['x-one'], observer.trailers]
  },
  expected: ['', { 'x-one': '1', 'set-cookie': ['a=1', 'b=2'] }, false, '1', {}] as unknown[],
})

row('§3 HTTP/2: the pseudo-headers and headers of the request', {
  on: CONTESTANTS,
  run: async (stage) => {
    const seen: object[] = []
    const { origin } = await start(stage, (stream, headers) => {
      seen.push({ ...headers })
      answer(stream)
    })
    await stage.send(open(stage), origin, { path: '/p?q', headers: { 'X-Mine': '1', list: ['a', 'b'] } }).ended
    return Object.fromEntries(Object.entries(seen[0]!).map(([name, value]) => [name, stage.mask(String(value))]))
  },
  expected: {
    ':method': 'GET',
    ':scheme': 'https',
    ':authority': 'localhost:PORT',
    ':path': '/p?q',
    'x-mine': '1',
    list: 'a, b',
  } as unknown,
})

row('§3 HTTP/2: a body both ways', {
  on: CONTESTANTS,
  run: async (stage) => {
    const { origin } = await start(stage, (stream) => {
      stream.respond({ ':status': 200 })
      stream.pipe(stream)
    })
    const agent = open(stage)
    async function* body(): AsyncGenerator<Buffer> {
      for (let index = 0; index < 64; index++) yield Buffer.alloc(16_384, index)
    }
    const sized = await stage.send(agent, origin, { method: 'POST', body: 'hello' }).ended
    const streamed = await stage.send(agent, origin, { method: 'POST', body: body() }).ended
    return [sized.body, streamed.bytes]
  },
  expected: ['hello', 64 * 16_384],
})

row('§3 HTTP/2: trailers', {
  on: CONTESTANTS,
  run: async (stage) => {
    const { origin } = await start(stage, (stream) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '5' }))
      stream.end('ok')
    })
    const { trailers, body } = await stage.send(open(stage), origin).ended
    return [trailers?.['x-sum'], body]
  },
  expected: ['5', 'ok'] as unknown[],
  undici7: [undefined, 'ok'],
})

row('§3 HTTP/2: informational heads', {
  on: CURRENT,
  run: async (stage) => {
    const { origin } = await start(stage, (stream) => {
      stream.additionalHeaders({ ':status': 103, link: '</a>' })
      answer(stream)
    })
    return (await stage.send(open(stage), origin).ended).response
  },
  expected: ['start', 'head 103', 'head 200', 'data', 'end'],
  differs: [{ id: 'C13', observed: ['start', 'head 200', 'data', 'end'] }],
})

row('§3 HTTP/2: one connection carries many requests at once', {
  on: CURRENT,
  run: async (stage) => {
    const streams: ServerHttp2Stream[] = []
    const running = await start(stage, (stream) => void streams.push(stream))
    const agent = open(stage)
    const observers = Array.from({ length: 20 }, () => stage.send(agent, running.origin))
    await until(() => streams.length === 20)
    for (const stream of streams) answer(stream)
    for (const observer of observers) await observer.ended
    return running.sessions
  },
  expected: 1,
})

row('§3 HTTP/2: pause() and abort()', {
  on: CONTESTANTS,
  run: async (stage) => {
    let closed = 0
    const { origin } = await start(stage, (stream) => {
      stream.on('close', () => closed++)
      stream.respond({ ':status': 200 })
      stream.write('some')
    })
    const observer = stage.send(open(stage), origin, {}, { head: (gate) => gate.pause() })
    await observer.seen('head')
    for (let index = 0; index < 20; index++) await new Promise((resolve) => setImmediate(resolve))
    const held = observer.response
    observer.gate.resume()
    await observer.seen('data')
    observer.gate.abort(new Error('enough'))
    const after = observer.response
    await until(() => closed === 1)
    return [held, after, observer.error?.message]
  },
  expected: [['start', 'head 200'], ['start', 'head 200', 'data', 'error'], 'enough'],
})

row('§3 HTTP/2: allowH2: false speaks HTTP/1.1, for the agent or for one request', {
  on: CONTESTANTS,
  run: async (stage) => {
    const versions: string[] = []
    const server = createSecureServer({ ...certificate('signed'), allowHTTP1: true }, (incoming, reply) => {
      versions.push(incoming.httpVersion)
      reply.end('ok')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const origin = `https://localhost:${port}`
    stage.defer(() => server.close())
    // undici offers http/1.1 first: a server that takes both speaks that, unless the client prefers HTTP/2.
    const agent = stage.openTrusting({ connect: { preferH2: true }, allowH2: true })
    await stage.send(agent, origin).ended
    await stage.send(agent, origin, { allowH2: false }).ended
    await stage.send(stage.openTrusting({ allowH2: false }), origin).ended
    return versions
  },
  expected: ['2.0', '1.1', '1.1'],
  // undici 7 looks at the agent's option alone.
  undici7: ['2.0', '2.0', '1.1'],
})

row('§3 HTTP/2: a path that http::Uri refuses', {
  on: CONTESTANTS,
  run: async (stage) => {
    const paths: unknown[] = []
    const { origin } = await start(stage, (stream, headers) => {
      paths.push(headers[':path'])
      answer(stream)
    })
    const agent = open(stage)
    for (const path of ['/a|b', '/<a>', '/^`']) await stage.send(agent, origin, { path }).ended
    return paths
  },
  expected: ['/a|b', '/<a>', '/^`'] as unknown[],
  differs: [{ id: 'C17', observed: ['/a|b', '/%3Ca%3E', '/%5E%60'] }],
})

row('§3 HTTP/2: extended CONNECT', {
  on: CURRENT,
  run: async (stage) => {
    const { origin } = await start(
      stage,
      (stream) => {
        stream.respond({ ':status': 200 })
        stream.pipe(stream)
      },
      { enableConnectProtocol: true },
    )
    const observer = await stage.send(open(stage), origin, { upgrade: 'websocket' }).ended
    observer.socket?.destroy()
    return [observer.response, observer.error?.message]
  },
  expected: [['start', 'upgrade 200'], undefined] as unknown[],
  differs: [{ id: 'C20', observed: [['start', 'error'], 'HTTP/2: Extended CONNECT protocol not supported by server'] }],
})

row('§4 HTTP/2: headers timeout', {
  on: CURRENT,
  run: async (stage) => {
    const { origin } = await start(stage, () => {})
    const { error } = await stage.send(open(stage), origin, { headersTimeout: 200 }).ended
    return stage.facts(error)
  },
  expected: {
    name: 'HeadersTimeoutError',
    code: 'UND_ERR_HEADERS_TIMEOUT',
    message: 'HTTP/2: "headers timeout after 200"',
  },
})

row('§4 HTTP/2: body timeout', {
  on: CURRENT,
  run: async (stage) => {
    const { origin } = await start(stage, (stream) => {
      stream.respond({ ':status': 200 })
      stream.write('some')
    })
    const { error } = await stage.send(open(stage), origin, { bodyTimeout: 200 }).ended
    return stage.facts(error)
  },
  expected: {
    name: 'BodyTimeoutError',
    code: 'UND_ERR_BODY_TIMEOUT',
    message: 'HTTP/2: "stream timeout after 200"',
  },
})

row('§4 HTTP/2: a stream that is reset', {
  on: CURRENT,
  run: async (stage) => {
    const { origin } = await start(stage, (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR))
    const { error, response } = await stage.send(open(stage), origin).ended
    return [response, stage.facts(error)]
  },
  expected: [
    ['start', 'error'],
    {
      name: 'Error',
      code: 'ERR_HTTP2_STREAM_ERROR',
      message: 'Stream closed with error code NGHTTP2_INTERNAL_ERROR',
    },
  ],
})

row('§3 HTTP/2: upgrade where the server has no extended CONNECT', {
  on: CURRENT,
  run: async (stage) => {
    const { origin } = await start(stage, answer)
    const observer = await stage.send(open(stage), origin, { upgrade: 'websocket' }).ended
    return stage.facts(observer.error)
  },
  expected: {
    name: 'InformationalError',
    code: 'UND_ERR_INFO',
    message: 'HTTP/2: Extended CONNECT protocol not supported by server',
  },
})

row('§3 HTTP/2: expectContinue sends the body after 100', {
  on: CURRENT,
  run: async (stage) => {
    const expectations: unknown[] = []
    const { origin } = await start(stage, (stream, headers) => {
      expectations.push(headers.expect)
      stream.additionalHeaders({ ':status': 100 })
      void text(stream).then((body) => {
        stream.respond({ ':status': 200 })
        stream.end(body)
      })
    })
    const observer = await stage.send(open(stage), origin, { method: 'POST', body: 'hello', expectContinue: true })
      .ended
    return [expectations, observer.body, observer.response]
  },
  expected: [['100-continue'], 'hello', ['start', 'head 100', 'head 200', 'data', 'end']] as unknown[],
  differs: [{ id: 'C13', observed: [['100-continue'], 'hello', ['start', 'head 200', 'data', 'end']] }],
})

row('§3 HTTP/2: expectContinue sends no body where a final response comes first', {
  on: CURRENT,
  run: async (stage) => {
    let received = 0
    const { origin } = await start(stage, (stream) => {
      stream.on('error', () => {})
      stream.on('data', (chunk: Buffer) => (received += chunk.length))
      stream.respond({ ':status': 417 })
      stream.end('no')
    })
    const observer = await stage.send(open(stage), origin, { method: 'POST', body: 'hello', expectContinue: true })
      .ended
    return [observer.body, observer.response, received]
  },
  expected: ['no', ['start', 'head 417', 'data', 'end'], 0] as unknown[],
})
