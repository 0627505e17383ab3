/** `body.pipeTo(toFile(path))`: the bytes stay inside Rust, and both ends end as `pipeTo` says (Streams §4.9.1). */
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Agent, fetch, toFile, type ToFileOptions } from '../lib/index.ts'
import { binding } from '../native/binding.ts'
import { floodBytes, floodHash, implementations, readAll, rejection, sha256 } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { startScript, type Exchange, type ScriptedServer } from './support/script.ts'
import { startFlood } from './support/servers.ts'

const MiB = 1024 * 1024

let server: ScriptedServer
let folder: string
let path: string

beforeEach(async () => {
  server = await startScript()
  folder = mkdtempSync(join(tmpdir(), 'sluice-native-pipe-'))
  path = join(folder, 'target.bin')
})

afterEach(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

const contents = (): string => readFileSync(path, 'latin1')
const files = (): string[] => readdirSync(folder)
const size = (): number => (existsSync(path) ? readFileSync(path).length : -1)

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

describe.each(implementations)('on the streams of $name', ({ streams }) => {
  let agent: Agent

  beforeEach(() => {
    agent = new Agent({ streams: streams as any })
  })

  afterEach(() => agent.destroy())

  const sinkTo = (target: string = path, options: ToFileOptions = {}): WritableStream =>
    toFile(target, { ...options, streams: streams as any })

  async function opened(): Promise<{ body: ReadableStream; exchange: Exchange }> {
    const pending = fetch(server.origin, { dispatcher: agent })
    const exchange = (await server.next()).head()
    const { body } = await pending
    return { body: body!, exchange }
  }

  /** Runs `pipe` and expects that no byte of the body enters JavaScript. */
  async function withoutCrossing<T>(pipe: () => Promise<T>): Promise<T> {
    const before = binding.counters().bodyBytesCrossed
    try {
      return await pipe()
    } finally {
      expect(binding.counters().bodyBytesCrossed - before).toBe(0)
    }
  }

  test('a body goes into the file byte for byte, and none enters JavaScript', async () => {
    await using flood = await startFlood({ length: 9 * MiB + 13 })
    const { body } = await fetch(flood.origin, { dispatcher: agent })
    await withoutCrossing(() => body!.pipeTo(sinkTo()))
    expect(await hashOf(path)).toBe(floodHash(9 * MiB + 13))
    expect(agent.stats).toMatchObject({ bufferedBytes: 0, running: 0 })
  })

  test('both ends are locked while bytes move, and closed afterwards', async () => {
    const { body, exchange } = await opened()
    const sink = sinkTo()
    const piping = body.pipeTo(sink)
    expect([body.locked, sink.locked]).toEqual([true, true])
    expect(() => body.getReader()).toThrow(TypeError)
    await expect(body.pipeTo(sinkTo(join(folder, 'other')))).rejects.toThrow(TypeError)
    exchange.chunk('bytes')
    await until(() => size() === 5)
    expect([body.locked, sink.locked]).toEqual([true, true])
    exchange.end()
    expect(await piping).toBeUndefined()
    expect([body.locked, sink.locked]).toEqual([false, false])
    expect(await body.getReader().read()).toEqual({ done: true, value: undefined })
    await sink.getWriter().closed
    expect(contents()).toBe('bytes')
  })

  test('a body that was read in part is written from there', async () => {
    const { body, exchange } = await opened()
    exchange.chunk('read')
    const reader = body.getReader()
    expect(Buffer.from((await reader.read()).value!).toString()).toBe('read')
    reader.releaseLock()
    await withoutCrossing(async () => {
      exchange.chunk('written').end()
      await body.pipeTo(sinkTo())
    })
    expect(contents()).toBe('written')
  })

  test('what was written to the stream before comes first, awaited or not', async () => {
    const { body, exchange } = await opened()
    const sink = sinkTo()
    const writer = sink.getWriter()
    await writer.write(Buffer.from('one '))
    const second = writer.write(Buffer.from('two '))
    writer.releaseLock()
    exchange.chunk('three').end()
    await withoutCrossing(() => body.pipeTo(sink))
    await second
    expect(contents()).toBe('one two three')
  })

  test.each(['w', 'a', 'r+'])('an existing file is written as its flags %j say', async (flags) => {
    writeFileSync(path, 'old bytes')
    const { body, exchange } = await opened()
    exchange.chunk('NEW').end()
    await withoutCrossing(() => body.pipeTo(sinkTo(path, { flags })))
    expect(contents()).toBe({ w: 'NEW', a: 'old bytesNEW', 'r+': 'NEW bytes' }[flags])
  })

  test('an atomic file takes its name when it is whole', async () => {
    writeFileSync(path, 'old')
    const { body, exchange } = await opened()
    const piping = withoutCrossing(() => body.pipeTo(sinkTo(path, { atomic: true })))
    exchange.chunk('new')
    await until(() => files().length === 2)
    expect(contents()).toBe('old')
    exchange.end()
    await piping
    expect([contents(), files()]).toEqual(['new', ['target.bin']])
  })

  test('an empty body makes an empty file', async () => {
    const { body, exchange } = await opened()
    exchange.end()
    await body.pipeTo(sinkTo())
    expect([files(), contents()]).toEqual([['target.bin'], ''])
  })

  describe('an error of the body', () => {
    test('rejects, fails both ends with the same error and removes the file', async () => {
      const { body, exchange } = await opened()
      const sink = sinkTo()
      const piping = body.pipeTo(sink)
      exchange.chunk('some')
      await until(() => size() === 4)
      exchange.truncate()
      const error = await rejection(piping)
      expect(error).toMatchObject({ message: 'terminated', cause: { code: expect.any(String) } })
      expect(await rejection(body.getReader().closed)).toBe(error)
      expect(await rejection(sink.getWriter().closed)).toBe(error)
      expect(files()).toEqual([])
    })

    test('before the first byte leaves no file', async () => {
      const { body, exchange } = await opened()
      const piping = body.pipeTo(sinkTo())
      exchange.truncate()
      expect(await rejection(piping)).toMatchObject({ message: 'terminated' })
      expect(files()).toEqual([])
    })

    test('keeps an existing file, and with `atomic` its bytes', async () => {
      writeFileSync(path, 'old')
      for (const [options, left] of [
        [{ atomic: true }, 'old'],
        [{ flags: 'a' }, 'oldsome'],
      ] as const) {
        const { body, exchange } = await opened()
        exchange.chunk('some').truncate()
        expect(await rejection(body.pipeTo(sinkTo(path, options)))).toMatchObject({ message: 'terminated' })
        expect([contents(), files()]).toEqual([left, ['target.bin']])
      }
    })

    test('with `preventAbort` leaves the sink open for more', async () => {
      const { body, exchange } = await opened()
      const sink = sinkTo()
      exchange.chunk('some ').truncate()
      expect(await rejection(body.pipeTo(sink, { preventAbort: true }))).toMatchObject({ message: 'terminated' })
      const writer = sink.getWriter()
      await writer.write(Buffer.from('more'))
      await writer.close()
      expect(contents()).toBe('some more')
    })
  })

  describe('an error of the file', () => {
    test('that cannot be opened is ENOENT, and cancels the body', async () => {
      const { body, exchange } = await opened()
      const sink = sinkTo(join(folder, 'missing', 'file'))
      exchange.chunk('some')
      const error = await rejection(body.pipeTo(sink))
      expect(error).toMatchObject({ code: 'ENOENT', syscall: 'open' })
      expect(await rejection(sink.getWriter().closed)).toBe(error)
      await exchange.gone
      expect(await body.getReader().read()).toEqual({ done: true, value: undefined })
    })

    test.runIf(existsSync('/dev/full'))('that is on a full disk is ENOSPC, and cancels the body', async () => {
      const { body, exchange } = await opened()
      exchange.chunk('some')
      const error = await rejection(body.pipeTo(sinkTo('/dev/full')))
      expect(error).toMatchObject({ code: 'ENOSPC', syscall: 'write', errno: expect.any(Number) })
      expect(error.message).toMatch(/^ENOSPC: no space left on device, write/)
      expect(error).toBeInstanceOf(Error)
      await exchange.gone
    })

    test.runIf(existsSync('/dev/full'))('with `preventCancel` leaves the rest to be read', async () => {
      const { body, exchange } = await opened()
      exchange.chunk('lost')
      const error = await rejection(body.pipeTo(sinkTo('/dev/full'), { preventCancel: true }))
      expect(error).toMatchObject({ code: 'ENOSPC' })
      exchange.chunk('kept').end()
      expect((await readAll(body)).toString()).toBe('kept')
    })

    test('that cannot be handed to Rust ends the pipe like any other', async () => {
      const { body, exchange } = await opened()
      const refused = new Error('too many open files')
      const spy = vi.spyOn(binding, 'bodyPipeToFile').mockImplementation(() => {
        throw refused
      })
      try {
        exchange.chunk('some')
        expect(await rejection(body.pipeTo(sinkTo()))).toBe(refused)
      } finally {
        spy.mockRestore()
      }
      expect(files()).toEqual([])
      await exchange.gone
    })

    test.runIf(existsSync('/dev/full'))('of an earlier write ends a pipe whose body is silent', async () => {
      const { body, exchange } = await opened()
      const sink = sinkTo('/dev/full')
      const writer = sink.getWriter()
      const write = rejection(writer.write(Buffer.from('before')))
      void writer.closed.catch(() => {})
      writer.releaseLock()
      const error = await rejection(body.pipeTo(sink))
      expect(error).toBe(await write)
      await exchange.gone
    })
  })

  test('a sink that is being closed refuses the pipe, and keeps its file', async () => {
    const { body, exchange } = await opened()
    const sink = sinkTo()
    const writer = sink.getWriter()
    const write = writer.write(Buffer.from('all'))
    writer.releaseLock()
    const closing = sink.close()
    exchange.chunk('some')
    await expect(body.pipeTo(sink)).rejects.toThrow(TypeError)
    await Promise.all([write, closing])
    expect(contents()).toBe('all')
    await exchange.gone
  })

  describe('an abort of the signal', () => {
    test('in the middle rejects with its reason, removes the file and cancels the body', async () => {
      const { body, exchange } = await opened()
      const controller = new AbortController()
      const sink = sinkTo()
      const piping = body.pipeTo(sink, { signal: controller.signal })
      exchange.chunk('some')
      await until(() => size() === 4)
      const reason = new Error('enough')
      controller.abort(reason)
      expect(await rejection(piping)).toBe(reason)
      expect(await rejection(sink.getWriter().closed)).toBe(reason)
      expect(files()).toEqual([])
      await exchange.gone
    })

    test('before the first byte does the same', async () => {
      const { body, exchange } = await opened()
      const controller = new AbortController()
      const piping = body.pipeTo(sinkTo(), { signal: controller.signal })
      controller.abort('enough')
      expect(await rejection(piping)).toBe('enough')
      expect(files()).toEqual([])
      await exchange.gone
    })

    test('that came before the pipe does the same', async () => {
      const { body, exchange } = await opened()
      expect(await rejection(body.pipeTo(sinkTo(), { signal: AbortSignal.abort('early') }))).toBe('early')
      expect(files()).toEqual([])
      await exchange.gone
    })

    test('that is also the signal of fetch does the same', async () => {
      const controller = new AbortController()
      const pending = fetch(server.origin, { dispatcher: agent, signal: controller.signal })
      const exchange = (await server.next()).head()
      const piping = (await pending).body!.pipeTo(sinkTo(), { signal: controller.signal })
      exchange.chunk('some')
      await until(() => size() === 4)
      controller.abort('enough')
      expect(await rejection(piping)).toBe('enough')
      expect(files()).toEqual([])
      await exchange.gone
    })

    test('with `preventCancel` and `preventAbort` leaves both ends where they were', async () => {
      await using flood = await startFlood({ length: 64 * MiB })
      const { body } = await fetch(flood.origin, { dispatcher: agent })
      const controller = new AbortController()
      const sink = sinkTo()
      const piping = body!.pipeTo(sink, { signal: controller.signal, preventCancel: true, preventAbort: true })
      await until(() => size() > 0)
      controller.abort('enough')
      expect(await rejection(piping)).toBe('enough')
      const written = size()
      expect(written).toBeLessThan(64 * MiB)
      expect(sha256(readFileSync(path))).toBe(floodHash(written))
      const writer = sink.getWriter()
      await writer.write(Buffer.from('end'))
      await writer.close()
      const rest = await readAll(body!)
      expect(rest.length).toBe(64 * MiB - written)
      expect(rest.subarray(0, MiB).equals(floodBytes(written, Math.min(written + MiB, 64 * MiB)))).toBe(true)
      expect(readFileSync(path).subarray(written).toString()).toBe('end')
    })
  })

  test.each([true, 1])('with `preventClose` %j later writes go behind the bytes of the body', async (preventClose) => {
    const { body, exchange } = await opened()
    const sink = sinkTo()
    exchange.chunk('body, ').end()
    await withoutCrossing(() => body.pipeTo(sink, { preventClose: preventClose as boolean }))
    expect(contents()).toBe('body, ')
    const second = await opened()
    second.exchange.chunk('body, ').end()
    await withoutCrossing(() => second.body.pipeTo(sink, { preventClose: true }))
    const writer = sink.getWriter()
    await writer.write(Buffer.from('writer'))
    await writer.close()
    expect(contents()).toBe('body, body, writer')
  })
})
