/** What is given up, or forgotten, releases its socket within a second (design, invariants 5 and 9). */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import { binding } from '../native/binding.ts'
import { until } from './support/deadline.ts'
import { collectGarbage, untilCollected } from './support/gc.ts'
import { flood as writeFlood, startFlood, startServer, type Flood } from './support/servers.ts'
import { startScript } from './support/script.ts'

const SECOND = { timeoutMs: 1000 }
const MiB = 1024 * 1024

let agent: Agent
let server: Flood

beforeEach(async () => {
  agent = new Agent()
  server = await startFlood({ length: 400 * MiB })
})

afterEach(async () => {
  await agent.destroy()
  await server.close()
  // A handle stays until somebody has read how its body ended, or nobody can any more.
  await untilCollected(() => binding.counters().handles === 0)
})

const get = (signal?: AbortSignal): Promise<Response> => fetch(server.origin, { dispatcher: agent, signal })
const allClosed = (): boolean => server.sockets.size === 0
const nothingHeld = (): boolean => {
  const { handles, awaited, tasks } = binding.counters()
  return handles === 0 && awaited === 0 && tasks === 0 && agent.stats.bufferedBytes === 0
}

test('free memory is given back once requests have ceased, and once more when what still ran has ended', async () => {
  const before = binding.counters().givenBack
  const { body } = await get()
  await until(() => binding.counters().givenBack > before)
  const whileHeld = binding.counters().givenBack
  await body!.cancel()
  await until(() => binding.counters().givenBack > whileHeld)
})

describe('the server sees its socket closed within a second after', () => {
  test('cancel() of an unread body', async () => {
    const { body } = await get()
    await body!.cancel()
    await until(allClosed, SECOND)
    await until(nothingHeld)
  })

  test('cancel() of a body that is being read', async () => {
    const reader = (await get()).body!.getReader()
    await reader.read()
    await reader.cancel(new Error('enough'))
    await until(allClosed, SECOND)
    await until(nothingHeld)
  })

  test('an abort before the head', async () => {
    await using script = await startScript()
    const controller = new AbortController()
    const response = fetch(script.origin, { dispatcher: agent, signal: controller.signal })
    const exchange = await script.next()
    controller.abort()
    await expect(response).rejects.toBe(controller.signal.reason)
    await until(() => exchange.gone.then(() => true), SECOND)
    await until(nothingHeld)
  })

  test('an abort of a response that nobody reads', async () => {
    const controller = new AbortController()
    const response = await get(controller.signal)
    controller.abort()
    await until(allClosed, SECOND)
    await expect(response.bytes()).rejects.toBe(controller.signal.reason)
    await until(nothingHeld)
  })

  test('an abort in the middle of the body', async () => {
    const controller = new AbortController()
    const reader = (await get(controller.signal)).body!.getReader()
    await reader.read()
    controller.abort(new Error('enough'))
    await until(allClosed, SECOND)
    await until(nothingHeld)
  })

  test('the destruction of the agent', async () => {
    const response = await get()
    await agent.destroy()
    await until(allClosed, SECOND)
    await expect(response.bytes()).rejects.toMatchObject({ message: 'terminated' })
  })
})

/** Makes garbage in a frame of its own, so that no local of the test holds it. */
async function forget(make: () => Promise<unknown>): Promise<void> {
  await make()
}

describe('garbage collection releases the socket of', () => {
  test.each<[string, (response: Response) => unknown]>([
    ['a response that was never looked at', () => {}],
    ['a response whose body was asked for', (response) => response.body],
    ['a response whose trailers are awaited by nobody', (response) => void (response as any).trailers],
    ['a body that was read once', (response) => response.body!.getReader().read()],
    ['a reader whose end is awaited', (response) => void response.body!.getReader().closed.catch(() => {})],
    ['the two halves of a tee', (response) => response.body!.tee()[0].getReader().read()],
    ['a clone and its original', (response) => response.clone().body!.getReader().read()],
    [
      'a response half of which went through a transform',
      (response) => {
        return response.body!.pipeThrough(new TransformStream()).getReader().read()
      },
    ],
  ])('%s', async (_, use) => {
    await forget(async () => use(await get()))
    expect(server.sockets.size).toBe(1)
    await collectGarbage()
    await untilCollected(allClosed, SECOND)
    await until(nothingHeld)
  })

  test.each<[string, () => unknown]>([
    ['memory', () => Buffer.alloc(8 * MiB)],
    ['a stream', () => ReadableStream.from([Buffer.alloc(4 * MiB), Buffer.alloc(4 * MiB)])],
  ])('a response that came before the end of an upload from %s', async (_, open) => {
    let uploads = 0
    await using uploading = await startServer((request, response) => {
      response.flushHeaders()
      request.resume().on('end', () => {
        uploads++
        writeFlood(response)
      })
    })
    await forget(async () => {
      const init = { method: 'POST', body: open() as never, duplex: 'half', dispatcher: agent } as const
      return (await fetch(uploading.origin, init)).status
    })
    await until(() => uploads === 1)
    await untilCollected(() => uploading.sockets.size === 0, SECOND)
    await until(nothingHeld)
  })

  test('an agent with a response that nobody reads', async () => {
    await forget(async () => fetch(server.origin, { dispatcher: new Agent() }))
    await untilCollected(allClosed, SECOND)
    await until(nothingHeld)
  })

  test('an agent with an idle connection', async () => {
    await using keeping = await startServer((_request, response) => response.end('kept'))
    await forget(async () => {
      const response = await fetch(keeping.origin, { dispatcher: new Agent({ keepAliveTimeout: 600_000 }) })
      expect(await response.text()).toBe('kept')
    })
    expect(keeping.sockets.size).toBe(1)
    await untilCollected(() => keeping.sockets.size === 0, SECOND)
  })

  test('an agent that dispatched and was idle', async () => {
    await using keeping = await startServer((_request, response) => response.end('kept'))
    await forget(async () => {
      const idle = new Agent({ keepAliveTimeout: 600_000 })
      const ended = Promise.withResolvers<void>()
      idle.dispatch(
        { origin: keeping.origin, path: '/', method: 'GET' },
        {
          onRequestStart() {},
          onResponseStart() {},
          onResponseData() {},
          onResponseEnd: () => ended.resolve(),
          onResponseError: (_controller: unknown, error: Error) => ended.reject(error),
        },
      )
      await ended.promise
    })
    await untilCollected(() => keeping.sockets.size === 0, SECOND)
  })
})

test('an unread response is collected although its signal and its agent live on', async () => {
  const controller = new AbortController()
  const responses: WeakRef<Response>[] = []
  for (let round = 0; round < 20; round++) {
    await forget(async () => {
      responses.push(new WeakRef(await get(controller.signal)))
    })
  }
  await untilCollected(() => responses.every((response) => response.deref() === undefined), SECOND)
  await untilCollected(allClosed, SECOND)
  await until(nothingHeld)
  // The agent has heard of it too: a close waits for requests under way only.
  await agent.close()
  expect(controller.signal.aborted).toBe(false)
})

test('an abort after a response was collected is harmless', async () => {
  const controller = new AbortController()
  await forget(async () => get(controller.signal))
  await untilCollected(allClosed, SECOND)
  controller.abort()
  await until(nothingHeld)
})

test('a reader somebody waits on is not collected', async () => {
  await using script = await startScript()
  const read = (async () => {
    const response = await fetch(script.origin, { dispatcher: agent })
    return response.body!.getReader().read()
  })()
  const exchange = (await script.next()).head()
  await until(() => binding.counters().awaited === 1)
  for (let round = 0; round < 5; round++) await collectGarbage()
  exchange.chunk('late')
  expect(Buffer.from((await read).value!).toString()).toBe('late')
})

test('a body that was read to its end gives its connection back', async () => {
  await using keeping = await startServer((_request, response) => response.end(Buffer.alloc(MiB, 7)))
  for (let round = 0; round < 5; round++) {
    const body = await (await fetch(keeping.origin, { dispatcher: agent })).bytes()
    expect([body.length, body[0], body.at(-1)]).toEqual([MiB, 7, 7])
  }
  expect(keeping.accepted).toBe(1)
  await until(nothingHeld)
})
