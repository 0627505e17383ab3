/** undici's `interceptors.cache` over the agent. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ask, behaviour, composed } from './support/behaviour.ts'
import type { Stage } from './support/behaviour.ts'

/** Answers with a count, and the headers. */
async function startCounting(
  stage: Stage,
  headers: Record<string, string>,
  answer: (request: IncomingMessage, response: ServerResponse, count: number) => void = (request, response, count) =>
    response.end(request.method === 'HEAD' ? '' : `${count}`),
) {
  let count = 0
  const server = await stage.http((request, response) => {
    request.resume()
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    answer(request, response, ++count)
  })
  return { origin: server.origin, count: () => count }
}

const caching = (stage: Stage, options?: object) =>
  composed(stage, stage.contestant.undici.interceptors.cache(options as never))

/** The texts of one request after the other. */
async function texts(stage: Stage, agent: ReturnType<typeof caching>, url: string, inits: object[]): Promise<string[]> {
  const all: string[] = []
  for (const init of inits) all.push((await ask(stage, agent, url, init))[1])
  return all
}

for (const [title, headers, inits, expected] of [
  ['max-age', { 'cache-control': 'max-age=60' }, [{}, {}], ['1', '1']],
  ['expires', { expires: new Date(Date.now() + 60_000).toUTCString() }, [{}, {}], ['1', '1']],
  ['no-store', { 'cache-control': 'no-store' }, [{}, {}], ['1', '2']],
  ['private', { 'cache-control': 'private, max-age=60' }, [{}, {}], ['1', '2']],
  ['vary: *', { 'cache-control': 'max-age=60', vary: '*' }, [{}, {}], ['1', '2']],
  [
    'vary of a header',
    { 'cache-control': 'max-age=60', vary: 'x-a' },
    [{ headers: { 'x-a': '1' } }, { headers: { 'x-a': '2' } }, { headers: { 'x-a': '1' } }],
    ['1', '2', '1'],
  ],
  [
    "the request's no-store",
    { 'cache-control': 'max-age=60' },
    [{ headers: { 'cache-control': 'no-store' } }, {}, {}],
    ['1', '2', '2'],
  ],
  [
    'an unsafe method in between drops it',
    { 'cache-control': 'max-age=60' },
    [{}, { method: 'POST', body: 'x' }, {}],
    ['1', '2', '3'],
  ],
] as const) {
  behaviour(title, {
    run: async (stage) => {
      const server = await startCounting(stage, headers)
      return texts(stage, caching(stage), server.origin, [...inits])
    },
    expected: [...expected],
  })
}

behaviour('only-if-cached without a copy is 504, and nothing is asked', {
  run: async (stage) => {
    const server = await startCounting(stage, { 'cache-control': 'max-age=60' })
    const headers = { 'cache-control': 'only-if-cached' }
    return [(await ask(stage, caching(stage), server.origin, { headers }))[0], server.count()]
  },
  expected: [504, 0],
})

behaviour('a stale copy is revalidated by its tag and by its date', {
  run: async (stage) => {
    const conditions: unknown[] = []
    const date = new Date(Date.now() - 10_000_000).toUTCString()
    const server = await startCounting(
      stage,
      { 'cache-control': 'max-age=0, must-revalidate', etag: '"v"', 'last-modified': date },
      (request, response, count) => {
        conditions.push([request.headers['if-none-match'], request.headers['if-modified-since'] !== undefined])
        if (request.headers['if-none-match'] === undefined) response.end(`${count}`)
        else response.writeHead(304).end()
      },
    )
    const agent = caching(stage)
    return [await texts(stage, agent, server.origin, [{}, {}]), conditions.slice(1)]
  },
  expected: [['1', '1'], [['"v"', true]]],
})

behaviour('a large body is kept whole, and given with an age', {
  run: async (stage) => {
    const server = await startCounting(stage, { 'cache-control': 'max-age=60' }, (_request, response, count) => {
      response.end(Buffer.alloc(1_000_000, `${count}`))
    })
    const agent = caching(stage)
    const first = await ask(stage, agent, server.origin)
    const second = await stage.contestant.undici.request(server.origin, { dispatcher: agent as never })
    const text = await second.body.text()
    return [first[1].length, text === first[1], second.headers['age'] !== undefined, server.count()]
  },
  expected: [1_000_000, true, true, 1],
})

behaviour('a body that broke off is not kept', {
  run: async (stage) => {
    const server = await startCounting(stage, { 'cache-control': 'max-age=60' }, (_request, response, count) => {
      if (count > 1) response.end('whole')
      else {
        response.setHeader('content-length', 100)
        response.write('part', () => response.destroy())
      }
    })
    const agent = caching(stage)
    const broken = await ask(stage, agent, server.origin).catch(() => 'broken')
    return [broken, await ask(stage, agent, server.origin), server.count()]
  },
  expected: ['broken', [200, 'whole'], 2],
})

behaviour('a store is shared by agents', {
  run: async (stage) => {
    const server = await startCounting(stage, { 'cache-control': 'max-age=60' })
    const store = new stage.contestant.undici.cacheStores.MemoryCacheStore()
    return [
      await ask(stage, caching(stage, { store }), server.origin),
      await ask(stage, caching(stage, { store }), server.origin),
    ]
  },
  expected: [
    [200, '1'],
    [200, '1'],
  ],
})
