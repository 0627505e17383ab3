/** `response.body`, a pull-based byte stream, on both implementations of streams. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import { binding } from '../native/binding.ts'
import { floodBytes, implementations, readAll, readRest, rejection } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { startScript, type Exchange, type ScriptedServer } from './support/script.ts'
import { startFlood } from './support/servers.ts'

const MiB = 1024 * 1024

let server: ScriptedServer

beforeEach(async () => {
  server = await startScript()
})

afterEach(() => server.close())

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes!).toString()

describe.each(implementations)('a body of the streams of $name', ({ streams }) => {
  let agent: Agent

  beforeEach(() => {
    agent = new Agent({ streams: streams as any })
  })

  afterEach(() => agent.destroy())

  /** A response whose head has arrived, and the server's end of it. */
  async function answered(init: { signal?: AbortSignal } = {}): Promise<{ response: Response; exchange: Exchange }> {
    const pending = fetch(server.origin, { dispatcher: agent, ...init })
    const exchange = (await server.next()).head()
    return { response: await pending, exchange }
  }

  async function opened(init: { signal?: AbortSignal } = {}): Promise<{ body: ReadableStream; exchange: Exchange }> {
    const { response, exchange } = await answered(init)
    return { body: response.body!, exchange }
  }

  async function flooded(length: number): Promise<{ body: ReadableStream; close: () => Promise<void> }> {
    const flood = await startFlood({ length })
    const { body } = await fetch(flood.origin, { dispatcher: agent })
    return { body: body!, close: () => flood.close() }
  }

  test('is a ReadableStream of that implementation, asked of the agent or of fetch', async () => {
    const { body } = await opened()
    expect(body).toBeInstanceOf(streams.ReadableStream)
    const pending = fetch(server.origin, { streams: streams as any })
    const exchange = (await server.next()).head()
    const other = (await pending).body!
    expect(other).toBeInstanceOf(streams.ReadableStream)
    expect(Object.getPrototypeOf(other)).toBe(Object.getPrototypeOf(body))
    await other.cancel()
    await exchange.gone
  })

  describe('read by default', () => {
    test('gives what has arrived, then waits for more, then ends', async () => {
      const { body, exchange } = await opened()
      const reader = body.getReader()
      exchange.chunk('first')
      expect(text((await reader.read()).value)).toBe('first')
      const second = reader.read()
      exchange.chunk('second')
      expect(text((await second).value)).toBe('second')
      const third = reader.read()
      exchange.end()
      expect(await third).toEqual({ done: true, value: undefined })
      expect(await reader.read()).toEqual({ done: true, value: undefined })
      await reader.closed
    })

    test('answers reads in their order, however many were asked for', async () => {
      const { body, exchange } = await opened()
      const reader = body.getReader()
      const reads = [reader.read(), reader.read(), reader.read()]
      exchange.chunk('a')
      expect(text((await reads[0])!.value)).toBe('a')
      exchange.chunk('b')
      expect(text((await reads[1])!.value)).toBe('b')
      exchange.end()
      expect((await reads[2])!.done).toBe(true)
    })

    test('gives chunks of at most 256 KiB, each the bytes that were sent', async () => {
      const { body, close } = await flooded(8 * MiB)
      const reader = body.getReader()
      let at = 0
      let largest = 0
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        expect(Object.getPrototypeOf(value)).toBe(Uint8Array.prototype)
        largest = Math.max(largest, value.byteLength)
        expect(floodBytes(at, at + value.byteLength).equals(value)).toBe(true)
        at += value.byteLength
      }
      expect(at).toBe(8 * MiB)
      expect(largest).toBeLessThanOrEqual(256 * 1024)
      expect(largest).toBeGreaterThan(0)
      await close()
    })

    test("hands over memory that is the reader's own", async () => {
      const { body, close } = await flooded(2 * MiB)
      const reader = body.getReader()
      const chunks: Uint8Array[] = []
      for (let step = 0; step < 4; step++) chunks.push((await reader.read()).value!)
      expect(new Set(chunks.map((chunk) => chunk.buffer)).size).toBe(4)
      for (const chunk of chunks) expect(chunk.byteLength).toBe(chunk.buffer.byteLength)
      const moved = structuredClone(chunks[1]!, { transfer: [chunks[1]!.buffer as ArrayBuffer] })
      expect(chunks[1]!.byteLength).toBe(0)
      const [first, , third, fourth] = chunks
      const all = Buffer.concat([first!, moved, third!, fourth!, await readRest(reader)])
      expect(all.equals(floodBytes(0, 2 * MiB))).toBe(true)
      await close()
    })

    test('reads nothing before somebody asks', async () => {
      const flood = await startFlood({ length: 64 * MiB })
      const { body } = await fetch(flood.origin, { dispatcher: agent })
      const before = binding.counters().bodyBytesCrossed
      // Quiet when no byte was taken between two looks.
      let last = -1
      await until(() => flood.sent > 0 && last === (last = flood.sent))
      // What the kernel holds on both sides, and one socket read.
      expect(agent.stats.bufferedBytes).toBeLessThanOrEqual(16 * 1024)
      expect(flood.sent).toBeLessThan(16 * MiB)
      expect(binding.counters().bodyBytesCrossed).toBe(before)
      await body!.cancel()
      await flood.close()
    })
  })

  describe('read into views of the caller', () => {
    const byob = (body: ReadableStream): ReadableStreamBYOBReader => body.getReader({ mode: 'byob' })

    test.each([1, 3, 7, 4093, 65_537])('of %i bytes gives every byte once', async (size) => {
      const length = size < 10 ? 3001 : MiB + 17
      const { body, close } = await flooded(length)
      const reader = byob(body)
      const parts: Buffer[] = []
      let buffer = new ArrayBuffer(size)
      for (;;) {
        const { done, value } = await reader.read(new Uint8Array(buffer))
        if (done) break
        parts.push(Buffer.from(value))
        buffer = value.buffer as ArrayBuffer
        expect(buffer.byteLength).toBe(size)
      }
      expect(Buffer.concat(parts).equals(floodBytes(0, length))).toBe(true)
      await close()
    })

    test("fills the caller's own memory, and no other part of it", async () => {
      const { body, exchange } = await opened()
      exchange.chunk('abcdef')
      const buffer = new ArrayBuffer(16)
      const { value } = await byob(body).read(new Uint8Array(buffer, 4, 4))
      expect(buffer.detached).toBe(true)
      expect([value!.byteOffset, value!.byteLength, value!.buffer.byteLength]).toEqual([4, 4, 16])
      expect(Buffer.from(value!.buffer).toString('latin1')).toBe('\0\0\0\0abcd\0\0\0\0\0\0\0\0')
    })

    test('of two-byte words keeps a word together, whatever the chunks', async () => {
      const { body, exchange } = await opened()
      const reader = byob(body)
      const first = reader.read(new Uint16Array(4))
      exchange.chunk('a')
      await until(() => agent.stats.bufferedBytes === 0)
      exchange.chunk('bcd')
      const { value } = await first
      expect(value).toBeInstanceOf(Uint16Array)
      const start = text(new Uint8Array(value!.buffer, value!.byteOffset, value!.byteLength))
      const rest = await (async () => {
        exchange.end()
        const parts: Buffer[] = []
        for (;;) {
          const read = await reader.read(new Uint16Array(4))
          if (read.done) return Buffer.concat(parts).toString()
          parts.push(Buffer.from(read.value.buffer, read.value.byteOffset, read.value.byteLength))
        }
      })()
      expect(start + rest).toBe('abcd')
    })

    test('that end in the middle of a word fail, as the specification says', async () => {
      const { body, exchange } = await opened()
      const reader = byob(body)
      const read = reader.read(new Uint16Array(4))
      exchange.chunk('abc')
      expect((await read).value!.byteLength).toBe(2)
      const second = reader.read(new Uint16Array(4))
      exchange.end()
      await expect(second).rejects.toThrow(TypeError)
      await expect(reader.closed).rejects.toThrow(TypeError)
    })

    test('of a DataView gives a DataView', async () => {
      const { body, exchange } = await opened()
      exchange.chunk(Uint8Array.of(0x12, 0x34))
      const { value } = await byob(body).read(new DataView(new ArrayBuffer(8)))
      expect(value).toBeInstanceOf(DataView)
      expect([value!.byteLength, value!.getUint16(0)]).toEqual([2, 0x1234])
    })

    test('waits for the least number of bytes that is asked for', async () => {
      const { body, exchange } = await opened()
      const reader = byob(body)
      const read = reader.read(new Uint8Array(8), { min: 4 })
      let isSettled = false
      void read.then(() => (isSettled = true))
      exchange.chunk('ab')
      await until(() => binding.counters().awaited > 0 && agent.stats.bufferedBytes === 0)
      expect(isSettled).toBe(false)
      exchange.chunk('cde')
      expect(text((await read).value)).toBe('abcde')
      const last = reader.read(new Uint8Array(8), { min: 4 })
      exchange.chunk('f').end()
      expect((await last).done).toBe(true)
    })

    test('still pending at the end are given back, done and empty', async () => {
      const { body, exchange } = await opened()
      const reader = byob(body)
      const reads = [reader.read(new Uint8Array(5)), reader.read(new DataView(new ArrayBuffer(6)))]
      exchange.end()
      const [first, second] = await Promise.all(reads)
      expect([first!.done, first!.value!.byteLength, first!.value!.buffer.byteLength]).toEqual([true, 0, 5])
      expect([second!.done, second!.value!.byteLength, second!.value!.buffer.byteLength]).toEqual([true, 0, 6])
      await reader.closed
      const after = await reader.read(new Uint8Array(3))
      expect([after.done, after.value!.byteLength]).toEqual([true, 0])
    })

    test('and by default take turns on one body', async () => {
      const { body, close } = await flooded(MiB)
      const parts: Buffer[] = []
      for (let turn = 0; ; turn++) {
        if (turn % 2 === 0) {
          const reader = byob(body)
          const { done, value } = await reader.read(new Uint8Array(10_007))
          reader.releaseLock()
          if (done) break
          parts.push(Buffer.from(value))
        } else {
          const reader = body.getReader()
          const { done, value } = await reader.read()
          reader.releaseLock()
          if (done) break
          parts.push(Buffer.from(value))
        }
      }
      expect(Buffer.concat(parts).equals(floodBytes(0, MiB))).toBe(true)
      await close()
    })
  })

  describe('that breaks off', () => {
    test.each(['default', 'byob'])('gives what came before, then fails once (%s)', async (mode) => {
      const { body, exchange } = await opened()
      exchange.chunk('before')
      const reader: any = body.getReader(mode === 'byob' ? { mode } : {})
      const read = (): Promise<{ value: Uint8Array }> => reader.read(new Uint8Array(64))
      expect(text((await read()).value)).toBe('before')
      const pending = read()
      exchange.truncate()
      const error = await rejection(pending)
      expect(error).toBeInstanceOf(TypeError)
      expect(error).toMatchObject({ message: 'terminated', cause: { code: expect.any(String) } })
      expect(error.cause.message).toContain(`127.0.0.1:${server.port}`)
      expect(await rejection(reader.closed)).toBe(error)
      expect(await rejection(read())).toBe(error)
    })

    test('unread gives every byte that came before its failure', async () => {
      const { body, exchange } = await opened()
      exchange.chunk('one ').chunk('two').truncate()
      const reader = body.getReader()
      let seen = ''
      const error = await rejection(
        (async () => {
          for (;;) seen += text((await reader.read()).value)
        })(),
      )
      expect([seen, error.message]).toEqual(['one two', 'terminated'])
    })

    test('by a reset of the server is an ECONNRESET', async () => {
      const { body, exchange } = await opened()
      const pending = body.getReader().read()
      exchange.socket.resetAndDestroy()
      expect(await rejection(pending)).toMatchObject({ message: 'terminated', cause: { code: 'ECONNRESET' } })
    })
  })

  describe('cancelled', () => {
    test('before a read, closes the connection and reads as ended', async () => {
      const { body, exchange } = await opened()
      await body.cancel('not wanted')
      await exchange.gone
      expect(await body.getReader().read()).toEqual({ done: true, value: undefined })
    })

    test('while a read waits, ends that read', async () => {
      for (const mode of [{}, { mode: 'byob' } as const]) {
        const { body, exchange } = await opened()
        const reader: any = body.getReader(mode)
        const read = reader.read(new Uint8Array(4))
        await until(() => binding.counters().awaited === 1)
        await reader.cancel('enough')
        expect(await read).toEqual({ done: true, value: undefined })
        await exchange.gone
      }
    })

    test('after its end, is harmless', async () => {
      const { body, exchange } = await opened()
      exchange.chunk('all').end()
      expect((await readAll(body)).toString()).toBe('all')
      await body.cancel()
    })

    test('after its failure, rejects with it', async () => {
      const { body, exchange } = await opened()
      exchange.truncate()
      const error = await rejection(readAll(body))
      expect(await rejection(body.cancel())).toBe(await rejection(body.getReader().closed))
      expect(error.message).toBe('terminated')
    })

    test('by a break of `for await`, closes the connection', async () => {
      const { body, exchange } = await opened()
      exchange.chunk('first')
      for await (const chunk of body) {
        expect(text(chunk)).toBe('first')
        break
      }
      await exchange.gone
      expect(body.locked).toBe(false)
    })
  })

  describe('whose fetch is aborted', () => {
    test('fails the read that waits with the reason itself', async () => {
      const controller = new AbortController()
      const { body, exchange } = await opened({ signal: controller.signal })
      const read = body.getReader().read()
      const reason = new Error('enough')
      controller.abort(reason)
      expect(await rejection(read)).toBe(reason)
      await exchange.gone
    })

    test('fails at once, although nobody reads', async () => {
      const controller = new AbortController()
      const { body } = await opened({ signal: controller.signal })
      const reader = body.getReader()
      controller.abort('enough')
      expect(await rejection(reader.closed)).toBe('enough')
      expect(await rejection(reader.read())).toBe('enough')
    })

    test('after its end keeps what was read', async () => {
      const controller = new AbortController()
      const { body, exchange } = await opened({ signal: controller.signal })
      exchange.chunk('all').end()
      const reader = body.getReader()
      expect(text((await reader.read()).value)).toBe('all')
      expect((await reader.read()).done).toBe(true)
      controller.abort()
      await reader.closed
    })
  })

  test('a lock released while a read waits fails that read and loses no byte', async () => {
    const { body, exchange } = await opened()
    for (const mode of [{}, { mode: 'byob' } as const]) {
      const reader: any = body.getReader(mode)
      const read = reader.read(new Uint8Array(100))
      reader.releaseLock()
      await expect(read).rejects.toThrow(TypeError)
    }
    exchange.chunk('kept').end()
    expect((await readAll(body)).toString()).toBe('kept')
  })

  test('a view left behind half full keeps no byte from the read that waits next', async () => {
    const { body, exchange } = await opened()
    const words = body.getReader({ mode: 'byob' })
    const read = words.read(new Uint16Array(8))
    exchange.chunk('a')
    await until(() => binding.counters().awaited === 1 && agent.stats.bufferedBytes === 0)
    words.releaseLock()
    await expect(read).rejects.toThrow(TypeError)
    const reader = body.getReader()
    const next = reader.read()
    exchange.chunk('bcd').end()
    const parts = [Buffer.from((await next).value!), await readRest(reader)]
    expect(Buffer.concat(parts).toString()).toBe('abcd')
  })
})
