/** A body into a file by every way there is: the same bytes, and never more in memory than the window. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, mkdtempSync, rmSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Agent, fetch, toFile } from '../lib/index.ts'
import { binding } from '../native/binding.ts'
import { floodHash, implementations, sha256 } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { startFlood, type Flood } from './support/servers.ts'

const MiB = 1024 * 1024
/** hyper's read buffer at its largest. */
const ENGINE = 408 * 1024
const WINDOW = 512 * 1024

let folder: string
let path: string
let agent: Agent

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-download-'))
  path = join(folder, 'target.bin')
  agent = new Agent()
})

afterEach(async () => {
  await agent.destroy()
  rmSync(folder, { recursive: true, force: true })
})

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file, { highWaterMark: MiB })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

/** Quiet when no byte was taken between two looks. */
async function untilQuiet(server: Flood): Promise<number> {
  let last = -1
  await until(() => server.sent > 0 && last === (last = server.sent))
  return last
}

describe('100 MiB', () => {
  const LENGTH = 100 * MiB
  const expected = floodHash(LENGTH)

  const body = async (server: Flood): Promise<ReadableStream<Uint8Array>> =>
    (await fetch(server.origin, { dispatcher: agent })).body!

  test('through toFile, of which nothing enters JavaScript', async () => {
    await using server = await startFlood({ length: LENGTH })
    const stream = await body(server)
    const before = binding.counters().bodyBytesCrossed
    await stream.pipeTo(toFile(path))
    expect(binding.counters().bodyBytesCrossed - before).toBe(0)
    expect([statSync(path).size, await hashOf(path)]).toEqual([LENGTH, expected])
  })

  test('through pipeTo and a Writable of Node', async () => {
    await using server = await startFlood({ length: LENGTH })
    await (await body(server)).pipeTo(Writable.toWeb(createWriteStream(path)))
    expect([statSync(path).size, await hashOf(path)]).toEqual([LENGTH, expected])
  })

  test('through `for await`', async () => {
    await using server = await startFlood({ length: LENGTH })
    await using file = await open(path, 'w')
    for await (const chunk of await body(server)) await file.write(chunk)
    expect([statSync(path).size, await hashOf(path)]).toEqual([LENGTH, expected])
  })
})

describe.each(implementations)('with the streams of $name', ({ streams }) => {
  const LENGTH = 3 * MiB + 5
  const get = async (server: Flood): Promise<Response> =>
    fetch(server.origin, { dispatcher: agent, streams: streams as any })
  const sinkTo = (target = path): WritableStream => toFile(target, { streams: streams as any })

  test.each<[string, (response: Response) => Promise<unknown>]>([
    ['a transform', (response) => response.body!.pipeThrough(new streams.TransformStream()).pipeTo(sinkTo())],
    [
      'one half of a tee',
      async (response) => {
        const [left, right] = response.body!.tee()
        await Promise.all([left.pipeTo(sinkTo()), right.pipeTo(sinkTo(`${path}.other`))])
        expect(await hashOf(`${path}.other`)).toBe(floodHash(LENGTH))
      },
    ],
    [
      'a clone',
      async (response) => {
        const clone = response.clone()
        const [, bytes] = await Promise.all([clone.body!.pipeTo(sinkTo()), response.arrayBuffer()])
        expect(sha256(new Uint8Array(bytes))).toBe(floodHash(LENGTH))
      },
    ],
    [
      'a foreign stream',
      (response) => {
        const reader = response.body!.getReader()
        const foreign = new streams.ReadableStream({
          pull: async (controller) => {
            const { done, value } = await reader.read()
            if (done) controller.close()
            else controller.enqueue(value)
          },
        })
        return foreign.pipeTo(sinkTo())
      },
    ],
  ])('the file behind %s has the same bytes, by the ordinary path', async (_, pipe) => {
    await using server = await startFlood({ length: LENGTH })
    const response = await get(server)
    const before = binding.counters().bodyBytesCrossed
    await pipe(response)
    expect(await hashOf(path)).toBe(floodHash(LENGTH))
    expect(binding.counters().bodyBytesCrossed - before).toBe(LENGTH)
  })
})

test('a `pipeTo` borrowed for another stream pipes that stream', async () => {
  await using server = await startFlood({ length: 100_000 })
  const { body } = await fetch(server.origin, { dispatcher: agent })
  const other = new ReadableStream({
    start: (controller) => {
      controller.enqueue(Buffer.from('other'))
      controller.close()
    },
  })
  await body!.pipeTo.call(other as any, toFile(path))
  expect(statSync(path).size).toBe(5)
  await body!.cancel()
})

test.runIf(process.platform !== 'win32')('a file that takes nothing stops the server, and lets it go on', async () => {
  const length = 64 * MiB
  execFileSync('mkfifo', [path])
  await using server = await startFlood({ length })
  const { body } = await fetch(server.origin, { dispatcher: agent })
  const piping = body!.pipeTo(toFile(path))
  const end = await open(path, 'r')
  const stopped = await untilQuiet(server)
  expect(stopped).toBeLessThan(24 * MiB)
  expect(agent.stats.bufferedBytes).toBeLessThanOrEqual(WINDOW + ENGINE)
  const hash = createHash('sha256')
  const first = await end.read(Buffer.alloc(MiB), 0, MiB)
  hash.update(first.buffer.subarray(0, first.bytesRead))
  for await (const chunk of end.createReadStream({ highWaterMark: MiB })) hash.update(chunk as Buffer)
  await piping
  expect([hash.digest('hex'), server.sent]).toEqual([floodHash(length), length])
})
