/** undici-contract.md §3: the shape of response headers, raw headers, trailers and the reason phrase. */
import { CURRENT, CURRENT_WIRE, DISPATCHERS, LEGACY, REQWEST, SHIM, WIRE } from './support/contestants.ts'
import { response } from './support/raw-server.ts'
import { row } from './support/row.ts'

const ALL = [...DISPATCHERS, ...SHIM]
const latin1 = (raw: unknown): unknown =>
  Array.isArray(raw) ? raw.map((item) => (Buffer.isBuffer(item) ? item.toString('latin1') : [typeof item, item])) : raw

row('§3 headers: lower-case names, twice is a list, once a string', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw(
      response('200 OK', ['X-One: 1', 'Content-Length: 0', 'x-Two: a', 'X-TWO: b', 'x-three: 1', 'X-Two: c']),
    )
    return (await stage.fetch(server.origin)).head.headers
  },
  expected: { 'x-one': '1', 'content-length': '0', 'x-two': ['a', 'b', 'c'], 'x-three': '1' } as unknown,
  differs: [
    {
      id: 'C5',
      when: ({ engine }) => engine === 'fetch',
      observed: { 'x-one': '1', 'content-length': '0', 'x-two': 'a, b, c', 'x-three': '1' },
    },
  ],
})

row('§3 headers: order of first appearance', {
  on: DISPATCHERS,
  run: async (stage) => {
    const server = await stage.raw(
      response('200 OK', ['zulu: 1', 'alpha: 2', 'Content-Length: 0', 'Zulu: 3', 'mike: 4']),
    )
    return Object.keys((await stage.fetch(server.origin)).head.headers)
  },
  expected: ['zulu', 'alpha', 'content-length', 'mike'],
})

row('§3 headers: set-cookie is as any other', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw((_request, _socket, index) =>
      response('200 OK', ['content-length: 0', 'set-cookie: a=1', ...(index === 0 ? [] : ['Set-Cookie: b=2, c=3'])]),
    )
    const agent = stage.open()
    const seen = []
    for (let index = 0; index < 2; index++) {
      seen.push((await stage.send(agent, server.origin).ended).head.headers['set-cookie'])
    }
    return seen
  },
  expected: ['a=1', ['a=1', 'b=2, c=3']],
})

row('§3 headers: never joined', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw(
      response('200 OK', ['content-length: 0', 'vary: a', 'vary: b', 'x: a, b', 'link: c', 'link: d']),
    )
    const { vary, x, link } = (await stage.fetch(server.origin)).head.headers
    return { vary, x, link }
  },
  expected: { vary: ['a', 'b'], x: 'a, b', link: ['c', 'd'] } as unknown,
  differs: [
    {
      id: 'C5',
      when: ({ engine }) => engine === 'fetch',
      observed: { vary: 'a, b', x: 'a, b', link: 'c, d' },
    },
  ],
})

row('§3 headers: latin1', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['content-length: 0', 'x-name: caf\u00e9 \u00ff']))
    return (await stage.fetch(server.origin)).head.headers['x-name']
  },
  expected: 'caf\u00e9 \u00ff',
})

row('§3 headers: an ordinary prototype, and __proto__ as an own property', {
  on: CURRENT,
  run: async (stage) => {
    const server = await stage.raw(
      response('200 OK', ['content-length: 0', '__proto__: x', 'constructor: y', 'toString: z']),
    )
    const { headers } = (await stage.fetch(server.origin)).head
    return [
      Object.getPrototypeOf(headers) === Object.prototype,
      Object.keys(headers).toSorted(),
      Object.getOwnPropertyDescriptor(headers, '__proto__')?.value,
      Object.getOwnPropertyDescriptor(headers, 'constructor')?.value,
    ]
  },
  expected: [true, ['__proto__', 'constructor', 'content-length', 'tostring'], 'x', 'y'],
})

row('§3 headers: content-length, transfer-encoding, connection and content-encoding stay', {
  on: DISPATCHERS,
  run: async (stage) => {
    const server = await stage.raw((_request, _socket, index) =>
      index === 0
        ? response(
            '200 OK',
            ['connection: keep-alive', 'Keep-Alive: timeout=5', 'content-length: 2', 'content-encoding: br'],
            'ok',
          )
        : response('200 OK', ['transfer-encoding: chunked', 'content-encoding: gzip'], '2\r\nok\r\n0\r\n\r\n'),
    )
    const agent = stage.open()
    const seen = []
    for (let index = 0; index < 2; index++) {
      const observer = await stage.send(agent, server.origin).ended
      seen.push([observer.head.headers, observer.body])
    }
    return seen
  },
  expected: [
    [{ connection: 'keep-alive', 'keep-alive': 'timeout=5', 'content-length': '2', 'content-encoding': 'br' }, 'ok'],
    [{ 'transfer-encoding': 'chunked', 'content-encoding': 'gzip' }, 'ok'],
  ],
})

row('§3 headers: leading blanks are not of the value, empty values stay', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['content-length: 0', 'a:  x', 'b:', 'c: ', 'd:y']))
    const { a, b, c, d } = (await stage.fetch(server.origin)).head.headers
    return { a, b, c, d }
  },
  expected: { a: 'x', b: '', c: '', d: 'y' },
})

row('§3 headers: trailing blanks', {
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['a: x \t', 'content-length: 0']))
    return (await stage.fetch(server.origin)).head.headers['a']
  },
  expected: 'x \t',
  differs: [{ id: 'C6', when: ({ engine }) => engine === 'reqwest', observed: 'x' }],
})

row('§3 rawHeaders: a flat array of Buffers in the case and order of the wire', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['X-Zulu: 1', 'Content-LENGTH: 0', 'x-zulu: 2', 'Alpha: \u00e9']))
    return latin1((await stage.fetch(server.origin)).rawHeaders)
  },
  expected: ['X-Zulu', '1', 'Content-LENGTH', '0', 'x-zulu', '2', 'Alpha', '\u00e9'] as unknown,
})

row('§3 rawHeaders of reqwest', {
  on: REQWEST,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['X-Zulu: 1', 'Content-LENGTH: 0', 'x-zulu: 2', 'Alpha: 3']))
    return latin1((await stage.fetch(server.origin)).rawHeaders)
  },
  expected: ['X-Zulu', '1', 'Content-LENGTH', '0', 'x-zulu', '2', 'Alpha', '3'] as unknown,
  differs: [{ id: 'C3', observed: ['x-zulu', '1', 'x-zulu', '2', 'content-length', '0', 'alpha', '3'] }],
})

row("§3 rawHeaders can be changed by an interceptor before the caller's handler reads them", {
  on: CURRENT,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['content-length: 0']))
    const mine = [Buffer.from('mine'), Buffer.from('1')]
    const observer = stage.observe()
    const inner = observer.handler as any
    stage.open().dispatch(
      { origin: server.origin, path: '/', method: 'GET' },
      {
        ...inner,
        onResponseStart: (controller: any, ...rest: unknown[]) => {
          controller.rawHeaders = mine
          inner.onResponseStart(controller, ...rest)
        },
      },
    )
    await observer.ended
    return observer.rawHeaders === (mine as never)
  },
  expected: true,
})

row('§3 trailers: {} and [] when there are none', {
  on: CURRENT,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['content-length: 2'], 'ok'))
    const observer = await stage.fetch(server.origin)
    return [observer.trailers, observer.rawTrailers]
  },
  expected: [{}, []] as unknown[],
})

const TRAILED = response(
  '200 OK',
  ['transfer-encoding: chunked', 'trailer: X-Sum, x-two'],
  '2\r\nok\r\n0\r\nX-Sum: 1\r\nx-two: a\r\nX-Two: b\r\n\r\n',
)

row('§3 trailers: the same shape as headers', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw(TRAILED)
    const observer = await stage.fetch(server.origin)
    return [observer.trailers, observer.body]
  },
  expected: [{ 'x-sum': '1', 'x-two': ['a', 'b'] }, 'ok'] as unknown[],
  differs: [
    { id: 'C5', when: ({ engine }) => engine === 'fetch', observed: [{ 'x-sum': '1', 'x-two': 'a, b' }, 'ok'] },
  ],
})

row('§3 rawTrailers: a flat array of Buffers', {
  on: CURRENT_WIRE,
  run: async (stage) => {
    const server = await stage.raw(TRAILED)
    return latin1((await stage.fetch(server.origin)).rawTrailers)
  },
  expected: ['X-Sum', '1', 'x-two', 'a', 'X-Two', 'b'] as unknown,
  differs: [{ id: 'C8', observed: ['x-sum', '1', 'x-two', 'a', 'x-two', 'b'] }],
})

row('§3 legacy trailers: a flat array of Buffers', {
  on: LEGACY,
  run: async (stage) => {
    const server = await stage.raw(TRAILED)
    return latin1((await stage.fetch(server.origin)).rawTrailers)
  },
  expected: ['X-Sum', '1', 'x-two', 'a', 'X-Two', 'b'] as unknown,
  differs: [{ id: 'C8', observed: ['x-sum', '1', 'x-two', 'a', 'x-two', 'b'] }],
})

row('§3 statusMessage: the reason phrase as sent', {
  on: ALL,
  run: async (stage) => {
    const phrases = ['OK', 'Fine With Me', 'I am 100% sure!', '']
    const server = await stage.raw((_request, _socket, index) =>
      response(`200 ${phrases[index]}`, ['content-length: 0']),
    )
    const agent = stage.open()
    const seen = []
    for (let index = 0; index < phrases.length; index++) {
      seen.push((await stage.send(agent, server.origin).ended).head.statusText)
    }
    return seen
  },
  expected: ['OK', 'Fine With Me', 'I am 100% sure!', ''],
})

row('§3 statusMessage: a response without one', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw('HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n')
    return (await stage.fetch(server.origin)).head.statusText
  },
  expected: '',
})

row('§3 statusMessage: bytes beyond ASCII', {
  run: async (stage) => {
    const server = await stage.raw(
      Buffer.from('HTTP/1.1 200 Tr\u00e8s bien\r\ncontent-length: 0\r\n\r\n').toString('latin1'),
    )
    return (await stage.fetch(server.origin)).head.statusText
  },
  expected: 'Tr\u00e8s bien',
  differs: [{ id: 'C6', when: ({ engine }) => engine === 'reqwest', observed: '' }],
})

row('§3 more than 100 headers', {
  run: async (stage) => {
    const lines = Array.from({ length: 150 }, (_, index) => `x-${index}: ${index}`)
    const server = await stage.raw(response('200 OK', ['content-length: 0', ...lines]))
    const observer = await stage.fetch(server.origin)
    return observer.error === null ? Object.keys(observer.head.headers).length : observer.error.name
  },
  expected: 151 as unknown,
  differs: [{ id: 'C6', when: ({ engine }) => engine === 'reqwest', observed: 'HeadersOverflowError' }],
})

row('§3 unusual statuses', {
  run: async (stage) => {
    const statuses = [200, 299, 418, 599, 600, 999]
    const server = await stage.raw((_request, _socket, index) =>
      response(`${statuses[index]} X`, ['content-length: 0']),
    )
    const seen = []
    const agent = stage.open()
    for (let index = 0; index < statuses.length; index++) {
      seen.push((await stage.send(agent, server.origin).ended).head.status)
    }
    return seen
  },
  expected: [200, 299, 418, 599, 600, 999],
})
