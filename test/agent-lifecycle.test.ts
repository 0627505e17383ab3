import { describe, expect, test } from 'vitest'
import { Agent, errors, fetch } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { Recorder, send } from './support/recorder.ts'
import { startFlood, startServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'

/** Answers `/` at once, and `/held` when told to. */
async function startHolding(): Promise<RunningServer & { release(): void }> {
  const held = Promise.withResolvers<void>()
  const server = await startServer(async (request, response) => {
    response.write('first')
    if (request.url === '/held') await held.promise
    response.end('last')
  })
  return Object.assign(server, { release: () => held.resolve() })
}

const called = (run: (callback: (...args: unknown[]) => void) => unknown): Promise<unknown[]> =>
  new Promise((resolve) => run((...args) => resolve(args)))

describe('close', () => {
  test('waits for running requests, refuses new ones, then destroys the agent', async () => {
    await using server = await startHolding()
    const agent = new Agent()
    const running = send(agent, server.origin, new Recorder(), { path: '/held' })
    await until(() => running.bytes === 5)
    let isClosed = false
    const closing = agent.close().then((value: unknown) => {
      isClosed = true
      return value
    })
    expect([agent.closed, agent.destroyed]).toEqual([true, false])

    const refused = new Recorder()
    expect(agent.dispatch({ origin: server.origin, path: '/', method: 'GET' }, refused.handler)).toBe(false)
    expect(refused.calls).toEqual(['error'])
    expect(refused.error).toBeInstanceOf(errors.ClientClosedError)
    await expect(fetch(server.origin, { dispatcher: agent })).rejects.toMatchObject({
      message: 'fetch failed',
      cause: { code: 'UND_ERR_CLOSED' },
    })
    expect([isClosed, running.calls.includes('end')]).toEqual([false, false])

    server.release()
    await running.ended
    expect(running.body.toString()).toBe('firstlast')
    expect(await closing).toBeNull()
    expect([agent.closed, agent.destroyed]).toEqual([true, true])
    await until(() => server.sockets.size === 0)
  })

  test('waits for the body of a fetch', async () => {
    await using server = await startHolding()
    const agent = new Agent()
    const response = await fetch(`${server.origin}/held`, { dispatcher: agent })
    const closing = agent.close()
    expect(agent.destroyed).toBe(false)
    server.release()
    expect(await response.text()).toBe('firstlast')
    await closing
    expect(agent.destroyed).toBe(true)
  })

  test('twice while closing is one close, and after that ClientDestroyedError', async () => {
    await using server = await startHolding()
    const agent = new Agent()
    const running = send(agent, server.origin, new Recorder(), { path: '/held' })
    await until(() => running.bytes === 5)
    const closings = [agent.close(), called((callback) => agent.close(callback as () => void))]
    server.release()
    expect(await Promise.all(closings)).toEqual([null, [null, null]])
    await expect(agent.close()).rejects.toBeInstanceOf(errors.ClientDestroyedError)
    const [error, data] = await called((callback) => agent.close(callback as () => void))
    expect(error).toBeInstanceOf(errors.ClientDestroyedError)
    expect(data).toBeNull()
  })

  test('of an agent that was never used resolves', async () => {
    const agent = new Agent()
    expect(await agent.close()).toBeNull()
    expect(agent.destroyed).toBe(true)
  })

  test.each([1, 'x', null, {}])('refuses %o as its callback', (callback) => {
    const agent = new Agent()
    expect(() => agent.close(callback as never)).toThrow(errors.InvalidArgumentError)
    expect(() => agent.destroy(null, callback as never)).toThrow('invalid callback')
  })
})

describe('destroy', () => {
  test.each([
    ['without an error', undefined, 'UND_ERR_DESTROYED'],
    ['with an error', Object.assign(new Error('down'), { code: 'DOWN' }), 'DOWN'],
  ])('%s ends running requests with it, but not inside the call', async (_name, error, code) => {
    await using silent = await startServer(() => {})
    await using server = await startHolding()
    const agent = new Agent()
    const waiting = send(agent, silent.origin, new Recorder())
    const reading = send(agent, server.origin, new Recorder('legacy'), { path: '/held' })
    const paused = send(agent, server.origin, new Recorder('current', { head: (gate) => gate.pause() }))
    await until(() => silent.sockets.size === 1 && reading.bytes === 5 && paused.calls.includes('head'))
    const recorders = [waiting, reading, paused]
    const destroying = error === undefined ? agent.destroy() : agent.destroy(error)
    expect([agent.destroyed, agent.closed]).toEqual([true, false])
    expect(recorders.flatMap(({ calls }) => calls)).not.toContain('error')
    expect(await destroying).toBeNull()
    for (const recorder of recorders) {
      expect(recorder.calls.filter((call) => call === 'error' || call === 'end')).toEqual(['error'])
      expect(recorder.error!.code).toBe(code)
      if (error !== undefined) expect(recorder.error).toBe(error)
    }
    await until(() => silent.sockets.size === 0 && server.sockets.size === 0)
    expect(agent.stats.running).toBe(0)
  })

  test('ends fetches with its error: before the head, inside the body', async () => {
    await using silent = await startServer(() => {})
    await using server = await startFlood({ length: 16 * 1024 * 1024 })
    const agent = new Agent()
    const down = new Error('down')
    const waiting = fetch(silent.origin, { dispatcher: agent })
    const response = await fetch(server.origin, { dispatcher: agent })
    const reading = response.text()
    await until(() => silent.sockets.size === 1)
    const outcomes = Promise.allSettled([waiting, reading, response.trailers])
    await agent.destroy(down)
    const [head, body, trailers] = (await outcomes) as PromiseRejectedResult[]
    expect(head!.reason).toMatchObject({ message: 'fetch failed', cause: down })
    expect(body!.reason).toMatchObject({ message: 'terminated', cause: down })
    expect(trailers!.reason).toMatchObject({ message: 'terminated', cause: down })
    await until(() => server.sockets.size === 0 && silent.sockets.size === 0)
  })

  test('refuses what comes after', async () => {
    const agent = new Agent()
    await agent.destroy()
    const refused = new Recorder()
    expect(agent.dispatch({ origin: 'http://127.0.0.1:9', path: '/', method: 'GET' }, refused.handler)).toBe(false)
    expect(refused.error).toBeInstanceOf(errors.ClientDestroyedError)
    await expect(fetch('http://127.0.0.1:8', { dispatcher: agent })).rejects.toMatchObject({
      cause: { code: 'UND_ERR_DESTROYED' },
    })
  })

  test('takes a callback in place of the promise, and resolves however often', async () => {
    const agent = new Agent()
    expect(await called((callback) => agent.destroy(callback as () => void))).toEqual([null, null])
    expect(await called((callback) => agent.destroy(new Error('x'), callback as () => void))).toEqual([null, null])
    expect(await agent.destroy()).toBeNull()
    expect(await agent.destroy(null)).toBeNull()
  })

  test('resolves a pending close', async () => {
    await using server = await startHolding()
    const agent = new Agent()
    const running = send(agent, server.origin, new Recorder(), { path: '/held' })
    await until(() => running.bytes === 5)
    const closing = agent.close()
    await agent.destroy()
    expect(await closing).toBeNull()
    expect(running.error).toBeInstanceOf(errors.ClientDestroyedError)
  })

  test('ends a request of the same tick, which is not sent', async () => {
    await using server = await startHolding()
    const agent = new Agent()
    const recorder = send(agent, server.origin, new Recorder())
    await agent.destroy()
    await recorder.ended
    expect(recorder.error).toBeInstanceOf(errors.ClientDestroyedError)
    expect(recorder.calls.filter((call) => call === 'error')).toEqual(['error'])
  })

  test('is what `await using` does', async () => {
    let kept: Agent
    {
      await using agent = new Agent()
      kept = agent
    }
    expect(kept.destroyed).toBe(true)
  })
})

test('stats count the requests under way and the bytes they hold', async () => {
  await using server = await startFlood({ length: 16 * 1024 * 1024 })
  await using agent = new Agent({ windowBytes: 128 * 1024 })
  expect(agent.stats).toMatchObject({ bufferedBytes: 0, running: 0 })
  expect(Object.keys(agent.stats)).toEqual([])
  const recorder = send(agent, server.origin, new Recorder('current', { head: (gate) => gate.pause() }))
  await until(() => recorder.calls.includes('head'))
  expect(agent.stats.running).toBe(1)
  // Once somebody has read, the window fills.
  const reader = (await fetch(server.origin, { dispatcher: agent })).body!.getReader()
  await reader.read()
  await until(() => agent.stats.bufferedBytes > 64 * 1024)
  expect(agent.stats.running).toBe(2)
  expect(agent.stats.bufferedBytes).toBeLessThan(2 * (128 * 1024 + 512 * 1024))
  recorder.gate.abort()
  await reader.cancel()
  await until(() => agent.stats.running === 0 && agent.stats.bufferedBytes === 0)
})
