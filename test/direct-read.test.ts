/** Long bodies that are read faster than the runtime would queue them: the reader takes them from the socket itself. */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Agent, fetch, toFile } from '../lib/index.ts'
import { binding } from '../native/binding.ts'
import { floodBytes, floodHash, implementations, readAll, rejection, sha256 } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { startFlood, startTcpServer, type Flood, type RunningServer } from './support/servers.ts'
import { found, spyOnViews } from './support/views.ts'

const MiB = 1024 * 1024
/** More than the sockets of both ends hold, so that the server goes on while it is read. */
const LENGTH = 32 * MiB

const agent = new Agent()
let flood: Flood

beforeEach(async () => {
  flood = await startFlood({ length: LENGTH })
})

afterEach(async () => {
  vi.restoreAllMocks()
  await flood.close()
})

async function opened(
  streams?: object,
  origin = flood.origin,
  dispatcher = agent,
): Promise<ReadableStream<Uint8Array>> {
  const { body } = await fetch(origin, { dispatcher, streams: streams as any })
  return body as ReadableStream<Uint8Array>
}

/** Lets the queue fill behind the first read. */
async function filled(body: ReadableStream<Uint8Array>, dispatcher = agent): Promise<Uint8Array> {
  const reader = body.getReader()
  const { value } = await reader.read()
  reader.releaseLock()
  await until(() => dispatcher.stats.bufferedBytes >= 256 * 1024)
  return value!
}

/** Before the event loop runs. */
async function isAnswered(read: Promise<unknown>): Promise<boolean> {
  let isDone = false
  read.then(
    () => (isDone = true),
    () => {},
  )
  for (let turn = 0; turn < 8; turn++) await Promise.resolve()
  return isDone
}

async function readViews(body: ReadableStream<Uint8Array>, size: number, limit = Infinity): Promise<Buffer> {
  const reader = body.getReader({ mode: 'byob' })
  const pieces: Buffer[] = []
  let length = 0
  while (length < limit) {
    const { done, value } = await reader.read(new Uint8Array(Math.min(size, limit - length)))
    if (done) break
    pieces.push(Buffer.from(value))
    length += value.byteLength
  }
  reader.releaseLock()
  return Buffer.concat(pieces)
}

async function readRestOfViews(reader: ReadableStreamBYOBReader): Promise<void> {
  while (!(await reader.read(new Uint8Array(100_000))).done);
}

describe.each(implementations)('a long body of the streams of $name', ({ streams }) => {
  test.each([256 * 1024, 70_001, 8 * MiB])('comes whole into views of %i bytes', async (size) => {
    const body = await opened(streams)
    const first = await filled(body)
    const rest = await readViews(body, size)
    expect(sha256(Buffer.concat([first, rest]))).toBe(floodHash(LENGTH))
  })

  test('comes whole to a default reader, past the queue', async () => {
    const body = await opened(streams)
    const views = spyOnViews()
    const first = await filled(body)
    const rest = await readAll(body)
    expect(sha256(Buffer.concat([first, rest]))).toBe(floodHash(LENGTH))
    expect(found(views)).toBeGreaterThan(0)
  })

  test('comes whole through readers of both kinds, one after the other', async () => {
    const body = await opened(streams)
    const pieces: Uint8Array[] = [await filled(body)]
    for (let turn = 0; turn < 20; turn++) {
      pieces.push(await readViews(body, 100_000, MiB))
      const reader = body.getReader()
      pieces.push((await reader.read()).value!)
      reader.releaseLock()
    }
    pieces.push(await readAll(body))
    expect(sha256(Buffer.concat(pieces))).toBe(floodHash(LENGTH))
  })

  test('ends for a reader that cancels it in between', async () => {
    const body = await opened(streams)
    await filled(body)
    await readViews(body, MiB, 4 * MiB)
    await body.cancel()
    await until(() => agent.stats.bufferedBytes === 0)
    expect(binding.counters().handles).toBe(0)
  })
})

test('arrayBuffer has all of it', async () => {
  const response = await fetch(flood.origin, { dispatcher: agent })
  expect(sha256(new Uint8Array(await response.arrayBuffer()))).toBe(floodHash(LENGTH))
})

test('the rest goes to a file after direct reads', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-'))
  try {
    const body = await opened()
    const first = await filled(body)
    const second = await readViews(body, 256 * 1024, 8 * MiB)
    await body.pipeTo(toFile(join(folder, 'rest')) as unknown as WritableStream<Uint8Array>)
    const all = Buffer.concat([first, second, readFileSync(join(folder, 'rest'))])
    expect(sha256(all)).toBe(floodHash(LENGTH))
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a read that was given up takes nothing from a file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-'))
  try {
    const body = await opened()
    const pieces: Uint8Array[] = [await filled(body)]
    // Until a read waits for the event loop.
    const reader = body.getReader()
    let given = reader.read()
    while (await isAnswered(given)) {
      pieces.push((await given).value!)
      given = reader.read()
    }
    reader.releaseLock()
    await expect(given).rejects.toThrow(TypeError)
    await body.pipeTo(toFile(join(folder, 'rest')) as unknown as WritableStream<Uint8Array>)
    const all = Buffer.concat([...pieces, readFileSync(join(folder, 'rest'))])
    expect([all.length, sha256(all)]).toEqual([LENGTH, floodHash(LENGTH)])
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('the event loop runs meanwhile', async () => {
  const body = await opened()
  await filled(body)
  let [bytes, most] = [0, 0]
  let isOver = false
  const turn = (): void => {
    most = Math.max(most, bytes)
    bytes = 0
    if (!isOver) setImmediate(turn)
  }
  turn()
  const reader = body.getReader({ mode: 'byob' })
  let view = new Uint8Array(256 * 1024)
  for (;;) {
    const { done, value } = await reader.read(view)
    if (done) break
    bytes += value.byteLength
    view = new Uint8Array(value.buffer)
  }
  isOver = true
  expect(most).toBeLessThanOrEqual(2 * MiB + 256 * 1024)
})

test('a connection serves on after a body that was read directly', async () => {
  const connections = new Set<unknown>()
  const bytes = floodBytes(0, 8 * MiB)
  const server = await startTcpServer((socket) => {
    connections.add(socket)
    socket.on('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${bytes.length}\r\n\r\n`)
      socket.write(bytes)
    })
  })
  try {
    for (let turn = 0; turn < 5; turn++) {
      const body = await opened(undefined, server.origin)
      const first = await filled(body)
      expect(Buffer.concat([first, await readViews(body, 256 * 1024)]).equals(bytes)).toBe(true)
    }
    expect(connections.size).toBe(1)
  } finally {
    await server.close()
  }
})

test('a reset is one error with the code of Node', async () => {
  let connection: Socket
  const server = await startTcpServer((socket) => {
    connection = socket
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${LENGTH}\r\n\r\n`)
      socket.write(floodBytes(0, 4 * MiB))
    })
  })
  try {
    const body = await opened(undefined, server.origin)
    await filled(body)
    await readViews(body, 256 * 1024, MiB)
    connection!.resetAndDestroy()
    const error = await rejection(readViews(body, 256 * 1024))
    expect([error.name, error.cause?.code]).toEqual(['TypeError', 'ECONNRESET'])
  } finally {
    await server.close()
  }
})

test('an abort ends it at once', async () => {
  const controller = new AbortController()
  const response = await fetch(flood.origin, { dispatcher: agent, signal: controller.signal })
  const body = response.body as ReadableStream<Uint8Array>
  await filled(body)
  await readViews(body, MiB, 4 * MiB)
  controller.abort()
  expect((await rejection(readViews(body, MiB))).name).toBe('AbortError')
  await until(() => agent.stats.bufferedBytes === 0)
})

test('many at once come whole', async () => {
  const hash = floodHash(LENGTH)
  const bodies = await Promise.all(Array.from({ length: 4 }, () => opened()))
  const hashes = bodies.map(async (body) => sha256(await readViews(body, 256 * 1024)))
  expect(await Promise.all(hashes)).toEqual([hash, hash, hash, hash])
})

describe('a reader that waits at the socket', () => {
  let connections: Socket[]
  let server: RunningServer
  let waits: ReturnType<typeof spyOnWaits>

  /** Waits, by whether they are patient, and what came of them. */
  const spyOnWaits = () => vi.spyOn(binding, 'bodyWait')

  beforeEach(async () => {
    connections = []
    server = await startTcpServer((socket) => {
      connections.push(socket)
      socket.on('error', () => {})
      socket.on('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${LENGTH}\r\n\r\n`)
        socket.write(floodBytes(0, 4 * MiB))
      })
    })
    waits = spyOnWaits()
  })

  afterEach(() => server.close())

  const patient = (): number => waits.mock.calls.filter(([, isPatient]) => isPatient).length

  interface Waiting {
    reader: ReadableStreamBYOBReader
    read: Promise<{ done: boolean; value?: any }>
    /** What was read before, all that was sent. */
    pieces: Uint8Array[]
    at: number
  }

  /** A reader whose read waits at the socket. */
  async function waiting(dispatcher = agent): Promise<Waiting> {
    const body = await opened(undefined, server.origin, dispatcher)
    const pieces: Uint8Array[] = [await filled(body, dispatcher)]
    const reader = body.getReader({ mode: 'byob' })
    let length = pieces[0]!.length
    const view = (): Uint8Array => new Uint8Array(256 * 1024)
    const add = (piece: Uint8Array | undefined): void => {
      pieces.push(piece!)
      length += piece!.length
    }
    for (let at = 4 * MiB; ; at += 4 * MiB) {
      while (length < at) add((await reader.read(view())).value)
      const before = patient()
      const read = reader.read(view())
      if (!(await isAnswered(read)) && patient() > before) return { reader, read, pieces, at }
      // It has waited before, when less had come.
      connections[0]!.write(floodBytes(at, at + 4 * MiB))
      add((await read).value)
      await until(() => dispatcher.stats.bufferedBytes >= 256 * 1024)
    }
  }

  test('gets what is not worth a wake-up from the runtime, soon', async () => {
    const { read, pieces, at } = await waiting()
    connections[0]!.write(floodBytes(at, at + 10))
    const { value } = await read
    expect(Buffer.concat([...pieces, value]).equals(floodBytes(0, at + value.length))).toBe(true)
    expect(waits.mock.lastCall).toEqual([expect.any(Number), false])
  })

  test('gets the rest, and its connection serves on', async () => {
    const { reader, read, pieces, at } = await waiting()
    connections[0]!.write(floodBytes(at, LENGTH))
    for (let { done, value } = await read; !done;) {
      pieces.push(value)
      ;({ done, value } = await reader.read(new Uint8Array(256 * 1024)))
    }
    expect(sha256(Buffer.concat(pieces))).toBe(floodHash(LENGTH))
    connections[0]!.removeAllListeners('data').on('data', () => {
      connections[0]!.write('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nsmall')
    })
    const response = await fetch(server.origin, { dispatcher: agent })
    expect(await response.text()).toBe('small')
    expect(connections.length).toBe(1)
  })

  test.each(['FIN', 'reset'])('is told of a %s', async (how) => {
    const { read } = await waiting()
    if (how === 'FIN') connections[0]!.end()
    else connections[0]!.resetAndDestroy()
    const error = await rejection(read)
    expect([error.name, error.cause?.code]).toEqual(['TypeError', how === 'FIN' ? 'UND_ERR_SOCKET' : 'ECONNRESET'])
  })

  test('that cancels closes the connection', async () => {
    const { reader, read } = await waiting()
    await reader.cancel()
    expect(await read).toMatchObject({ done: true })
    await until(() => connections[0]!.readableEnded || connections[0]!.destroyed)
  })

  test('gives its handle of the socket up with the last byte, asked for more or not', async () => {
    const own = new Agent()
    const { reader, read, at } = await waiting(own)
    connections[0]!.write(floodBytes(at, LENGTH))
    let length = at + (await read).value.length
    while (length < LENGTH) length += (await reader.read(new Uint8Array(256 * 1024))).value!.length
    await until(() => own.stats.bufferedBytes === 0)
    await own.destroy()
    // A socket that is closed answers with a reset.
    await until(() => connections[0]!.destroyed || (connections[0]!.write('x'), false))
  })

  test('lets the socket go when its time is over, whether it reads on or not', async () => {
    const own = new Agent({ timeout: 1000 })
    const { reader, read, at } = await waiting(own)
    connections[0]!.write(floodBytes(at, at + 8 * MiB))
    await read
    // A reset, for what nobody has read: the socket is closed, not only shut down.
    await until(() => connections[0]!.destroyed)
    expect((await rejection(readRestOfViews(reader))).name).toBe('TypeError')
    await own.destroy()
  })
})
