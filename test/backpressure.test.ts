/** What is held for a response or an upload is bounded, whatever the other side does (design, invariants 1 and 3). */
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Child } from '../scripts/support/child.ts'
import { Agent, fetch } from '../lib/index.ts'
import { floodBytes, floodHash, readRest, sha256 } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { startFlood, startServer, startTcpServer } from './support/servers.ts'
import { Standstill, untilStopped } from './support/standstill.ts'

const KiB = 1024
const MiB = 1024 * KiB
const WINDOW = 512 * KiB
/** hyper's read buffer at its largest: the one frame beyond a window. */
const ENGINE = 408 * KiB
/** The socket buffers of both ends on the loopback; Linux lets them grow to 4 and 6 MiB. */
const KERNEL = 16 * MiB

let agent: Agent

beforeEach(() => {
  agent = new Agent()
})

afterEach(() => agent.destroy())

describe('a flood against a client that reads nothing and blocks its event loop', () => {
  // A frame is a slice of the engine's read buffer and keeps all of it, so that a large window costs up to twice.
  test.each([
    [400 * MiB, WINDOW, WINDOW + 8 * MiB],
    [256 * MiB, 4 * MiB, 2 * 4 * MiB + 8 * MiB],
  ])('of %i bytes: no more is held than a window of %i, then all arrives', async (length, windowBytes, memory) => {
    await using warm = await startFlood({ length })
    await using server = await startFlood({ length })
    using client = new Child(new URL('./support/flooded-client.ts', import.meta.url), [
      warm.origin,
      server.origin,
      String(windowBytes),
      '1000',
    ])
    let blocked: { growth: number; bufferedBytes: number } | undefined
    const message = client.next<NonNullable<typeof blocked>>().then((figures) => {
      blocked = figures
    })
    const standstill = new Standstill(() => server.sent)
    await until(() => standstill.look() >= 0 && blocked)
    await message
    const { growth, bufferedBytes } = blocked!
    console.log(`window ${windowBytes}: RSS +${growth}, held ${bufferedBytes}, sent ${server.sent}`)
    expect(standstill.look()).toBeGreaterThan(300)
    expect(server.sent).toBeGreaterThan(windowBytes)
    expect(server.sent).toBeLessThan(24 * MiB)
    expect(growth).toBeLessThanOrEqual(memory)
    expect(bufferedBytes).toBeLessThanOrEqual(windowBytes + ENGINE)
    const end = await client.ask<{ hash: string; length: number }>({})
    expect(end).toEqual({ hash: floodHash(length), length })
  })
})

describe('an unread response', () => {
  test('holds one socket read before the first demand, and its window after it', async () => {
    await using server = await startFlood({ length: 64 * MiB })
    const { body } = await fetch(server.origin, { dispatcher: agent })
    await untilStopped(() => server.sent)
    expect(agent.stats.bufferedBytes).toBeLessThanOrEqual(16 * KiB)
    const reader = body!.getReader()
    const { value } = await reader.read()
    const sent = await untilStopped(() => server.sent)
    const held = agent.stats.bufferedBytes
    expect(held).toBeGreaterThan(WINDOW / 2)
    expect(held).toBeLessThanOrEqual(WINDOW + ENGINE)
    expect(sent).toBeLessThan(held + value!.byteLength + KERNEL)
    const rest = await readRest(reader)
    expect(sha256(Buffer.concat([value!, rest]))).toBe(floodHash(64 * MiB))
    expect(agent.stats.bufferedBytes).toBe(0)
  })

  test.each([1, 64 * KiB, 4 * MiB])('holds the %i bytes of its own `windowBytes`', async (windowBytes) => {
    await using server = await startFlood({ length: 64 * MiB })
    for (const init of [{ windowBytes, dispatcher: agent }, { dispatcher: new Agent({ windowBytes }) }]) {
      const reader = (await fetch(server.origin, init)).body!.getReader()
      const { value } = await reader.read()
      expect(floodBytes(0, value!.byteLength).equals(value!)).toBe(true)
      await untilStopped(() => server.sent)
      const held = init.dispatcher.stats.bufferedBytes
      expect(held).toBeLessThanOrEqual(windowBytes + ENGINE)
      // A window that was full while its first frame was taken fills again only from half of it; one that a frame alone
      // fills may stay empty, since its reader goes on at the socket.
      if (windowBytes > ENGINE) expect(held).toBeGreaterThanOrEqual(windowBytes / 2)
      await reader.cancel()
      await until(() => init.dispatcher.stats.bufferedBytes === 0)
      await init.dispatcher.destroy()
    }
  })

  test('adds to the others of its agent: each holds its own window', async () => {
    await using server = await startFlood({ length: 64 * MiB })
    const readers = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const reader = (await fetch(server.origin, { dispatcher: agent })).body!.getReader()
        await reader.read()
        return reader
      }),
    )
    await untilStopped(() => server.sent)
    expect(agent.stats.bufferedBytes).toBeLessThanOrEqual(8 * (WINDOW + ENGINE))
    expect(agent.stats.running).toBe(8)
    await Promise.all(readers.map((reader) => reader.cancel()))
    await until(() => agent.stats.bufferedBytes === 0 && agent.stats.running === 0)
  })
})

test('a paused dispatch holds its window, delivers nothing, and goes on intact', async () => {
  const length = 64 * MiB
  await using server = await startFlood({ length })
  const ended = Promise.withResolvers<void>()
  const parts: Buffer[] = []
  let controller: any
  agent.dispatch(
    { origin: server.origin, path: '/', method: 'GET' },
    {
      onRequestStart(started: any) {
        controller = started
      },
      onResponseStart() {},
      onResponseData(_controller: any, chunk: Buffer) {
        expect(controller.paused).toBe(false)
        parts.push(chunk)
        if (parts.length === 3) controller.pause()
      },
      onResponseEnd: () => ended.resolve(),
      onResponseError: (_controller: any, error: Error) => ended.reject(error),
    },
  )
  await until(() => parts.length === 3)
  const sent = await untilStopped(() => server.sent)
  const taken = parts.reduce((sum, part) => sum + part.length, 0)
  expect(agent.stats.bufferedBytes).toBeLessThanOrEqual(WINDOW + ENGINE)
  expect(sent).toBeLessThan(taken + WINDOW + ENGINE + KERNEL)
  expect(parts.length).toBe(3)
  controller.resume()
  await ended.promise
  expect(sha256(Buffer.concat(parts))).toBe(floodHash(length))
})

describe('an upload to a server that does not read', () => {
  const CHUNK = 100 * KiB

  test.each([undefined, 2 * MiB])('stops its source within a window of %s bytes, and goes on later', async (option) => {
    const total = 64 * MiB
    const uploading = new Agent(option === undefined ? {} : { uploadWindowBytes: option })
    let received = 0
    await using server = await startServer((request, response) => {
      request.pause()
      request.socket.pause()
      resume.promise.then(() => {
        request.on('data', (chunk: Buffer) => {
          received += chunk.length
        })
        request.on('end', () => response.end('done'))
        request.resume()
        request.socket.resume()
      }, expect.unreachable)
    })
    const resume = Promise.withResolvers<void>()
    let pulled = 0
    async function* source(): AsyncGenerator<Uint8Array> {
      while (pulled < total) {
        const chunk = new Uint8Array(Math.min(CHUNK, total - pulled))
        pulled += chunk.length
        yield chunk
      }
    }
    const response = fetch(server.origin, {
      method: 'POST',
      body: source(),
      duplex: 'half',
      dispatcher: uploading,
    })
    await untilStopped(() => pulled)
    const window = option ?? WINDOW
    expect(pulled).toBeLessThanOrEqual(window + CHUNK + ENGINE + KERNEL)
    expect(uploading.stats.bufferedBytes).toBeLessThanOrEqual(window + CHUNK)
    expect(uploading.stats.bufferedBytes).toBeGreaterThanOrEqual(window / 2)
    console.log(`upload window ${window}: pulled ${pulled}, held ${uploading.stats.bufferedBytes}`)
    resume.resolve()
    expect(await (await response).text()).toBe('done')
    expect([pulled, received]).toEqual([total, total])
    await uploading.close()
  })

  test('is given up with its source when it is aborted', async () => {
    let isReturned = false
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield new Uint8Array(64 * KiB)
      } finally {
        isReturned = true
      }
    }
    // A connection that the request has not been given yet would be kept.
    const asked = Promise.withResolvers<void>()
    await using server = await startTcpServer((socket) => {
      socket.once('data', () => {
        socket.pause()
        asked.resolve()
      })
    })
    const controller = new AbortController()
    const response = fetch(server.origin, {
      method: 'POST',
      body: source(),
      duplex: 'half',
      dispatcher: agent,
      signal: controller.signal,
    })
    await asked.promise
    await until(() => agent.stats.bufferedBytes >= WINDOW)
    const [socket] = server.sockets
    controller.abort('enough')
    await expect(response).rejects.toBe('enough')
    // The server has stopped reading: what the kernel holds comes before the end.
    const ended = Promise.race([once(socket!, 'end'), once(socket!, 'close')])
    socket!.resume()
    await ended
    await until(() => isReturned && agent.stats.bufferedBytes === 0)
  })

  test('pulls nothing more once it is aborted, and the event loop goes on', async () => {
    let pulled = 0
    let cancelled: unknown
    // Answers in microtasks for ever: whoever goes on reading it never lets a timer fire.
    const body = new ReadableStream<Uint8Array>(
      {
        pull(stream) {
          pulled += 1
          stream.enqueue(new Uint8Array(CHUNK))
        },
        cancel(reason) {
          cancelled = reason
        },
      },
      { highWaterMark: 0 },
    )
    await using server = await startTcpServer((socket) => socket.pause())
    const controller = new AbortController()
    const { signal } = controller
    const response = fetch(server.origin, { method: 'POST', body, dispatcher: agent, signal })
    await untilStopped(() => pulled)
    const before = pulled
    controller.abort('enough')
    await expect(response).rejects.toBe('enough')
    await new Promise((resolve) => setTimeout(resolve, 0))
    await new Promise((resolve) => setImmediate(resolve))
    expect(cancelled).toBe('enough')
    expect(pulled).toBe(before)
  })

  test('lets the event loop go on while a source has nothing but empty chunks', async () => {
    await using server = await startTcpServer((socket) => socket.resume())
    const controller = new AbortController()
    let isReturned = false
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        yield new Uint8Array(1)
        for (;;) yield new Uint8Array(0)
      } finally {
        isReturned = true
      }
    }
    const { signal } = controller
    const response = fetch(server.origin, { method: 'POST', body: source(), duplex: 'half', dispatcher: agent, signal })
    const ended = expect(response).rejects.toBe('enough')
    await until(() => server.accepted === 1)
    controller.abort('enough')
    await ended
    await until(() => isReturned)
  })
})
