/** Each limit is kept wherever it is given: to the agent or with the request, for dispatch and for fetch, on both engines. */
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { Agent, errors, fetch } from '../lib/index.ts'
import type { AgentOptions, DispatchOptions, FetchInit } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { Recorder, send } from './support/recorder.ts'
import { select } from './support/selection.ts'
import { startServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'

/** Answers by path: `/silent` never, `/half` with half a body, `/header` with 600 bytes of fields, `/gzip` encoded. */
const start = (): Promise<RunningServer> =>
  startServer((request, response) => {
    switch (request.url) {
      case '/silent':
        return
      case '/half':
        response.writeHead(200, { 'content-length': 2000 }).write(Buffer.alloc(1000))
        return
      case '/header':
        response.writeHead(200, { 'x-long': 'x'.repeat(600) }).end()
        return
      case '/gzip':
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(100_000)))
        return
      default:
        response.end(Buffer.alloc(1000))
    }
  })

type Limits = Partial<AgentOptions & FetchInit & DispatchOptions>

interface Row {
  option: keyof AgentOptions
  value: number
  /** Under it the same request goes well, or goes on. */
  wide: number
  path: string
  code: string
  places: readonly ('agent, dispatch' | 'agent, fetch' | 'dispatch' | 'fetch')[]
}

const ALL = ['agent, dispatch', 'agent, fetch', 'dispatch', 'fetch'] as const
const NO_DISPATCH = ['agent, dispatch', 'agent, fetch', 'fetch'] as const
const OF_FETCH = ['agent, fetch', 'fetch'] as const

const rows: Row[] = [
  { option: 'headersTimeout', value: 20, wide: 0, path: '/silent', code: 'UND_ERR_HEADERS_TIMEOUT', places: ALL },
  { option: 'bodyTimeout', value: 20, wide: 0, path: '/half', code: 'UND_ERR_BODY_TIMEOUT', places: ALL },
  { option: 'timeout', value: 20, wide: 0, path: '/half', code: 'SLUICE_ERR_TIMEOUT', places: NO_DISPATCH },
  {
    option: 'maxHeaderSize',
    value: 500,
    wide: 5000,
    path: '/header',
    code: 'UND_ERR_HEADERS_OVERFLOW',
    places: NO_DISPATCH,
  },
  {
    option: 'maxResponseSize',
    value: 999,
    wide: 1000,
    path: '/',
    code: 'UND_ERR_RES_EXCEEDED_MAX_SIZE',
    places: NO_DISPATCH,
  },
  {
    option: 'maxDecodedSize',
    value: 99_999,
    wide: 100_000,
    path: '/gzip',
    code: 'SLUICE_ERR_DECODED_SIZE',
    places: OF_FETCH,
  },
  {
    option: 'maxCompressionRatio',
    value: 10,
    wide: 1e6,
    path: '/gzip',
    code: 'SLUICE_ERR_COMPRESSION_RATIO',
    places: OF_FETCH,
  },
]

const engines = ['wire', 'reqwest'] as const
const cases = rows.flatMap((row) =>
  select(
    row.places.flatMap((place) => engines.map((transport) => ({ ...row, place, transport }))),
    { place: row.places[0]! },
  ),
)

/** What became of the request; `null` while it goes on. */
async function outcome(
  agent: Agent,
  origin: string,
  path: string,
  isFetch: boolean,
  limits: Limits,
): Promise<Error | null> {
  if (!isFetch) {
    const recorder = send(agent, origin, new Recorder(), { path, ...limits })
    await recorder.ended
    return recorder.error
  }
  try {
    const response = await fetch(`${origin}${path}`, { dispatcher: agent, ...(limits as FetchInit) })
    await response.arrayBuffer()
    return null
  } catch (error) {
    return error as Error
  }
}

describe.each(cases)('$option of $place over $transport', ({ option, value, wide, path, code, place, transport }) => {
  const isOfAgent = place.startsWith('agent')
  const isFetch = place.endsWith('fetch')
  const limit = (bound: number): [AgentOptions, Limits] =>
    isOfAgent ? [{ transport, [option]: bound }, {}] : [{ transport }, { [option]: bound }]

  test('ends the request with its own error', async () => {
    await using server = await start()
    const [agentOptions, limits] = limit(value)
    await using agent = new Agent(agentOptions)
    const error = await outcome(agent, server.origin, path, isFetch, limits)
    expect(((error?.cause ?? error) as { code?: string }).code).toBe(code)
  })

  test('lets what is within it alone', async () => {
    await using server = await start()
    const [agentOptions, limits] = limit(wide)
    await using agent = new Agent(agentOptions)
    const isEndless = wide === 0
    expect(await outcome(agent, server.origin, isEndless ? '/' : path, isFetch, limits)).toBe(null)
  })
})

describe.each(engines)('over %s', (transport) => {
  test.each(['agent', 'request'])('windowBytes of the %s bounds what a paused response holds', async (place) => {
    await using server = await startServer((_, response) => void response.end(Buffer.alloc(8 * 1024 * 1024)))
    const limits = { windowBytes: 64 * 1024 }
    await using agent = new Agent({ transport, ...(place === 'agent' ? limits : {}) })
    const response = await fetch(server.origin, { dispatcher: agent, ...(place === 'request' ? limits : {}) })
    const reader = response.body!.getReader()
    // Before the first demand one frame is held.
    await reader.read()
    await until(() => agent.stats.bufferedBytes >= limits.windowBytes)
    // A frame may come on top of a window that is not quite full.
    expect(agent.stats.bufferedBytes).toBeLessThan(512 * 1024)
    await reader.cancel()
  })

  test.each(['agent', 'request'])('uploadWindowBytes of the %s bounds what is taken from a source', async (place) => {
    await using server = await startServer(() => {})
    const limits = { uploadWindowBytes: 4096 }
    await using agent = new Agent({ transport, ...(place === 'agent' ? limits : {}) })
    let taken = 0
    let isAsked = Promise.withResolvers<void>()
    async function* source(): AsyncGenerator<Uint8Array> {
      for (;;) {
        taken += 1024
        yield new Uint8Array(1024)
        isAsked.resolve()
        isAsked = Promise.withResolvers()
      }
    }
    const stop = new AbortController()
    const init: FetchInit = { method: 'POST', body: source(), signal: stop.signal, dispatcher: agent }
    const failed = fetch(server.origin, { ...init, ...(place === 'request' ? limits : {}) }).catch(
      (error: Error) => error,
    )
    // The server reads nothing: its socket fills, then the window.
    await until(() => agent.stats.bufferedBytes >= limits.uploadWindowBytes)
    expect(agent.stats.bufferedBytes).toBeLessThanOrEqual(limits.uploadWindowBytes + 1024)
    expect(taken).toBeGreaterThan(0)
    stop.abort()
    expect(await failed).toBe(stop.signal.reason)
  })
})

describe('connectTimeout', () => {
  /** Never calls back. */
  const connect = { lookup: () => {} }

  test.each(['agent, dispatch', 'agent, fetch', 'fetch'])('of %s ends a lookup that hangs', async (place) => {
    const isOfAgent = place.startsWith('agent')
    await using agent = new Agent({ connect: connect as never, ...(isOfAgent ? { connectTimeout: 20 } : {}) })
    const limits = isOfAgent ? {} : { connectTimeout: 20 }
    const error = await outcome(agent, 'http://hangs.test', '/', place.endsWith('fetch'), limits)
    expect(((error!.cause ?? error) as { code?: string }).code).toBe('UND_ERR_CONNECT_TIMEOUT')
  })

  test('of a request is refused by name on reqwest, which has one for all', async () => {
    await using agent = new Agent({ transport: 'reqwest' })
    const error = await fetch('http://hangs.test', { dispatcher: agent, connectTimeout: 20 }).catch(
      (reason: Error) => reason,
    )
    expect(error).toBeInstanceOf(errors.InvalidArgumentError)
    expect((error as Error).message).toContain('connectTimeout')
  })
})

test.each<[string, unknown]>([
  ['uploadWindowBytes', 0],
  ['connectTimeout', -1],
  ['maxHeaderSize', 0],
  ['maxHeaderSize', 256 * 1024 + 1],
  ['maxResponseSize', '1'],
])('fetch refuses %s: %j by name', async (name, value) => {
  const error = await fetch('http://a.test', { [name]: value } as FetchInit).catch((reason: Error) => reason)
  expect(error).toBeInstanceOf(errors.InvalidArgumentError)
  expect((error as Error).message).toContain(name)
})

test('maxResponseSize may be larger than 4 GiB', async () => {
  await using server = await start()
  await using agent = new Agent()
  const maxResponseSize = 2 ** 32 + 10
  expect(await outcome(agent, server.origin, '/', true, { maxResponseSize })).toBe(null)
})
