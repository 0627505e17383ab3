/** Reads that are answered without the stream's own bookkeeping: nobody can tell but by the time they take. */
import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import { equipReader } from '../streams/stream-reader.ts'
import { implementations, rejection, type Streams } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { startScript, type Exchange, type ScriptedServer } from './support/script.ts'

let server: ScriptedServer

beforeEach(async () => {
  server = await startScript()
})

afterEach(() => server.close())

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString()

/** The prototype whose `read` a quick read does not call. */
function prototypeOf(streams: Streams, mode?: 'byob'): { read: (...args: unknown[]) => Promise<unknown> } {
  const stream = new streams.ReadableStream({ type: 'bytes' })
  return Object.getPrototypeOf(mode === undefined ? stream.getReader() : stream.getReader({ mode }))
}

describe.each(implementations)('a reader of the streams of $name', ({ streams }) => {
  let agent: Agent

  beforeEach(() => {
    agent = new Agent({ streams: streams as any })
  })

  afterEach(async () => {
    vi.restoreAllMocks()
    await agent.destroy()
  })

  /** A body that was read from once. */
  async function begun(): Promise<{ body: ReadableStream<Uint8Array>; exchange: Exchange }> {
    const pending = fetch(server.origin, { dispatcher: agent })
    const exchange = (await server.next()).head()
    const body = (await pending).body as ReadableStream<Uint8Array>
    exchange.chunk('begun')
    const reader = body.getReader()
    expect(text((await reader.read()).value)).toBe('begun')
    reader.releaseLock()
    return { body, exchange }
  }

  /** So many bytes wait for the next read. */
  const queued = (bytes: number): Promise<unknown> => until(() => agent.stats.bufferedBytes === bytes)

  test('is answered at once where bytes are there', async () => {
    const { body, exchange } = await begun()
    const read = vi.spyOn(prototypeOf(streams), 'read')
    exchange.chunk('here')
    await queued(4)
    const reader = body.getReader()
    const result = await reader.read()
    expect(Object.keys(result)).toEqual(['value', 'done'])
    const { value, done } = result
    expect([text(value), done]).toEqual(['here', false])
    expect(Object.getPrototypeOf(value)).toBe(Uint8Array.prototype)
    expect(read).not.toHaveBeenCalled()
    const waiting = reader.read()
    expect(read).toHaveBeenCalledOnce()
    exchange.end()
    expect(await waiting).toEqual({ value: undefined, done: true })
    await reader.closed
  })

  test('is answered at once in its own view', async () => {
    const { body, exchange } = await begun()
    const read = vi.spyOn(prototypeOf(streams, 'byob'), 'read')
    exchange.chunk('here')
    await queued(4)
    const reader = body.getReader({ mode: 'byob' })
    const memory = new ArrayBuffer(16)
    const { value } = await reader.read(new Uint8Array(memory, 2, 10))
    expect([text(value), value!.byteOffset, value!.buffer.byteLength]).toEqual(['here', 2, 16])
    expect(memory.detached).toBe(true)
    expect(read).not.toHaveBeenCalled()
    const waiting = reader.read(new Uint8Array(value!.buffer))
    exchange.end()
    expect(await waiting).toMatchObject({ done: true, value: new Uint8Array() })
    await reader.closed
  })

  test('overtakes no read that waits', async () => {
    const { body, exchange } = await begun()
    const reader = body.getReader()
    const order: string[] = []
    const note = async (read: Promise<{ value?: Uint8Array | undefined }>): Promise<void> => {
      order.push(text((await read).value))
    }
    const waiting = [note(reader.read()), note(reader.read())]
    exchange.chunk('a')
    await waiting[0]
    exchange.chunk('b')
    await waiting[1]
    for (const letter of 'cdef') exchange.chunk(letter)
    await queued(4)
    const reads = [note(reader.read()), note(reader.read())]
    exchange.end()
    await Promise.all(reads)
    expect(order.slice(0, 2)).toEqual(['a', 'b'])
    expect(order.slice(2).filter(Boolean).join('')).toBe('cdef')
  })

  test('overtakes no read that its answer was asked after', async () => {
    const { body, exchange } = await begun()
    const reader = body.getReader({ mode: 'byob' })
    const one = (): Promise<any> => reader.read(new Uint8Array(1))
    const reads = [one(), one(), one()]
    const later = reads[0]!.then(one)
    exchange.chunk('abcd')
    expect((await Promise.all([...reads, later])).map(({ value }) => text(value)).join('')).toBe('abcd')
  })

  test('reads nothing once it has released its lock', async () => {
    const { body, exchange } = await begun()
    exchange.chunk('kept')
    await queued(4)
    const gone = body.getReader()
    gone.releaseLock()
    expect(await rejection(gone.read())).toBeInstanceOf(TypeError)
    const other = body.getReader({ mode: 'byob' })
    expect(await rejection(gone.read())).toBeInstanceOf(TypeError)
    other.releaseLock()
    expect(await rejection(other.read(new Uint8Array(4)))).toBeInstanceOf(TypeError)
    expect(text((await body.getReader().read()).value)).toBe('kept')
  })

  test('takes nothing into memory that cannot change hands', async () => {
    const { body, exchange } = await begun()
    exchange.chunk('kept')
    await queued(4)
    const reader = body.getReader({ mode: 'byob' })
    // @ts-expect-error: Node's types have it with those of browsers alone.
    const memory = new WebAssembly.Memory({ initial: 1 })
    const detached = new Uint8Array(8)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    for (const view of [new Uint8Array(memory.buffer), detached, new Uint8Array(0), 'text' as any])
      expect(await rejection(reader.read(view))).toBeInstanceOf(TypeError)
    expect(text((await reader.read(new Uint8Array(8))).value)).toBe('kept')
  })

  test('fills views of every kind, and no less than is asked for', async () => {
    const { body, exchange } = await begun()
    exchange.chunk('0123456789')
    await queued(10)
    const reader = body.getReader({ mode: 'byob' })
    const words = (await reader.read(new Uint16Array(2))).value
    expect([words!.constructor, text(new Uint8Array(words!.buffer))]).toEqual([Uint16Array, '0123'])
    expect(text((await reader.read(new Uint8Array(4))).value)).toBe('4567')
    const least = reader.read(new Uint8Array(4), { min: 3 } as any)
    exchange.chunk('ab')
    const { value } = await least
    expect(text(value).startsWith('89')).toBe(true)
    // The polyfill of the tests knows `min` too.
    expect(value!.byteLength).toBeGreaterThanOrEqual(3)
  })

  test('gives what came before an error, and then the error', async () => {
    const { body, exchange } = await begun()
    exchange.chunk('last')
    await queued(4)
    exchange.truncate()
    const reader = body.getReader()
    expect(text((await reader.read()).value)).toBe('last')
    const error = await rejection(reader.read())
    expect(error).toBeInstanceOf(TypeError)
    expect(await rejection(reader.closed)).toBe(error)
    expect(await rejection(reader.read())).toBe(error)
  })
})

test('what was read at once from a stream of the platform leaves it disturbed', async () => {
  const pending = fetch(server.origin)
  const exchange = (await server.next()).head()
  const body = (await pending).body!
  exchange.chunk('here')
  const reader = body.getReader()
  await reader.read()
  reader.releaseLock()
  expect(Readable.isDisturbed(body as any)).toBe(true)
  expect(() => new Response(body as any)).toThrow(TypeError)
  await body.cancel()
})

test('while a read waits, the next one waits behind it, whatever has come', async () => {
  const reads: ((result: unknown) => void)[] = []
  const inner = { read: () => new Promise((resolve) => reads.push(resolve)), releaseLock: () => {} }
  const take = vi.fn((): Uint8Array | null => null)
  const source = { isQuiet: true, take, takeInto: () => 0, onAcquire: () => {}, onRelease: () => {} }
  const reader = equipReader(inner as any, undefined, source) as ReadableStreamDefaultReader
  const first = reader.read()
  take.mockReturnValue(Uint8Array.of(2))
  const second = reader.read()
  expect([take.mock.calls.length, reads.length]).toEqual([1, 2])
  for (const resolve of reads) resolve({ done: false })
  await Promise.all([first, second])
  expect(await reader.read()).toEqual({ done: false, value: Uint8Array.of(2) })
})
