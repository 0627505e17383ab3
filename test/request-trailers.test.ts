/** Trailers of a request: announced, sent behind a chunked body, and refused where they have no place. */
import { createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { describe, expect, test } from 'vitest'
import { Agent, errors, fetch } from '../lib/index.ts'
import type { DispatchOptions, TrailersInit } from '../lib/index.ts'
import { rejection } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { Recorder, send } from './support/recorder.ts'
import { select } from './support/selection.ts'
import { startServer } from './support/servers.ts'

interface Received {
  body: string
  headers: IncomingHttpHeaders
  trailers: NodeJS.Dict<string>
}

async function* words(): AsyncGenerator<string> {
  yield 'one,'
  yield 'two'
}

async function start(): Promise<{ origin: string; received: Received[] } & AsyncDisposable> {
  const received: Received[] = []
  const server = await startServer((request: IncomingMessage, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      received.push({ body, headers: request.headers, trailers: request.trailers })
      response.end()
    })
  })
  return { origin: server.origin, received, [Symbol.asyncDispose]: () => server.close() }
}

type Options = Partial<DispatchOptions> & { trailers: TrailersInit }

/** Both ways in; a result is the error, or `null`. */
const ways = [
  {
    way: 'dispatch',
    post: async (agent: Agent, origin: string, options: Options): Promise<Error | null> => {
      const recorder = send(agent, origin, new Recorder(), { method: 'POST', ...options })
      await recorder.ended
      return recorder.error
    },
  },
  {
    way: 'fetch',
    post: async (agent: Agent, origin: string, options: Options): Promise<Error | null> => {
      const sent = fetch(origin, { method: 'POST', ...options, dispatcher: agent } as never)
      return sent.then(
        async (response) => (await response.arrayBuffer(), null),
        (error: Error) => error,
      )
    },
  },
]
const engines = ['wire', 'reqwest'] as const
const rows = ways.flatMap((way) => engines.map((transport) => ({ ...way, transport })))

const announced = { trailer: 'x-sum, X-Note' }
const fields = { 'x-sum': '7', 'X-Note': 'fine' }

describe.each(select(rows))('$way over $transport', ({ post, transport }) => {
  test.each<[string, Omit<Options, 'body'>]>([
    ['a record', { trailers: fields }],
    ['pairs', { trailers: new Map(Object.entries(fields)) }],
    ['a Headers', { trailers: new Headers(fields) }],
    ['a function', { trailers: () => fields, headers: announced }],
    ['an async function', { trailers: () => Promise.resolve(fields), headers: announced }],
    ['a promise', { trailers: Promise.resolve(fields), headers: announced }],
  ])('%s follows the body, and is announced', async (_name, options) => {
    await using server = await start()
    await using agent = new Agent({ transport })
    expect(await post(agent, server.origin, { ...options, body: words() })).toBe(null)
    const [request] = server.received
    expect(request!.trailers).toEqual({ 'x-sum': '7', 'x-note': 'fine' })
    expect(request!.body).toBe('one,two')
    expect(request!.headers['transfer-encoding']).toBe('chunked')
    const names = request!.headers['trailer']!.toLowerCase().split(', ')
    expect(names.toSorted()).toEqual(['x-note', 'x-sum'])
  })

  test('a function is asked once, when the source has ended', async () => {
    await using server = await start()
    await using agent = new Agent({ transport })
    const calls: string[] = []
    async function* source(): AsyncGenerator<string> {
      calls.push('source')
      yield 'body'
      calls.push('end')
    }
    const trailers = (): Record<string, string> => {
      calls.push('trailers')
      return { 'x-sum': String(calls.length) }
    }
    await post(agent, server.origin, { body: source(), trailers, headers: { trailer: 'x-sum' } })
    expect(calls).toEqual(['source', 'end', 'trailers'])
    expect(server.received[0]!.trailers).toEqual({ 'x-sum': '3' })
  })

  test('an error of the function fails the request with that very error', async () => {
    await using server = await start()
    await using agent = new Agent({ transport })
    const cause = new Error('no sum')
    const trailers = (): never => {
      throw cause
    }
    const error = await post(agent, server.origin, { body: words(), trailers, headers: { trailer: 'x-sum' } })
    expect(error === cause || error?.cause === cause).toBe(true)
    expect(server.received).toEqual([])
  })

  test.each<[string, Options, string]>([
    ['a body with a length', { body: 'text', trailers: fields }, 'without a content-length'],
    ['no body', { trailers: fields }, 'without a content-length'],
    [
      'a stream with a content-length',
      { body: words(), trailers: fields, headers: { 'content-length': '7' } },
      'without a content-length',
    ],
    ['a field that frames the message', { body: words(), trailers: { 'Content-Length': '1' } }, 'Content-Length'],
    ['a field that authenticates', { body: words(), trailers: [['authorization', 'x']] as never }, 'authorization'],
    ['a value with a line break', { body: words(), trailers: { a: 'b\r\nc: d' } }, 'invalid a header'],
    ['a name that is none', { body: words(), trailers: { 'a b': 'c' } }, 'invalid header key'],
    ['what is no object', { body: words(), trailers: 'x-sum: 7' as never }, 'must be an object'],
    ['a function without announcement', { body: words(), trailers: () => fields }, 'trailer header'],
    [
      'a field that was not announced',
      { body: words(), trailers: fields, headers: { trailer: 'x-sum' } },
      'X-Note is not announced',
    ],
  ])('%s is refused by name, and nothing is sent', async (_name, options, message) => {
    await using server = await start()
    await using agent = new Agent({ transport })
    const error = await post(agent, server.origin, options)
    expect(error).toBeInstanceOf(errors.InvalidArgumentError)
    expect(error!.message).toContain('trailers')
    expect(error!.message).toContain(message)
    expect(server.received).toEqual([])
  })

  test('a late field that was not announced fails the request', async () => {
    await using server = await start()
    await using agent = new Agent({ transport })
    const options = { body: words(), trailers: () => fields, headers: { trailer: 'x-sum' } }
    const error = await post(agent, server.origin, options)
    const cause = (error!.cause ?? error) as Error
    expect(cause).toBeInstanceOf(errors.InvalidArgumentError)
    expect(cause.message).toBe('trailers: X-Note is not announced by the trailer header')
    expect(server.received).toEqual([])
  })

  test('they are sent over HTTP/2', async () => {
    const trailers: object[] = []
    const server = createHttp2Server()
    server.on('stream', (stream) => {
      stream.on('trailers', (received) => void trailers.push({ ...received }))
      stream.resume().on('end', () => {
        stream.respond({ ':status': 200 })
        stream.end()
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    {
      await using agent = new Agent({ transport, useH2c: true })
      expect(await post(agent, origin, { body: words(), trailers: fields })).toBe(null)
      await until(() => trailers.length > 0)
      expect(trailers).toMatchObject([{ 'x-sum': '7', 'x-note': 'fine' }])
    }
    await new Promise((resolve) => server.close(resolve))
  })
})

test('fetch refuses them over a dispatcher that would lose them', async () => {
  await using server = await start()
  await using agent = new Agent()
  const composed = agent.compose((dispatch) => (options, handler) => dispatch(options, handler))
  const init = { method: 'POST', body: words(), trailers: fields, dispatcher: composed }
  const error = await rejection(fetch(server.origin, init as never))
  expect(error).toBeInstanceOf(errors.InvalidArgumentError)
  expect(error.message).toBe('trailers is not supported over this dispatcher')
})
