/** undici-contract.md §5: `connect`, `disconnect`, `connectionError`, `drain`. */
import { once } from 'node:events'
import { until, within } from '../support/deadline.ts'
import { closedPort } from '../support/servers.ts'
import { AGENTS, REQWEST } from './support/contestants.ts'
import { OK, response } from './support/raw-server.ts'
import { row } from './support/row.ts'
import type { Stage } from './support/stage.ts'
import type { DispatcherSurface } from '../../lib/index.ts'

const WIRE = AGENTS.filter(({ engine }) => engine !== 'reqwest')
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Every event, its origin if it is a URL, whether the first target is the dispatcher, and its error. */
function listen(stage: Stage, agent: DispatcherSurface): unknown[] {
  const events: unknown[] = []
  for (const name of ['connect', 'disconnect', 'connectionError', 'drain'] as const) {
    agent.on(name, (origin: URL, targets?: readonly DispatcherSurface[], error?: Error) => {
      events.push([
        name,
        origin instanceof URL ? stage.mask(origin.href) : typeof origin,
        targets?.[0] === agent,
        ...(error === undefined ? [] : [stage.facts(error)]),
      ])
    })
  }
  return events
}

const names = (events: unknown[]): unknown[] => events.map((event) => (event as unknown[])[0])
const ORIGIN = 'http://127.0.0.1:PORT/'
const INFO = (message: string) => ({ name: 'InformationalError', code: 'UND_ERR_INFO', message })
const CLOSED = { name: 'SocketError', code: 'UND_ERR_SOCKET', message: 'other side closed' }

row('§5 connect, and disconnect of a connection: close response', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['connection: close', 'content-length: 0']))
    const agent = stage.open()
    const events = listen(stage, agent)
    await stage.send(agent, server.origin).ended
    await until(() => events.length === 2)
    return events
  },
  expected: [
    ['connect', ORIGIN, true],
    ['disconnect', ORIGIN, true, INFO('reset')],
  ],
})

row('§5 connect comes before onRequestStart', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    const order: string[] = []
    agent.on('connect', () => order.push('connect'))
    await stage.send(agent, server.origin, {}, { start: () => order.push('start') }).ended
    return order
  },
  expected: ['connect', 'start'],
})

row('§5 targets are the agent, its pool and its client', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    const connecting = once(agent, 'connect') as Promise<[URL, unknown[]]>
    await stage.send(agent, server.origin).ended
    const [, targets] = await connecting
    return [targets.length, targets[0] === agent, new Set(targets).size]
  },
  expected: [3, true, 3],
})

row('§5 targets are dispatchers', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    const connecting = once(agent, 'connect') as Promise<[URL, Partial<DispatcherSurface>[]]>
    await stage.send(agent, server.origin).ended
    const [, targets] = await connecting
    return targets.map((target) => typeof target.dispatch)
  },
  expected: ['function', 'function', 'function'],
  differs: [{ id: 'C19', observed: ['function', 'undefined', 'undefined'] }],
})

row('§5 disconnect of an idle connection that the server closed', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    const events = listen(stage, agent)
    await stage.send(agent, server.origin).ended
    await turn()
    for (const socket of server.sockets) socket.end()
    await until(() => events.length === 2)
    return events
  },
  expected: [
    ['connect', ORIGIN, true],
    ['disconnect', ORIGIN, true, CLOSED],
  ],
})

row('§5 disconnect of an idle connection after keepAliveTimeout', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ keepAliveTimeout: 50 })
    const events = listen(stage, agent)
    await stage.send(agent, server.origin).ended
    await until(() => events.length === 2)
    return events
  },
  expected: [
    ['connect', ORIGIN, true],
    ['disconnect', ORIGIN, true, INFO('socket idle timeout')],
  ],
})

row('§5 disconnect of a connection lost in a response, and of an aborted request', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw((request, socket) => {
      if (request.lines[0]!.includes('/lost')) socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello')
    })
    const agent = stage.open()
    const events = listen(stage, agent)
    await stage.send(agent, server.origin, { path: '/lost' }).ended
    await until(() => events.length === 2)
    const observer = stage.send(agent, server.origin)
    await server.request(1)
    observer.gate.abort()
    // undici 7 connects once more.
    await until(() => events.length >= 4)
    return events.slice(0, 4)
  },
  expected: [
    ['connect', ORIGIN, true],
    ['disconnect', ORIGIN, true, CLOSED],
    ['connect', ORIGIN, true],
    ['disconnect', ORIGIN, true, INFO('aborted')],
  ],
})

row('§5 disconnect by destroy', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    const events = listen(stage, agent)
    await stage.send(agent, server.origin).ended
    await turn()
    await agent.destroy()
    await until(() => events.length === 2)
    return events
  },
  expected: [
    ['connect', ORIGIN, true],
    [
      'disconnect',
      ORIGIN,
      true,
      { name: 'ClientDestroyedError', code: 'UND_ERR_DESTROYED', message: 'The client is destroyed' },
    ],
  ],
})

row('§5 connectionError, and no connect', {
  on: WIRE,
  run: async (stage) => {
    const agent = stage.open()
    const events = listen(stage, agent)
    const port = await closedPort()
    await stage.send(agent, `http://127.0.0.1:${port}`).ended
    await until(() => events.length > 0)
    await turn()
    return JSON.parse(JSON.stringify(events).replaceAll(`${port}`, 'PORT')) as unknown
  },
  expected: [
    [
      'connectionError',
      ORIGIN,
      true,
      { name: 'Error', code: 'ECONNREFUSED', message: 'connect ECONNREFUSED 127.0.0.1:PORT' },
    ],
  ] as unknown,
})

row('§5 a request that fails emits no error event', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw((_request, socket) => void socket.end())
    const agent = stage.open()
    let errors = 0
    ;(agent as unknown as NodeJS.EventEmitter).on('error', () => errors++)
    await stage.send(agent, server.origin).ended
    await turn()
    return errors
  },
  expected: 0,
})

row('§5 exactly one drain after a false, later than the dispatch', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ connections: 1 })
    const events = listen(stage, agent)
    const observers = [
      stage.send(agent, server.origin),
      stage.send(agent, server.origin),
      stage.send(agent, server.origin),
    ]
    const during = names(events).includes('drain')
    for (const observer of observers) await observer.ended
    await until(() => names(events).includes('drain'))
    for (let index = 0; index < 5; index++) await turn()
    return [during, events.filter((event) => (event as unknown[])[0] === 'drain')]
  },
  expected: [false, [['drain', ORIGIN, true]]],
})

row('§5 drain comes again after another false, and there is room in it', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ connections: 1 })
    let drains = 0
    agent.on('drain', () => drains++)
    for (let index = 1; index <= 3; index++) {
      const draining = once(agent, 'drain')
      stage.send(agent, server.origin)
      await within(draining)
    }
    return drains
  },
  expected: 3,
})

row('§5 drain of a pool of two', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ connections: 2 })
    let drains = 0
    agent.on('drain', () => drains++)
    const observers = Array.from({ length: 6 }, () => stage.send(agent, server.origin))
    for (const observer of observers) await observer.ended
    await until(() => drains > 0)
    for (let index = 0; index < 5; index++) await turn()
    return drains
  },
  expected: 1,
})

row('§5 no drain where no dispatch returned false', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ connections: 5 })
    let drains = 0
    agent.on('drain', () => drains++)
    const observers = Array.from({ length: 3 }, () => stage.send(agent, server.origin))
    for (const observer of observers) await observer.ended
    for (let index = 0; index < 5; index++) await turn()
    return drains
  },
  expected: 0,
})

row('§5 listeners hear of a composed dispatcher too', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    const composed = agent.compose((dispatch) => (options, handler) => dispatch(options, handler))
    const connecting = once(composed, 'connect') as Promise<[URL, unknown[]]>
    await stage.send(composed, server.origin).ended
    const [origin, targets] = await within(connecting)
    return [stage.mask(origin.href), targets[0] === agent]
  },
  expected: [ORIGIN, true],
})

row('§5 events over reqwest', {
  on: REQWEST,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['connection: close', 'content-length: 0']))
    const agent = stage.open()
    const events = listen(stage, agent)
    await stage.send(agent, server.origin).ended
    await until(() => server.sockets.size === 0)
    for (let index = 0; index < 5; index++) await turn()
    return names(events)
  },
  expected: ['connect', 'disconnect'] as unknown[],
  differs: [{ id: 'C7', observed: [] }],
})
