import { getEventListeners } from 'node:events'
import { describe, expect, test, vi } from 'vitest'
import { Agent as UndiciAgent } from 'undici'
import { Agent, fetch } from '../lib/index.ts'
import type { DispatcherLike } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { collectGarbage } from './support/gc.ts'
import { closedPort, isAsked, startFlood, startServer } from './support/servers.ts'

const LENGTH = 64 * 1024 * 1024

/** Counts the listeners of a signal that are left. */
const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length

interface Row {
  name: string
  open(): DispatcherLike & { destroy(): Promise<void> }
}

const rows: Row[] = [
  { name: 'an agent', open: () => new Agent() },
  {
    name: 'a composed agent',
    open: () => new Agent().compose((dispatch) => (options, handler) => dispatch(options, handler)),
  },
  { name: "undici's agent", open: () => new UndiciAgent() as unknown as ReturnType<Row['open']> },
]

describe.each(rows)('a signal, over $name', ({ open }) => {
  test('that was aborted before rejects with its reason, and nothing is sent', async () => {
    await using server = await startServer((_request, response) => response.end())
    const dispatcher = open()
    const reason = { not: 'an error' }
    await expect(fetch(server.origin, { dispatcher, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    await expect(fetch(server.origin, { dispatcher, signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    })
    expect(server.accepted).toBe(0)
    await dispatcher.destroy()
  })

  test('that was aborted before cancels the body', async () => {
    const dispatcher = open()
    const cancel = vi.fn()
    const body = new ReadableStream({ cancel })
    const reason = new Error('enough')
    const fetching = fetch('http://a.test', { dispatcher, method: 'POST', body, signal: AbortSignal.abort(reason) })
    await expect(fetching).rejects.toBe(reason)
    expect(cancel.mock.calls).toEqual([[reason]])
    await dispatcher.destroy()
  })

  test('aborted in the tick of the call sends nothing or drops it', async () => {
    await using server = await startServer((_request, response) => response.end())
    const dispatcher = open()
    const controller = new AbortController()
    const reason = new Error('enough')
    const fetching = fetch(server.origin, { dispatcher, signal: controller.signal })
    controller.abort(reason)
    await expect(fetching).rejects.toBe(reason)
    expect(listeners(controller.signal)).toBe(0)
    await dispatcher.destroy()
  })

  test('aborted before the head rejects with the reason itself and drops the connection', async () => {
    await using server = await startServer(() => {})
    const dispatcher = open()
    const controller = new AbortController()
    const reason = new Error('enough')
    const fetching = fetch(server.origin, { dispatcher, signal: controller.signal })
    await until(() => isAsked(server))
    controller.abort(reason)
    await expect(fetching).rejects.toBe(reason)
    await until(() => server.sockets.size === 0)
    expect(listeners(controller.signal)).toBe(0)
    await dispatcher.destroy()
  })

  test.each(['text', 'body'] as const)(
    'aborted inside the body fails the reading of %s with the reason itself',
    async (how) => {
      await using server = await startFlood({ length: LENGTH })
      const dispatcher = open()
      const controller = new AbortController()
      const reason = new Error('enough')
      const response = await fetch(server.origin, { dispatcher, signal: controller.signal })
      const reader = how === 'body' ? response.body!.getReader() : null
      if (reader !== null) await reader.read()
      const reading = reader === null ? response.text() : readAll(reader)
      controller.abort(reason)
      await expect(reading).rejects.toBe(reason)
      await expect(response.trailers).rejects.toBe(reason)
      await until(() => server.sockets.size === 0)
      expect(listeners(controller.signal)).toBe(0)
      await dispatcher.destroy()
    },
  )

  test('aborted while nobody reads drops the connection, and a later read says why', async () => {
    await using server = await startFlood({ length: LENGTH })
    const dispatcher = open()
    const controller = new AbortController()
    const response = await fetch(server.origin, { dispatcher, signal: controller.signal })
    controller.abort(new Error('enough'))
    await until(() => server.sockets.size === 0)
    await expect(response.text()).rejects.toThrow('enough')
    await dispatcher.destroy()
  })

  test('of a Request that nobody holds any more rejects before the head', async () => {
    await using server = await startServer(() => {})
    const dispatcher = open()
    const controller = new AbortController()
    const fetching = fetch(new Request(server.origin, { signal: controller.signal }), { dispatcher })
    await until(() => server.sockets.size === 1)
    await collectGarbage()
    controller.abort('enough')
    await expect(fetching).rejects.toBe('enough')
    await dispatcher.destroy()
  })

  test('of a Request that nobody holds any more fails a body that comes, and one that has come', async () => {
    await using server = await startServer((_request, response) => response.end('abc'))
    await using flood = await startFlood({ length: LENGTH })
    const dispatcher = open()
    const controller = new AbortController()
    const { signal } = controller
    const come = await fetch(new Request(server.origin, { signal }), { dispatcher })
    const coming = await fetch(new Request(flood.origin, { signal }), { dispatcher })
    await collectGarbage()
    controller.abort('enough')
    await expect(come.text()).rejects.toBe('enough')
    await expect(coming.text()).rejects.toBe('enough')
    await dispatcher.destroy()
  })

  test('of AbortSignal.timeout rejects with a TimeoutError', async () => {
    await using server = await startServer(() => {})
    const dispatcher = open()
    await expect(fetch(server.origin, { dispatcher, signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      name: 'TimeoutError',
    })
    await until(() => server.sockets.size === 0)
    await dispatcher.destroy()
  })

  test('aborted after the end changes nothing', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    const dispatcher = open()
    const controller = new AbortController()
    const response = await fetch(server.origin, { dispatcher, signal: controller.signal })
    expect(await response.text()).toBe('x')
    controller.abort()
    expect([...(await response.trailers)]).toEqual([])
    await dispatcher.destroy()
  })

  test('shared by many fetches is left without listeners, and without a warning', async () => {
    await using server = await startServer((request, response) => {
      response.end(request.url === '/large' ? Buffer.alloc(200_000) : 'small')
    })
    const dispatcher = open()
    const warnings: Error[] = []
    const onWarning = (warning: Error): void => void warnings.push(warning)
    process.on('warning', onWarning)
    const { signal } = new AbortController()
    const refused = `http://127.0.0.1:${await closedPort()}`
    await Promise.all(
      Array.from({ length: 60 }, async (_, index) => {
        if (index % 4 === 0) await fetch(refused, { dispatcher, signal }).catch(() => {})
        else if (index % 4 === 1) await (await fetch(`${server.origin}/large`, { dispatcher, signal })).body!.cancel()
        else if (index % 4 === 2) await (await fetch(`${server.origin}/large`, { dispatcher, signal })).text()
        else await (await fetch(server.origin, { dispatcher, signal })).text()
      }),
    )
    await until(() => listeners(signal) === 0)
    process.off('warning', onWarning)
    expect(warnings.map(String)).toEqual([])
    await dispatcher.destroy()
  })
})

test('a dispatcher that throws fails the fetch and leaves no listener', async () => {
  const { signal } = new AbortController()
  const thrown = new Error('thrown')
  const dispatcher: DispatcherLike = {
    dispatch() {
      throw thrown
    },
  }
  await expect(fetch('http://a.test', { dispatcher, signal })).rejects.toMatchObject({
    message: 'fetch failed',
    cause: thrown,
  })
  expect(listeners(signal)).toBe(0)
})

async function readAll(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  while (!(await reader.read()).done);
}
