/** undici-contract.md §3: which callbacks come, in which order, and that nothing follows the end. */
import { Readable } from 'node:stream'
import { until, within } from '../support/deadline.ts'
import type { DispatchHandler } from '../../lib/index.ts'
import { CURRENT, CURRENT_WIRE, DISPATCHERS, SHIM, WIRE } from './support/contestants.ts'
import { OK, response } from './support/raw-server.ts'
import { row } from './support/row.ts'
import type { Stage } from './support/stage.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

row('§3 the order of a GET', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    return (await stage.fetch(server.origin)).order
  },
  expected: ['start', 'request sent', 'response started', 'head 200', 'data', 'end'],
  undici7: ({ generation }) =>
    generation === 'legacy'
      ? ['start', 'request sent', 'response started', 'head 200', 'data', 'end']
      : ['start', 'response started', 'head 200', 'data', 'end'],
})

row('§3 the order of a POST of known length', {
  on: DISPATCHERS.filter(({ library, generation }) => library !== 'undici 7' || generation === 'legacy'),
  run: async (stage) => {
    const server = await stage.raw(OK)
    return (await stage.fetch(server.origin, { method: 'POST', body: 'hello' })).events
  },
  expected: ['start', 'sent', 'request sent', 'response started', 'head 200', 'data', 'end'],
})

row('§3 the order of a streamed POST: onBodySent for each chunk', {
  on: DISPATCHERS.filter(({ library, generation }) => library !== 'undici 7' || generation === 'legacy'),
  run: async (stage) => {
    const server = await stage.raw(OK)
    return (await stage.fetch(server.origin, { method: 'POST', body: Readable.from(['a', 'b', 'c']) })).events
  },
  expected: ['start', 'sent', 'sent', 'sent', 'request sent', 'response started', 'head 200', 'data', 'end'],
})

row("§3 the order of fetch's response", {
  on: SHIM,
  run: async (stage) => {
    const server = await stage.raw(OK)
    return (await stage.fetch(server.origin)).response
  },
  expected: ['start', 'head 200', 'data', 'end'],
})

row('§3 onBodySent is given the chunk', {
  on: DISPATCHERS.filter(({ library, generation }) => library !== 'undici 7' || generation === 'legacy'),
  run: async (stage) => {
    const server = await stage.raw(OK)
    const observer = stage.observe()
    const chunks: string[] = []
    const handler = { ...observer.handler, onBodySent: (chunk: Uint8Array | number) => void chunks.push(String(chunk)) }
    const body = Readable.from([Buffer.from('hel'), Buffer.from('lo')])
    stage.open().dispatch({ origin: server.origin, path: '/', method: 'POST', body }, handler)
    await observer.ended
    return chunks
  },
  expected: ['hel', 'lo'],
})

row('§3 callbacks without bodies: HEAD, 204, 304 and content-length: 0', {
  on: [...DISPATCHERS, ...SHIM],
  run: async (stage) => {
    const statuses = ['204 No Content', '304 Not Modified', '200 OK']
    const server = await stage.raw((_request, _socket, index) =>
      response(statuses[index % 3]!, index % 3 === 2 ? ['content-length: 0'] : []),
    )
    const agent = stage.open()
    const orders = []
    for (let index = 0; index < 3; index++) orders.push((await stage.send(agent, server.origin).ended).response)
    return orders
  },
  expected: [
    ['start', 'head 204', 'end'],
    ['start', 'head 304', 'end'],
    ['start', 'head 200', 'end'],
  ],
})

row('§3 onRequestStart is asynchronous, cold and warm, and its context is null', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ connections: 1 })
    const seen = []
    for (let index = 0; index < 2; index++) {
      const observer = stage.send(agent, server.origin)
      seen.push(observer.events.length)
      await observer.ended
      seen.push(observer.context)
      await turn()
      await turn()
    }
    return seen
  },
  on: WIRE,
  expected: [0, null, 0, null] as unknown[],
  undici7: [0, undefined, 0, undefined],
})

row('§3 onRequestStart comes when there is a connection: none on a connect failure, and no controller', {
  run: async (stage) => {
    const observer = await stage.fetch('http://127.0.0.1:1')
    return [observer.events, observer.error?.code]
  },
  on: WIRE,
  expected: [['error'], 'ECONNREFUSED'],
})

row('§3 a failure to connect gives onResponseError undefined for a controller', {
  on: CURRENT_WIRE.filter(({ library }) => library !== 'undici 7'),
  run: async (stage) => (await stage.fetch('http://127.0.0.1:1')).controllers,
  expected: [undefined] as unknown[],
})

row('§3 onRequestStart of a queued request comes when its turn has come', {
  on: WIRE,
  run: async (stage) => {
    const answers: (() => void)[] = []
    const server = await stage.http((_request, reply) => answers.push(() => reply.end('ok')))
    const agent = stage.open({ connections: 1 })
    const first = stage.send(agent, server.origin)
    const second = stage.send(agent, server.origin)
    await until(() => answers.length === 1)
    await turn()
    const before = [first.events[0], second.events.length]
    answers[0]!()
    await first.ended
    await until(() => answers.length === 2)
    answers[1]!()
    await second.ended
    return [before, second.response]
  },
  expected: [
    ['start', 0],
    ['start', 'head 200', 'data', 'end'],
  ],
})

row('§3 one controller for all callbacks of a dispatch, another for another', {
  on: CURRENT,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open()
    const one = await stage.send(agent, server.origin).ended
    const two = await stage.send(agent, server.origin).ended
    return [one.controllers.length, two.controllers.length, one.controller === two.controller]
  },
  expected: [1, 1, false],
})

row('§3 callbacks are serial: none is called inside another', {
  on: [...DISPATCHERS, ...SHIM],
  run: async (stage) => {
    const server = await stage.http((_request, reply) => {
      for (let index = 0; index < 20; index++) reply.write(Buffer.alloc(10_000, index))
      reply.end()
    })
    const observer = await stage.fetch(
      server.origin,
      {},
      { head: (gate) => gate.resume(), data: (gate) => gate.resume() },
    )
    return [observer.events.filter((event) => event.includes('inside')), observer.bytes]
  },
  expected: [[], 200_000],
})

row('§3 chunks are Buffers that the handler may keep', {
  on: [...DISPATCHERS, ...SHIM],
  run: async (stage) => {
    const blocks = Array.from({ length: 40 }, (_, index) => Buffer.alloc(8000, index))
    const server = await stage.http((_request, reply) => {
      const next = (index: number): void => {
        if (index === blocks.length) reply.end()
        else reply.write(blocks[index], () => setImmediate(next, index + 1))
      }
      next(0)
    })
    const observer = await stage.fetch(server.origin)
    return [
      observer.chunks.every((chunk) => Buffer.isBuffer(chunk) && chunk.length > 0),
      Buffer.concat(observer.chunks).equals(Buffer.concat(blocks)),
    ]
  },
  expected: [true, true],
})

const thrown = new Error('thrown by the handler')

function throwing(event: 'start' | 'head' | 'data' | 'end'): Parameters<Stage['fetch']>[2] {
  return {
    [event]: () => {
      throw thrown
    },
  }
}

row('§3 a throw inside onRequestStart, onResponseStart or onResponseData ends the request with it', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const seen = []
    for (const event of ['start', 'head', 'data'] as const) {
      const observer = await stage.fetch(server.origin, {}, throwing(event))
      seen.push([observer.response.map((name) => name.split(' ')[0]), observer.error === thrown])
    }
    return seen
  },
  expected: [
    [['start', 'error'], true],
    [['start', 'head', 'error'], true],
    [['start', 'head', 'data', 'error'], true],
  ],
})

row('§3 after a throw inside onRequestStart nothing is sent, and the connection is kept', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ connections: 1 })
    await stage.send(agent, server.origin, { path: '/thrown' }, throwing('start')).ended
    await stage.send(agent, server.origin, { path: '/next' }).ended
    return [server.requests.map(({ lines }) => lines[0]), server.accepted]
  },
  expected: [['GET /next HTTP/1.1'], 1],
})

row('§3 a throw inside onResponseEnd reaches onResponseError', {
  on: [...DISPATCHERS, ...SHIM],
  run: async (stage) => {
    const server = await stage.raw(OK)
    const observer = stage.send(stage.open(), server.origin, {}, throwing('end'))
    await observer.seen('error')
    return [observer.response, observer.error === thrown]
  },
  expected: [['start', 'head 200', 'data', 'end', 'error'], true],
})

row('§3 a throw inside onBodySent or onRequestSent ends the request with it', {
  on: DISPATCHERS.filter(({ library, generation }) => library !== 'undici 7' || generation === 'legacy'),
  run: async (stage) => {
    const server = await stage.raw(() => {})
    const seen = []
    for (const event of ['sent', 'requestSent']) {
      const observer = await stage.fetch(
        server.origin,
        { method: 'POST', body: Readable.from(['hello']) },
        {
          [event]: () => {
            throw thrown
          },
        },
      )
      seen.push(observer.error === thrown)
    }
    return seen
  },
  expected: [true, true],
})

row('§3 a throw inside onResponseError is an uncaught exception', {
  isSerial: true,
  run: async (stage) => {
    const server = await stage.raw((_request, socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n', () => socket.destroy())
    })
    const uncaught = Promise.withResolvers<unknown>()
    const others = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException').once('uncaughtException', uncaught.resolve)
    stage.defer(() => {
      process.removeAllListeners('uncaughtException')
      for (const listener of others) process.on('uncaughtException', listener)
    })
    const observer = stage.send(
      stage.open(),
      server.origin,
      {},
      {
        error: () => {
          throw thrown
        },
      },
    )
    await observer.ended
    return (await within(uncaught.promise, { what: 'the uncaught exception' })) === thrown
  },
  expected: true,
})

row('§3 return values of the callbacks are ignored', {
  on: CURRENT,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const observer = stage.observe()
    const handler: Record<string, (...args: unknown[]) => unknown> = {}
    for (const [name, callback] of Object.entries(observer.handler)) {
      handler[name] = (...args) => {
        ;(callback as (...all: unknown[]) => void)(...args)
        return false
      }
    }
    stage.open().dispatch({ origin: server.origin, path: '/', method: 'GET' }, handler)
    await observer.ended
    return observer.response
  },
  expected: ['start', 'head 200', 'data', 'end'],
})

row('§3 exactly one end: nothing after an error in the middle of a body', {
  on: [...DISPATCHERS, ...SHIM],
  run: async (stage) => {
    const server = await stage.raw((_request, socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome', () => socket.destroy())
    })
    const observer = await stage.fetch(server.origin)
    for (let index = 0; index < 5; index++) await turn()
    return observer.response.filter((event) => event !== 'data')
  },
  expected: ['start', 'head 200', 'error'],
})

row('§3 one call of onRequestStart per attempt of a retry, each with a controller of its own', {
  on: CURRENT,
  run: async (stage) => {
    const server = await stage.raw((_request, _socket, index) =>
      index === 0 ? response('503 Unavailable', ['content-length: 0']) : OK,
    )
    const { interceptors } = stage.contestant.undici
    const controllers = new Set<unknown>()
    const composed = stage
      .open()
      .compose((dispatch) => (options, handler) => {
        const inner = handler as DispatchHandler
        return dispatch(options, {
          onRequestStart: (controller, context) => {
            controllers.add(controller)
            inner.onRequestStart!(controller, context)
          },
          onResponseStart: (...args) => inner.onResponseStart!(...args),
          onResponseData: (...args) => inner.onResponseData!(...args),
          onResponseEnd: (...args) => inner.onResponseEnd!(...args),
          onResponseError: (...args) => inner.onResponseError!(...args),
        })
      })
      .compose(interceptors.retry({ minTimeout: 1, maxRetries: 1 }) as never)
    const observer = await stage.send(composed, server.origin).ended
    return [controllers.size, server.requests.length, observer.response]
  },
  expected: [2, 2, ['start', 'head 200', 'data', 'end']],
})
