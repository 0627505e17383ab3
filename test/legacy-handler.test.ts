import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { Agent as UndiciAgent } from 'undici'
import { Agent as Undici7Agent } from 'undici7'
import { adaptLegacyHandler, isLegacyHandler } from '../lib/legacy-handler.ts'
import type { DispatchControllerLike, LegacyDispatchHandler, RawHeaders } from '../lib/types.ts'
import { startTcpServer } from './support/servers.ts'

/** Records what the adapter does to it. */
class FakeController implements DispatchControllerLike {
  calls: unknown[][] = []
  aborted = false
  paused = false
  reason: Error | null = null
  rawHeaders: RawHeaders = null
  rawTrailers: RawHeaders = null

  abort(...args: [reason?: Error]): void {
    this.calls.push(['abort', ...args])
  }

  pause(): void {
    this.calls.push(['pause'])
  }

  resume(): void {
    this.calls.push(['resume'])
  }
}

const text = (headers: Buffer[] | string[] | null): string[] => (headers ?? []).map((item) => item.toString('latin1'))

/** Runs one request of a real undici agent through a handler and lists the callbacks it got. */
async function run(
  agent: { dispatch(options: any, handler: any): boolean; destroy(): Promise<void> },
  response: string,
  wrap: (handler: LegacyDispatchHandler) => object,
): Promise<unknown[][]> {
  await using server = await startTcpServer((socket) => {
    socket.once('data', () => socket.end(response, 'latin1'))
  })
  const calls: unknown[][] = []
  const done = Promise.withResolvers<void>()
  const handler: LegacyDispatchHandler = {
    onConnect: (abort) => void calls.push(['onConnect', typeof abort]),
    onHeaders(status, headers, resume, statusText) {
      calls.push([
        'onHeaders',
        status,
        Array.isArray(headers),
        headers.every(Buffer.isBuffer),
        text(headers),
        statusText,
      ])
      if (status >= 200) setImmediate(resume)
      return false
    },
    onData(chunk) {
      calls.push(['onData', Buffer.isBuffer(chunk), chunk.toString()])
      return true
    },
    onComplete(trailers) {
      calls.push(['onComplete', Array.isArray(trailers), text(trailers)])
      done.resolve()
    },
    onError(error) {
      calls.push(['onError', error.message])
      done.resolve()
    },
  }
  agent.dispatch({ origin: server.origin, path: '/', method: 'GET' }, wrap(handler))
  await done.promise
  await agent.destroy()
  return calls
}

test('a legacy handler sees through the adapter on undici 8 what it sees from undici 7 itself', async () => {
  const responses = [
    'HTTP/1.1 200 Fine\r\nX-A: 1\r\nset-cookie: a\r\nSet-Cookie: b\r\nx-latin: \xe9\r\ncontent-length: 2\r\n\r\nhi',
    'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Trailer: t\r\n\r\n',
    'HTTP/1.1 204 No Content\r\n\r\n',
  ]
  for (const response of responses) {
    const reference = await run(new Undici7Agent(), response, (handler) => handler)
    const adapted = await run(new UndiciAgent(), response, (handler) => adaptLegacyHandler(handler))
    expect(reference.length).toBeGreaterThan(2)
    expect(adapted).toEqual(reference)
  }
})

test('a handler is legacy by any legacy callback, unless it has onRequestStart', () => {
  const method = (): void => {}
  for (const name of ['onConnect', 'onHeaders', 'onData', 'onComplete', 'onError', 'onUpgrade']) {
    expect(isLegacyHandler({ [name]: method })).toBe(true)
    expect(isLegacyHandler({ [name]: method, onRequestStart: method })).toBe(false)
    expect(isLegacyHandler({ [name]: 'not a function' })).toBe(false)
    expect(isLegacyHandler({ [name]: method, onRequestStart: null } as object)).toBe(true)
  }
  expect(isLegacyHandler({})).toBe(false)
  expect(isLegacyHandler({ onResponseError: method, onBodySent: method })).toBe(false)
})

test('the abort function given to onConnect aborts the controller with exactly its arguments', () => {
  const controller = new FakeController()
  let abort: ((reason?: Error) => void) | undefined
  let context: unknown = 'untouched'
  const handler = adaptLegacyHandler({
    onConnect(...args) {
      ;[abort, context] = args
    },
  })
  handler.onRequestStart?.(controller, null)
  expect(context).toBe(null)
  const reason = new Error('enough')
  abort?.(reason)
  abort?.()
  expect(controller.calls).toEqual([
    ['abort', reason],
    ['abort', undefined],
  ])
})

test('false from onHeaders pauses, and resume resumes', () => {
  const controller = new FakeController()
  let resume: (() => void) | undefined
  const handler = adaptLegacyHandler({
    onHeaders(_status, _headers, resumeBody) {
      resume = resumeBody
      return false
    },
  })
  handler.onResponseStart?.(controller, 200, {}, 'OK')
  expect(controller.calls).toEqual([['pause']])
  resume?.()
  expect(controller.calls).toEqual([['pause'], ['resume']])
})

test('false from onHeaders of an informational response does not pause', () => {
  const controller = new FakeController()
  const handler = adaptLegacyHandler({ onHeaders: () => false })
  handler.onResponseStart?.(controller, 103, {}, 'Early Hints')
  handler.onResponseStart?.(controller, 199, {}, '')
  expect(controller.calls).toEqual([])
})

test('false from onData pauses, and only false', () => {
  const controller = new FakeController()
  const results = [true, undefined, null, 0, false] as (boolean | undefined)[]
  const handler = adaptLegacyHandler({ onData: () => results.shift() as boolean })
  for (let i = 0; i < 4; i++) handler.onResponseData?.(controller, Buffer.from('x'))
  expect(controller.calls).toEqual([])
  handler.onResponseData?.(controller, Buffer.from('x'))
  expect(controller.calls).toEqual([['pause']])
})

test('raw headers are Buffers, from whichever form the controller has', () => {
  const seen: string[][] = []
  const handler = adaptLegacyHandler({
    onHeaders(_status, headers) {
      expect(headers.every(Buffer.isBuffer)).toBe(true)
      seen.push(text(headers))
      return true
    },
    onComplete: (trailers) => void seen.push(text(trailers)),
  })
  const parsed = { 'x-a': ['1', '2'], 'x-b': '\xe9', 'x-c': undefined }
  const flat = ['x-a', '1', 'x-a', '2', 'x-b', '\xe9']
  const forms: [RawHeaders, string[]][] = [
    [
      [Buffer.from('X-A'), Buffer.from('1')],
      ['X-A', '1'],
    ],
    [
      ['X-A', '\xe9'],
      ['X-A', '\xe9'],
    ],
    [{ 'x-a': ['1', '2'] }, ['x-a', '1', 'x-a', '2']],
    [null, flat],
    [[], []],
  ]
  for (const [raw, expected] of forms) {
    const controller = new FakeController()
    controller.rawHeaders = raw
    controller.rawTrailers = raw
    handler.onResponseStart?.(controller, 200, parsed, 'OK')
    handler.onResponseEnd?.(controller, parsed)
    expect(seen.splice(0)).toEqual([expected, expected])
  }
})

test('an upgrade hands over status, raw headers and the socket itself', () => {
  const controller = new FakeController()
  controller.rawHeaders = [Buffer.from('Upgrade'), Buffer.from('x')]
  const socket = new Duplex({ read() {} })
  let upgraded: unknown[] = []
  const handler = adaptLegacyHandler({
    onUpgrade(status, headers, stream) {
      upgraded = [status, text(headers), stream]
    },
  })
  handler.onRequestUpgrade?.(controller, 101, { upgrade: 'x' }, socket)
  expect(upgraded).toEqual([101, ['Upgrade', 'x'], socket])
  expect(upgraded[2]).toBe(socket)
})

test('an error goes to onError, with or without a controller, and is thrown where nobody takes it', () => {
  const errors: Error[] = []
  const handler = adaptLegacyHandler({ onError: (error) => void errors.push(error) })
  const error = new Error('lost')
  handler.onResponseError?.(null, error)
  handler.onResponseError?.(undefined, error)
  handler.onResponseError?.(new FakeController(), error)
  expect(errors).toEqual([error, error, error])
  expect(() => adaptLegacyHandler({ onData: () => true }).onResponseError?.(null, error)).toThrow(error)
})

test('upload callbacks exist only where the handler has them, and keep their this', () => {
  const plain = adaptLegacyHandler({ onConnect() {} })
  expect(plain.onBodySent).toBe(undefined)
  expect(plain.onRequestSent).toBe(undefined)

  const calls: unknown[] = []
  const legacy: LegacyDispatchHandler = {
    onBodySent(chunk) {
      calls.push([this === legacy, chunk])
    },
    onRequestSent() {
      calls.push(this === legacy)
    },
    onResponseStarted() {
      calls.push(this === legacy)
    },
  }
  const handler = adaptLegacyHandler(legacy)
  const chunk = Buffer.from('x')
  handler.onBodySent?.(chunk)
  handler.onRequestSent?.()
  handler.onResponseStarted?.()
  expect(calls).toEqual([[true, chunk], true, true])
})
