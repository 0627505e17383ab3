/** undici's `interceptors.redirect` over the agent. */
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { IncomingMessage } from 'node:http'
import { ask, behaviour, composed, failureOf, OVER_8 } from './support/behaviour.ts'
import type { Stage } from './support/behaviour.ts'

/** What arrived at the end of the redirects. */
const echo = async (request: IncomingMessage): Promise<string> =>
  [request.method, request.url, await text(request)].join(' ').trim()

/** `/STATUS` redirects to `/end`, which says how it was asked. */
const startRedirects = (stage: Stage, location = '/end?q=1') =>
  stage.http(async (request, response) => {
    if (request.url!.startsWith('/end')) response.end(await echo(request))
    else {
      request.resume()
      response.writeHead(Number(request.url!.slice(1)), { location }).end('left behind')
    }
  })

const follow = (stage: Stage, options: object = {}) =>
  composed(stage, stage.contestant.undici.interceptors.redirect({ maxRedirections: 5, ...options }))

for (const status of [300, 301, 302, 303, 307, 308]) {
  behaviour(`${status} of a GET and of a HEAD keeps the method`, {
    run: async (stage) => {
      const server = await startRedirects(stage)
      const agent = follow(stage)
      return [
        await ask(stage, agent, `${server.origin}/${status}`),
        (await ask(stage, agent, `${server.origin}/${status}`, { method: 'HEAD' }))[0],
      ]
    },
    expected: [[200, 'GET /end?q=1'], 200],
  })
}

for (const [status, post, put] of [
  [301, 'GET /end?q=1', 'PUT /end?q=1 hello'],
  [302, 'GET /end?q=1', 'PUT /end?q=1 hello'],
  [303, 'GET /end?q=1', 'GET /end?q=1'],
  [307, 'POST /end?q=1 hello', 'PUT /end?q=1 hello'],
  [308, 'POST /end?q=1 hello', 'PUT /end?q=1 hello'],
] as const) {
  behaviour(`${status} of a POST and of a PUT with a body`, {
    run: async (stage) => {
      const server = await startRedirects(stage)
      const agent = follow(stage)
      const url = `${server.origin}/${status}`
      return [
        await ask(stage, agent, url, { method: 'POST', body: 'hello' }),
        await ask(stage, agent, url, { method: 'PUT', body: Buffer.from('hello') }),
      ]
    },
    expected: [
      [200, post],
      [200, put],
    ],
  })
}

behaviour('headers of the content go with the content, credentials stay with the origin', {
  run: async (stage) => {
    const asked: object[] = []
    const note = (request: IncomingMessage): void => {
      const { authorization, cookie, 'content-type': type, 'x-a': other } = request.headers
      asked.push({ authorization, cookie, type, other })
    }
    const far = await stage.http((request, response) => {
      note(request)
      response.end('far')
    })
    const near = await stage.http((request, response) => {
      note(request)
      request.resume()
      const location = request.url === '/start' ? '/next' : far.origin
      response.writeHead(303, { location }).end()
    })
    const headers = { authorization: 'Basic x', cookie: 'a=1', 'content-type': 'text/x', 'x-a': '1' }
    const answer = await ask(stage, follow(stage), `${near.origin}/start`, { method: 'POST', body: 'hello', headers })
    return [answer, asked]
  },
  expected: [
    [200, 'far'],
    [
      { authorization: 'Basic x', cookie: 'a=1', type: 'text/x', other: '1' },
      { authorization: 'Basic x', cookie: 'a=1', type: undefined, other: '1' },
      { authorization: undefined, cookie: undefined, type: undefined, other: '1' },
    ],
  ],
})

behaviour('a redirect without a location, and one beyond the most, are answers', {
  run: async (stage) => {
    const server = await stage.http((request, response) => {
      const at = Number(request.url!.slice(1))
      response.writeHead(302, at === 9 ? {} : { location: `/${at + 1}` }).end(request.url)
    })
    return [
      await ask(stage, follow(stage), `${server.origin}/9`),
      await ask(stage, follow(stage), `${server.origin}/1`),
      await ask(stage, follow(stage, { maxRedirections: 0 }), `${server.origin}/1`),
      await ask(stage, follow(stage), `${server.origin}/1`, { maxRedirections: 2 }),
    ]
  },
  expected: [
    [302, '/9'],
    [302, '/6'],
    [302, '/1'],
    [302, '/3'],
  ],
})

behaviour('too many redirects are an error where that is asked for', {
  on: OVER_8,
  run: async (stage) => {
    const server = await stage.http((request, response) => {
      response.writeHead(302, { location: `${request.url}x` }).end()
    })
    const agent = follow(stage, { maxRedirections: 2, throwOnMaxRedirect: true })
    return failureOf(() => ask(stage, agent, `${server.origin}/`))
  },
  expected: 'UND_ERR_REDIRECT_MAX: max redirects',
})

behaviour('a location that is no URL fails the request', {
  run: async (stage) => {
    const server = await startRedirects(stage, 'http://')
    return (await failureOf(() => ask(stage, follow(stage), `${server.origin}/302`))).split(':')[0]
  },
  expected: 'ERR_INVALID_URL',
})

behaviour('a streamed body that was sent is not sent again', {
  run: async (stage) => {
    const server = await startRedirects(stage)
    const url = `${server.origin}/307`
    const body = Readable.from(['hel', 'lo'])
    return ask(stage, follow(stage), url, { method: 'POST', body })
  },
  expected: [307, 'left behind'],
})

behaviour('a large body of a redirect is swallowed, and the history is told', {
  run: async (stage) => {
    const server = await stage.http((request, response) => {
      if (request.url === '/end') response.end('end')
      else response.writeHead(302, { location: '/end' }).end(Buffer.alloc(2_000_000))
    })
    const { statusCode, body, context } = await stage.contestant.undici.request(`${server.origin}/start`, {
      dispatcher: follow(stage) as never,
    })
    const { history } = context as { history: URL[] }
    return [statusCode, await body.text(), history.map(({ pathname }) => pathname)]
  },
  expected: [200, 'end', ['/start', '/end']],
})

behaviour('an abort at the second hop is the reason of the request', {
  run: async (stage) => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const server = await stage.http((request, response) => {
      if (request.url === '/end') controller.abort(reason)
      else response.writeHead(302, { location: '/end' }).end()
    })
    const asking = ask(stage, follow(stage), server.origin, { signal: controller.signal })
    return asking.catch((error: unknown) => error === reason)
  },
  expected: true,
})

behaviour('maxRedirections that is no count is refused', {
  run: (stage) => failureOf(() => ask(stage, follow(stage, { maxRedirections: -1 }), 'http://127.0.0.1:9')),
  expected: 'UND_ERR_INVALID_ARG: maxRedirections must be a positive number',
})
