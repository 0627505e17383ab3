/** undici-contract.md §2.2: request bodies, their framing, and what goes wrong with them. */
import { Readable } from 'node:stream'
import type { DispatchOptions } from '../../lib/index.ts'
import { until } from '../support/deadline.ts'
import { DISPATCHERS, WIRE } from './support/contestants.ts'
import { OK, response } from './support/raw-server.ts'
import { row } from './support/row.ts'
import type { Stage } from './support/stage.ts'

type Options = Partial<DispatchOptions> & Record<string, unknown>

/** The framing and the content headers, and the body without its framing. */
async function sent(stage: Stage, options: Options): Promise<unknown> {
  const server = await stage.raw(OK)
  const observer = await stage.fetch(server.origin, { method: 'POST', ...options })
  if (observer.error !== null) return stage.facts(observer.error)
  const { lines, body } = server.requests[0]!
  const framing = lines.filter((line) => /^(?:content-|transfer-)/i.test(line))
  return [framing, framing.includes('transfer-encoding: chunked') ? unchunk(body) : body]
}

/** The bytes of all chunks: how they are cut is the sender's business. */
function unchunk(body: string): string {
  let text = ''
  let rest = body
  for (;;) {
    const end = rest.indexOf('\r\n')
    const size = Number.parseInt(rest.slice(0, end), 16)
    if (size === 0) return text
    text += rest.slice(end + 2, end + 2 + size)
    rest = rest.slice(end + 2 + size + 2)
  }
}

async function each<T>(cases: readonly T[], act: (one: T) => Promise<unknown>): Promise<unknown[]> {
  const results = []
  for (const one of cases) results.push(await act(one))
  return results
}

async function* generate(...chunks: unknown[]): AsyncGenerator<never> {
  for (const chunk of chunks) yield chunk as never
}

const length = (bytes: number): string[] => [`content-length: ${bytes}`]
const CHUNKED = ['transfer-encoding: chunked']
const MISMATCH = {
  name: 'RequestContentLengthMismatchError',
  code: 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
  message: 'Request body length does not match content-length header',
}

row('§2.2 no body: null, undefined, empty string, empty bytes', {
  run: (stage) =>
    each([null, undefined, '', Buffer.alloc(0), new Uint8Array(0), new ArrayBuffer(0)], (body) =>
      sent(stage, { body }),
    ),
  expected: Array.from({ length: 6 }, () => [length(0), '']),
})

row('§2.2 sized bodies: string, Buffer, views, ArrayBuffer', {
  run: (stage) => {
    const bytes = Buffer.from('xhellox').subarray(1, 6)
    return each(
      [
        'h\u00e9llo',
        bytes,
        new Uint8Array(bytes),
        new DataView(bytes.buffer, bytes.byteOffset, 5),
        Uint8Array.from(bytes).buffer,
      ],
      (body) => sent(stage, { body }),
    )
  },
  expected: [
    [length(6), 'h\u00c3\u00a9llo'],
    [length(5), 'hello'],
    [length(5), 'hello'],
    [length(5), 'hello'],
    [length(5), 'hello'],
  ],
})

row('§2.2 a Blob is sized, with its type unless the caller says one', {
  run: (stage) =>
    each([{}, { headers: { 'Content-Type': 'text/mine' } }], (options) =>
      sent(stage, { body: new Blob(['hello'], { type: 'text/plain' }), ...options }),
    ).then((results) =>
      results.map((result) => [(result as string[][])[0]!.map((line) => line.toLowerCase()), (result as unknown[])[1]]),
    ),
  expected: [
    [['content-type: text/plain', 'content-length: 5'], 'hello'],
    [['content-type: text/mine', 'content-length: 5'], 'hello'],
  ],
})

row("§2.2 the package's FormData is multipart of known length", {
  run: async (stage) => {
    const form = new stage.contestant.undici.FormData()
    form.set('field', 'value')
    const server = await stage.raw(OK)
    await stage.fetch(server.origin, { method: 'POST', body: form as never })
    const { lines, body } = server.requests[0]!
    const type = lines.find((line) => line.toLowerCase().startsWith('content-type'))!
    const boundary = type.slice(type.indexOf('boundary=') + 'boundary='.length)
    return [
      type.replace(boundary, 'B').toLowerCase(),
      lines.includes(`content-length: ${body.length}`),
      body.replaceAll(boundary, 'B'),
    ]
  },
  expected: [
    'content-type: multipart/form-data; boundary=b',
    true,
    '--B\r\nContent-Disposition: form-data; name="field"\r\n\r\nvalue\r\n--B--\r\n',
  ],
})

row("§2.2 another copy's FormData", {
  run: async (stage) => {
    const form = new FormData()
    form.set('field', 'value')
    const server = await stage.raw(OK)
    const observer = await stage.fetch(server.origin, { method: 'POST', body: form as never })
    return observer.error === null ? server.requests[0]!.body.includes('value') : observer.error.name
  },
  expected: 'InvalidArgumentError' as unknown,
  undici7: 'TypeError',
  differs: [{ id: 'C4', observed: true }],
})

row('§2.2 streams and iterables of unknown length are chunked', {
  run: (stage) =>
    each(
      [
        () => Readable.from([Buffer.from('hel'), Buffer.from('lo')]),
        () => ['hel', Buffer.from('lo')],
        () => generate('hel', new Uint8Array(Buffer.from('lo'))),
        () => new Blob(['hello']).stream(),
        () => new Set(['hello']),
      ],
      (body) => sent(stage, { body: body() as never }),
    ),
  expected: Array.from({ length: 5 }, () => [CHUNKED, 'hello']),
})

row('§2.2 streams with a content-length of the caller are sized', {
  run: (stage) =>
    each([() => Readable.from([Buffer.from('hello')]), () => generate('hel', 'lo')], (body) =>
      sent(stage, { body: body() as never, headers: { 'content-length': 5 } }),
    ),
  expected: [
    [length(5), 'hello'],
    [length(5), 'hello'],
  ],
})

row('§2.2 a Readable that has ended has a length', {
  run: async (stage) => {
    const body = new Readable({ read() {} })
    body.push('hello')
    body.push(null)
    return sent(stage, { body })
  },
  expected: [length(5), 'hello'],
})

row('§2.2 an iterable without bytes', {
  run: (stage) => each([generate(), generate(''), []], (body) => sent(stage, { body: body as never })),
  expected: Array.from({ length: 3 }, () => [length(0), '']),
})

row('§2.2 no body: which methods say content-length: 0', {
  on: WIRE,
  run: (stage) =>
    each(
      ['POST', 'PUT', 'PATCH', 'QUERY', 'PROPFIND', 'PROPPATCH', 'GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'LIST'],
      (method) => sent(stage, { method }),
    ).then((results) => results.map((result) => (result as string[][])[0])),
  expected: [...Array.from({ length: 6 }, () => length(0)), ...Array.from({ length: 6 }, () => [])],
})

row('§2.2 no body: a content-length: 0 of the caller is not sent where it means nothing', {
  on: WIRE,
  run: (stage) =>
    each(['GET', 'DELETE', 'POST'], (method) => sent(stage, { method, headers: { 'content-length': 0 } })),
  expected: [
    [[], ''],
    [[], ''],
    [length(0), ''],
  ],
})

row('§2.2 GET, HEAD and DELETE send a body, and the connection is not used again', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw((request) =>
      request.lines[0]!.startsWith('HEAD') ? 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n' : OK,
    )
    const agent = stage.open({ connections: 1 })
    for (const method of ['GET', 'HEAD', 'DELETE', 'GET'])
      await stage.send(agent, server.origin, { method, body: 'hello' }).ended
    await stage.send(agent, server.origin).ended
    return server.requests.map(({ connection, body, lines }) => [connection, body, lines[2]])
  },
  expected: [
    [0, 'hello', 'connection: keep-alive'],
    [1, 'hello', 'connection: close'],
    [2, 'hello', 'connection: keep-alive'],
    [3, 'hello', 'connection: keep-alive'],
    [4, '', 'connection: keep-alive'],
  ],
})

row('§2.2 GET with a body and reset: false keeps the connection', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ connections: 1 })
    for (let turn = 0; turn < 2; turn++) await stage.send(agent, server.origin, { body: 'hello', reset: false }).ended
    return server.requests.map(({ connection }) => connection)
  },
  expected: [0, 0],
})

row('§2.2 a streamed body of GET is chunked', {
  on: WIRE,
  run: (stage) => sent(stage, { method: 'GET', body: generate('hel', 'lo') }),
  expected: [CHUNKED, 'hello'],
})

row('§2.2 a sized body that is not what content-length says fails without onRequestStart', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const results = []
    for (const value of ['4', '6']) {
      const observer = await stage.fetch(server.origin, {
        method: 'POST',
        body: 'hello',
        headers: { 'content-length': value },
      })
      results.push([observer.events, stage.facts(observer.error)])
    }
    return [...results, server.requests.length]
  },
  expected: [[['error'], MISMATCH], [['error'], MISMATCH], 0],
})

row('§2.2 a sized body of GET is sent whatever content-length says', {
  run: (stage) => sent(stage, { method: 'GET', body: 'hello', headers: { 'content-length': '9' } }),
  expected: [length(5), 'hello'],
})

row('§2.2 a stream that yields more or less than content-length fails', {
  run: (stage) =>
    each([['hello!'], ['hel', 'lo', '!'], ['hell']], (chunks) =>
      sent(stage, { body: generate(...chunks), headers: { 'content-length': 5 } }),
    ),
  expected: [MISMATCH, MISMATCH, MISMATCH],
})

row('§2.2 strictContentLength: false only warns', {
  isSerial: true,
  run: async (stage) => {
    const warnings: string[] = []
    const listen = (warning: Error): void => void warnings.push(warning.name)
    process.on('warning', listen)
    stage.defer(() => process.off('warning', listen))
    const server = await stage.raw(OK)
    const agent = stage.open({ strictContentLength: false })
    const observer = await stage.send(agent, server.origin, {
      method: 'POST',
      body: 'hello',
      headers: { 'content-length': '4' },
    }).ended
    await until(() => warnings.length > 0)
    return [observer.head.status, warnings]
  },
  expected: [200, ['RequestContentLengthMismatchError']],
})

row('§2.2 strictContentLength: false with a streamed body', {
  isSerial: true,
  on: DISPATCHERS.filter(({ library }) => library !== 'undici 7'),
  run: async (stage) => {
    const listen = (): void => {}
    process.on('warning', listen)
    stage.defer(() => process.off('warning', listen))
    const server = await stage.raw(OK)
    const observer = await stage.send(stage.open({ strictContentLength: false }), server.origin, {
      method: 'POST',
      body: generate('hel', 'lo', '!'),
      headers: { 'content-length': '5' },
    }).ended
    return observer.error?.name ?? [observer.head.status, server.requests[0]!.body]
  },
  expected: [200, 'hello'] as unknown,
  differs: [{ id: 'C16', observed: 'RequestContentLengthMismatchError' }],
})

row('§2.2 chunks that are neither string nor bytes fail', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const results = []
    for (const chunk of [5, {}, null]) {
      const { error } = await stage.fetch(server.origin, { method: 'POST', body: generate(chunk) })
      results.push([error?.name, error?.code])
    }
    return results
  },
  expected: Array.from({ length: 3 }, () => ['TypeError', 'ERR_INVALID_ARG_TYPE']),
})

row("§2.2 a body's own error is the request's, as it is", {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const failure = Object.assign(new Error('disk full'), { code: 'ENOSPC' })
    async function* failing(): AsyncGenerator<string> {
      yield 'hel'
      throw failure
    }
    const readable = new Readable({
      read() {
        this.destroy(failure)
      },
    })
    const results = []
    for (const body of [failing(), readable, Readable.from(failing())]) {
      const observer = await stage.fetch(server.origin, { method: 'POST', body })
      results.push([observer.error === failure, observer.response])
    }
    return results
  },
  expected: Array.from({ length: 3 }, () => [true, ['start', 'error']]),
})

row('§2.2 a Readable that closes early is an abort', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const body = new Readable({ read() {} })
    body.push('hel')
    const observer = stage.send(stage.open(), server.origin, { method: 'POST', body })
    await until(() => server.received.some((bytes) => bytes.includes('hel')))
    body.destroy()
    return stage.facts((await observer.ended).error)
  },
  expected: { name: 'AbortError', code: 'UND_ERR_ABORTED', message: 'Request aborted' },
})

row('§2.2 abort destroys the body stream', {
  run: async (stage) => {
    const server = await stage.raw(() => {})
    const body = new Readable({ read() {} })
    const failures: unknown[] = []
    body.on('error', (error) => failures.push(error))
    body.push('hel')
    const observer = stage.send(stage.open(), server.origin, { method: 'POST', body })
    await until(() => server.received.some((bytes) => bytes.includes('hel')))
    observer.gate.abort(new Error('enough'))
    await observer.ended
    await until(() => body.destroyed)
    await new Promise((resolve) => setImmediate(resolve))
    return [observer.error?.message, failures.length]
  },
  expected: ['enough', 0] as unknown[],
})

row('§2.2 a request that fails destroys the body stream', {
  run: async (stage) => {
    const server = await stage.raw(() => {})
    const body = new Readable({ read() {} })
    body.on('error', () => {})
    body.push('hel')
    const observer = stage.send(stage.open(), server.origin, { method: 'POST', body })
    await until(() => server.received.some((bytes) => bytes.includes('hel')))
    for (const socket of server.sockets) socket.destroy()
    await observer.ended
    await until(() => body.destroyed)
    return observer.error !== null
  },
  expected: true,
})

row('§2.2 an iterator that is left early is told: return()', {
  run: async (stage) => {
    const server = await stage.raw(() => {})
    const returned = Promise.withResolvers<void>()
    let wasAborted = false
    async function* endless(): AsyncGenerator<Buffer> {
      try {
        for (;;) {
          yield Buffer.alloc(65_536)
          if (wasAborted) await new Promise((resolve) => setImmediate(resolve))
        }
      } finally {
        returned.resolve()
      }
    }
    const observer = stage.send(stage.open(), server.origin, { method: 'POST', body: endless() })
    await until(() => (server.received[0]?.length ?? 0) > 100_000)
    wasAborted = true
    observer.gate.abort()
    await returned.promise
    await observer.ended
    return observer.error?.name
  },
  expected: 'AbortError',
})

row('§2.2 a body is pulled with backpressure', {
  run: async (stage) => {
    const server = await stage.http((request) => request.pause())
    let pulled = 0
    async function* endless(): AsyncGenerator<Buffer> {
      for (;;) {
        pulled += 65_536
        yield Buffer.alloc(65_536)
      }
    }
    const observer = stage.send(stage.open(), server.origin, { method: 'POST', body: endless() })
    let before = -1
    // What the kernel takes is some MiB; then it stands still.
    await until(async () => {
      const isStill = pulled === before
      before = pulled
      await new Promise((resolve) => setTimeout(resolve, 30))
      return isStill && pulled > 0
    })
    observer.gate.abort()
    await observer.ended
    return pulled < 64 * 1024 * 1024
  },
  expected: true,
})

row('§2.2 a response before the body is sent: delivered, then the connection is dropped and the body destroyed', {
  run: async (stage) => {
    const server = await stage.http((request, reply) => {
      request.once('data', () => reply.writeHead(413, { 'content-length': 2 }).end('no'))
    })
    const body = new Readable({
      read() {
        this.push(Buffer.alloc(1024))
      },
    })
    body.on('error', () => {})
    const observer = await stage.fetch(server.origin, { method: 'POST', body })
    await until(() => body.destroyed)
    await until(() => server.sockets.size === 0)
    return [observer.head.status, observer.body, observer.response.at(-1)]
  },
  expected: [413, 'no', 'end'],
})

row('§2.2 a stream is consumed once: never sent again', {
  run: async (stage) => {
    let asked = 0
    const body = {
      [Symbol.asyncIterator]() {
        asked++
        return generate('hello')
      },
    }
    const server = await stage.raw(response('503 Unavailable', ['content-length: 0', 'connection: close']))
    const observer = await stage.fetch(server.origin, { method: 'POST', body: body as never })
    return [observer.head.status, asked, server.requests.length]
  },
  expected: [503, 1, 1],
})
