/** undici-contract.md §5: close, destroy, queueing, `stats`, and what keeps a process alive. */
import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { until, within } from '../support/deadline.ts'
import type { RunningServer } from '../support/servers.ts'
import { AGENTS, CURRENT_WIRE, DISPATCHERS, WIRE } from './support/contestants.ts'
import { OK } from './support/raw-server.ts'
import { row } from './support/row.ts'
import type { Stage } from './support/stage.ts'

const CLOSED = { name: 'ClientClosedError', code: 'UND_ERR_CLOSED', message: 'The client is closed' }
const DESTROYED = { name: 'ClientDestroyedError', code: 'UND_ERR_DESTROYED', message: 'The client is destroyed' }
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A server whose answers wait. */
async function waiting(stage: Stage): Promise<{ server: RunningServer; origin: string; answers: (() => void)[] }> {
  const answers: (() => void)[] = []
  const server = await stage.http((_request, reply) => answers.push(() => reply.end('ok')))
  return { server, origin: server.origin, answers }
}

function settled(work: Promise<unknown>, stage: Stage): Promise<unknown> {
  return work.then(
    (value) => ['resolved', value],
    (error: Error) => ['rejected', stage.facts(error)],
  )
}

row('§5 close() resolves null, closed at once, destroyed at the end', {
  on: AGENTS,
  run: async (stage) => {
    const agent = stage.open()
    const before = [agent.closed, agent.destroyed]
    const closing = agent.close()
    const during = [agent.closed, agent.destroyed]
    return [before, during, await closing, [agent.closed, agent.destroyed]]
  },
  expected: [[false, false], [true, false], null, [true, true]] as unknown[],
})

row('§5 close(callback) returns undefined and calls back (null, null)', {
  on: AGENTS,
  run: async (stage) => {
    const called = Promise.withResolvers<unknown[]>()
    const returned = (stage.open().close as (callback: unknown) => unknown)((...args: unknown[]) =>
      called.resolve(args),
    )
    return [returned, await called.promise]
  },
  expected: [undefined, [null, null]] as unknown[],
})

row('§5 close() of a used agent', {
  on: AGENTS,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    await stage.send(agent, server.origin).ended
    const value = await agent.close()
    await until(() => server.sockets.size === 0)
    return value
  },
  expected: null as unknown,
})

row('§5 close(): what runs and what waits is finished, what comes later is refused', {
  on: WIRE,
  run: async (stage) => {
    const { origin, answers } = await waiting(stage)
    const agent = stage.open({ connections: 1 })
    const running = stage.send(agent, origin)
    const queued = stage.send(agent, origin)
    await until(() => answers.length === 1)
    const closing = agent.close()
    const observer = stage.observe()
    const returned = agent.dispatch({ origin, path: '/', method: 'GET' }, observer.handler)
    answers[0]!()
    await until(() => answers.length === 2)
    answers[1]!()
    const value = await closing
    return [
      returned,
      observer.events,
      stage.facts(observer.error),
      (await running.ended).response.at(-1),
      (await queued.ended).response.at(-1),
      value,
      agent.destroyed,
    ]
  },
  expected: [false, ['error'], CLOSED, 'end', 'end', null, true] as unknown[],
})

row('§5 close() during a close joins it; after it, or after destroy, it is refused', {
  on: AGENTS,
  run: async (stage) => {
    const agent = stage.open()
    const joined = await Promise.all([settled(agent.close(), stage), settled(agent.close(), stage)])
    const after = await settled(agent.close(), stage)
    const destroyed = stage.open()
    await destroyed.destroy()
    const called = Promise.withResolvers<unknown[]>()
    ;(destroyed.close as (callback: unknown) => void)((error: Error, value: unknown) =>
      called.resolve([stage.facts(error), value]),
    )
    return [joined, after, await settled(destroyed.close(), stage), await called.promise]
  },
  expected: [
    [
      ['resolved', null],
      ['resolved', null],
    ],
    ['rejected', DESTROYED],
    ['rejected', DESTROYED],
    [DESTROYED, null],
  ] as unknown[],
})

row('§5 close and destroy take a function only', {
  on: AGENTS,
  run: (stage) => {
    const agent = stage.open() as unknown as Record<'close' | 'destroy', (...args: unknown[]) => unknown>
    return [
      () => agent.close('x'),
      () => agent.close(null),
      () => agent.destroy(null, 'x'),
      () => agent.destroy(new Error('y'), 5),
    ].map((act) => {
      try {
        act()
        return 'accepted'
      } catch (error) {
        return stage.facts(error as Error)
      }
    })
  },
  expected: Array.from({ length: 4 }, () => ({
    name: 'InvalidArgumentError',
    code: 'UND_ERR_INVALID_ARG',
    message: 'invalid callback',
  })),
})

row('§5 destroy() in its four forms, and twice', {
  on: AGENTS,
  run: async (stage) => {
    const seen: unknown[] = [await stage.open().destroy(), await stage.open().destroy(new Error('x'))]
    for (const args of [[], [new Error('x')], [null]]) {
      const called = Promise.withResolvers<unknown[]>()
      const returned = (stage.open().destroy as (...all: unknown[]) => unknown)(...args, (...all: unknown[]) =>
        called.resolve(all),
      )
      seen.push([returned, await called.promise])
    }
    const agent = stage.open()
    seen.push(await Promise.all([agent.destroy(), agent.destroy()]), await agent.destroy())
    seen.push([agent.destroyed, agent.closed])
    return seen
  },
  expected: [
    null,
    null,
    [undefined, [null, null]],
    [undefined, [null, null]],
    [undefined, [null, null]],
    [null, null],
    null,
    [true, false],
  ] as unknown[],
})

row('§5 destroy(): running and waiting requests get the error, running ones later than the call', {
  on: WIRE,
  run: async (stage) => {
    const seen = []
    for (const reason of [null, new Error('the end')]) {
      const { origin, answers } = await waiting(stage)
      const agent = stage.open({ connections: 1 })
      const running = stage.send(agent, origin)
      const queued = stage.send(agent, origin)
      await until(() => answers.length === 1)
      const destroying = agent.destroy(reason)
      const during = [running.response, agent.destroyed]
      await destroying
      seen.push([
        during,
        stage.facts((await running.ended).error),
        stage.facts((await queued.ended).error),
        queued.events,
      ])
    }
    return seen
  },
  expected: [
    [[['start'], true], DESTROYED, DESTROYED, ['error']],
    [
      [['start'], true],
      { name: 'Error', code: undefined, message: 'the end' },
      { name: 'Error', code: undefined, message: 'the end' },
      ['error'],
    ],
  ] as unknown[],
})

row('§5 destroy() inside a body', {
  run: async (stage) => {
    const server = await stage.http((_request, reply) => void reply.write('some'))
    const agent = stage.open()
    const observer = stage.send(agent, server.origin)
    await observer.seen('data')
    await agent.destroy()
    await observer.ended
    await until(() => server.sockets.size === 0)
    return [observer.response, stage.facts(observer.error)]
  },
  expected: [['start', 'head 200', 'data', 'error'], DESTROYED],
})

row('§5 dispatch after destroy is refused', {
  run: async (stage) => {
    const agent = stage.open()
    await agent.destroy()
    const observer = stage.observe()
    const returned = agent.dispatch({ origin: 'http://127.0.0.1:1', path: '/', method: 'GET' }, observer.handler)
    return [returned, observer.events, stage.facts(observer.error)]
  },
  expected: [false, ['error'], DESTROYED],
})

row('§5 destroy() during a close() resolves, and so does that close()', {
  on: AGENTS,
  run: async (stage) => {
    const { origin, answers } = await waiting(stage)
    const agent = stage.open()
    stage.send(agent, origin)
    await until(() => answers.length === 1)
    const closing = agent.close()
    const value = await within(agent.destroy())
    answers[0]!()
    return [value, await within(settled(closing, stage))]
  },
  expected: [null, ['resolved', null]] as unknown[],
})

row('§5 dispatch returns false from the N-th running request on', {
  on: WIRE,
  run: async (stage) => {
    const { origin } = await waiting(stage)
    const seen = []
    for (const connections of [1, 2, 3]) {
      const agent = stage.open({ connections })
      const returned = []
      for (let index = 0; index < 5; index++) {
        returned.push(agent.dispatch({ origin, path: '/', method: 'GET' }, stage.observe().handler))
      }
      seen.push(returned)
    }
    return seen
  },
  expected: [
    [false, false, false, false, false],
    [true, false, false, false, false],
    [true, true, false, false, false],
  ],
})

row('§5 dispatch returns true for unlimited connections', {
  run: async (stage) => {
    const { origin } = await waiting(stage)
    const agent = stage.open()
    return Array.from({ length: 20 }, () =>
      agent.dispatch({ origin, path: '/', method: 'GET' }, stage.observe().handler),
    )
  },
  expected: Array.from({ length: 20 }, () => true),
})

row('§5 connections bounds the connections of an origin, in order', {
  on: WIRE,
  run: async (stage) => {
    let most = 0
    let now = 0
    const order: string[] = []
    const server = await stage.http((request, reply) => {
      order.push(request.url!)
      most = Math.max(most, ++now)
      setImmediate(() => {
        now--
        reply.end('ok')
      })
    })
    const agent = stage.open({ connections: 1 })
    const observers = Array.from({ length: 10 }, (_, index) => stage.send(agent, server.origin, { path: `/${index}` }))
    for (const observer of observers) await observer.ended
    return [most, server.accepted, order]
  },
  expected: [1, 1, Array.from({ length: 10 }, (_, index) => `/${index}`)],
})

row('§5 connections of 3: no more than 3 at once, all served', {
  on: WIRE,
  run: async (stage) => {
    const { origin, answers, server } = await waiting(stage)
    const agent = stage.open({ connections: 3 })
    const observers = Array.from({ length: 9 }, () => stage.send(agent, origin))
    const atOnce = []
    for (let round = 1; round <= 3; round++) {
      await until(() => answers.length >= round * 3)
      for (let index = 0; index < 10; index++) await turn()
      atOnce.push(answers.length)
      for (const answer of answers.slice(-3)) answer()
    }
    for (const observer of observers) await observer.ended
    return [atOnce, server.accepted]
  },
  expected: [[3, 6, 9], 3],
})

row('§5 stats per origin', {
  on: CURRENT_WIRE,
  run: async (stage) => {
    const { origin, answers } = await waiting(stage)
    const agent = stage.open({ connections: 2 }) as unknown as { stats: Record<string, object> }
    const before = { ...agent.stats[origin] }
    const observers = Array.from({ length: 4 }, () => stage.send(agent as never, origin))
    await until(() => answers.length === 2)
    const during = { ...agent.stats[origin] }
    for (let index = 0; index < 4; index++) {
      await until(() => answers.length > index)
      answers[index]!()
    }
    for (const observer of observers) await observer.ended
    await turn()
    await turn()
    return [before, during, { ...agent.stats[origin] }, Object.keys(agent.stats)].map((part) =>
      Array.isArray(part) ? part.map((key) => stage.mask(key as string)) : part,
    )
  },
  expected: [
    {},
    { connected: 2, free: 0, pending: 2, queued: 2, running: 2, size: 4 },
    { connected: 2, free: 2, pending: 0, queued: 0, running: 0, size: 0 },
    ['http://127.0.0.1:PORT'],
  ] as unknown[],
})

row('§5 stats of connections: 1', {
  on: CURRENT_WIRE,
  run: async (stage) => {
    const { origin, answers } = await waiting(stage)
    const agent = stage.open({ connections: 1 }) as unknown as { stats: Record<string, object> }
    stage.send(agent as never, origin)
    stage.send(agent as never, origin)
    await until(() => answers.length === 1)
    return { ...agent.stats[origin] }
  },
  expected: { connected: true, pending: 1, running: 1, size: 2 } as unknown,
})

row('§5 maxOrigins: a new origin over it is refused; the origin is forgotten with its last connection', {
  on: WIRE,
  run: async (stage) => {
    const first = await stage.raw(OK)
    const second = await stage.raw(OK)
    const agent = stage.open({ maxOrigins: 1 })
    const lost = once(agent, 'disconnect')
    await stage.send(agent, first.origin).ended
    const refused = stage.observe()
    const returned = agent.dispatch({ origin: second.origin, path: '/', method: 'GET' }, refused.handler)
    const again = await stage.send(agent, first.origin).ended
    for (const socket of first.sockets) socket.destroy()
    await within(lost)
    await until(() => first.sockets.size === 0)
    const taken = stage.send(agent, second.origin)
    await taken.ended
    return [returned, stage.facts(refused.error), again.head.status, stage.facts(taken.error), taken.head?.status]
  },
  expected: [
    false,
    { name: 'MaxOriginsReachedError', code: 'UND_ERR_MAX_ORIGINS_REACHED', message: 'Maximum allowed origins reached' },
    200,
    null,
    200,
  ] as unknown[],
})

row('§5 a connection is used again', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    for (let index = 0; index < 5; index++) {
      await stage.send(agent, server.origin).ended
      await turn()
      await turn()
    }
    return server.accepted
  },
  expected: 1,
})

row('§5 a connection that the server closed is replaced', {
  on: DISPATCHERS,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    const statuses = []
    for (let index = 0; index < 3; index++) {
      statuses.push((await stage.send(agent, server.origin).ended).head.status)
      for (const socket of server.sockets) socket.end()
      await until(() => server.sockets.size === 0)
      await turn()
    }
    return [statuses, server.accepted]
  },
  expected: [[200, 200, 200], 3],
})

const PROGRAM = `
  const [library, origin] = process.argv.slice(1)
  const { Agent } = await import(library)
  const agent = new Agent()
  const handler = {
    onRequestStart() {}, onResponseStart() {}, onResponseData() {},
    onResponseEnd() { process.stdout.write('end') },
    onResponseError(_, error) { process.stdout.write(error.message) },
  }
  agent.dispatch({ origin, path: '/', method: 'GET' }, handler)
`

row('§5 a running request keeps the process, an idle connection does not', {
  on: AGENTS.filter(({ engine }) => engine !== 'reqwest'),
  run: async (stage) => {
    const server = await stage.http((_request, reply) => {
      // Later than the program's own last turn.
      setTimeout(() => reply.end('ok'), 100)
    })
    const library = {
      'undici 8': import.meta.resolve('undici'),
      'undici 7': import.meta.resolve('undici7'),
      sluice: new URL('../../lib/index.ts', import.meta.url).href,
    }[stage.contestant.library]
    const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, library, server.origin])
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.stderr.on('data', (chunk) => (output += chunk))
    const [code] = await within(once(child, 'close'))
    return [code, output]
  },
  expected: [0, 'end'],
})
