import { randomBytes } from 'node:crypto'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import * as undici8 from 'undici'
import * as undici7 from 'undici7'
import { Agent, fetch } from '../lib/index.ts'
import type { DispatcherLike } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { startServer } from './support/servers.ts'

const startEncoded = (coding: string, body: Uint8Array) =>
  startServer((_request, response) => {
    response.writeHead(200, { 'content-encoding': coding, 'content-length': body.byteLength }).end(body)
  })

const text = 'hello sluice '.repeat(100_000)

describe.each([
  { name: 'wire', dispatcher: new Agent({ transport: 'wire' }) },
  { name: 'reqwest', dispatcher: new Agent({ transport: 'reqwest' }) },
  { name: "undici 8's agent", dispatcher: new undici8.Agent() as unknown as DispatcherLike },
  { name: "undici 7's agent", dispatcher: new undici7.Agent() as unknown as DispatcherLike },
])('content codings over $name', ({ dispatcher }) => {
  test.each([
    ['gzip', gzipSync(text)],
    ['X-Gzip', gzipSync(text)],
    ['deflate', deflateSync(text)],
    ['deflate', deflateRawSync(text)],
    ['br', brotliCompressSync(text)],
    ['zstd', zstdCompressSync(text)],
    ['deflate, gzip', gzipSync(deflateSync(text))],
    ['identity', Buffer.from(text)],
  ])('%s is undone', async (coding, body) => {
    await using server = await startEncoded(coding, body)
    const response = await fetch(server.origin, { dispatcher })
    expect(response.headers.get('content-encoding')).toBe(coding)
    expect(response.headers.get('content-length')).toBe(String(body.byteLength))
    expect((await response.text()) === text).toBe(true)
  })

  test('bytes that do not compress come out as they were', async () => {
    const bytes = randomBytes(4 * 1024 * 1024)
    await using server = await startEncoded('gzip', gzipSync(bytes))
    const response = await fetch(server.origin, { dispatcher })
    expect(bytes.equals(Buffer.from(await response.arrayBuffer()))).toBe(true)
  })

  test.each([
    ['bad data', Buffer.from('this is not gzip'), 'Z_DATA_ERROR'],
    ['an early end', gzipSync(text).subarray(0, -4), 'Z_BUF_ERROR'],
  ])('%s ends the body as terminated', async (_name, body, code) => {
    await using server = await startEncoded('gzip', body)
    const response = await fetch(server.origin, { dispatcher })
    const error = (await response.text().catch((thrown: unknown) => thrown)) as Error
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toBe('terminated')
    expect(error.cause).toMatchObject({ code })
  })

  test('no data is an empty body, and an unknown coding leaves it alone', async () => {
    await using empty = await startEncoded('gzip', Buffer.alloc(0))
    expect(await (await fetch(empty.origin, { dispatcher })).text()).toBe('')
    await using unknown = await startEncoded('gzip, secret', Buffer.from('as it is'))
    expect(await (await fetch(unknown.origin, { dispatcher })).text()).toBe('as it is')
  })

  test('a body can be cancelled before and while it is decoded', async () => {
    await using server = await startServer((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).write(gzipSync(text).subarray(0, -8))
    })
    for (const reads of [0, 1]) {
      const response = await fetch(server.origin, { dispatcher })
      const reader = response.body!.getReader()
      for (let read = 0; read < reads; read++) expect((await reader.read()).done).toBe(false)
      await reader.cancel()
      await until(() => server.sockets.size === 0)
    }
  })

  test('the answer to HEAD is not decoded', async () => {
    await using server = await startEncoded('gzip', gzipSync(text))
    const response = await fetch(server.origin, { method: 'HEAD', dispatcher })
    expect(await response.text()).toBe('')
  })

  test('what is understood is announced, and a caller may say otherwise', async () => {
    await using server = await startServer((request, response) => response.end(request.headers['accept-encoding']))
    const seen = []
    for (const headers of [{}, { 'accept-encoding': 'br' }, { range: 'bytes=0-' }]) {
      const response = await fetch(server.origin, { dispatcher, headers })
      seen.push(await response.text())
    }
    expect(seen).toEqual(['gzip, deflate', 'br', 'identity'])
  })
})

const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024))

describe.each(['wire', 'reqwest'] as const)('limits of decoding over %s', (transport) => {
  const dispatcher = new Agent({ transport })

  test.each([
    ['maxDecodedSize', 1_000_000, 'SLUICE_ERR_DECODED_SIZE'],
    ['maxCompressionRatio', 10, 'SLUICE_ERR_COMPRESSION_RATIO'],
  ])('%s of a request and of its agent', async (name, value, code) => {
    await using server = await startEncoded('gzip', gzipSync(text))
    await using strict = new Agent({ transport, [name]: value })
    for (const init of [{ dispatcher, [name]: value }, { dispatcher: strict }]) {
      const error = (await fetch(server.origin, init)
        .then((response) => response.text())
        .catch((thrown: unknown) => thrown)) as Error
      expect(error.cause, name).toMatchObject({ code })
    }
    const off = name === 'maxDecodedSize' ? -1 : 0
    const response = await fetch(server.origin, { dispatcher: strict, [name]: off })
    expect((await response.text()).length).toBe(text.length)
    await expect(fetch(server.origin, { dispatcher, [name]: 'x' })).rejects.toThrow(`invalid ${name}`)
    expect(() => new Agent({ [name]: 'x' })).toThrow(name)
  })

  test('an unread bomb holds no more than its window', async () => {
    await using server = await startEncoded('gzip', bomb)
    await using agent = new Agent({ transport })
    const response = await fetch(server.origin, { dispatcher: agent })
    const reader = response.body!.getReader()
    await reader.read()
    expect(agent.stats.bufferedBytes).toBeLessThan(1024 * 1024)
    await reader.cancel()
  })
})
