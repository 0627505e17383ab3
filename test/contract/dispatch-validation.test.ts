/** undici-contract.md §2: what `dispatch` accepts, and how it says no. */
import { AGENTS, CURRENT, LEGACY } from './support/contestants.ts'
import { OK } from './support/raw-server.ts'
import { row } from './support/row.ts'
import type { Stage } from './support/stage.ts'

const base = { origin: 'http://127.0.0.1:9', path: '/', method: 'GET' }

/** Name, code and message of what a dispatch is refused with before it returns; `accepted` when it is not. */
function refusal(stage: Stage, options: unknown, handler?: object): string {
  const observer = stage.observe()
  const agent = stage.open()
  try {
    agent.dispatch(options as never, handler ?? observer.handler)
  } catch (error) {
    return `throws ${line(error as Error)}`
  }
  return observer.error === null ? 'accepted' : line(observer.error)
}

function line(error: Error & { code?: string }): string {
  return `${error.name} ${error.code}: ${error.message}`
}

const invalid = (message: string): string => `InvalidArgumentError UND_ERR_INVALID_ARG: ${message}`

/** Every value of one option, and what it is refused with. */
function refuses(title: string, cases: readonly (readonly [object, string])[], undici7?: readonly string[]): void {
  row<string[]>(`§2 ${title}`, {
    run: (stage) => cases.map(([options]) => refusal(stage, { ...base, ...options })),
    expected: cases.map(([, message]) => message),
    ...(undici7 === undefined ? {} : { undici7: [...undici7] }),
  })
}

const noop = (): void => {}

row('§2 a handler that is no object is thrown', {
  on: AGENTS,
  run: (stage) => [undefined, null, 5, 'text', noop].map((handler) => throwOf(stage, base, handler)),
  expected: Array.from({ length: 5 }, () => invalid('handler must be an object')),
})

function throwOf(stage: Stage, options: unknown, handler: unknown): string {
  try {
    stage.open().dispatch(options as never, handler as never)
  } catch (error) {
    return line(error as Error)
  }
  return 'nothing thrown'
}

row('§2 every other refusal reaches onResponseError inside dispatch, once, with null for a controller and no start', {
  on: CURRENT,
  run: (stage) => {
    const calls: unknown[] = []
    const handler = {
      onRequestStart: () => calls.push('start'),
      onResponseStart: noop,
      onResponseData: noop,
      onResponseEnd: noop,
      onResponseError: (controller: unknown, error: Error) => calls.push([controller ?? null, error.message]),
    }
    for (const options of [null, { ...base, origin: '' }, { ...base, path: 'x' }, { ...base, headers: 5 }]) {
      stage.open().dispatch(options as never, handler)
    }
    return calls
  },
  expected: [
    [null, 'opts must be an object.'],
    [null, 'opts.origin must be a non-empty string or URL.'],
    [null, 'path must be an absolute URL or start with a slash'],
    [null, 'headers must be an object or an array'],
  ],
})

row('§2 every other refusal reaches onError inside dispatch, once', {
  on: LEGACY,
  run: (stage) =>
    [null, { ...base, origin: '' }, { ...base, path: 'x' }, { ...base, headers: 5 }].map((options) => {
      const observer = stage.observe()
      stage.open().dispatch(options as never, observer.handler)
      return [observer.events, observer.error?.message]
    }),
  expected: [
    [['error'], 'opts must be an object.'],
    [['error'], 'opts.origin must be a non-empty string or URL.'],
    [['error'], 'path must be an absolute URL or start with a slash'],
    [['error'], 'headers must be an object or an array'],
  ],
})

row('§2 without onResponseError the refusal is thrown', {
  on: AGENTS,
  run: (stage) => [
    throwOf(stage, null, {}),
    throwOf(stage, { ...base, origin: 5 }, { onRequestStart: noop }),
    throwOf(stage, { ...base, method: 5 }, { onRequestStart: noop }),
  ],
  expected: [
    invalid('opts must be an object.'),
    invalid('opts.origin must be a non-empty string or URL.'),
    invalid('method must be a string'),
  ],
  undici7: [invalid('opts must be an object.'), invalid('invalid onError method'), invalid('invalid onError method')],
})

row("§2 dispatch returns false for what the agent refuses, true for what an origin's client refuses", {
  run: async (stage) => {
    const returned = (options: unknown): unknown => stage.open().dispatch(options as never, stage.observe().handler)
    const closed = stage.open()
    await closed.close()
    const destroyed = stage.open()
    await destroyed.destroy()
    return [
      [null, 5, { ...base, origin: undefined }, { ...base, origin: 'ftp://x' }, { ...base, origin: 'nonsense' }].map(
        returned,
      ),
      [
        { ...base, path: '' },
        { ...base, method: 'a b' },
        { ...base, headers: 5 },
        { ...base, body: 5 },
      ].map(returned),
      [closed, destroyed].map((agent) => agent.dispatch(base, stage.observe().handler)),
    ]
  },
  expected: [
    [false, false, false, false, false],
    [true, true, true, true],
    [false, false],
  ],
})

row('§2 the order of the checks', {
  run: async (stage) => {
    const destroyed = stage.open()
    await destroyed.destroy()
    const wrong = { origin: '', path: 5, method: 5, headersTimeout: -1, headers: 5, dispatcher: undefined }
    const observer = stage.observe()
    destroyed.dispatch(wrong as never, observer.handler)
    const steps = [
      wrong,
      { ...wrong, origin: base.origin },
      { ...wrong, origin: base.origin, path: '/' },
      { ...wrong, origin: base.origin, path: '/', method: 'GET' },
      { ...wrong, origin: base.origin, path: '/', method: 'GET', headersTimeout: 0 },
    ]
    return [observer.error!.name, ...steps.map((options) => refusal(stage, options))]
  },
  expected: [
    'ClientDestroyedError',
    invalid('opts.origin must be a non-empty string or URL.'),
    invalid('path must be a string'),
    invalid('method must be a string'),
    invalid('invalid headersTimeout'),
    invalid('headers must be an object or an array'),
  ],
})

row('§2 callbacks that are missing, checked last', {
  on: CURRENT,
  run: (stage) => {
    const whole = {
      onRequestStart: noop,
      onRequestUpgrade: noop,
      onResponseStart: noop,
      onResponseData: noop,
      onResponseEnd: noop,
    }
    const without = (name: string, options: object = {}, value?: unknown): string => {
      let message = 'accepted'
      const handler = {
        ...whole,
        onResponseError: (_: unknown, error: Error) => (message = line(error)),
        [name]: value,
      }
      stage.open().dispatch({ ...base, ...options } as never, handler as never)
      return message
    }
    return [
      without('onResponseStart'),
      without('onResponseData'),
      without('onResponseEnd'),
      without('onRequestUpgrade', { upgrade: 'x' }),
      without('onRequestUpgrade', { method: 'CONNECT', path: 'a:80' }),
      without('onResponseStart', { headers: 5 }),
      without('onBodySent', {}, 5),
      without('onRequestSent', {}, 'x'),
    ]
  },
  expected: [
    invalid('invalid onResponseStart method'),
    invalid('invalid onResponseData method'),
    invalid('invalid onResponseEnd method'),
    invalid('invalid onRequestUpgrade method'),
    invalid('invalid onRequestUpgrade method'),
    invalid('headers must be an object or an array'),
    invalid('invalid onBodySent method'),
    invalid('invalid onRequestSent method'),
  ],
  undici7: Array.from({ length: 8 }, (_, index) =>
    index === 5 ? invalid('headers must be an object or an array') : 'accepted',
  ),
})

row('§2 legacy callbacks that are missing', {
  on: LEGACY,
  run: (stage) => {
    const whole = { onConnect: noop, onUpgrade: noop, onHeaders: noop, onData: noop, onComplete: noop }
    const without = (name: string, options: object = {}): string => {
      let message = 'accepted'
      const handler = { ...whole, onError: (error: Error) => (message = line(error)), [name]: undefined }
      stage.open().dispatch({ ...base, ...options } as never, handler as never)
      return message
    }
    return [
      without('onConnect'),
      without('onHeaders'),
      without('onData'),
      without('onComplete'),
      without('onUpgrade', { upgrade: 'x' }),
    ]
  },
  expected: [
    invalid('invalid onConnect method'),
    invalid('invalid onHeaders method'),
    invalid('invalid onData method'),
    invalid('invalid onComplete method'),
    invalid('invalid onUpgrade method'),
  ],
})

refuses('origin', [
  [{ origin: undefined }, invalid('opts.origin must be a non-empty string or URL.')],
  [{ origin: '' }, invalid('opts.origin must be a non-empty string or URL.')],
  [{ origin: 5 }, invalid('opts.origin must be a non-empty string or URL.')],
  [{ origin: {} }, invalid('opts.origin must be a non-empty string or URL.')],
  [{ origin: 'ftp://127.0.0.1' }, invalid('Invalid URL protocol: the URL must start with `http:` or `https:`.')],
  [{ origin: 'http://127.0.0.1/path' }, invalid('invalid url')],
  [{ origin: 'http://127.0.0.1/?q' }, invalid('invalid url')],
  [{ origin: 'http://127.0.0.1/#h' }, invalid('invalid url')],
  [{ origin: new URL('http://127.0.0.1/path') }, invalid('invalid url')],
  [{ origin: 'nonsense' }, 'TypeError ERR_INVALID_URL: Invalid URL'],
])

row('§2 origin is a string or a URL, with or without a slash at its end', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const origins = [server.origin, `${server.origin}/`, new URL(server.origin)]
    const statuses = []
    for (const origin of origins) statuses.push((await stage.fetch(origin)).head.status)
    return statuses
  },
  expected: [200, 200, 200],
})

refuses('path', [
  [{ path: undefined }, invalid('path must be a string')],
  [{ path: 5 }, invalid('path must be a string')],
  [{ path: '' }, invalid('path must be an absolute URL or start with a slash')],
  [{ path: 'a' }, invalid('path must be an absolute URL or start with a slash')],
  [{ path: '?a' }, invalid('path must be an absolute URL or start with a slash')],
  [{ path: 'ws://a/' }, invalid('path must be an absolute URL or start with a slash')],
  [{ path: '/a b' }, invalid('invalid request path')],
  [{ path: '/a\r\nb' }, invalid('invalid request path')],
  [{ path: '/a\0' }, invalid('invalid request path')],
  [{ path: '/\u0100' }, invalid('invalid request path')],
  [{ path: 'a b', method: 'CONNECT' }, invalid('invalid request path')],
])

refuses('method', [
  [{ method: undefined }, invalid('method must be a string')],
  [{ method: 5 }, invalid('method must be a string')],
  [{ method: '' }, invalid('invalid request method')],
  [{ method: 'A B' }, invalid('invalid request method')],
  [{ method: 'G\r\nT' }, invalid('invalid request method')],
  [{ method: 'G\u00e9T' }, invalid('invalid request method')],
])

refuses('query', [
  [
    { path: '/?a', query: { b: 1 } },
    'Error undefined: Query params cannot be passed when url already contains "?" or "#".',
  ],
  [
    { path: '/#a', query: { b: 1 } },
    'Error undefined: Query params cannot be passed when url already contains "?" or "#".',
  ],
])

refuses('upgrade', [
  [{ upgrade: 5 }, invalid('upgrade must be a string')],
  [{ upgrade: true }, invalid('upgrade must be a string')],
  [{ upgrade: 'a\nb' }, invalid('invalid upgrade header')],
])

refuses('headersTimeout and bodyTimeout', [
  [{ headersTimeout: -1 }, invalid('invalid headersTimeout')],
  [{ headersTimeout: '5' }, invalid('invalid headersTimeout')],
  [{ headersTimeout: Infinity }, invalid('invalid headersTimeout')],
  [{ headersTimeout: Number.NaN }, invalid('invalid headersTimeout')],
  [{ bodyTimeout: -1 }, invalid('invalid bodyTimeout')],
  [{ bodyTimeout: '5' }, invalid('invalid bodyTimeout')],
  [{ bodyTimeout: Infinity }, invalid('invalid bodyTimeout')],
])

refuses('reset and expectContinue', [
  [{ reset: 1 }, invalid('invalid reset')],
  [{ reset: 'yes' }, invalid('invalid reset')],
  [{ expectContinue: 1 }, invalid('invalid expectContinue')],
])

refuses('throwOnError and maxRedirections', [
  [{ throwOnError: false }, invalid('invalid throwOnError')],
  [{ throwOnError: true }, invalid('invalid throwOnError')],
  [{ maxRedirections: 1 }, invalid('maxRedirections is not supported, use the redirect interceptor')],
  [{ maxRedirections: '0' }, invalid('maxRedirections is not supported, use the redirect interceptor')],
])

refuses('typeOfService', [
  [{ typeOfService: -1 }, invalid('typeOfService must be an integer between 0 and 255')],
  [{ typeOfService: 256 }, invalid('typeOfService must be an integer between 0 and 255')],
  [{ typeOfService: 1.5 }, invalid('typeOfService must be an integer between 0 and 255')],
  [{ typeOfService: '1' }, invalid('typeOfService must be an integer between 0 and 255')],
])

row('§2 typeOfService', {
  on: AGENTS,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const seen = []
    for (const typeOfService of [0, 16]) {
      const observer = await stage.fetch(server.origin, { typeOfService })
      seen.push(observer.error?.name ?? observer.head.status)
    }
    return seen
  },
  expected: [200, 200] as unknown[],
  differs: [{ id: 'C15', observed: [200, 'NotSupportedError'] }],
})

refuses('body', [
  [{ body: 5 }, invalid('body must be a string, a Buffer, a Readable stream, an iterable, or an async iterable')],
  [{ body: true }, invalid('body must be a string, a Buffer, a Readable stream, an iterable, or an async iterable')],
  [{ body: {} }, invalid('body must be a string, a Buffer, a Readable stream, an iterable, or an async iterable')],
  [{ body: noop }, invalid('body must be a string, a Buffer, a Readable stream, an iterable, or an async iterable')],
])

row('§2 an option that means nothing is accepted: null, 0, unknown keys, allowH2, servername, idempotent, blocking', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    const seen = []
    for (const options of [
      {
        headersTimeout: null,
        bodyTimeout: null,
        reset: null,
        expectContinue: null,
        throwOnError: null,
        maxRedirections: null,
      },
      {
        headersTimeout: 0,
        bodyTimeout: 0,
        maxRedirections: 0,
        upgrade: undefined,
        query: null,
        body: null,
        headers: null,
      },
      { typeOfService: null, upgrade: null, allowH2: false, idempotent: 'any', blocking: 'any', servername: null },
      { __mockAgentBodyForDispatch: null, anything: { at: 'all' }, redirections: 5 },
      { upgrade: '', headersTimeout: 60_000.5, bodyTimeout: 0.5 * 1e6 },
    ]) {
      const observer = await stage.send(agent, server.origin, options as never).ended
      seen.push([observer.head?.status, stage.facts(observer.error)])
    }
    return seen
  },
  expected: Array.from({ length: 5 }, () => [200, null]),
})

row('§2 a frozen opts object is not written to', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const headers = Object.freeze({ a: '1' })
    const options = Object.freeze({
      origin: server.origin,
      path: '/',
      method: 'GET',
      headers,
      query: Object.freeze({ a: 1 }),
    })
    const agent = stage.open()
    for (let turn = 0; turn < 2; turn++) {
      const observer = stage.observe()
      agent.dispatch(options, observer.handler)
      await observer.ended
    }
    return server.requests.map(({ lines }) => lines[0])
  },
  expected: ['GET /?a=1 HTTP/1.1', 'GET /?a=1 HTTP/1.1'],
})

row('§2 opts.dispatcher is refused', {
  on: CURRENT,
  run: (stage) => refusal(stage, { ...base, dispatcher: stage.open() }),
  expected: invalid(
    'opts.dispatcher is not supported by instance methods. Pass opts.dispatcher to the top-level undici functions or call the dispatcher instance method directly.',
  ),
  undici7: 'accepted',
  differs: [{ id: 'C1', observed: 'accepted' }],
})

row('§2 query becomes a query string as node:querystring writes it', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    const targets = []
    for (const query of [
      { a: 1, b: 'x y' },
      { list: [1, 2, 'c d'] },
      { empty: '', none: null, flag: true },
      { 'k&': '=' },
      {},
    ]) {
      await stage.send(agent, server.origin, { path: '/p', query }).ended
      targets.push(server.requests.at(-1)!.lines[0]!.split(' ')[1])
    }
    return targets
  },
  expected: ['/p?a=1&b=x%20y', '/p?list=1&list=2&list=c%20d', '/p?empty=&none=&flag=true', '/p?k%26=%3D', '/p'],
})

row('§2 a handler of the other generation', {
  on: CURRENT,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const calls: string[] = []
    const done = Promise.withResolvers<void>()
    const handler = {
      onConnect: () => calls.push('onConnect'),
      onHeaders: () => Boolean(calls.push('onHeaders')),
      onData: () => Boolean(calls.push('onData')),
      onComplete: () => {
        calls.push('onComplete')
        done.resolve()
      },
      onError: done.reject,
    }
    try {
      stage.open().dispatch({ ...base, origin: server.origin }, handler)
    } catch (error) {
      return line(error as Error)
    }
    await done.promise
    return calls
  },
  expected: invalid('invalid onRequestStart method') as string | string[],
  undici7: ['onConnect', 'onHeaders', 'onData', 'onComplete'],
  differs: [{ id: 'C2', observed: ['onConnect', 'onHeaders', 'onData', 'onComplete'] }],
})
