import { randomBytes } from 'node:crypto'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import { startServer } from './support/servers.ts'

const startEncoded = (coding: string, body: Uint8Array) =>
  startServer((_request, response) => {
    response.writeHead(200, { 'content-encoding': coding, 'content-length': body.byteLength }).end(body)
  })

const text = 'hello sluice '.repeat(100_000)

describe.each(['wire', 'reqwest'] as const)('content codings over %s', (transport) => {
  const dispatcher = new Agent({ transport })

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

  test('the answer to HEAD is not decoded', async () => {
    await using server = await startEncoded('gzip', gzipSync(text))
    const response = await fetch(server.origin, { method: 'HEAD', dispatcher })
    expect(await response.text()).toBe('')
  })

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
    const bomb = gzipSync(Buffer.alloc(256 * 1024 * 1024))
    await using server = await startEncoded('gzip', bomb)
    await using agent = new Agent({ transport })
    const response = await fetch(server.origin, { dispatcher: agent })
    const reader = response.body!.getReader()
    await reader.read()
    expect(agent.stats.bufferedBytes).toBeLessThan(1024 * 1024)
    await reader.cancel()
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
