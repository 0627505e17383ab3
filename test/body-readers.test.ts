/** Readers that come and go: each byte is read once, and what one has left behind keeps nothing from the next. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { Agent as UndiciAgent } from 'undici'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Agent, fetch, fromFile } from '../lib/index.ts'
import { implementations, readAll, rejection } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { startScript, type Exchange, type ScriptedServer } from './support/script.ts'

let server: ScriptedServer

beforeEach(async () => {
  server = await startScript()
})

afterEach(() => server.close())

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString()

describe.each(implementations)('a reader of the streams of $name', ({ streams }) => {
  let agent: Agent

  beforeEach(() => {
    agent = new Agent({ streams: streams as any })
  })

  afterEach(async () => {
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

test('what was read from a stream of the platform leaves it disturbed', async () => {
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

describe.each(implementations)('in streams of $name', ({ streams }) => {
  const TEXT = 'abcdefghijklmnopqrstuvwxyz0123456789'.repeat(3)
  const given = { streams: streams as any }
  let cleanUps: (() => unknown)[] = []

  afterEach(async () => {
    for (const cleanUp of cleanUps) await cleanUp()
    cleanUps = []
  })

  /** A response of {@link TEXT}, whose head has come, and the body with it or later. */
  async function answer(init: object, isAtOnce = true): Promise<Opened> {
    const pending = fetch(server.origin, { ...init, ...given } as any)
    const exchange = await server.next()
    const head = `HTTP/1.1 200 OK\r\ncontent-length: ${TEXT.length}\r\nconnection: close\r\n\r\n`
    exchange.bytes(isAtOnce ? head + TEXT : head)
    const response = await pending
    // Behind whatever a test does at first.
    if (!isAtOnce) setImmediate(() => exchange.bytes(TEXT))
    return response as Opened
  }

  /** Its stream is made when it is asked for. */
  interface Opened {
    readonly body: ReadableStream<Uint8Array>
  }

  const kinds: Record<string, () => Promise<Opened>> = {
    'that came with its head': () => answer({}),
    'that comes after its head': () => answer({}, false),
    'that is checked': async () => {
      const digest = await crypto.subtle.digest('SHA-256', Buffer.from(TEXT))
      return answer({ integrity: `sha256-${Buffer.from(digest).toString('base64')}` })
    },
    'of a dispatcher of undici': () => {
      const dispatcher = new UndiciAgent()
      cleanUps.push(() => dispatcher.destroy())
      return answer({ dispatcher })
    },
    'of a file': async () => {
      const folder = await mkdtemp(join(tmpdir(), 'sluice-'))
      cleanUps.push(() => rm(folder, { recursive: true }))
      await writeFile(join(folder, 'file'), TEXT)
      return {
        get body() {
          return fromFile(join(folder, 'file'), given) as any
        },
      }
    },
  }

  describe.each(Object.entries(kinds))('a body %s', (_kind, open) => {
    const byob = (body: ReadableStream<Uint8Array>): ReadableStreamBYOBReader => body.getReader({ mode: 'byob' })

    test('gives a read that wants more than there is what there is', async () => {
      const reader = byob((await open()).body)
      const first = await reader.read(new Uint8Array(10), { min: 10 } as any)
      const last = await reader.read(new Uint8Array(1000), { min: 200 } as any)
      expect([text(first.value) + text(last.value), last.done]).toEqual([TEXT, true])
    })

    test.each(['default', 'byob'])('is whole behind a view left at once (%s)', async (mode) => {
      const { body } = await open()
      const gone = byob(body)
      const left = gone.read(new Uint8Array(50_000))
      gone.releaseLock()
      // Nothing is answered in the turn of its call, as in bodies of the platform's.
      expect(await rejection(left)).toBeInstanceOf(TypeError)
      expect((await readRest(body, mode)).toString()).toBe(TEXT)
    })

    test.each(['default', 'byob'])('is whole behind a view left behind one that was filled (%s)', async (mode) => {
      const { body } = await open()
      const gone = byob(body)
      const { value } = await gone.read(new Uint8Array(10), { min: 10 } as any)
      const filled = gone.read(new Uint8Array(5), { min: 5 } as any)
      const left = gone.read(new Uint8Array(5))
      gone.releaseLock()
      const pieces = [value!, ...(await Promise.allSettled([filled, left])).map((read: any) => read.value?.value)]
      expect(Buffer.concat([...pieces.map(bytesOf), await readRest(body, mode)]).toString()).toBe(TEXT)
    })

    test('is whole behind a view left in whichever microtask after a read', async () => {
      const whole: string[] = []
      for (let ticks = 0; ticks < 12; ticks++) {
        const { body } = await open()
        const gone = byob(body)
        const reads = [gone.read(new Uint8Array(5))]
        for (let tick = 0; tick < ticks; tick++) await Promise.resolve()
        reads.push(gone.read(new Uint8Array(5)))
        gone.releaseLock()
        const before = reads.map((read) => read.then(({ value }) => bytesOf(value), nothing))
        whole.push(Buffer.concat([...(await Promise.all(before)), await readRest(body, 'byob')]).toString())
      }
      expect(whole).toEqual(whole.map(() => TEXT))
    })

    test('is whole behind many that come and go', async () => {
      const { body } = await open()
      const reads: Promise<Buffer>[] = []
      for (let turn = 0; turn < 20; turn++) {
        const reader = byob(body)
        reads.push(reader.read(new Uint8Array(3)).then(({ value }) => bytesOf(value), nothing))
        if (turn % 3 === 0) await Promise.resolve()
        if (turn % 7 === 0) await new Promise((resolve) => setImmediate(resolve))
        reader.releaseLock()
      }
      expect(Buffer.concat([...(await Promise.all(reads)), await readRest(body, 'byob')]).toString()).toBe(TEXT)
    })

    test('fails where its end is no whole element, and not before', async () => {
      const reader = byob((await open()).body)
      const { value } = await reader.read(new Uint8Array(TEXT.length - 3), { min: TEXT.length - 3 } as any)
      expect(value!.byteLength).toBe(TEXT.length - 3)
      expect(await rejection(reader.read(new Uint32Array(1)))).toBeInstanceOf(TypeError)
      expect(await rejection(reader.closed)).toBeInstanceOf(TypeError)
    })
  })

  const nothing = (): Buffer => Buffer.alloc(0)
  const bytesOf = (value: ArrayBufferView | undefined): Buffer =>
    value === undefined ? nothing() : Buffer.from(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength)

  async function readRest(body: ReadableStream<Uint8Array>, mode: string): Promise<Buffer> {
    if (mode === 'default') return readAll(body)
    const reader = body.getReader({ mode: 'byob' })
    const pieces: Buffer[] = []
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(7))
      if (done) return Buffer.concat(pieces)
      pieces.push(bytesOf(value))
    }
  }
})
