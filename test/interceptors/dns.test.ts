/** undici's `interceptors.dns` over the agent. */
import { OK } from '../contract/support/raw-server.ts'
import { startServer } from '../support/servers.ts'
import { ask, behaviour, composed, failureOf, OVER_WIRE } from './support/behaviour.ts'
import type { Stage } from './support/behaviour.ts'

interface Address {
  address: string
  family: 4 | 6
  ttl?: number
  port?: number
}

/** The interceptor over a table of names in place of a resolver. */
function named(stage: Stage, addresses: readonly Address[] | Error, options: object = {}) {
  const asked: string[] = []
  const lookup = (
    { hostname }: URL,
    _options: unknown,
    done: (error: Error | null, addresses?: Address[]) => void,
  ): void => {
    asked.push(hostname)
    if (addresses instanceof Error) done(addresses)
    else
      done(
        null,
        addresses.map((address) => ({ ...address })),
      )
  }
  const { interceptors } = stage.contestant.undici
  return { asked, agent: composed(stage, interceptors.dns({ lookup: lookup as never, ...options })) }
}

const LOOPBACK: Address = { address: '127.0.0.1', family: 4 }

behaviour('an address as host is not looked up', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const { agent, asked } = named(stage, new Error('not asked'))
    return [await ask(stage, agent, server.origin), asked]
  },
  expected: [[200, 'ok'], []],
})

behaviour('a host that the caller names stays', {
  on: OVER_WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const { agent } = named(stage, [LOOPBACK])
    const answer = await ask(stage, agent, `http://named.test:${server.port}`, { headers: { host: 'other.test' } })
    return [answer, server.requests[0]!.lines.filter((line) => /^host:/i.test(line))]
  },
  expected: [[200, 'ok'], ['host: other.test']],
})

behaviour('a name that is not found is the error of the request, and asked for again', {
  run: async (stage) => {
    const error = Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
    const { agent, asked } = named(stage, error)
    return [
      await failureOf(() => ask(stage, agent, 'http://named.test')),
      await failureOf(() => ask(stage, agent, 'http://named.test')),
      asked.length,
    ]
  },
  expected: ['ENOTFOUND: no such name', 'ENOTFOUND: no such name', 2],
})

behaviour('where one family refuses, the other is tried', {
  on: OVER_WIRE,
  run: async (stage) => {
    const server = await stage.adopt(startServer((_request, response) => response.end('six'), { host: '::1' }))
    const { agent, asked } = named(stage, [LOOPBACK, { address: '::1', family: 6 }])
    return [await ask(stage, agent, `http://named.test:${server.port}`), asked]
  },
  expected: [[200, 'six'], ['named.test']],
})

behaviour('without the other family the refusal is the error', {
  on: OVER_WIRE,
  run: async (stage) => {
    const server = await stage.adopt(startServer((_request, response) => response.end('six'), { host: '::1' }))
    const { agent } = named(stage, [LOOPBACK, { address: '::1', family: 6 }], { dualStack: false })
    return (await failureOf(() => ask(stage, agent, `http://named.test:${server.port}`))).split(':')[0]
  },
  expected: 'ECONNREFUSED',
})

behaviour('a pick and a port of its own', {
  on: OVER_WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const pick = () => ({ ...LOOPBACK, ttl: 1000, timestamp: 0, port: server.port })
    const { agent } = named(stage, [LOOPBACK], { pick })
    const answer = await ask(stage, agent, 'http://named.test/')
    return [answer, server.requests[0]!.lines.find((line) => /^host:/i.test(line))]
  },
  expected: [[200, 'ok'], 'host: named.test'],
})

behaviour('TLS asks for the name, not the address', {
  on: OVER_WIRE,
  run: async (stage) => {
    const server = await stage.https((request, response) => {
      const { servername } = request.socket as typeof request.socket & { servername: string }
      response.end(`${servername} ${String(request.headers.host?.split(':')[0])}`)
    })
    const { interceptors } = stage.contestant.undici
    const lookup = (_: unknown, __: unknown, done: (error: null, addresses: Address[]) => void) =>
      done(null, [{ ...LOOPBACK }])
    const agent = stage.openTrusting().compose(interceptors.dns({ lookup: lookup as never }) as never)
    return ask(stage, agent, server.origin)
  },
  expected: [200, 'localhost localhost'],
})
