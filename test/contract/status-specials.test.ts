/** undici-contract.md §3: informational responses, and statuses and methods without a body. */
import { until } from '../support/deadline.ts'
import { DISPATCHERS, SHIM, WIRE } from './support/contestants.ts'
import { OK, response } from './support/raw-server.ts'
import { row } from './support/row.ts'

const INFO = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nlink: </b>\r\n\r\n'

row('§3 1xx: onResponseStart with the status, then the real one', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(`${INFO}${OK}`)
    const observer = await stage.fetch(server.origin)
    return [observer.response, observer.heads]
  },
  expected: [
    ['start', 'head 103', 'head 200', 'data', 'end'],
    [
      { status: 103, statusText: 'Early Hints', headers: { link: ['</a>', '</b>'] } },
      { status: 200, statusText: 'OK', headers: { 'content-length': '2' } },
    ],
  ],
})

row('§3 1xx: any number of times', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(`HTTP/1.1 102 Processing\r\n\r\n${INFO}HTTP/1.1 110 Odd\r\n\r\n${INFO}${OK}`)
    return (await stage.fetch(server.origin)).response
  },
  expected: ['start', 'head 102', 'head 103', 'head 110', 'head 103', 'head 200', 'data', 'end'],
})

row('§3 1xx: as it comes, before the final head', {
  on: WIRE,
  run: async (stage) => {
    let finish: (() => void) | undefined
    const server = await stage.raw((_request, socket) => {
      finish = () => void socket.write(OK)
      return INFO
    })
    const observer = stage.send(stage.open(), server.origin)
    await observer.seen('head 103')
    const before = observer.response
    finish!()
    await observer.ended
    return [before, observer.response]
  },
  expected: [
    ['start', 'head 103'],
    ['start', 'head 103', 'head 200', 'data', 'end'],
  ],
})

row('§3 1xx over reqwest and through fetch', {
  on: [...DISPATCHERS.filter(({ library, engine }) => library === 'undici 8' || engine === 'reqwest'), SHIM[0]!],
  run: async (stage) => {
    const server = await stage.raw(`${INFO}${OK}`)
    return (await stage.fetch(server.origin)).response
  },
  expected: ['start', 'head 103', 'head 200', 'data', 'end'],
  differs: [
    { id: 'C7', when: ({ engine }) => engine === 'reqwest', observed: ['start', 'head 200', 'data', 'end'] },
    { id: 'C5', when: ({ engine }) => engine === 'fetch', observed: ['start', 'head 200', 'data', 'end'] },
  ],
})

row('§3 onResponseStarted comes once for each head', {
  on: WIRE.filter(({ library }) => library !== 'undici 7'),
  run: async (stage) => {
    const server = await stage.raw(`${INFO}${OK}`)
    return (await stage.fetch(server.origin)).order
  },
  expected: ['start', 'request sent', 'response started', 'head 103', 'response started', 'head 200', 'data', 'end'],
})

row('§3 1xx: abort() inside it', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(`${INFO}${OK}`)
    const observer = await stage.fetch(server.origin, {}, { head: (gate) => gate.abort(new Error('enough')) })
    return [observer.response, observer.error?.message]
  },
  expected: [['start', 'head 103', 'error inside head 103'], 'enough'],
})

row('§3 100 that nobody asked for is a SocketError', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(`HTTP/1.1 100 Continue\r\n\r\n${OK}`)
    const observer = await stage.fetch(server.origin, { method: 'POST', body: 'x' })
    return [observer.response, stage.facts(observer.error)]
  },
  expected: [['start', 'error'], { name: 'SocketError', code: 'UND_ERR_SOCKET', message: 'bad response' }],
})

row('§3 expectContinue changes nothing of an HTTP/1.1 request', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const observer = await stage.fetch(server.origin, { method: 'POST', body: 'hello', expectContinue: true })
    return [observer.head?.status, server.requests[0]?.lines.slice(2), server.requests[0]?.body]
  },
  expected: [200, ['connection: keep-alive', 'content-length: 5'], 'hello'],
})

row('§3 HEAD: content-length is ignored, connection: close is sent, and the connection is dropped', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['content-length: 5000']))
    const observer = await stage.fetch(server.origin, { method: 'HEAD' })
    await until(() => server.ended === 1)
    return [observer.response, observer.head.headers, server.requests[0]!.lines[2]]
  },
  expected: [['start', 'head 200', 'end'], { 'content-length': '5000' }, 'connection: close'],
})

row('§3 HEAD with reset: false keeps the connection, if the server says so', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['content-length: 5000', 'connection: keep-alive']))
    const agent = stage.open({ connections: 1 })
    for (let index = 0; index < 2; index++) {
      await stage.send(agent, server.origin, { method: 'HEAD', reset: false }).ended
    }
    return server.requests.map(({ connection, lines }) => [connection, lines[2]])
  },
  expected: [
    [0, 'connection: keep-alive'],
    [0, 'connection: keep-alive'],
  ],
})

row('§3 204 and 304 with a content-length have no body; the connection is not used again', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw((_request, _socket, index) =>
      response(index < 2 ? '204 No Content' : '304 Not Modified', ['content-length: 5']),
    )
    const agent = stage.open({ connections: 1 })
    const seen = []
    for (let index = 0; index < 3; index++) seen.push((await stage.send(agent, server.origin).ended).response)
    return [seen, server.requests.map(({ connection }) => connection)]
  },
  expected: [
    [
      ['start', 'head 204', 'end'],
      ['start', 'head 204', 'end'],
      ['start', 'head 304', 'end'],
    ],
    [0, 1, 2],
  ],
  undici7: [
    [
      ['start', 'head 204', 'error'],
      ['start', 'head 204', 'error'],
      ['start', 'head 304', 'error'],
    ],
    [0, 1, 2],
  ],
})

row('§3 a body without a length ends with the connection', {
  on: [...DISPATCHERS, ...SHIM],
  run: async (stage) => {
    const server = await stage.raw((_request, socket) => {
      socket.end('HTTP/1.1 200 OK\r\n\r\nall of it')
    })
    const observer = await stage.fetch(server.origin)
    return [observer.body, observer.response]
  },
  expected: ['all of it', ['start', 'head 200', 'data', 'end']],
})

row('§3 an HTTP/1.0 response', {
  run: async (stage) => {
    const server = await stage.raw((_request, socket) => {
      socket.end('HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok')
    })
    const observer = await stage.fetch(server.origin)
    return [observer.body, observer.response]
  },
  expected: ['ok', ['start', 'head 200', 'data', 'end']],
})
