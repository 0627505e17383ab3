/** undici-contract.md §3: the controller, and flow control of either generation. */
import type { ServerResponse } from 'node:http'
import { until } from '../support/deadline.ts'
import type { Gate } from '../support/recorder.ts'
import { CURRENT, CURRENT_WIRE, DISPATCHERS, SHIM, WIRE } from './support/contestants.ts'
import { OK } from './support/raw-server.ts'
import { row } from './support/row.ts'
import type { Stage } from './support/stage.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const turns = async (): Promise<void> => {
  for (let index = 0; index < 20; index++) await turn()
}

const ALL = [...DISPATCHERS, ...SHIM]
const reason = new Error('the reason')

/** A server whose body is in the midst, until the row ends it. */
async function streaming(stage: Stage): Promise<{ origin: string; write(bytes: number): void; end(): void }> {
  let reply: ServerResponse | undefined
  const server = await stage.http((_request, response) => {
    reply = response
    response.write('first')
  })
  return {
    origin: server.origin,
    write: (bytes) => void reply!.write(Buffer.alloc(bytes)),
    end: () => void reply!.end(),
  }
}

row('§3 abort() reports before it returns, with the reason', {
  on: ALL,
  run: async (stage) => {
    const { origin } = await streaming(stage)
    const observer = stage.send(stage.open(), origin)
    await observer.seen('data')
    const before = observer.error
    observer.gate.abort(reason)
    const after = observer.error
    await turns()
    return [before, after === reason, observer.response]
  },
  expected: [null, true, ['start', 'head 200', 'data', 'error']],
})

row('§3 abort() counts once; reason stays the first one', {
  on: [...CURRENT, ...SHIM.slice(0, 1)],
  run: async (stage) => {
    const { origin } = await streaming(stage)
    const observer = stage.send(stage.open(), origin)
    await observer.seen('data')
    const { controller } = observer
    const before = [controller.aborted, controller.reason]
    controller.abort(reason)
    controller.abort(new Error('another'))
    controller.pause()
    controller.resume()
    await turns()
    return [before, controller.aborted, controller.reason === reason, observer.response]
  },
  expected: [[false, null], true, true, ['start', 'head 200', 'data', 'error']],
})

row('§3 abort() without a reason is RequestAbortedError, and reason stays undefined', {
  on: [...CURRENT, ...SHIM.slice(0, 1)],
  run: async (stage) => {
    const { origin } = await streaming(stage)
    const observer = stage.send(stage.open(), origin)
    await observer.seen('data')
    observer.controller.abort()
    const { aborted, reason: given } = observer.controller
    return [stage.facts(observer.error), aborted, given]
  },
  expected: [{ name: 'AbortError', code: 'UND_ERR_ABORTED', message: 'Request aborted' }, true, undefined] as unknown[],
})

row('§3 legacy abort() without a reason is RequestAbortedError', {
  on: ALL.filter(({ generation }) => generation === 'legacy'),
  run: async (stage) => {
    const { origin } = await streaming(stage)
    const observer = stage.send(stage.open(), origin)
    await observer.seen('data')
    observer.gate.abort()
    return stage.facts(observer.error)
  },
  expected: { name: 'AbortError', code: 'UND_ERR_ABORTED', message: 'Request aborted' },
})

row('§3 abort() inside onRequestStart: nothing is sent, the error comes inside', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ connections: 1 })
    const observer = await stage.send(agent, server.origin, { path: '/no' }, { start: (gate) => gate.abort(reason) })
      .ended
    await stage.send(agent, server.origin, { path: '/yes' }).ended
    return [observer.events, server.requests.map(({ lines }) => lines[0])]
  },
  expected: [['start', 'error inside start'], ['GET /yes HTTP/1.1']],
})

row('§3 abort() inside onRequestStart: what becomes of the connection', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ connections: 1 })
    await stage.send(agent, server.origin, { path: '/no' }, { start: (gate) => gate.abort(reason) }).ended
    await stage.send(agent, server.origin, { path: '/yes' }).ended
    return server.accepted
  },
  expected: 2,
  differs: [{ id: 'C14', observed: 1 }],
})

row('§3 abort() inside onResponseStart and onResponseData', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const seen = []
    for (const event of ['head', 'data']) {
      const observer = await stage.fetch(server.origin, {}, { [event]: (gate: Gate) => gate.abort(reason) })
      await turns()
      seen.push([observer.response, observer.error === reason])
    }
    return seen
  },
  expected: [
    [['start', 'head 200', 'error inside head 200'], true],
    [['start', 'head 200', 'data', 'error inside data'], true],
  ],
})

row('§3 abort() while waiting for the response', {
  run: async (stage) => {
    const server = await stage.raw(() => {})
    const observer = stage.send(stage.open(), server.origin)
    await server.request()
    observer.gate.abort(reason)
    await turns()
    return [observer.response, observer.error === reason]
  },
  expected: [['start', 'error'], true],
})

row('§3 abort() drops the connection', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw((_request, socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\nsome')
    })
    const observer = stage.send(stage.open(), server.origin)
    await observer.seen('data')
    observer.gate.abort()
    await until(() => server.ended === 1)
    return server.ended
  },
  expected: 1,
})

row('§3 abort(), pause() and resume() after the end are harmless', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const observer = await stage.fetch(server.origin)
    observer.gate.pause()
    observer.gate.resume()
    observer.gate.abort(reason)
    await turns()
    return observer.response
  },
  expected: ['start', 'head 200', 'data', 'end'],
})

row('§3 aborted, paused and reason are getters; rawHeaders, rawTrailers and abort can be reassigned', {
  on: [...CURRENT, ...SHIM.slice(0, 1)],
  run: async (stage) => {
    const server = await stage.raw(OK)
    const observer = await stage.fetch(
      server.origin,
      {},
      {
        head: (gate) => {
          const controller = gate as unknown as Record<string, unknown>
          controller['rawHeaders'] = ['a', 'b']
          controller['rawTrailers'] = ['c', 'd']
        },
      },
    )
    const controller = observer.controller as unknown as Record<string, unknown>
    const mine = (): void => {}
    controller['abort'] = mine
    return [controller['abort'] === mine, controller['rawHeaders'], controller['aborted'], controller['paused']]
  },
  expected: [true, ['a', 'b'], false, false],
})

row('§3 rawHeaders and rawTrailers are null before they are known', {
  on: CURRENT,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const seen: unknown[] = []
    await stage.fetch(
      server.origin,
      {},
      {
        start: (gate) => {
          const { rawHeaders, rawTrailers } = gate as unknown as Record<string, unknown>
          seen.push(rawHeaders, rawTrailers)
        },
        head: (gate) => seen.push((gate as unknown as Record<string, unknown>)['rawTrailers']),
      },
    )
    return seen
  },
  expected: [null, null, null] as unknown[],
})

row('§3 pause() stops delivery after the current chunk', {
  on: ALL,
  run: async (stage) => {
    const { origin, write, end } = await streaming(stage)
    const observer = stage.send(stage.open(), origin, {}, { data: (gate) => observer.bytes < 6 && gate.pause() })
    await observer.seen('data')
    for (let index = 0; index < 16; index++) write(65_536)
    await turns()
    const paused = observer.chunks.length
    end()
    observer.gate.resume()
    await observer.ended
    return [paused, observer.bytes]
  },
  expected: [1, 5 + 16 * 65_536],
})

row('§3 pause() inside onResponseStart holds back the body and the end', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const observer = stage.send(stage.open(), server.origin, {}, { head: (gate) => gate.pause() })
    await observer.seen('head')
    await turns()
    const held = observer.response
    observer.gate.resume()
    await observer.ended
    return [held, observer.response]
  },
  expected: [
    ['start', 'head 200'],
    ['start', 'head 200', 'data', 'end'],
  ],
})

row('§3 pause() inside onResponseStart holds back the end of an empty body', {
  on: DISPATCHERS,
  run: async (stage) => {
    const server = await stage.raw('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
    const observer = stage.send(stage.open(), server.origin, {}, { head: (gate) => gate.pause() })
    await observer.seen('head')
    await turns()
    const held = observer.response
    observer.gate.resume()
    await observer.ended
    return [held, observer.response]
  },
  expected: [
    ['start', 'head 200'],
    ['start', 'head 200', 'end'],
  ],
})

row('§3 pause() inside the last onResponseData holds back the end', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const observer = stage.send(stage.open(), server.origin, {}, { data: (gate) => gate.pause() })
    await observer.seen('data')
    await turns()
    const held = observer.response
    observer.gate.resume()
    await observer.ended
    return [held, observer.response]
  },
  expected: [
    ['start', 'head 200', 'data'],
    ['start', 'head 200', 'data', 'end'],
  ],
})

row('§3 resume() inside onResponseData, at once and repeatedly', {
  on: [...CURRENT, ...SHIM.slice(0, 1)],
  run: async (stage) => {
    const { origin, write, end } = await streaming(stage)
    const observer = stage.send(
      stage.open(),
      origin,
      {},
      {
        data: (gate) => {
          gate.pause()
          gate.resume()
          gate.resume()
        },
      },
    )
    await observer.seen('data')
    write(300_000)
    end()
    await observer.ended
    return [observer.bytes, observer.controller.paused, observer.events.some((event) => event.includes('inside'))]
  },
  expected: [300_005, false, false],
})

row('§3 resume() inside the pausing chunk of a later turn, many times over', {
  on: ALL,
  run: async (stage) => {
    const { origin, write, end } = await streaming(stage)
    const observer = stage.send(
      stage.open(),
      origin,
      {},
      {
        data: (gate) => {
          gate.pause()
          setImmediate(() => gate.resume())
        },
      },
    )
    await observer.seen('data')
    for (let index = 0; index < 10; index++) write(100_000)
    end()
    await observer.ended
    return [observer.bytes, observer.response]
  },
  expected: [1_000_005, ['start', 'head 200', 'data', 'end']],
})

row('§3 paused tells', {
  on: CURRENT,
  run: async (stage) => {
    const { origin, end } = await streaming(stage)
    const seen: boolean[] = []
    const observer = stage.send(stage.open(), origin, {}, { head: (gate) => gate.pause() })
    await observer.seen('head')
    seen.push(observer.controller.paused)
    observer.controller.resume()
    seen.push(observer.controller.paused)
    end()
    await observer.ended
    return seen
  },
  expected: [true, false],
})

row('§3 abort() while paused reports at once', {
  on: ALL,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const observer = stage.send(stage.open(), server.origin, {}, { head: (gate) => gate.pause() })
    await observer.seen('head')
    await turns()
    observer.gate.abort(reason)
    return [observer.error === reason, observer.response]
  },
  expected: [true, ['start', 'head 200', 'error']],
})

row('§3 a paused body does not time out, and goes on', {
  on: DISPATCHERS,
  run: async (stage) => {
    const server = await stage.raw('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
    const observer = stage.send(stage.open(), server.origin, { bodyTimeout: 300 }, { head: (gate) => gate.pause() })
    await observer.seen('head')
    await stage.timeOut({ bodyTimeout: 300 })
    const held = observer.response
    observer.gate.resume()
    await observer.ended
    return [held, observer.response]
  },
  expected: [
    ['start', 'head 200'],
    ['start', 'head 200', 'data', 'end'],
  ],
})

row('§3 pause() before the head counts when the head comes', {
  on: CURRENT_WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const observer = stage.send(stage.open(), server.origin, {}, { start: (gate) => gate.pause() })
    await observer.seen('head')
    await turns()
    const held = observer.response
    observer.gate.resume()
    await observer.ended
    return [held, observer.response]
  },
  expected: [
    ['start', 'head 200'],
    ['start', 'head 200', 'data', 'end'],
  ],
})
