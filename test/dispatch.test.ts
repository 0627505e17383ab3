import { expect, describe, test } from 'vitest'
import { agentDispatch, dispatchPaths, dispatchRows } from './support/dispatch-paths.ts'
import { Recorder, send } from './support/recorder.ts'
import { select } from './support/selection.ts'
import { startServer, startTcpServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'

/** Answers every request with these bytes. */
function startRaw(...parts: string[]): Promise<RunningServer> {
  return startTcpServer((socket) => {
    socket.on('data', () => socket.write(Buffer.from(parts.join(''), 'latin1')))
  })
}

describe.each(select(dispatchRows))('$path, $generation handler', ({ path, open, generation }) => {
  // WHATWG Headers joins what is repeated, all but set-cookie: the shim is given no more than that.
  const repeated = (...values: string[]): string | string[] =>
    path === agentDispatch.path ? values : values.join(', ')

  test('calls back in order, nothing inside dispatch, and ends once', async () => {
    await using server = await startServer((_request, response) => response.end('hello'))
    await using dispatcher = open()
    const recorder = send(dispatcher, server.origin, new Recorder(generation))
    expect(recorder.calls).toEqual([])
    await recorder.ended
    // The next request's end is later than any second end of the first would be.
    await send(dispatcher, server.origin, new Recorder(generation)).ended
    expect(recorder.calls).toEqual(['start', 'head', 'data', 'end'])
    expect(recorder.body.toString()).toBe('hello')
    expect(recorder.trailers).toEqual({})
  })

  test('a body in pieces arrives in order, its chunks Buffers that may be kept', async () => {
    const pieces = Array.from({ length: 64 }, (_, index) => Buffer.alloc(1024 + index * 512, index + 1))
    await using server = await startServer(async (_request, response) => {
      for (const piece of pieces) await new Promise<void>((resolve) => response.write(piece, () => resolve()))
      response.end()
    })
    await using dispatcher = open()
    const recorder = new Recorder(generation)
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.order).toEqual(['start', 'head', 'data', 'end'])
    expect(recorder.chunks.every((chunk) => Buffer.isBuffer(chunk) && chunk.byteLength > 0)).toBe(true)
    expect(recorder.body.equals(Buffer.concat(pieces))).toBe(true)
  })

  test('a chunk that is kept has memory nobody else writes to', async () => {
    await using server = await startServer((request, response) => response.end((request.url ?? '').repeat(64)))
    await using dispatcher = open()
    const recorders = Array.from({ length: 32 }, (_, index) =>
      send(dispatcher, server.origin, new Recorder(generation), { path: `/${index}` }),
    )
    for (const recorder of recorders) await recorder.ended
    for (const recorder of recorders) recorder.chunks[0]!.fill('!', 0, 1)
    expect(recorders.map(({ body }) => body.toString())).toEqual(
      recorders.map((_, index) => `!${`/${index}`.repeat(64).slice(1)}`),
    )
  })

  test('a header seen twice is an array, one seen once a string, set-cookie included', async () => {
    await using server = await startRaw(
      'HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nX-Twice: 1\r\nx-one: a, b\r\nx-TWICE: 2\r\nx-twice: 3\r\n',
      'content-length: 0\r\n\r\n',
    )
    await using dispatcher = open()
    const recorder = new Recorder(generation)
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.headers['set-cookie']).toBe('a=1')
    expect(recorder.headers['x-one']).toBe('a, b')
    expect(recorder.headers['x-twice']).toEqual(repeated('1', '2', '3'))
  })

  test('several set-cookie are an array', async () => {
    await using server = await startRaw(
      'HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n',
    )
    await using dispatcher = open()
    const recorder = new Recorder(generation)
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.headers['set-cookie']).toEqual(['a=1', 'b=2'])
  })

  test('header bytes are latin1 characters', async () => {
    await using server = await startRaw('HTTP/1.1 200 OK\r\nx-name: caf\u00e9 \u00ff\r\ncontent-length: 0\r\n\r\n')
    await using dispatcher = open()
    const recorder = new Recorder(generation)
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.headers['x-name']).toBe('caf\u00e9 \u00ff')
  })

  test('headers named like members of Object are ordinary headers', async () => {
    await using server = await startRaw(
      'HTTP/1.1 200 OK\r\n__proto__: p\r\nconstructor: c\r\ntoString: s\r\ncontent-length: 0\r\n\r\n',
    )
    await using dispatcher = open()
    const recorder = new Recorder(generation)
    await send(dispatcher, server.origin, recorder).ended
    expect(Object.entries(recorder.headers).filter(([name]) => name !== 'content-length')).toEqual(
      expect.arrayContaining([
        ['__proto__', 'p'],
        ['constructor', 'c'],
        ['tostring', 's'],
      ]),
    )
    expect(Object.getPrototypeOf(recorder.headers)).toBe(Object.prototype)
  })

  test('trailers come with the end', async () => {
    await using server = await startRaw(
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n',
      '3\r\nabc\r\n0\r\nX-Sum: 900150\r\nx-sum: 983cd2\r\n\r\n',
    )
    await using dispatcher = open()
    const recorder = new Recorder(generation)
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.order).toEqual(['start', 'head', 'data', 'end'])
    expect(recorder.trailers).toEqual({ 'x-sum': repeated('900150', '983cd2') })
  })

  test.each([
    ['a phrase as sent', 'HTTP/1.1 200 Very Well\r\n', 'Very Well'],
    ['an empty phrase', 'HTTP/1.1 200 \r\n', ''],
    ['a phrase read as UTF-8', 'HTTP/1.1 200 Tr\u00c3\u00a8s bien\r\n', 'Tr\u00e8s bien'],
  ])('the status message is %s', async (_name, line, phrase) => {
    await using server = await startRaw(line, 'content-length: 0\r\n\r\n')
    await using dispatcher = open()
    const recorder = new Recorder(generation)
    await send(dispatcher, server.origin, recorder).ended
    expect([recorder.status, recorder.statusText]).toEqual([200, phrase])
  })

  test.each([
    ['HEAD', 'HEAD', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n', 200],
    ['204', 'GET', 'HTTP/1.1 204 No Content\r\n\r\n', 204],
    ['304', 'GET', 'HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n', 304],
    ['an empty body', 'GET', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', 200],
    ['an empty chunked body', 'GET', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n', 200],
  ])('%s has a head and an end, and no data', async (_name, method, answer, status) => {
    await using server = await startRaw(answer)
    await using dispatcher = open()
    const recorder = new Recorder(generation)
    await send(dispatcher, server.origin, recorder, { method }).ended
    expect(recorder.calls).toEqual(['start', 'head', 'end'])
    expect(recorder.status).toBe(status)
  })

  test.each([
    ['content-length', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello'],
    ['chunked', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n'],
  ])('a body cut short (%s) is one error after the data', async (_name, answer) => {
    await using server = await startTcpServer((socket) => socket.once('data', () => socket.end(answer)))
    await using dispatcher = open()
    const recorder = new Recorder(generation)
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.order).toEqual(['start', 'head', 'data', 'error'])
    expect(recorder.body.toString()).toBe('hello')
    expect(recorder.error).toMatchObject({ name: 'SocketError', code: 'UND_ERR_SOCKET' })
  })

  test('a request that never got an answer is one error', async () => {
    await using server = await startTcpServer((socket) => socket.once('data', () => socket.destroy()))
    await using dispatcher = open()
    const recorder = new Recorder(generation)
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.calls.filter((call) => call !== 'start')).toEqual(['error'])
    expect(recorder.error!.code).toMatch(/^(UND_ERR_SOCKET|ECONNRESET)$/)
  })

  test('options that are frozen, and used twice, are not written to', async () => {
    await using server = await startServer((request, response) => response.end(request.headers['x-a']))
    await using dispatcher = open()
    const options = Object.freeze({ headers: Object.freeze({ 'x-a': '1' }), path: '/p', method: 'POST', body: 'b' })
    for (let turn = 0; turn < 2; turn++) {
      const recorder = new Recorder(generation)
      await send(dispatcher, server.origin, recorder, options).ended
      expect(recorder.body.toString()).toBe('1')
    }
  })
})

describe.each(dispatchPaths)('$path', ({ open }) => {
  test('one controller serves every callback, and knows the raw headers and trailers', async () => {
    await using server = await startRaw(
      'HTTP/1.1 200 OK\r\nx-a: caf\u00e9\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n',
      '3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n',
    )
    await using dispatcher = open()
    const seen: unknown[] = []
    const over = Promise.withResolvers<void>()
    dispatcher.dispatch(
      { origin: server.origin, path: '/', method: 'GET' },
      {
        onRequestStart: (controller) => void seen.push(controller, controller.rawHeaders),
        onResponseStart: (controller) => void seen.push(controller, controller.rawHeaders),
        onResponseData: (controller) => void seen.push(controller, controller.rawTrailers === null),
        onResponseEnd(controller) {
          seen.push(controller, controller.rawTrailers)
          over.resolve()
        },
        onResponseError: (_controller, error) => over.reject(error),
      },
    )
    await over.promise
    expect(new Set(seen.filter((_, index) => index % 2 === 0)).size).toBe(1)
    expect(seen[1]).toBeNull()
    const raw = seen[3] as Buffer[]
    expect(raw.every(Buffer.isBuffer)).toBe(true)
    const at = raw.findIndex((name) => name.toString() === 'x-a')
    expect(raw[at + 1]!.toString('latin1')).toBe('caf\u00e9')
    expect((seen.at(-1) as Buffer[]).map(String)).toEqual(['x-sum', '1'])
  })

  test('without trailers the raw trailers are empty at the end', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using dispatcher = open()
    let raw: unknown
    const recorder: Recorder = new Recorder('current', { end: () => (raw = recorder.controller!.rawTrailers) })
    await send(dispatcher, server.origin, recorder).ended
    expect(raw).toEqual([])
  })

  test('abort, rawHeaders and rawTrailers of a controller can be reassigned, as interceptors do', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using dispatcher = open()
    const aborted: unknown[] = []
    const recorder: Recorder = new Recorder('current', {
      head() {
        const controller = recorder.controller!
        controller.rawHeaders = ['x-a', '1']
        controller.rawTrailers = ['x-b', '2']
        const abort = controller.abort.bind(controller)
        controller.abort = (reason) => {
          aborted.push(reason)
          abort(reason)
        }
        expect(controller.rawHeaders).toEqual(['x-a', '1'])
        expect(controller.rawTrailers).toEqual(['x-b', '2'])
      },
      data: () => recorder.controller!.abort(new Error('enough')),
    })
    await send(dispatcher, server.origin, recorder).ended
    expect(aborted).toEqual([recorder.error])
    expect(recorder.calls).toEqual(['start', 'head', 'data', 'error'])
  })

  test('handlers may leave out the optional callbacks, and have them called when present', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using dispatcher = open()
    const calls: string[] = []
    const recorder = new Recorder('current', { head: () => void calls.push('head') })
    Object.assign(recorder.handler, { onResponseStarted: () => void calls.push('started') })
    await send(dispatcher, server.origin, recorder).ended
    expect(calls).toEqual(['started', 'head'])
  })
})
