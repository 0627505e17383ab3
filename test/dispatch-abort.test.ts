import { describe, expect, test } from 'vitest'
import { Agent as UndiciAgent } from 'undici'
import type { DispatcherLike } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { dispatchPaths, dispatchRows } from './support/dispatch-paths.ts'
import { Recorder, send } from './support/recorder.ts'
import type { Hooks } from './support/recorder.ts'
import { select } from './support/selection.ts'
import { startFlood, startServer } from './support/servers.ts'

type Place = 'start' | 'head' | 'data' | 'end' | 'error'

const hookAt = (place: Place, act: (gate: { abort(reason?: Error): void }) => void): Hooks => ({
  [place]: (gate: { abort(reason?: Error): void }) => act(gate),
})

/** Whatever was on its way to a handler before has arrived after this. */
async function roundTrip(dispatcher: DispatcherLike): Promise<void> {
  await using server = await startServer((_request, response) => response.end('round trip'))
  for (let turn = 0; turn < 3; turn++) await send(dispatcher, server.origin, new Recorder()).ended
}

/** Calls of a request that went wrong at `place`. */
const callsUpTo = (place: Place): string[] => {
  const all = ['start', 'head', 'data']
  return [...all.slice(0, all.indexOf(place) + 1), 'error']
}

describe.each(select(dispatchRows))('$path, $generation handler', ({ open, generation }) => {
  test.each(['start', 'head', 'data'] as const)(
    'abort inside the callback of %s reports its reason before it returns, and nothing follows',
    async (place) => {
      await using server = await startFlood({ length: 4 * 1024 * 1024 })
      await using dispatcher = open()
      const reason = new Error('enough')
      const counts: number[] = []
      const recorder: Recorder = new Recorder(
        generation,
        hookAt(place, (gate) => {
          counts.push(recorder.calls.length)
          gate.abort(reason)
          counts.push(recorder.calls.length)
          gate.abort(new Error('again'))
          counts.push(recorder.calls.length)
        }),
      )
      await send(dispatcher, server.origin, recorder).ended
      await roundTrip(dispatcher)
      expect(recorder.calls).toEqual(callsUpTo(place))
      expect(recorder.error).toBe(reason)
      const [before] = counts as [number]
      expect(counts).toEqual([before, before + 1, before + 1])
      // Nothing was sent at the start: the connection is as good as before.
      if (place !== 'start') await until(() => server.sockets.size === 0)
    },
  )

  test.each(['start', 'head', 'data'] as const)(
    'a throw inside the callback of %s aborts the request with what was thrown',
    async (place) => {
      await using server = await startFlood({ length: 4 * 1024 * 1024 })
      await using dispatcher = open()
      const thrown = new Error('thrown')
      const recorder = new Recorder(
        generation,
        hookAt(place, () => {
          throw thrown
        }),
      )
      await send(dispatcher, server.origin, recorder).ended
      await roundTrip(dispatcher)
      expect(recorder.calls).toEqual(callsUpTo(place))
      expect(recorder.error).toBe(thrown)
      if (place !== 'start') await until(() => server.sockets.size === 0)
    },
  )

  test('a throw inside the callback of the end is reported as the error', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using dispatcher = open()
    const thrown = new Error('thrown')
    const recorder: Recorder = new Recorder(generation, {
      end: () => {
        throw thrown
      },
    })
    send(dispatcher, server.origin, recorder)
    await until(() => recorder.error)
    await roundTrip(dispatcher)
    expect(recorder.calls).toEqual(['start', 'head', 'data', 'end', 'error'])
    expect(recorder.error).toBe(thrown)
  })

  test('abort between two callbacks reports before it returns and drops the connection', async () => {
    await using server = await startServer((_request, response) => void response.write('first'))
    await using dispatcher = open()
    const recorder = send(dispatcher, server.origin, new Recorder(generation))
    await until(() => recorder.bytes === 5)
    const reason = new Error('enough')
    recorder.gate.abort(reason)
    expect(recorder.calls).toEqual(['start', 'head', 'data', 'error'])
    expect(recorder.error).toBe(reason)
    await until(() => server.sockets.size === 0)
  })

  test('abort while paused reports at once', async () => {
    await using server = await startFlood({ length: 4 * 1024 * 1024 })
    await using dispatcher = open()
    const recorder = send(dispatcher, server.origin, new Recorder(generation, { head: (gate) => gate.pause() }))
    await until(() => recorder.calls.includes('head'))
    recorder.gate.abort(new Error('enough'))
    recorder.gate.resume()
    await roundTrip(dispatcher)
    expect(recorder.calls).toEqual(['start', 'head', 'error'])
    await until(() => server.sockets.size === 0)
  })

  test('abort without a reason is a RequestAbortedError named AbortError', async () => {
    await using server = await startFlood({ length: 4 * 1024 * 1024 })
    await using dispatcher = open()
    const recorder = new Recorder(generation, { head: (gate) => gate.abort() })
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.error).toMatchObject({ name: 'AbortError', code: 'UND_ERR_ABORTED', message: 'Request aborted' })
  })

  test('abort inside the callback of the end, or later, changes nothing', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using dispatcher = open()
    const recorder = new Recorder(generation, { end: (gate) => gate.abort(new Error('too late')) })
    await send(dispatcher, server.origin, recorder).ended
    recorder.gate.abort(new Error('later'))
    recorder.gate.abort()
    await roundTrip(dispatcher)
    expect(recorder.calls).toEqual(['start', 'head', 'data', 'end'])
  })

  test('abort inside the callback of the error changes nothing', async () => {
    await using server = await startFlood({ length: 4 * 1024 * 1024 })
    await using dispatcher = open()
    const recorder: Recorder = new Recorder(generation, {
      head: (gate) => gate.abort(new Error('first')),
      error: () => recorder.gate.abort(new Error('second')),
    })
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.calls).toEqual(['start', 'head', 'error'])
    expect(recorder.error!.message).toBe('first')
  })

  test('what a handler throws at its error is an uncaught exception', async () => {
    await using server = await startFlood({ length: 4 * 1024 * 1024 })
    await using dispatcher = open()
    const thrown = new Error('thrown by onResponseError')
    const uncaught = await withUncaught(async () => {
      const recorder = new Recorder(generation, {
        head: (gate) => gate.abort(new Error('enough')),
        error: () => {
          throw thrown
        },
      })
      await send(dispatcher, server.origin, recorder).ended
    })
    expect(uncaught).toBe(thrown)
  })
})

/** The one exception that nobody catches while `act` runs and until it comes. */
async function withUncaught(act: () => Promise<void>): Promise<unknown> {
  const runners = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  const uncaught = Promise.withResolvers<unknown>()
  process.once('uncaughtException', uncaught.resolve)
  try {
    await act()
    return await uncaught.promise
  } finally {
    process.removeAllListeners('uncaughtException')
    for (const runner of runners) process.on('uncaughtException', runner)
  }
}

describe.each(dispatchPaths)('$path', ({ open }) => {
  test('the controller keeps the first reason exactly as it was given', async () => {
    await using server = await startFlood({ length: 4 * 1024 * 1024 })
    await using dispatcher = open()
    const states: unknown[] = []
    const recorder: Recorder = new Recorder('current', {
      head: (gate) => {
        const controller = recorder.controller!
        states.push(controller.aborted, controller.reason)
        gate.abort('a string' as never)
        gate.abort(new Error('again'))
        states.push(controller.aborted, controller.reason)
      },
    })
    await send(dispatcher, server.origin, recorder).ended
    expect(states).toEqual([false, null, true, 'a string'])
    expect(recorder.error).toBe('a string')
  })

  test('the reason of an abort without one stays undefined', async () => {
    await using server = await startFlood({ length: 4 * 1024 * 1024 })
    await using dispatcher = open()
    const recorder = new Recorder('current', { head: (gate) => gate.abort() })
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.controller).toMatchObject({ aborted: true, reason: undefined })
  })
})

test("undici's own agent ends the same way when it is aborted at the end", async () => {
  await using server = await startServer((_request, response) => response.end('x'))
  const agent = new UndiciAgent()
  const recorder = new Recorder('current', { end: (gate) => gate.abort(new Error('too late')) })
  await send(agent, server.origin, recorder).ended
  recorder.gate.abort(new Error('later'))
  await roundTrip(agent)
  expect(recorder.calls).toEqual(['start', 'head', 'data', 'end'])
  await agent.close()
})
