/** Connections as an agent tells of them: the same bodies over undici's own agent, which is the reference. */
import { describe, expect, test } from 'vitest'
import { Agent as UndiciAgent } from 'undici'
import { Agent } from '../lib/index.ts'
import type { AgentOptions, DispatcherSurface } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { Recorder, send } from './support/recorder.ts'
import { closedPort, startServer, startTcpServer } from './support/servers.ts'

interface Dispatcher extends DispatcherSurface, AsyncDisposable {
  stats: Record<string, Record<string, unknown>>
}

const contestants = [
  { name: 'sluice', open: (options: AgentOptions = {}) => new Agent(options) as unknown as Dispatcher },
  {
    name: 'undici',
    open: (options: AgentOptions = {}) => {
      const agent = new UndiciAgent(options as never) as unknown as Dispatcher
      agent[Symbol.asyncDispose] ??= () => agent.destroy()
      return agent
    },
  },
]

interface Seen {
  event: string
  origin: string
  isUrl: boolean
  isOwn: boolean
  error: string | undefined
  message: string | undefined
}

const EVENTS = ['connect', 'disconnect', 'connectionError', 'drain'] as const

function watch(agent: Dispatcher): Seen[] {
  const seen: Seen[] = []
  for (const event of EVENTS) {
    agent.on(event, (origin: URL, targets: readonly unknown[] = [], error?: Error & { code?: string }) => {
      const isOwn = targets[0] === agent && targets.length >= 2
      seen.push({
        event,
        origin: origin.origin,
        isUrl: origin instanceof URL,
        isOwn,
        error: error?.code,
        message: error?.message,
      })
    })
  }
  return seen
}

/** undici takes a connection back after the callback of the end, and what that has scheduled. */
const free = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const names = (seen: Seen[]): string[] =>
  seen.map(({ event, error }) => (error === undefined ? event : `${event} ${error}`))

describe.each(contestants)('$name', ({ name, open }) => {
  test('connect comes before the request starts, with the origin and the agent first among its targets', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using agent = open()
    const seen = watch(agent)
    let before: string[] = []
    await send(agent, server.origin, new Recorder('current', { start: () => (before = names(seen)) })).ended
    expect(before).toEqual(['connect'])
    expect(seen).toEqual([
      { event: 'connect', origin: server.origin, isUrl: true, isOwn: true, error: undefined, message: undefined },
    ])
  })

  test('a second request on the connection brings no further event', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using agent = open()
    const seen = watch(agent)
    await send(agent, server.origin, new Recorder()).ended
    await free()
    await send(agent, server.origin, new Recorder()).ended
    expect([names(seen), server.accepted]).toEqual([['connect'], 1])
  })

  test('disconnect tells of an idle connection that the server closed', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using agent = open()
    const seen = watch(agent)
    await send(agent, server.origin, new Recorder()).ended
    for (const socket of server.sockets) socket.end()
    await until(() => seen.length === 2)
    expect(names(seen)).toEqual(['connect', 'disconnect UND_ERR_SOCKET'])
    expect(seen[1]!.message).toBe('other side closed')
    expect(agent.stats).toEqual({})
  })

  test('disconnect follows a response that closes its connection', async () => {
    await using server = await startServer((_request, response) => {
      response.setHeader('connection', 'close')
      response.end('x')
    })
    await using agent = open()
    const seen = watch(agent)
    await send(agent, server.origin, new Recorder()).ended
    await until(() => seen.length === 2)
    expect(names(seen)).toEqual(['connect', 'disconnect UND_ERR_INFO'])
    expect(seen[1]!.message).toBe('reset')
  })

  test('disconnect has the error that ended a response', async () => {
    await using server = await startTcpServer((socket) =>
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfive.')),
    )
    await using agent = open()
    const seen = watch(agent)
    const recorder = send(agent, server.origin, new Recorder())
    await recorder.ended
    expect(recorder.error).toMatchObject({ code: 'UND_ERR_SOCKET', message: 'other side closed' })
    await until(() => seen.length === 2)
    expect(names(seen)).toEqual(['connect', 'disconnect UND_ERR_SOCKET'])
  })

  test('an aborted request drops its connection', async () => {
    await using server = await startServer((_request, response) => void response.write('x'))
    await using agent = open()
    const seen = watch(agent)
    await send(agent, server.origin, new Recorder('current', { data: (gate) => gate.abort() })).ended
    await until(() => seen.length === 2)
    expect(seen[1]).toMatchObject({ event: 'disconnect', error: 'UND_ERR_INFO', message: 'aborted' })
  })

  test('abort inside the start sends nothing', async () => {
    let heads = 0
    await using server = await startServer((_request, response) => {
      heads++
      response.end('x')
    })
    await using agent = open()
    const seen = watch(agent)
    const reason = new Error('no')
    const order: string[] = []
    const recorder = new Recorder('current', {
      start: (gate) => {
        gate.abort(reason)
        order.push('after')
      },
      error: () => void order.push('error'),
    })
    await send(agent, server.origin, recorder).ended
    expect([recorder.error, recorder.calls, order]).toEqual([reason, ['start', 'error'], ['error', 'after']])
    await send(agent, server.origin, new Recorder()).ended
    expect(heads).toBe(1)
    // undici drops the connection, which nothing was written to.
    if (name === 'sluice') expect(new Set(names(seen))).toEqual(new Set(['connect']))
  })

  test('a failed connection is connectionError, and its request is never started', async () => {
    const origin = `http://127.0.0.1:${await closedPort()}`
    await using agent = open()
    const seen = watch(agent)
    let controller: unknown = 'none'
    const recorder = new Recorder()
    const { onResponseError } = recorder.handler as { onResponseError: (gate: unknown, error: Error) => void }
    Object.assign(recorder.handler, {
      onResponseError: (gate: unknown, error: Error) => {
        controller = gate
        onResponseError(gate, error)
      },
    })
    await send(agent, origin, recorder).ended
    await until(() => seen.length === 1)
    expect(names(seen)).toEqual(['connectionError ECONNREFUSED'])
    expect(seen[0]).toMatchObject({ origin, isUrl: true, isOwn: true })
    expect([recorder.calls, controller]).toEqual([['error'], undefined])
    expect(agent.stats).toEqual({})
  })

  test('an idle connection is told of when the agent closes or is destroyed', async () => {
    for (const end of ['close', 'destroy'] as const) {
      await using server = await startServer((_request, response) => response.end('x'))
      const agent = open()
      const seen = watch(agent)
      await send(agent, server.origin, new Recorder()).ended
      await agent[end]()
      expect(names(seen)).toEqual(['connect', 'disconnect UND_ERR_DESTROYED'])
    }
  })

  test('a listener that throws is an uncaught exception, and the request goes on', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using agent = open()
    const thrown = new Error('thrown by a listener')
    agent.once('connect', () => {
      throw thrown
    })
    const runners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    const uncaught = Promise.withResolvers<unknown>()
    process.once('uncaughtException', uncaught.resolve)
    try {
      agent.dispatch({ origin: server.origin, path: '/', method: 'GET' }, new Recorder().handler)
      expect(await uncaught.promise).toBe(thrown)
    } finally {
      process.removeAllListeners('uncaughtException')
      for (const runner of runners) process.on('uncaughtException', runner)
    }
  })
})

describe.each(contestants)('connections of $name', ({ open }) => {
  /** Holds every response until `release`, which answers those that wait. */
  async function startHolding() {
    const waiting: (() => void)[] = []
    const server = await startServer((_request, response) => void waiting.push(() => response.end('x')))
    return Object.assign(server, { waiting, release: () => waiting.shift()!() })
  }

  test('without a limit dispatch always has room', async () => {
    await using server = await startHolding()
    await using agent = open()
    const seen = watch(agent)
    const sent = [1, 2, 3].map(() => new Recorder())
    for (const recorder of sent) {
      expect(agent.dispatch({ origin: server.origin, path: '/', method: 'GET' }, recorder.handler)).toBe(true)
    }
    await until(() => server.waiting.length === 3)
    while (server.waiting.length > 0) server.release()
    for (const recorder of sent) await recorder.ended
    await free()
    expect(names(seen)).toEqual(['connect', 'connect', 'connect'])
    expect({ ...agent.stats[server.origin] }).toEqual({
      connected: 3,
      free: 3,
      pending: 0,
      queued: 0,
      running: 0,
      size: 0,
    })
  })

  test.each([1, 2])('with %i there is room for one less, and one drain after it was full', async (connections) => {
    await using server = await startHolding()
    await using agent = open({ connections })
    const seen = watch(agent)
    const recorders: Recorder[] = []
    const results: boolean[] = []
    for (let index = 0; index < connections + 2; index++) {
      const recorder = new Recorder()
      recorders.push(recorder)
      results.push(agent.dispatch({ origin: server.origin, path: '/', method: 'GET' }, recorder.handler))
    }
    const isFull = Array.from({ length: 3 }, () => false)
    expect(results).toEqual([...Array.from({ length: connections - 1 }, () => true), ...isFull])
    await until(() => server.waiting.length === connections)
    const started = recorders.filter(({ calls }) => calls.includes('start'))
    expect(started).toEqual(recorders.slice(0, connections))
    if (connections === 1) {
      expect({ ...agent.stats[server.origin] }).toEqual({ connected: true, pending: 2, running: 1, size: 3 })
    } else {
      expect({ ...agent.stats[server.origin] }).toEqual({
        connected: 2,
        free: 0,
        pending: 2,
        queued: 2,
        running: 2,
        size: 4,
      })
    }
    for (const [index, recorder] of recorders.entries()) {
      await until(() => server.waiting.length > 0)
      if (recorders.length - index >= connections) expect(names(seen)).not.toContain('drain')
      server.release()
      await recorder.ended
    }
    await until(() => names(seen).includes('drain'))
    expect(seen.filter(({ event }) => event === 'drain')).toEqual([
      { event: 'drain', origin: server.origin, isUrl: true, isOwn: true, error: undefined, message: undefined },
    ])
    expect(server.accepted).toBe(connections)
    expect(recorders.every(({ body }) => body.toString() === 'x')).toBe(true)
  })

  test('drain never comes inside the dispatch that was told to wait', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using agent = open({ connections: 1 })
    const order: string[] = []
    agent.on('drain', () => order.push('drain'))
    for (let index = 0; index < 3; index++) {
      const drained = new Promise<void>((resolve) => agent.once('drain', () => resolve()))
      order.push('dispatch')
      expect(agent.dispatch({ origin: server.origin, path: '/', method: 'GET' }, new Recorder().handler)).toBe(false)
      order.push('dispatched')
      await drained
    }
    const round = ['dispatch', 'dispatched', 'drain']
    expect(order).toEqual([...round, ...round, ...round])
  })

  test('a queued request whose turn comes may still abort', async () => {
    let heads = 0
    await using server = await startServer((_request, response) => {
      heads++
      response.end('x')
    })
    await using agent = open({ connections: 1 })
    const first = send(agent, server.origin, new Recorder())
    const second = send(agent, server.origin, new Recorder('current', { start: (gate) => gate.abort() }))
    const third = send(agent, server.origin, new Recorder())
    await Promise.all([first.ended, second.ended, third.ended])
    expect([second.calls, second.error!.code]).toEqual([['start', 'error'], 'UND_ERR_ABORTED'])
    expect(heads).toBe(2)
  })

  test('maxOrigins counts the origins that are live', async () => {
    await using one = await startServer((_request, response) => response.end('1'))
    await using two = await startServer((_request, response) => response.end('2'))
    await using agent = open({ maxOrigins: 1 })
    const seen = watch(agent)
    await send(agent, one.origin, new Recorder()).ended
    const refused = new Recorder()
    expect(agent.dispatch({ origin: two.origin, path: '/', method: 'GET' }, refused.handler)).toBe(false)
    expect(refused.error).toMatchObject({ name: 'MaxOriginsReachedError', code: 'UND_ERR_MAX_ORIGINS_REACHED' })
    await send(agent, one.origin, new Recorder()).ended
    for (const socket of one.sockets) socket.end()
    await until(() => names(seen).includes('disconnect UND_ERR_SOCKET'))
    const accepted = send(agent, two.origin, new Recorder())
    await accepted.ended
    expect(accepted.body.toString()).toBe('2')
  })
})
