/** One large download, consumed in each of the ways there are. */
import { createWriteStream, rmSync, statSync } from 'node:fs'
import { get } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { curl } from '../contestants/programs.ts'
import { engineOf, ofBoth, sluiceAgent } from '../contestants/sluice.ts'
import { load } from '../installation.ts'
import { measureTransfer } from '../measure-transfer.ts'
import type { Context, Scenario, Work } from './scenario.ts'

/** Bytes of the buffer that BYOB readers and the raw socket read into. */
const VIEW = 256 * 1024
/** The slow consumer rests this long (ms) after so many bytes. */
const REST_MS = 5
const REST_BYTES = 8 * 1024 ** 2

type Body = ReadableStream<Uint8Array>
type Fetches = (url: string) => Promise<{ status: number; body: Body | null }>

export async function fetcherOf(contestant: string, options: object = {}): Promise<Fetches> {
  if (contestant === 'built-in fetch') return (url) => globalThis.fetch(url) as Promise<any>
  if (contestant === 'undici fetch') {
    const { fetch, Agent } = (await load('undici')) as any
    const dispatcher = new Agent(options)
    return (url) => fetch(url, { dispatcher })
  }
  const { fetch } = await import('../../lib/index.ts')
  const { ca } = (options as { connect?: { ca: string } }).connect ?? {}
  const dispatcher = await sluiceAgent(engineOf(contestant), ca === undefined ? {} : { ca })
  return (url) => fetch(url, { dispatcher }) as Promise<any>
}

/** The dispatcher of `undici.request` and `undici.stream`. */
export async function dispatcherOf(contestant: string): Promise<any> {
  if (contestant.startsWith('sluice ')) return sluiceAgent(engineOf(contestant))
  const { Agent } = (await load('undici')) as any
  return new Agent()
}

export async function bodyOf(fetches: Fetches, url: string): Promise<Body> {
  const { status, body } = await fetches(url)
  if (status !== 200 || body === null) throw new Error(`status ${status}`)
  return body
}

export async function readAll(body: Body): Promise<number> {
  const reader = body.getReader()
  let bytes = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return bytes
    bytes += value.byteLength
  }
}

async function readIntoOneBuffer(body: Body): Promise<number> {
  const reader = body.getReader({ mode: 'byob' })
  let bytes = 0
  let view = new Uint8Array(VIEW)
  for (;;) {
    const { done, value } = await reader.read(view)
    if (done) return bytes
    bytes += value.byteLength
    view = new Uint8Array(value.buffer)
  }
}

async function iterate(chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0
  for await (const chunk of chunks) bytes += chunk.byteLength
  return bytes
}

async function iterateSlowly(chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0
  let rested = 0
  for await (const chunk of chunks) {
    bytes += chunk.byteLength
    if (bytes - rested < REST_BYTES) continue
    rested = bytes
    await delay(REST_MS)
  }
  return bytes
}

/** A Node writable that counts and keeps nothing. */
class Discard extends Writable {
  bytes = 0

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.bytes += chunk.length
    callback()
  }
}

function nodeGet(url: string): Promise<Readable> {
  return new Promise((resolve, reject) => {
    get(url, (response) => {
      if (response.statusCode === 200) resolve(response)
      else reject(new Error(`status ${response.statusCode}`))
    }).on('error', reject)
  })
}

/** A socket that reads into one buffer and parses nothing but the end of the head: the floor of any client in Node. */
function rawSocket(url: string): Promise<number> {
  const { hostname, port, pathname, host } = new URL(url)
  return new Promise((resolve, reject) => {
    let isBody = false
    let bytes = 0
    const callback = (length: number, buffer: Uint8Array): boolean => {
      if (isBody) {
        bytes += length
      } else {
        // The head arrives in the first read: it is far smaller than the buffer.
        const end = Buffer.from(buffer.buffer, buffer.byteOffset, length).indexOf('\r\n\r\n')
        if (end === -1) reject(new Error('the head was cut'))
        isBody = true
        bytes = length - end - 4
      }
      return true
    }
    const onread = { buffer: Buffer.alloc(VIEW), callback }
    const socket = connect({ host: hostname, port: Number(port), onread } as never, () => {
      socket.write(`GET ${pathname} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`)
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(bytes))
  })
}

async function byNodeStream(contestant: string, url: string, to: () => Writable): Promise<void> {
  if (contestant === 'node:http') return pipeline(await nodeGet(url), to())
  if (contestant.endsWith('fetch') || contestant.startsWith('sluice fetch')) {
    const body = await bodyOf(await fetcherOf(contestant), url)
    return pipeline(Readable.fromWeb(body as never), to())
  }
  const { stream } = (await load('undici')) as any
  const dispatcher = await dispatcherOf(contestant)
  await stream(url, { method: 'GET', dispatcher }, ({ statusCode }: { statusCode: number }) => {
    if (statusCode !== 200) throw new Error(`status ${statusCode}`)
    return to()
  })
}

async function chunksOf(contestant: string, url: string): Promise<AsyncIterable<Uint8Array>> {
  if (contestant === 'node:http') return nodeGet(url)
  if (contestant.includes(' request')) {
    const { request } = (await load('undici')) as any
    const { statusCode, body } = await request(url, { dispatcher: await dispatcherOf(contestant) })
    if (statusCode !== 200) throw new Error(`status ${statusCode}`)
    return body
  }
  return (await bodyOf(await fetcherOf(contestant), url)) as unknown as AsyncIterable<Uint8Array>
}

async function intoFile(contestant: string, url: string, path: string): Promise<number> {
  if (contestant.startsWith('sluice fetch')) {
    const { toFile } = await import('../../lib/index.ts')
    const body = await bodyOf(await fetcherOf(contestant), url)
    await body.pipeTo(toFile(path) as never)
  } else {
    await byNodeStream(contestant, url, () => createWriteStream(path))
  }
  return statSync(path).size
}

async function transfer(contestant: string, id: string, url: string, path: string): Promise<number> {
  switch (id) {
    case 'stream/reader':
      return readAll(await bodyOf(await fetcherOf(contestant), url))
    case 'stream/byob':
      if (contestant === 'net socket') return rawSocket(url)
      return readIntoOneBuffer(await bodyOf(await fetcherOf(contestant), url))
    case 'stream/iterate':
      return iterate(await chunksOf(contestant, url))
    case 'stream/slow':
      return iterateSlowly(await chunksOf(contestant, url))
    case 'stream/file':
      return intoFile(contestant, url, path)
    case 'stream/writable': {
      const discard = new Discard()
      await byNodeStream(contestant, url, () => discard)
      return discard.bytes
    }
    default:
      throw new Error(`no such work: ${id}`)
  }
}

const fetches = [...ofBoth('sluice fetch'), 'undici fetch', 'built-in fetch']
const requests = [...ofBoth('sluice request'), 'undici request']
const streams = [...ofBoth('sluice stream'), 'undici stream']

const work = (id: string, title: string, bytes: number, contestants: string[], isThroughput = true): Work => ({
  id: `stream/${id}`,
  title: `${title}, ${bytes / 1024 ** 2} MiB`,
  metric: 'gbPerSecond',
  isThroughput,
  method: 'GET',
  path: `/bytes/${bytes}`,
  parallel: 1,
  bytes,
  contestants,
})

export const stream: Scenario = {
  name: 'stream',
  isShared: false,
  works: ({ bytes, fileBytes }) => [
    work('reader', 'default reader', bytes, fetches),
    work('byob', 'BYOB reader, one buffer', bytes, [...fetches, 'net socket']),
    work('iterate', 'for await', fileBytes, [...fetches, ...requests, 'node:http']),
    work('file', 'into a file in memory', fileBytes, [...fetches, ...streams, 'node:http', 'curl']),
    work('writable', 'into a Node writable', fileBytes, [...fetches, ...streams, 'node:http']),
    // Its pace is the consumer's: what differs is the memory.
    work('slow', 'slow consumer', Math.min(fileBytes, 512 * 1024 ** 2), [...fetches, ...requests, 'node:http'], false),
  ],
  async measure(contestant, { id, bytes }, { server, folder }: Context) {
    const path = join(folder, `download-${process.pid}`)
    const urlOf = (size: number): string => `http://127.0.0.1:${server.http}/bytes/${size}`
    if (contestant === 'curl') {
      try {
        return await curl(['-o', path, urlOf(bytes)], bytes)
      } finally {
        rmSync(path, { force: true })
      }
    }
    // A socket's own warm-up is short; one of the same kind as the work for everybody.
    // The kernel frees a file's pages in the thread that removes it: no part of a download, nor of curl's.
    const cleanUp = (): void => rmSync(path, { force: true })
    return measureTransfer((size) => transfer(contestant, id, urlOf(size), path), bytes, { cleanUp })
  },
}
