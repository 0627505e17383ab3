/** A body as a part of something: tees, transforms, pipes, Node's streams; and what `Response` says of its state. */
import { createHash } from 'node:crypto'
import { PassThrough, Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import { floodHash, implementations, readAll, rejection, sha256 } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { startScript, type Exchange, type ScriptedServer } from './support/script.ts'
import { startFlood, type Flood } from './support/servers.ts'

const LENGTH = 5 * 1024 * 1024 + 17

let server: ScriptedServer
let flood: Flood

beforeEach(async () => {
  server = await startScript()
  flood = await startFlood({ length: LENGTH })
})

afterEach(async () => {
  await server.close()
  await flood.close()
})

describe.each(implementations)('a body of the streams of $name', ({ name, streams }) => {
  let agent: Agent

  beforeEach(() => {
    agent = new Agent({ streams: streams as any })
  })

  afterEach(() => agent.destroy())

  const download = (): Promise<Response> => fetch(flood.origin, { dispatcher: agent })

  async function answered(): Promise<{ response: Response; body: ReadableStream; exchange: Exchange }> {
    const pending = fetch(server.origin, { dispatcher: agent })
    const exchange = (await server.next()).head()
    const response = await pending
    return { response, body: response.body!, exchange }
  }

  test('tees into two that have the same bytes', async () => {
    const [left, right] = (await download()).body!.tee()
    const hashes = (await Promise.all([readAll(left), readAll(right)])).map(sha256)
    expect(hashes).toEqual([floodHash(LENGTH), floodHash(LENGTH)])
  })

  test('tees, and one half lives without the other', async () => {
    const [left, right] = (await download()).body!.tee()
    void left.cancel()
    expect(sha256(await readAll(right))).toBe(floodHash(LENGTH))
  })

  test('is cancelled when both halves of a tee are', async () => {
    const { body, exchange } = await answered()
    const [left, right] = body.tee()
    await Promise.all([left.cancel(1), right.cancel(2)])
    await exchange.gone
  })

  test('goes through a transform', async () => {
    const upper = new streams.TransformStream({
      transform: (chunk: Uint8Array, controller) => {
        controller.enqueue(Buffer.from(Buffer.from(chunk).toString().toUpperCase()))
      },
    })
    const { body, exchange } = await answered()
    exchange.chunk('abc').chunk('def').end()
    expect((await readAll(body.pipeThrough(upper))).toString()).toBe('ABCDEF')
  })

  test('fails through a transform with its own error', async () => {
    const { body, exchange } = await answered()
    exchange.chunk('abc').truncate()
    const error = await rejection(readAll(body.pipeThrough(new streams.TransformStream())))
    expect(error).toMatchObject({ message: 'terminated', cause: { code: expect.any(String) } })
  })

  test('is cancelled by a cancel behind a transform', async () => {
    const { body, exchange } = await answered()
    await body.pipeThrough(new streams.TransformStream()).cancel('enough')
    await exchange.gone
  })

  test('pipes into a sink no faster than it takes, and keeps the order', async () => {
    const hash = createHash('sha256')
    let writing = 0
    const slow = new streams.WritableStream(
      {
        async write(chunk: Uint8Array) {
          expect(++writing).toBe(1)
          await new Promise((resolve) => setImmediate(resolve))
          hash.update(chunk)
          writing--
        },
      },
      { highWaterMark: 1 },
    )
    await (await download()).body!.pipeTo(slow)
    expect(hash.digest('hex')).toBe(floodHash(LENGTH))
  })

  test('fails a pipe with the error of the sink, and is cancelled with it', async () => {
    const { body, exchange } = await answered()
    exchange.chunk('some')
    const broken = new Error('broken')
    const sink = new streams.WritableStream({
      write: () => {
        throw broken
      },
    })
    expect(await rejection(body.pipeTo(sink))).toBe(broken)
    await exchange.gone
  })

  test('is iterated to its end', async () => {
    const hash = createHash('sha256')
    for await (const chunk of (await download()).body!) hash.update(chunk as Uint8Array)
    expect(hash.digest('hex')).toBe(floodHash(LENGTH))
  })

  test('is iterated in part and read on with `preventCancel`', async () => {
    const { body, exchange } = await answered()
    exchange.chunk('one')
    for await (const _ of body.values({ preventCancel: true })) break
    exchange.chunk('two').end()
    expect((await readAll(body)).toString()).toBe('two')
  })

  test.runIf(name === 'the platform')("becomes a Readable of Node's, and is destroyed with it", async () => {
    const hash = createHash('sha256')
    const response = await download()
    await pipeline(Readable.fromWeb(response.body as any), new PassThrough(), async (source) => {
      for await (const chunk of source) hash.update(chunk)
    })
    expect(hash.digest('hex')).toBe(floodHash(LENGTH))

    const { body, exchange } = await answered()
    const readable = Readable.fromWeb(body as any)
    exchange.chunk('some')
    await new Promise((resolve) => readable.once('data', resolve))
    readable.destroy()
    await exchange.gone
  })

  test.runIf(name === 'the platform')('fails a Readable with its own error', async () => {
    const { body, exchange } = await answered()
    exchange.chunk('some').truncate()
    const error = await rejection(pipeline(Readable.fromWeb(body as any), new PassThrough().resume()))
    expect(error).toMatchObject({ message: 'terminated' })
  })

  test.runIf(name === 'the platform')("pipes into a Writable of Node's", async () => {
    const hash = createHash('sha256')
    const writable = new Writable({
      highWaterMark: 1,
      write(chunk: Buffer, _encoding, callback) {
        hash.update(chunk)
        setImmediate(callback)
      },
    })
    await (await download()).body!.pipeTo(Writable.toWeb(writable))
    expect(hash.digest('hex')).toBe(floodHash(LENGTH))
  })

  test.runIf(name === 'the platform')('is moved to another thread by its transfer', async () => {
    const { port1, port2 } = new MessageChannel()
    const { body, exchange } = await answered()
    exchange.chunk('moved').end()
    const received = new Promise<ReadableStream>((resolve) => {
      port2.addEventListener('message', (event) => resolve((event as MessageEvent).data as ReadableStream))
      port2.start()
    })
    port1.postMessage(body, [body as any])
    expect((await readAll(await received)).toString()).toBe('moved')
    port1.close()
  })

  describe('and its response', () => {
    const states = (response: Response): boolean[] => [response.bodyUsed, response.body!.locked]

    test('is used once it was read, and locked while it has a reader', async () => {
      const { response, exchange } = await answered()
      expect(response.body).toBe(response.body)
      expect(states(response)).toEqual([false, false])
      const reader = response.body!.getReader()
      expect(states(response)).toEqual([false, true])
      exchange.chunk('x')
      await reader.read()
      expect(states(response)).toEqual([true, true])
      reader.releaseLock()
      expect(states(response)).toEqual([true, false])
      await expect(response.text()).rejects.toThrow(TypeError)
      expect(() => response.clone()).toThrow(TypeError)
    })

    test('is used by a cancel, a pipe and a consumer', async () => {
      const uses: ((response: Response) => unknown)[] = [
        (response) => response.body!.cancel(),
        (response) => response.body!.pipeTo(new streams.WritableStream()),
        (response) => response.text(),
        (response) => readAll(response.body!),
      ]
      for (const use of uses) {
        const { response, exchange } = await answered()
        exchange.chunk('x').end()
        await use(response)
        expect(response.bodyUsed).toBe(true)
      }
    })

    test('gives all of it to text, json, bytes, arrayBuffer and blob', async () => {
      const json = JSON.stringify({ text: 'ü'.repeat(100_000) })
      const parts = json.match(/[^]{1,30000}/g)!
      const uses: ((response: Response) => Promise<unknown>)[] = [
        (response) => response.text(),
        async (response) => JSON.stringify(await response.json()),
        async (response) => Buffer.from(await (response as any).bytes()).toString(),
        async (response) => Buffer.from(await response.arrayBuffer()).toString(),
        async (response) => (await response.blob()).text(),
      ]
      for (const use of uses) {
        const { response, exchange } = await answered()
        for (const part of parts) exchange.chunk(part)
        exchange.end()
        expect(await use(response)).toBe(json)
      }
    })

    test('clones into two that have the same bytes', async () => {
      const response = await download()
      const clone = response.clone()
      const [one, two] = await Promise.all([response.arrayBuffer(), clone.arrayBuffer()])
      expect([sha256(new Uint8Array(one)), sha256(new Uint8Array(two))]).toEqual([floodHash(LENGTH), floodHash(LENGTH)])
    })

    test('tells its trailers when the body was read', async () => {
      const { response, body, exchange } = await answered()
      exchange.chunk('x').end('X-Sum: 7\r\n')
      const trailers = (response as any).trailers as Promise<Headers>
      await readAll(body)
      expect((await trailers).get('x-sum')).toBe('7')
    })

    test('has no reason to wait for a body that is not asked for', async () => {
      const { response, exchange } = await answered()
      expect(response.status).toBe(200)
      await response.body!.cancel()
      await exchange.gone
      await until(() => agent.stats.running === 0)
    })
  })
})
