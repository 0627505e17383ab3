/** undici-contract.md §7: the options of the agent: which, checked when, and what they do. */
import { connect as connectTcp, createServer } from 'node:net'
import { mkdtemp, rm } from 'node:fs/promises'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { createServer as createTlsServer } from 'node:tls'
import { join } from 'node:path'
import { until } from '../support/deadline.ts'
import { certificate } from '../support/certificates.ts'
import { startTcpServer } from '../support/servers.ts'
import { AGENTS } from './support/contestants.ts'
import { OK, response } from './support/raw-server.ts'
import { row } from './support/row.ts'
import type { Stage } from './support/stage.ts'

const WIRE = AGENTS.filter(({ engine }) => engine !== 'reqwest')

function line(error: Error & { code?: string }): string {
  return `${error.name} ${error.code}: ${error.message}`
}

const invalid = (message: string): string => `InvalidArgumentError UND_ERR_INVALID_ARG: ${message}`

/** How the constructor, or else the first dispatch, refuses the options. */
function refusal(stage: Stage, options: object): string {
  let agent
  try {
    agent = stage.open(options)
  } catch (error) {
    return `constructor: ${line(error as Error)}`
  }
  const observer = stage.observe()
  agent.dispatch({ origin: 'http://127.0.0.1:9', path: '/', method: 'GET' }, observer.handler)
  return observer.error === null ? 'accepted' : `dispatch: ${line(observer.error)}`
}

function refuses(title: string, cases: readonly (readonly [object, string])[], undici7?: readonly string[]): void {
  row<string[]>(`§7 ${title}`, {
    on: WIRE,
    run: (stage) => cases.map(([options]) => refusal(stage, options)),
    expected: cases.map(([, message]) => message),
    ...(undici7 === undefined ? {} : { undici7: [...undici7] }),
  })
}

const eagerly = (message: string): string => `constructor: ${invalid(message)}`
const lazily = (message: string): string => `dispatch: ${invalid(message)}`

refuses('checked by the constructor', [
  [{ factory: 5 }, eagerly('factory must be a function.')],
  [{ connect: 5 }, eagerly('connect must be a function or an object')],
  [{ connect: 'x' }, eagerly('connect must be a function or an object')],
  [{ maxOrigins: 0 }, eagerly('maxOrigins must be a number greater than 0')],
  [{ maxOrigins: -1 }, eagerly('maxOrigins must be a number greater than 0')],
  [{ maxOrigins: Number.NaN }, eagerly('maxOrigins must be a number greater than 0')],
  [{ maxOrigins: '5' }, eagerly('maxOrigins must be a number greater than 0')],
])

refuses('checked at the first dispatch: connections and keep-alive', [
  [{ connections: -1 }, lazily('invalid connections')],
  [{ connections: '1' }, lazily('invalid connections')],
  [{ keepAliveTimeout: 0 }, lazily('invalid keepAliveTimeout')],
  [{ keepAliveTimeout: '1' }, lazily('invalid keepAliveTimeout')],
  [{ keepAliveMaxTimeout: 0 }, lazily('invalid keepAliveMaxTimeout')],
  [{ keepAliveTimeoutThreshold: 'x' }, lazily('invalid keepAliveTimeoutThreshold')],
  [{ maxRequestsPerClient: -1 }, lazily('maxRequestsPerClient must be a positive number')],
])

refuses('checked at the first dispatch: timeouts and sizes', [
  [{ headersTimeout: -1 }, lazily('headersTimeout must be a positive integer or zero')],
  [{ headersTimeout: 1.5 }, lazily('headersTimeout must be a positive integer or zero')],
  [{ bodyTimeout: -1 }, lazily('bodyTimeout must be a positive integer or zero')],
  [{ bodyTimeout: '1' }, lazily('bodyTimeout must be a positive integer or zero')],
  [{ maxHeaderSize: 0 }, lazily('invalid maxHeaderSize')],
  [{ maxHeaderSize: '1' }, lazily('invalid maxHeaderSize')],
  [{ maxResponseSize: -2 }, lazily('maxResponseSize must be a positive number')],
  [{ maxResponseSize: 'x' }, lazily('maxResponseSize must be a positive number')],
])

refuses('checked at the first dispatch: addresses', [
  [{ localAddress: 'not-an-ip' }, lazily('localAddress must be valid string IP address')],
  [{ localAddress: 5 }, lazily('localAddress must be valid string IP address')],
  [{ socketPath: 5 }, lazily('invalid socketPath')],
])

refuses('checked at the first dispatch: HTTP/2', [
  [{ allowH2: 'x' }, lazily('allowH2 must be a valid boolean value')],
  [{ useH2c: 'x' }, lazily('useH2c must be a valid boolean value')],
  [{ maxConcurrentStreams: 0 }, lazily('maxConcurrentStreams must be a positive integer, greater than 0')],
  [{ initialWindowSize: 0 }, lazily('initialWindowSize must be a positive integer, greater than 0')],
  [{ connectionWindowSize: 0 }, lazily('connectionWindowSize must be a positive integer, greater than 0')],
  [{ pingInterval: -1 }, lazily('pingInterval must be a positive integer, greater or equal to 0')],
])

refuses('names of old', [
  [{ keepAlive: true }, lazily('unsupported keepAlive, use pipelining=0 instead')],
  [{ socketTimeout: 1 }, lazily('unsupported socketTimeout, use headersTimeout & bodyTimeout instead')],
  [{ requestTimeout: 1 }, lazily('unsupported requestTimeout, use headersTimeout & bodyTimeout instead')],
  [{ idleTimeout: 1 }, lazily('unsupported idleTimeout, use keepAliveTimeout instead')],
  [{ maxKeepAliveTimeout: 1 }, lazily('unsupported maxKeepAliveTimeout, use keepAliveMaxTimeout instead')],
])

row('§7 an option that nobody knows', {
  on: WIRE,
  run: (stage) => refusal(stage, { nonsense: 1 }),
  expected: 'accepted',
  differs: [{ id: 'C10', observed: eagerly('unknown option nonsense') }],
})

row('§7 maxHeaderSize of a MiB', {
  on: WIRE,
  run: (stage) => refusal(stage, { maxHeaderSize: 1024 * 1024 }),
  expected: 'accepted',
  differs: [{ id: 'C10', observed: eagerly('invalid maxHeaderSize') }],
})

row('§7 null and undefined are the default', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const names = [
      'connections',
      'keepAliveTimeout',
      'keepAliveMaxTimeout',
      'keepAliveTimeoutThreshold',
      'headersTimeout',
      'bodyTimeout',
      'connectTimeout',
      'maxHeaderSize',
      'maxResponseSize',
      'maxRequestsPerClient',
      'strictContentLength',
      'allowH2',
      'connect',
      'localAddress',
      'socketPath',
      'pipelining',
    ]
    const seen = []
    for (const value of [null, undefined]) {
      const agent = stage.open(Object.fromEntries(names.map((name) => [name, value])))
      seen.push((await stage.send(agent, server.origin).ended).head.status)
    }
    return seen
  },
  expected: [200, 200],
})

row('§7 connect as a function, factory, connect.lookup', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const { Client } = stage.contestant.undici
    const { port } = server
    const seen = []
    for (const options of [
      {
        connect: (_: unknown, callback: (error: null, socket: unknown) => void) => {
          const socket = connectTcp(port, '127.0.0.1', () => callback(null, socket))
        },
      },
      { factory: (origin: string) => new Client(origin) },
      {
        connect: {
          lookup: (_: string, __: unknown, callback: (...args: unknown[]) => void) =>
            callback(null, [{ address: '127.0.0.1', family: 4 }]),
        },
      },
    ]) {
      try {
        const observer = await stage.send(stage.open(options), server.origin).ended
        seen.push(observer.head.status)
      } catch (error) {
        seen.push((error as Error).name)
      }
    }
    return seen
  },
  expected: [200, 200, 200] as unknown[],
  differs: [{ id: 'C11', observed: ['NotSupportedError', 'NotSupportedError', 200] }],
})

row('§7 pipelining: 0 closes after each request', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ pipelining: 0, connections: 1 })
    for (let index = 0; index < 3; index++) await stage.send(agent, server.origin).ended
    return server.requests.map(({ connection, lines }) => [connection, lines[2]])
  },
  expected: [
    [0, 'connection: close'],
    [1, 'connection: close'],
    [2, 'connection: close'],
  ],
})

row('§7 pipelining: above 1', {
  on: WIRE,
  run: async (stage) => {
    let most = 0
    let waiting = 0
    const server = await stage.raw((_request, socket, index) => {
      most = Math.max(most, ++waiting)
      setImmediate(() => {
        // The first waits for the second, if that comes without an answer to the first.
        const answer = (): void => {
          waiting--
          socket.write(OK)
        }
        if (index > 0) answer()
        else setTimeout(answer, 100)
      })
    })
    const agent = stage.open({ connections: 1, pipelining: 2 })
    const observers = Array.from({ length: 2 }, () => stage.send(agent, server.origin, { blocking: false }))
    for (const observer of observers) await observer.ended
    return most
  },
  expected: 2,
  differs: [{ id: 'C12', observed: 1 }],
})

row('§7 maxRequestsPerClient', {
  // undici 7 serves one more, but for a connection's first.
  on: WIRE.filter(({ library }) => library !== 'undici 7'),
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ maxRequestsPerClient: 2, connections: 1 })
    for (let index = 0; index < 5; index++) await stage.send(agent, server.origin).ended
    return server.requests.map(({ connection, lines }) => [connection, lines[2]])
  },
  expected: [
    [0, 'connection: keep-alive'],
    [0, 'connection: close'],
    [1, 'connection: keep-alive'],
    [1, 'connection: close'],
    [2, 'connection: keep-alive'],
  ],
})

row("§7 keepAliveTimeout, and the server's keep-alive: timeout less the threshold", {
  on: WIRE,
  run: async (stage) => {
    const seen = []
    for (const [options, hint] of [
      [{ keepAliveTimeout: 30 }, []],
      // 1 s less 1 s: nothing is kept.
      [{ keepAliveTimeoutThreshold: 1000 }, ['keep-alive: timeout=1']],
      [{ keepAliveTimeout: 60_000, keepAliveMaxTimeout: 30 }, ['keep-alive: timeout=100']],
    ] as const) {
      const server = await stage.raw(response('200 OK', ['content-length: 0', ...hint]))
      const agent = stage.open(options)
      const reasons: string[] = []
      agent.on('disconnect', (_origin, _targets, error) => reasons.push(error.message))
      await stage.send(agent, server.origin).ended
      await until(() => reasons.length > 0)
      seen.push(reasons[0])
    }
    return seen
  },
  expected: ['socket idle timeout', 'reset', 'socket idle timeout'],
})

row('§7 the agent says timeouts, the request says others; null is the agent, 0 is off', {
  on: AGENTS,
  run: async (stage) => {
    const late: (() => void)[] = []
    const server = await stage.raw((request, socket) => {
      if (request.lines[0]!.includes('/late')) late.push(() => socket.write(OK))
    })
    const agent = stage.open({ headersTimeout: 200 })
    const observers = [
      stage.send(agent, server.origin),
      stage.send(agent, server.origin, { headersTimeout: null }),
      stage.send(agent, server.origin, { headersTimeout: 0, path: '/late' }),
      stage.send(agent, server.origin, { headersTimeout: 60_000, path: '/late' }),
    ]
    await until(() => late.length === 2)
    await stage.timeOut({ headersTimeout: 200 })
    for (const answer of late) answer()
    const seen = []
    for (const observer of observers) seen.push((await observer.ended).error?.name)
    return seen
  },
  expected: ['HeadersTimeoutError', 'HeadersTimeoutError', undefined, undefined],
})

row('§7 connectTimeout and connect.timeout', {
  on: AGENTS,
  run: async (stage) => {
    const server = await stage.adopt(startTcpServer(() => {}))
    const observers = [{ connectTimeout: 200 }, { connect: { timeout: 200 } }].map((options) =>
      stage.send(stage.open(options), `https://127.0.0.1:${server.port}`),
    )
    const seen = []
    for (const observer of observers) seen.push((await observer.ended).error?.name)
    return seen
  },
  expected: ['ConnectTimeoutError', 'ConnectTimeoutError'],
})

row('§7 socketPath', {
  on: WIRE,
  run: async (stage) => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-contract-'))
    stage.defer(() => rm(folder, { recursive: true }))
    const path = join(folder, 'server.sock')
    let head = ''
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', (chunk) => {
        head += chunk.toString('latin1')
        socket.write(OK)
      })
    })
    server.listen(path)
    await once(server, 'listening')
    stage.defer(() => server.close())
    const seen = []
    for (const options of [{ socketPath: path }, { connect: { socketPath: path } }]) {
      const observer = await stage.send(stage.open(options), 'http://named.test').ended
      seen.push([observer.head?.status, head.split('\r\n')[1]])
      head = ''
    }
    return seen
  },
  expected: [
    [200, 'host: named.test'],
    [200, 'host: named.test'],
  ],
})

row('§7 localAddress', {
  on: WIRE,
  run: async (stage) => {
    const peers: unknown[] = []
    const server = await stage.raw((_request, socket) => {
      peers.push(socket.remoteAddress)
      return OK
    })
    await stage.send(stage.open({ localAddress: '127.0.0.2' }), server.origin).ended
    return peers
  },
  expected: ['127.0.0.2'] as unknown[],
})

row('§7 connect.ca and connect.rejectUnauthorized', {
  on: AGENTS,
  run: async (stage) => {
    const server = await stage.https((_request, reply) => reply.end('ok'))
    const seen = [(await stage.send(stage.openTrusting(), server.origin).ended).body]
    const careless = stage.open({ connect: { rejectUnauthorized: false } })
    seen.push((await stage.send(careless, server.origin).ended).body)
    return seen
  },
  expected: ['ok', 'ok'],
})

row('§7 connect.servername, and servername of a request', {
  on: WIRE,
  run: async (stage) => {
    const names: unknown[] = []
    const server = createTlsServer(certificate('signed'), (socket) => {
      socket.on('error', () => {})
      names.push(socket.servername)
      socket.on('data', () => socket.write(OK))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    stage.defer(() => server.close())
    const origin = `https://127.0.0.1:${(server.address() as { port: number }).port}`
    const named = await stage.send(stage.openTrusting({ connect: { servername: 'localhost' } }), origin).ended
    const byRequest = await stage.send(stage.openTrusting(), origin, { servername: 'localhost' }).ended
    const byHost = await stage.send(stage.openTrusting(), origin, { headers: { host: 'localhost' } }).ended
    return [named.body, byRequest.body, byHost.body, names]
  },
  expected: ['ok', 'ok', 'ok', ['localhost', 'localhost', 'localhost']] as unknown[],
})

row('§7 webSocketOptions and eventSourceOptions', {
  on: AGENTS.filter(({ library }) => library !== 'undici 7'),
  run: (stage) => {
    const facts = (agent: unknown): unknown => {
      const { webSocketOptions, eventSourceOptions } = agent as Record<string, object>
      return [webSocketOptions, eventSourceOptions]
    }
    return [
      facts(stage.open()),
      facts(stage.open({ webSocket: { maxPayloadSize: 5, maxFragments: 6 }, eventSource: { maxEventSize: 7 } })),
    ]
  },
  expected: [
    [{ maxFragments: 131_072, maxPayloadSize: 134_217_728 }, { maxEventSize: 536_870_888 }],
    [{ maxFragments: 6, maxPayloadSize: 5 }, { maxEventSize: 7 }],
  ] as unknown[],
})

row('§7 clientTtl: a connection that is older takes no request', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ clientTtl: 20 })
    await stage.send(agent, server.origin).ended
    const start = Date.now()
    await until(() => Date.now() - start > 40)
    await stage.send(agent, server.origin).ended
    return server.requests.map(({ connection }) => connection)
  },
  expected: [0, 1],
})
