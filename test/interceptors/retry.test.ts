/** undici's `interceptors.retry` over the agent. */
import { Readable } from 'node:stream'
import { response } from '../contract/support/raw-server.ts'
import { closedPort } from '../support/servers.ts'
import { ask, behaviour, composed, failureOf, OVER_8 } from './support/behaviour.ts'
import type { Stage } from './support/behaviour.ts'

const OK = response('200 OK', ['content-length: 2'], 'ok')
const status = (line: string, ...headers: string[]): string => response(line, ['content-length: 0', ...headers])

const retrying = (stage: Stage, options: object = {}) =>
  composed(stage, stage.contestant.undici.interceptors.retry({ minTimeout: 1, maxRetries: 3, ...options }))

/** One answer after the other; `null` drops the connection. */
const startAnswers = (stage: Stage, ...answers: (string | null)[]) =>
  stage.raw((_request, socket, index) => {
    const answer = answers[index] ?? OK
    if (answers[index] === null) socket.destroy()
    else return answer
    return undefined
  })

for (const line of ['429 Too Many', '500 Broken', '502 Bad', '503 Busy', '504 Late']) {
  behaviour(`${line} is asked again`, {
    run: async (stage) => {
      const server = await startAnswers(stage, status(line), status(line))
      return [await ask(stage, retrying(stage), server.origin), server.requests.length]
    },
    expected: [[200, 'ok'], 3],
  })
}

behaviour('what asking again does not help is an answer', {
  run: async (stage) => {
    const server = await startAnswers(stage, status('404 None'), status('501 No'))
    const agent = retrying(stage)
    return [await ask(stage, agent, server.origin), await ask(stage, agent, server.origin)]
  },
  expected: [
    [404, ''],
    [501, ''],
  ],
})

behaviour('after the last try the status is an error, or the answer', {
  run: async (stage) => {
    const server = await stage.raw(status('503 Busy'))
    return [
      await failureOf(() => ask(stage, retrying(stage, { maxRetries: 1 }), server.origin)),
      server.requests.length,
      await ask(stage, retrying(stage, { maxRetries: 1, throwOnError: false }), server.origin),
      server.requests.length,
    ]
  },
  expected: ['UND_ERR_REQ_RETRY: Request failed', 2, [503, ''], 4],
})

behaviour('a method that is not to be repeated is not', {
  run: async (stage) => {
    const server = await startAnswers(stage, status('503 Busy'), null)
    const agent = retrying(stage)
    const post = { method: 'POST', body: 'hello' }
    return [
      await failureOf(() => ask(stage, agent, server.origin, post)),
      await failureOf(() => ask(stage, agent, server.origin, post)).then((failure) => failure.split(':')[0]),
      server.requests.length,
    ]
  },
  expected: ['UND_ERR_REQ_RETRY: Request failed', 'UND_ERR_SOCKET', 2],
})

behaviour('a PUT is sent again with its body, unless the body is a stream that was read', {
  run: async (stage) => {
    const server = await startAnswers(stage, status('503 Busy'), OK, status('503 Busy'), OK)
    const agent = retrying(stage)
    const text = await ask(stage, agent, server.origin, { method: 'PUT', body: 'hello' })
    const bodies = server.requests.map(({ body }) => body)
    const stream = await failureOf(() =>
      ask(stage, agent, server.origin, { method: 'PUT', body: Readable.from(['hel', 'lo']) }),
    )
    return [text, bodies, stream, server.requests.length]
  },
  expected: [[200, 'ok'], ['hello', 'hello'], 'UND_ERR_REQ_RETRY: Request failed', 3],
})

behaviour('a refused connection is tried again, and its error is the last', {
  run: async (stage) => {
    const port = await closedPort()
    let tries = 0
    const agent = retrying(stage, {
      maxRetries: 2,
      retry: (error: Error, { state }: { state: { counter: number } }, done: (error?: Error | null) => void) => {
        tries++
        done(state.counter >= 2 ? error : null)
      },
    })
    return [(await failureOf(() => ask(stage, agent, `http://127.0.0.1:${port}`))).split(':')[0], tries >= 1]
  },
  expected: ['ECONNREFUSED', true],
})

behaviour('retry-after says when', {
  // 7 takes a pause of 0 s for none.
  on: OVER_8,
  run: async (stage) => {
    const server = await startAnswers(stage, status('503 Busy', 'retry-after: 0'), status('429 Many', 'retry-after: 0'))
    // Its own pause would take longer than the test may.
    const agent = retrying(stage, { minTimeout: 100_000, maxTimeout: 100_000 })
    return [await ask(stage, agent, server.origin), server.requests.length]
  },
  expected: [[200, 'ok'], 3],
})

behaviour('a body that broke off twice is put together from three', {
  run: async (stage) => {
    const part = (line: string, headers: string[], body: string) => response(line, ['etag: "v"', ...headers], body)
    const server = await stage.raw((_request, socket, index) => {
      if (index === 0) socket.end(part('200 OK', ['content-length: 9', 'accept-ranges: bytes'], 'one'))
      if (index === 1) socket.end(part('206 Part', ['content-length: 6', 'content-range: bytes 3-8/9'], 'two'))
      return index < 2 ? undefined : part('206 Part', ['content-length: 3', 'content-range: bytes 6-8/9'], 'six')
    })
    const answer = await ask(stage, retrying(stage), server.origin)
    const ranges = server.requests.map(({ lines }) => lines.find((line) => /^range:/i.test(line))?.toLowerCase())
    return [answer, ranges]
  },
  expected: [
    [200, 'onetwosix'],
    [undefined, 'range: bytes=3-8', 'range: bytes=6-8'],
  ],
})

for (const [title, answer] of [
  ['another version', response('206 Part', ['etag: "w"', 'content-length: 3', 'content-range: bytes 3-5/6'], 'two')],
  ['another range', response('206 Part', ['etag: "v"', 'content-length: 3', 'content-range: bytes 1-3/6'], 'two')],
  ['the whole', response('200 OK', ['etag: "v"', 'content-length: 6'], 'onetwo')],
] as const) {
  behaviour(`${title} in place of the rest is an error`, {
    run: async (stage) => {
      const server = await stage.raw((_request, socket, index) => {
        if (index > 0) return answer
        socket.end(response('200 OK', ['etag: "v"', 'content-length: 6', 'accept-ranges: bytes'], 'one'))
        return undefined
      })
      return (await failureOf(() => ask(stage, retrying(stage), server.origin))).split(':')[0]
    },
    expected: 'UND_ERR_REQ_RETRY',
  })
}

behaviour('an abort between two tries ends the request', {
  run: async (stage) => {
    const server = await stage.raw(status('503 Busy'))
    const controller = new AbortController()
    const reason = new Error('enough')
    const agent = retrying(stage, {
      retry: (_error: Error, _context: unknown, done: (error?: Error | null) => void) => {
        controller.abort(reason)
        done(null)
      },
    })
    const asking = ask(stage, agent, server.origin, { signal: controller.signal })
    return [await asking.catch((error: unknown) => error === reason), server.requests.length <= 2]
  },
  expected: [true, true],
})

behaviour('RetryAgent asks again, per request as told', {
  run: async (stage) => {
    const server = await startAnswers(stage, null, status('418 Teapot'))
    const { RetryAgent } = stage.contestant.undici
    const agent = new RetryAgent(stage.open() as never, { minTimeout: 1, maxRetries: 3, statusCodes: [418] })
    return [await ask(stage, agent as never, server.origin), server.requests.length]
  },
  expected: [[200, 'ok'], 3],
})
