/** `fromFile`: files as streams, and as request bodies that never enter JavaScript. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  createReadStream,
  createWriteStream,
  mkdtempSync,
  openSync,
  closeSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { interceptors, request, RetryAgent } from 'undici'
import { request as request7, RetryAgent as RetryAgent7 } from 'undici7'
import { Agent, fetch, fromFile, toFile } from '../lib/index.ts'
import { implementations, readAll, rejection, sha256 } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { countingBlock, startServer, startTcpServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'
import { untilStopped } from './support/standstill.ts'

const MiB = 1024 * 1024
const SIZE = 3 * MiB + 17
const folder = mkdtempSync(join(tmpdir(), 'sluice-from-file-'))
const path = join(folder, 'body.bin')
const content = Buffer.concat([...Array.from({ length: 48 }, () => countingBlock()), Buffer.alloc(17, 7)])

interface Received {
  method: string
  headers: IncomingHttpHeaders
  length: number
  hash: string
}

let server: RunningServer
let agent: Agent

beforeAll(async () => {
  writeFileSync(path, content)
  server = await startServer((incoming, response) => {
    const hash = createHash('sha256')
    let length = 0
    incoming.on('data', (chunk: Buffer) => {
      length += chunk.length
      hash.update(chunk)
    })
    incoming.on('end', () => {
      const { method, headers } = incoming
      response.end(JSON.stringify({ method, headers, length, hash: hash.digest('hex') }))
    })
  })
})

afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

beforeEach(() => {
  agent = new Agent()
})

afterEach(() => agent.destroy())

async function put(body: ReadableStream, headers = {}): Promise<Received> {
  const response = await fetch(server.origin, { method: 'PUT', body: body as never, headers, dispatcher: agent })
  return (await response.json()) as Received
}

describe('a file as a request body', () => {
  test('goes out whole, with its length and no type of its own', async () => {
    const received = await put(fromFile(path))
    expect(received).toMatchObject({ method: 'PUT', length: SIZE, hash: sha256(content) })
    expect(received.headers).toMatchObject({ 'content-length': String(SIZE) })
    expect(received.headers).not.toHaveProperty('content-type')
    expect(received.headers).not.toHaveProperty('transfer-encoding')
  })

  test.each([
    [{ start: 10 }, 10, SIZE],
    [{ end: 9 }, 0, 10],
    [{ start: 5, end: 5 }, 5, 6],
    [{ start: 262_143, end: 524_288 }, 262_143, 524_289],
    [{ start: SIZE - 1, end: 10 * SIZE }, SIZE - 1, SIZE],
    [{ start: SIZE }, SIZE, SIZE],
    [{ start: 10 * SIZE }, SIZE, SIZE],
  ])('goes out from start to end, which is included: %o', async (options, from, to) => {
    const received = await put(fromFile(path, options))
    expect(received).toMatchObject({ length: to - from, hash: sha256(content.subarray(from, to)) })
    expect(received.headers['content-length']).toBe(String(to - from))
  })

  test.each(['wire', 'reqwest'] as const)('goes through undici.request over %s', async (transport) => {
    await using own = new Agent({ transport })
    const { body } = await request(server.origin, { method: 'POST', body: fromFile(path) as never, dispatcher: own })
    expect(await body.json()).toMatchObject({ length: SIZE, hash: sha256(content) })
  })

  test.each([307, 308])('is sent again where a %i leads', async (status) => {
    await using redirecting = await startServer((incoming, response) => {
      incoming.resume().on('end', () => response.writeHead(status, { location: `${server.origin}/there` }).end())
    })
    const response = await fetch(redirecting.origin, {
      method: 'PUT',
      body: fromFile(path, { start: 5 }) as never,
      dispatcher: agent,
    })
    expect(response.redirected).toBe(true)
    expect(await response.json()).toMatchObject({ length: SIZE - 5, hash: sha256(content.subarray(5)) })
  })

  const retrying = { minTimeout: 1, maxTimeout: 1 }
  test.each([
    ['RetryAgent', request, (own: Agent) => new RetryAgent(own as never, retrying)],
    ['RetryAgent of undici 7', request7, (own: Agent) => new RetryAgent7(own as never, retrying)],
    ['the retry interceptor', request, (own: Agent) => own.compose(interceptors.retry(retrying) as never)],
  ] as const)('is read anew for each attempt of %s', async (_name, send, wrap) => {
    const hashes: string[] = []
    await using flaky = await startServer(async (incoming, response) => {
      const bytes = await buffer(incoming)
      hashes.push(`${incoming.headers['content-length']} ${sha256(bytes)}`)
      response.writeHead(hashes.length < 3 ? 503 : 200).end()
    })
    await using own = new Agent()
    const stream = fromFile(path, { start: 5, end: SIZE - 6 })
    const options = { method: 'PUT', body: stream, dispatcher: wrap(own) }
    const { statusCode, body } = await (send as typeof request)(flaky.origin, options as never)
    await body.dump()
    expect(statusCode).toBe(200)
    expect(hashes).toEqual(Array(3).fill(`${SIZE - 10} ${sha256(content.subarray(5, SIZE - 5))}`))
    expect(stream.locked).toBe(true)
  })

  test('is locked from then on, and is refused a second time', async () => {
    const stream = fromFile(path)
    const sent = put(stream)
    expect(stream.locked).toBe(true)
    await sent
    await expect(put(stream)).rejects.toBeInstanceOf(TypeError)
  })

  test('is refused where a part of it was read, and nothing is sent', async () => {
    const stream = fromFile(path)
    const reader = stream.getReader()
    await reader.read()
    reader.releaseLock()
    const before = server.accepted
    await expect(put(stream)).rejects.toBeInstanceOf(TypeError)
    expect(server.accepted).toBe(before)
    await stream.cancel()
  })

  test('that is missing, a folder, or not to be read is the error of the system, and nothing is sent', async () => {
    const secret = join(folder, 'secret')
    writeFileSync(secret, 'x')
    chmodSync(secret, 0)
    const before = server.accepted
    const cases = [
      [join(folder, 'none'), 'ENOENT', 'open'],
      [folder, 'EISDIR', 'read'],
      ...(process.getuid?.() === 0 ? [] : [[secret, 'EACCES', 'open']]),
    ]
    for (const [name, code, syscall] of cases) {
      const failure = await rejection(put(fromFile(name!)))
      expect(failure).toBeInstanceOf(TypeError)
      expect(failure.cause).toMatchObject({ code, syscall })
      const direct = await rejection(
        request(server.origin, { method: 'POST', body: fromFile(name!) as never, dispatcher: agent }),
      )
      expect(direct).toMatchObject({ code, syscall })
    }
    expect(server.accepted).toBe(before)
  })

  test('with another content-length than its own is refused', async () => {
    const failure = await rejection(put(fromFile(path), { 'content-length': '5' }))
    expect(failure.cause).toMatchObject({ code: 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH' })
  })

  test('that becomes shorter while it is sent is a length mismatch', async () => {
    const shrinking = join(folder, 'shrinking')
    writeFileSync(shrinking, Buffer.alloc(64 * MiB))
    const stopped = Promise.withResolvers<void>()
    await using slow = await startTcpServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => {
        socket.pause()
        stopped.resolve()
      })
      stopped.promise.then(() => {
        truncateSync(shrinking, 1000)
        socket.resume()
      }, expect.unreachable)
    })
    const failure = await rejection(
      fetch(slow.origin, { method: 'PUT', body: fromFile(shrinking) as never, dispatcher: agent }),
    )
    expect(failure.cause).toMatchObject({ code: 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH' })
  })

  test('holds two pieces of it at most before a server that reads nothing', async () => {
    const large = join(folder, 'large')
    closeSync(openSync(large, 'w'))
    truncateSync(large, 1024 * MiB)
    const connected = Promise.withResolvers<void>()
    await using stalled = await startTcpServer((socket) => {
      socket.pause()
      connected.resolve()
    })
    const abort = new AbortController()
    const before = process.memoryUsage().rss
    const sending = rejection(
      fetch(stalled.origin, { method: 'PUT', body: fromFile(large) as never, dispatcher: agent, signal: abort.signal }),
    )
    await connected.promise
    // Until the socket takes no more: an abort must reach a connection that is stuck in a write.
    for (let turn = 0; turn < 100; turn++) {
      expect(agent.stats.bufferedBytes).toBeLessThanOrEqual(2 * 256 * 1024)
      await delay(1)
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * MiB)
    abort.abort()
    expect((await sending).name).toBe('AbortError')
    await until(() => agent.stats.bufferedBytes === 0)
  })

  test.skipIf(process.platform === 'win32')('that is a pipe goes chunked', async () => {
    const fifo = join(folder, 'fifo')
    execFileSync('mkfifo', [fifo])
    const writer = createWriteStream(fifo)
    const sent = put(fromFile(fifo))
    await once(writer, 'open')
    createReadStream(path).pipe(writer)
    const received = await sent
    expect(received).toMatchObject({ length: SIZE, hash: sha256(content) })
    expect(received.headers['transfer-encoding']).toBe('chunked')
  })

  test('a thousand of them leave no descriptor open', async () => {
    const { readdirSync } = await import('node:fs')
    const open = (): number => readdirSync('/proc/self/fd').length
    await put(fromFile(path, { end: 99 }))
    const before = open()
    for (let round = 0; round < 20; round++) {
      await Promise.all(Array.from({ length: 50 }, () => put(fromFile(path, { end: 99 }))))
    }
    await agent.destroy()
    await until(() => open() <= before)
  })
})

describe.each(implementations)('a file as a stream of $name', ({ streams }) => {
  const file = (options = {}): ReadableStream => fromFile(path, { ...options, streams: streams as never })

  test('is read whole, and between its bounds', async () => {
    expect(sha256(await readAll(file()))).toBe(sha256(content))
    expect(await readAll(file({ start: 100, end: 299 }))).toEqual(content.subarray(100, 300))
    expect(await readAll(file({ start: SIZE }))).toHaveLength(0)
  })

  test('fills the views of its reader', async () => {
    const reader = file({ start: 3 }).getReader({ mode: 'byob' })
    const { value } = await reader.read(new Uint8Array(10))
    expect(Buffer.from(value!)).toEqual(content.subarray(3, 3 + value!.byteLength))
    await reader.cancel()
  })

  test('fails with the error of the system', async () => {
    const stream = fromFile(join(folder, 'none'), { streams: streams as never }) as ReadableStream
    expect(await rejection(stream.getReader().read())).toMatchObject({ code: 'ENOENT', syscall: 'open' })
  })
})

test('a file stream takes a URL and a Buffer for its path, and pipes into a file', async () => {
  expect(await readAll(fromFile(pathToFileURL(path), { end: 9 }))).toEqual(content.subarray(0, 10))
  expect(await readAll(fromFile(Buffer.from(path), { end: 9 }))).toEqual(content.subarray(0, 10))
  const copy = join(folder, 'copy')
  await fromFile(path).pipeTo(toFile(copy))
  expect(sha256(await readAll(fromFile(copy)))).toBe(sha256(content))
})

test('what is no position, no path or no option is an error that names it', () => {
  expect(() => fromFile(path, { start: -1 })).toThrow(RangeError)
  expect(() => fromFile(path, { start: 1.5 })).toThrow(/'start'/)
  expect(() => fromFile(path, { end: Number.NaN })).toThrow(/'end'/)
  expect(() => fromFile(path, { start: 5, end: 4 })).toThrow(/'start' \(5\)/)
  expect(() => fromFile(path, { start: '1' as never })).toThrow(TypeError)
  expect(() => fromFile(path, { stop: 1 } as never)).toThrow(/unknown option 'stop'/)
  expect(() => fromFile(5 as never)).toThrow(TypeError)
  expect(() => fromFile(path, { streams: {} as never })).toThrow(/'streams'/)
})

describe('a file as a part of a form', () => {
  async function post(form: FormData): Promise<Received> {
    const response = await fetch(server.origin, { method: 'POST', body: form, dispatcher: agent })
    return (await response.json()) as Received
  }

  test('is sent whole, with the length known before', async () => {
    const form = new FormData()
    form.append('note', 'text')
    form.append('file', await fromFile(path).file({ type: 'a/b' }))
    const received = await post(form)
    expect(received.headers['transfer-encoding']).toBeUndefined()
    expect(received.headers['content-length']).toBe(`${received.length}`)
    expect(received.length).toBeGreaterThan(SIZE)
  })

  test('has the name of its path and no type, or those that are given', async () => {
    const file = await fromFile(path).file()
    expect([file instanceof File, file.name, file.type, file.size]).toEqual([true, basename(path), '', SIZE])
    const named = await fromFile(path).file({ name: 'n', type: 'a/b' })
    expect([named.name, named.type]).toEqual(['n', 'a/b'])
  })

  test('is the part that start and end say, also under another name in the form', async () => {
    const form = new FormData()
    form.append('file', await fromFile(path, { start: 3, end: 9 }).file(), 'other')
    const file = form.get('file') as File
    expect([file.name, Buffer.from(await file.bytes())]).toEqual(['other', content.subarray(3, 10)])
    expect((await fromFile(path, { start: SIZE + 5 }).file()).size).toBe(0)
  })

  test('is read only as far as the server takes it', async () => {
    const big = join(folder, 'big')
    closeSync(openSync(big, 'w'))
    truncateSync(big, 256 * MiB)
    const form = new FormData()
    form.append('file', await fromFile(big).file())
    let taken = 0
    const stalled = await startTcpServer((socket) => {
      socket.once('data', (chunk) => {
        taken = chunk.length
        socket.pause()
      })
    })
    const controller = new AbortController()
    const before = process.memoryUsage().rss
    const { signal } = controller
    const sent = fetch(stalled.origin, { method: 'POST', body: form, dispatcher: agent, signal })
    sent.catch(() => {})
    await untilStopped(() => agent.stats.bufferedBytes)
    expect(taken).toBeGreaterThan(0)
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * MiB)
    controller.abort('enough')
    expect(await rejection(sent)).toBe('enough')
    await stalled.close()
  })

  test('that has changed since fails the request', async () => {
    const changing = join(folder, 'changing')
    writeFileSync(changing, 'before')
    const form = new FormData()
    form.append('file', await fromFile(changing).file())
    writeFileSync(changing, 'after, and longer')
    const failure = (await rejection(post(form))) as Error
    expect([failure.message, (failure.cause as Error).name]).toEqual(['fetch failed', 'NotReadableError'])
  })

  test('locks the stream, and is refused where that was used', async () => {
    const stream = fromFile(path)
    await stream.file()
    expect(stream.locked).toBe(true)
    await expect(stream.file()).rejects.toBeInstanceOf(TypeError)
  })

  test('that is missing, a folder or a device is an error of its own', async () => {
    await expect(fromFile(join(folder, 'none')).file()).rejects.toMatchObject({ code: 'ENOENT', syscall: 'open' })
    await expect(fromFile(folder).file()).rejects.toThrow('no regular file')
    await expect(fromFile('/dev/null').file()).rejects.toThrow('no regular file')
  })

  test('knows no other option', async () => {
    await expect(fromFile(path).file({ nme: 'x' } as never)).rejects.toThrow("unknown option 'nme'")
    await expect(fromFile(path).file({ name: 5 } as never)).rejects.toThrow("option 'name'")
    await expect(fromFile(path).file({ type: 5 } as never)).rejects.toThrow("option 'type'")
  })
})
