/** The bytes that all bodies of an agent hold together are bounded, and nobody starves (design, invariant 2). */
import { describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import { readRest } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { Recorder, send } from './support/recorder.ts'
import { startServerThread } from './support/server-thread.ts'
import { startFlood, startServer } from './support/servers.ts'
import { untilStopped } from './support/standstill.ts'

const KiB = 1024
const MiB = 1024 * KiB
const BUDGET = 64 * MiB
/** hyper's read buffer at its largest. */
const FRAME = 408 * KiB

/** The most that `agent` held, looked at in every turn while `work` ran. */
async function mostHeld(agent: Agent, work: Promise<unknown>): Promise<number> {
  let most = 0
  let isOver = false
  const over = work.finally(() => {
    isOver = true
  })
  while (!isOver) {
    most = Math.max(most, agent.stats.bufferedBytes)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await over
  return most
}

async function open(agent: Agent, origin: string): Promise<ReadableStreamDefaultReader<Uint8Array>> {
  const reader = (await fetch(origin, { dispatcher: agent })).body!.getReader()
  await reader.read()
  return reader
}

describe('the budget of an agent', () => {
  test('bounds 1000 paused bodies, each of which has a window of its own, and all finish when read', async () => {
    const length = MiB
    await using server = await startFlood({ length })
    const agent = new Agent({ maxBufferedBytes: BUDGET })
    const opening = Promise.all(Array.from({ length: 1000 }, () => open(agent, server.origin)))
    const opened = await mostHeld(agent, opening)
    const readers = await opening
    await untilStopped(() => server.sent)
    const held = agent.stats.bufferedBytes
    const reading = Promise.all(readers.map(async (reader) => (await readRest(reader)).byteLength))
    const read = await mostHeld(agent, reading)
    console.log(`1000 bodies held ${opened} bytes while opened, ${held} when paused, ${read} while read`)
    // Without a budget: 512 KiB each.
    expect(Math.max(opened, held)).toBeLessThan(BUDGET)
    expect(read).toBeLessThan(BUDGET + 1000 * FRAME)
    const lengths = await reading
    expect(lengths.filter((rest) => rest < length - 512 * KiB)).toEqual([])
    expect(agent.stats.bufferedBytes).toBe(0)
    await agent.close()
  })

  test('leaves another response and an upload their frame when it is spent', async () => {
    await using flood = await startFlood({ length: 64 * MiB })
    await using server = await startServer((request, response) => {
      let bytes = 0
      request.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      request.on('end', () => response.end(`${bytes}`))
    })
    const agent = new Agent({ maxBufferedBytes: 64 * KiB })
    const hogs = await Promise.all([open(agent, flood.origin), open(agent, flood.origin)])
    await untilStopped(() => flood.sent)
    expect(agent.stats.bufferedBytes).toBeGreaterThan(0)
    expect(agent.stats.bufferedBytes).toBeLessThan(2 * FRAME)
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let sent = 0; sent < 4 * MiB; sent += 10_000) yield new Uint8Array(10_000)
    }
    const upload = await fetch(server.origin, { method: 'POST', body: source(), duplex: 'half', dispatcher: agent })
    expect(await upload.text()).toBe(String(Math.ceil((4 * MiB) / 10_000) * 10_000))
    const download = await open(agent, flood.origin)
    expect((await readRest(download)).byteLength).toBeGreaterThan(63 * MiB)
    await Promise.all(hogs.map((hog) => hog.cancel()))
    await until(() => agent.stats.bufferedBytes === 0)
    await agent.close()
  })

  test.each(['fetch', 'dispatch'])(
    'has back what rides in the completions of requests that were aborted before these were delivered: %s',
    async (way) => {
      const length = 16_000
      await using server = await startServerThread(length)
      await using agent = new Agent()
      const requests = 100
      for (let round = 0; round < 3; round++) {
        const stop = new AbortController()
        const sent = Promise.withResolvers<void>()
        let started = 0
        const start = (): void => void (++started === requests && sent.resolve())
        const ended = Array.from({ length: requests }, () => {
          if (way === 'fetch') return fetch(server.origin, { dispatcher: agent, signal: stop.signal }).catch(() => {})
          const recorder = send(agent, server.origin, new Recorder('current', { start }))
          stop.signal.addEventListener('abort', () => recorder.gate.abort(new Error('enough')))
          return recorder.ended
        })
        if (way === 'fetch') setImmediate(sent.resolve)
        await sent.promise
        // This thread takes no completion while it looks.
        const end = performance.now() + 10_000
        let held = 0
        while (held < length && performance.now() < end) held = agent.stats.bufferedBytes
        expect(held).toBeGreaterThan(0)
        stop.abort()
        await Promise.all(ended)
      }
      await until(() => agent.stats.bufferedBytes === 0)
    },
  )

  test('is 64 MiB by default, and a wrong one is an error that names it', () => {
    for (const value of [0, -1, 1.5, '1', Number.NaN]) {
      expect(() => new Agent({ maxBufferedBytes: value as never })).toThrow('invalid maxBufferedBytes')
    }
  })
})
