/** undici-contract.md §1: who calls the dispatcher: the fetch of undici 7, of undici 8 and of Node itself. */
import { once } from 'node:events'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { text } from 'node:stream/consumers'
import * as undici8 from 'undici'
import * as undici7 from 'undici7'
import type { Agent } from '../../lib/index.ts'
import { until } from '../support/deadline.ts'
import { isAsked } from '../support/servers.ts'
import { APIS, APIS_WIRE, CURRENT } from './support/contestants.ts'
import type { Undici } from './support/contestants.ts'
import { response } from './support/raw-server.ts'
import { row } from './support/row.ts'
import type { Stage } from './support/stage.ts'

type Fetch = (url: string, init?: object) => Promise<Response>

/** undici's fetch over the dispatcher. */
function fetchOf(stage: Stage, options?: object): Fetch {
  const dispatcher = stage.open(options)
  return (url, init) =>
    stage.contestant.undici.fetch(url, { dispatcher, ...init } as never) as unknown as Promise<Response>
}

/** Node's own, over the dispatcher. */
function builtIn(stage: Stage): Fetch {
  const dispatcher = stage.open()
  return (url, init) => globalThis.fetch(url, { dispatcher, ...init } as never)
}

/** A server that tells what it was asked. */
const echo = (stage: Stage): ReturnType<Stage['http']> =>
  stage.http((incoming, reply) => {
    void text(incoming).then((body) => {
      const { method, url, headers } = incoming
      reply.writeHead(200, {
        'x-list': ['a', 'b'],
        'set-cookie': ['one=1', 'two=2'],
        'content-type': 'application/json',
      })
      reply.end(
        JSON.stringify({ method, url, body, length: headers['content-length'] ?? headers['transfer-encoding'] }),
      )
    })
  })

/** What every fetch over every dispatcher does alike. */
async function exercise(stage: Stage, fetch: Fetch): Promise<unknown> {
  const server = await echo(stage)
  const seen: unknown[] = []
  const get = await fetch(`${server.origin}/a?b=c`)
  seen.push(get.status, get.statusText, get.headers.get('x-list'), get.headers.getSetCookie(), await get.json())
  const post = await fetch(server.origin, { method: 'POST', body: 'hello' })
  seen.push(await post.json())
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(Buffer.from('str'))
      controller.enqueue(Buffer.from('eam'))
      controller.close()
    },
  })
  seen.push(await (await fetch(server.origin, { method: 'PUT', body, duplex: 'half' })).json())
  seen.push((await fetch(server.origin, { method: 'HEAD' })).status)
  return seen
}

const EXERCISED = [
  200,
  'OK',
  'a, b',
  ['one=1', 'two=2'],
  { method: 'GET', url: '/a?b=c', body: '' },
  { method: 'POST', url: '/', body: 'hello', length: '5' },
  { method: 'PUT', url: '/', body: 'stream', length: 'chunked' },
  200,
]

// Node 24's own fetch brings legacy handlers, which undici 8's Agent refuses.
const BUILT_IN = CURRENT.filter(({ library }) => library !== 'undici 8')

row("§1 undici's fetch(url, { dispatcher })", {
  on: APIS,
  run: (stage) => exercise(stage, fetchOf(stage)),
  expected: EXERCISED as unknown,
})

row("§1 Node's fetch(url, { dispatcher })", {
  on: BUILT_IN,
  run: (stage) => exercise(stage, builtIn(stage)),
  expected: EXERCISED as unknown,
})

for (const [name, undici] of [
  ['undici 8', undici8 as unknown as Undici],
  ['undici 7', undici7],
] as const) {
  row(`§1 Node's fetch over the global dispatcher that ${name} sets`, {
    isSerial: true,
    on: CURRENT.filter(({ library }) => library === 'sluice' || library === name),
    run: async (stage) => {
      const symbols = ['undici.globalDispatcher.1', 'undici.globalDispatcher.2'].map((key) => Symbol.for(key))
      const globals = globalThis as Record<symbol, unknown>
      const before = symbols.map((symbol) => globals[symbol])
      stage.defer(() => symbols.forEach((symbol, index) => (globals[symbol] = before[index])))
      undici.setGlobalDispatcher(stage.open() as never)
      const ofNode = await exercise(stage, globalThis.fetch as Fetch)
      const ofPackage = await exercise(stage, undici.fetch as unknown as Fetch)
      return [ofNode, ofPackage]
    },
    expected: [EXERCISED, EXERCISED] as unknown,
  })
}

row('§1 fetch: content-encoding is decoded by fetch, so it must reach it as it was sent', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.http((incoming, reply) => {
      const isGzip = incoming.url === '/gzip'
      reply.writeHead(200, { 'content-encoding': isGzip ? 'gzip' : 'br' })
      reply.end(isGzip ? gzipSync('hello') : brotliCompressSync('hello'))
    })
    const fetch = fetchOf(stage)
    const seen = []
    for (const path of ['/gzip', '/br']) {
      const answer = await fetch(server.origin + path)
      seen.push([answer.headers.get('content-encoding'), await answer.text()])
    }
    return seen
  },
  expected: [
    ['gzip', 'hello'],
    ['br', 'hello'],
  ],
})

row('§1 fetch: redirects are followed by fetch; `manual` shows them', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.http((incoming, reply) => {
      if (incoming.url === '/end') reply.end(incoming.method)
      else reply.writeHead(302, { location: '/end' }).end()
    })
    const fetch = fetchOf(stage)
    const followed = await fetch(`${server.origin}/start`, { method: 'POST', body: 'x' })
    const manual = await fetch(`${server.origin}/start`, { redirect: 'manual' })
    const refused = await fetch(`${server.origin}/start`, { redirect: 'error' }).catch((error: Error) => error.message)
    return [followed.redirected, stage.mask(followed.url), await followed.text(), manual.status, refused]
  },
  expected: [true, 'http://127.0.0.1:PORT/end', 'GET', 302, 'fetch failed'] as unknown[],
})

row('§1 fetch: what it sends is all that is sent', {
  on: APIS_WIRE,
  run: async (stage) => {
    const server = await stage.raw()
    await (await fetchOf(stage)(server.origin, { headers: { 'X-Mine': '1' } })).text()
    return server.requests[0]!.lines.map((line) => stage.mask(line))
  },
  expected: [
    'GET / HTTP/1.1',
    'host: 127.0.0.1:PORT',
    'connection: keep-alive',
    'X-Mine: 1',
    'accept: */*',
    'accept-language: *',
    'sec-fetch-mode: cors',
    'user-agent: undici',
    'accept-encoding: gzip, deflate',
  ],
})

row('§1 fetch: abort before, while waiting and inside the body', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.http((incoming, reply) => {
      if (incoming.url === '/body') reply.write('some')
    })
    const fetch = fetchOf(stage)
    const before = await fetch(server.origin, { signal: AbortSignal.abort() }).catch((error: Error) => error.name)
    const waiting = new AbortController()
    const pending = fetch(server.origin, { signal: waiting.signal }).catch((error: Error) => error.name)
    await until(() => isAsked(server))
    waiting.abort()
    const inside = new AbortController()
    const answer = await fetch(`${server.origin}/body`, { signal: inside.signal })
    const reading = answer.text().catch((error: Error) => error.name)
    inside.abort()
    const seen = [before, await pending, await reading]
    await until(() => server.sockets.size === 0)
    return seen
  },
  expected: ['AbortError', 'AbortError', 'AbortError'],
})

row('§1 fetch: cancelling the body drops the connection', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.http((_request, reply) => void reply.write('some'))
    const answer = await fetchOf(stage)(server.origin)
    await answer.body!.cancel()
    await until(() => server.sockets.size === 0)
    return answer.status
  },
  expected: 200,
})

row('§1 fetch: 200 at once', {
  on: APIS,
  run: async (stage) => {
    const server = await echo(stage)
    const fetch = fetchOf(stage)
    const answers = await Promise.all(
      Array.from(
        { length: 200 },
        async (_, index) => ((await (await fetch(`${server.origin}/${index}`)).json()) as { url: string }).url,
      ),
    )
    return answers.every((url, index) => url === `/${index}`)
  },
  expected: true,
})

row('§1 fetch: a redirect status with a body, 204 and 304', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.raw((request) =>
      request.lines[0]!.includes('/204')
        ? response('204 No Content')
        : response('300 Multiple Choices', ['content-length: 2'], 'ok'),
    )
    const fetch = fetchOf(stage)
    const none = await fetch(`${server.origin}/204`)
    const some = await fetch(server.origin)
    return [none.status, none.body, some.status, await some.text()]
  },
  expected: [204, null, 300, 'ok'] as unknown[],
})

row('§1 EventSource', {
  on: APIS,
  run: async (stage) => {
    const server = await stage.http((_request, reply) => {
      reply.writeHead(200, { 'content-type': 'text/event-stream' })
      reply.write('data: one\n\nevent: named\ndata: two\n\n')
    })
    const { EventSource } = stage.contestant.undici
    const source = new EventSource(server.origin, { dispatcher: stage.open() as never } as never)
    stage.defer(() => source.close())
    const named = once(source as never, 'named')
    const [first] = (await once(source as never, 'message')) as [{ data: string }]
    const [second] = (await named) as [{ data: string }]
    return [first.data, second.data]
  },
  expected: ['one', 'two'],
})

row('§1 the agent is a dispatcher without isMockActive, and says its limits', {
  on: CURRENT.filter(({ library }) => library === 'sluice'),
  run: (stage) => {
    const agent = stage.open() as unknown as Agent & Record<string, unknown>
    return [Boolean(agent['isMockActive']), typeof agent['webSocketOptions'], typeof agent['eventSourceOptions']]
  },
  expected: [false, 'object', 'object'],
})
