/** One large upload: from memory, from a generator, from a file. */
import { createReadStream, existsSync, openAsBlob, statSync, truncateSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { curl } from '../contestants/programs.ts'
import { engineOf, ofBoth, sluiceAgent } from '../contestants/sluice.ts'
import { load } from '../installation.ts'
import { measureTransfer } from '../measure-transfer.ts'
import type { Scenario, Work } from './scenario.ts'
import { dispatcherOf } from './stream.ts'

/** Bytes of a generator's chunk: as many as Node's file streams read at once. */
const CHUNK = 64 * 1024

async function* generate(bytes: number): AsyncGenerator<Uint8Array> {
  const chunk = new Uint8Array(CHUNK).fill(120)
  for (let left = bytes; left > 0; left -= CHUNK) yield left >= CHUNK ? chunk : chunk.subarray(0, left)
}

/** The file of `bytes` bytes, made at its first use; its holes cost no disk and are read as zeros. */
function fileOf(folder: string, bytes: number): string {
  const path = join(folder, `upload-${bytes}`)
  if (!existsSync(path) || statSync(path).size !== bytes) {
    writeFileSync(path, '')
    truncateSync(path, bytes)
  }
  return path
}

let written = new Uint8Array()

/** Memory that was written before: what never was is one page of zeros, which is read from the cache. */
function memory(bytes: number): Uint8Array {
  if (written.byteLength < bytes) written = new Uint8Array(bytes).fill(120)
  return written.subarray(0, bytes)
}

/** The body as `fetch` or `request` takes it. */
async function bodyOf(id: string, isFetch: boolean, folder: string, bytes: number): Promise<unknown> {
  if (id === 'upload/bytes') return memory(bytes)
  if (id === 'upload/generator') return isFetch ? Readable.toWeb(Readable.from(generate(bytes))) : generate(bytes)
  const path = fileOf(folder, bytes)
  return isFetch ? openAsBlob(path) : createReadStream(path, { highWaterMark: 256 * 1024 })
}

async function upload(contestant: string, id: string, url: string, folder: string, bytes: number): Promise<number> {
  if (contestant === 'node:http') return byNode(id, url, folder, bytes)
  const isFetch = contestant.includes('fetch')
  const headers = { 'content-length': String(bytes) }
  if (!isFetch) {
    const { request } = (await load('undici')) as any
    const body = await bodyOf(id, false, folder, bytes)
    const dispatcher = await dispatcherOf(contestant)
    const response = await request(url, { method: 'POST', body, headers, dispatcher })
    return received(response.statusCode, await response.body.text())
  }
  const init = { method: 'POST', duplex: 'half' } as const
  let response
  if (contestant === 'built-in fetch' || contestant === 'undici fetch') {
    const body = (await bodyOf(id, true, folder, bytes)) as never
    const fetch = contestant === 'undici fetch' ? ((await load('undici')) as any).fetch : globalThis.fetch
    response = await fetch(url, { ...init, body } as RequestInit)
  } else {
    const sluice = (await import('../../lib/index.ts')) as any
    // What the library has of its own for files, as soon as it has it.
    const isNative = id === 'upload/file' && typeof sluice.fromFile === 'function'
    const body = isNative ? sluice.fromFile(fileOf(folder, bytes)) : await bodyOf(id, true, folder, bytes)
    response = await sluice.fetch(url, { ...init, body, dispatcher: await sluiceAgent(engineOf(contestant)) })
  }
  return received(response.status, await response.text())
}

function received(status: number, text: string): number {
  if (status !== 200) throw new Error(`status ${status}`)
  return (JSON.parse(text) as { bytes: number }).bytes
}

async function byNode(id: string, url: string, folder: string, bytes: number): Promise<number> {
  const request = httpRequest(url, { method: 'POST', headers: { 'content-length': bytes } })
  const response = new Promise<number>((resolve, reject) => {
    request.on('error', reject)
    request.on('response', (message) => {
      let text = ''
      message.setEncoding('utf8').on('data', (part: string) => (text += part))
      message.on('end', () => resolve(received(message.statusCode!, text)))
    })
  })
  const body = (await bodyOf(id, false, folder, bytes)) as Uint8Array | AsyncIterable<Uint8Array>
  if (body instanceof Uint8Array) request.end(body)
  else await pipeline(body, request)
  return response
}

const contestants = [
  ...ofBoth('sluice request'),
  ...ofBoth('sluice fetch'),
  'undici request',
  'undici fetch',
  'built-in fetch',
  'node:http',
]

const work = (id: string, title: string, bytes: number, others: string[] = []): Work => ({
  id: `upload/${id}`,
  title: `${title}, ${bytes / 1024 ** 2} MiB`,
  metric: 'gbPerSecond',
  isThroughput: true,
  method: 'POST',
  path: '/upload',
  parallel: 1,
  bytes,
  contestants: [...contestants, ...others],
})

export const uploads: Scenario = {
  name: 'upload',
  isShared: false,
  works: ({ fileBytes }) => [
    work('bytes', 'from memory', Math.min(fileBytes, 256 * 1024 ** 2)),
    work('generator', 'from a generator', fileBytes),
    work('file', 'from a file in memory', fileBytes, ['curl']),
  ],
  async measure(contestant, { id, bytes }, { server, folder }) {
    const url = `http://127.0.0.1:${server.http}/upload`
    if (contestant === 'curl') {
      const expectless = ['-H', 'expect:', '-X', 'POST', '-o', '/dev/null']
      return curl([...expectless, '-T', fileOf(folder, bytes), url], bytes)
    }
    if (id === 'upload/bytes') memory(bytes)
    return measureTransfer((size) => upload(contestant, id, url, folder, size), bytes)
  },
}
