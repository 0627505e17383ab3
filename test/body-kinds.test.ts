/** Every kind of request body over both ways in, both versions and both engines: what a server gets of it. */
import { EventEmitter } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { FormData as UndiciFormData } from 'undici'
import { FormData as Undici7FormData } from 'undici7'
import { ReadableStream as PolyfillStream } from 'web-streams-polyfill'
import { Agent, fetch, fromFile } from '../lib/index.ts'
import { startH2c } from './support/http2-servers.ts'
import { Recorder, send } from './support/recorder.ts'
import { select } from './support/selection.ts'
import { startServer } from './support/servers.ts'

type Way = 'fetch' | 'dispatch'

/** What a server has of a body. */
interface Sent {
  type: string | undefined
  /** The content-length; `chunked` for that coding, on HTTP/2 where there is no length. */
  length: number | 'chunked' | null
  body: string
}

/** An error, where nothing was sent. */
type Outcome = Sent | { name: string; code: string | undefined }

interface Server extends AsyncDisposable {
  origin: string
}

const TEXT = 'caf\u00e9, ten!!!!'
const BYTES = Buffer.from(TEXT)
const LENGTH = BYTES.length
const folder = mkdtempSync(join(tmpdir(), 'sluice-body-kinds-'))
const path = join(folder, 'body.txt')

beforeAll(() => writeFileSync(path, TEXT))
afterAll(() => rmSync(folder, { recursive: true }))

function sentOf(headers: IncomingHttpHeaders, body: Buffer, isHttp2: boolean): Sent {
  const { 'content-type': type, 'content-length': length, 'transfer-encoding': encoding } = headers
  const isUnsized = isHttp2 ? length === undefined && body.length > 0 : encoding === 'chunked'
  return { type, length: isUnsized ? 'chunked' : length === undefined ? null : Number(length), body: body.toString() }
}

const servers: Record<'HTTP/1.1' | 'HTTP/2', () => Promise<Server>> = {
  'HTTP/1.1': () =>
    startServer(async (request, response) => {
      const body = await buffer(request).catch(() => null)
      if (body !== null) response.end(JSON.stringify(sentOf(request.headers, body, false)))
    }),
  'HTTP/2': () =>
    startH2c(async (stream, headers) => {
      const body = await buffer(stream).catch(() => null)
      if (body === null) return
      stream.respond({ ':status': 200 })
      stream.end(JSON.stringify(sentOf(headers, body, true)))
    }),
}

async function post(
  way: Way,
  agent: Agent,
  origin: string,
  body: unknown,
  { method = 'POST', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<Outcome> {
  const facts = ({ name, code }: Error & { code?: string }): Outcome => ({ name, code })
  if (way === 'dispatch') {
    const recorder = send(agent, origin, new Recorder(), { method, headers, body: body as never })
    await recorder.ended
    return recorder.error === null ? (JSON.parse(recorder.body.toString()) as Sent) : facts(recorder.error)
  }
  try {
    const response = await fetch(origin, { method, headers, body: body as never, dispatcher: agent })
    return (await response.json()) as Sent
  } catch (error) {
    return facts(((error as Error).cause ?? error) as Error)
  }
}

async function* asyncItems(): AsyncGenerator<Uint8Array> {
  yield BYTES.subarray(0, 4)
  yield BYTES.subarray(4)
}

function* items(): Generator<Uint8Array> {
  yield BYTES.subarray(0, 4)
  yield BYTES.subarray(4)
}

/** Memory that begins before the bytes and ends after them. */
function padded(): ArrayBuffer {
  const memory = new ArrayBuffer(LENGTH + 16)
  new Uint8Array(memory).fill(0x21).set(BYTES, 8)
  return memory
}

/** 16 bytes of text, which every element size divides. */
const even = Buffer.from('sixteen bytes...')
const VIEWS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
]

function fill<Form extends { append(name: string, value: any, file?: string): void }>(form: Form): Form {
  form.append('field', TEXT)
  form.append('file', new Blob([BYTES], { type: 'a/b' }), 'f.txt')
  return form
}

/** A FormData of no class that anybody knows. */
function duckForm(): object {
  const form = Object.assign(
    new Map<string, unknown>([
      ['field', TEXT],
      ['file', new File([BYTES], 'f.txt', { type: 'a/b' })],
    ]),
    { append: () => {}, getAll: () => [] },
  )
  return Object.defineProperty(form, Symbol.toStringTag, { value: 'FormData' })
}

/** A stream from before Node had a class for them. */
function legacyStream(): object {
  const stream = Object.assign(new EventEmitter(), {
    readable: true,
    pipe: () => {},
    pause: () => {},
    resume: () => {},
    destroy: () => {},
  })
  stream.on('newListener', (event) => {
    if (event !== 'data') return
    setImmediate(() => {
      for (const item of items()) stream.emit('data', item)
      stream.emit('end')
      stream.emit('close')
    })
  })
  return stream
}

const kinds = <Body>(bodies: [string, () => Body][]): [string, () => Body][] => bodies

const sized = kinds<unknown>([
  ['an ArrayBuffer', () => Uint8Array.from(BYTES).buffer],
  ['a Buffer', () => BYTES],
  ['a Uint8Array of a part', () => new Uint8Array(padded(), 8, LENGTH)],
  ['a DataView of a part', () => new DataView(padded(), 8, LENGTH)],
  ['a Blob', () => new Blob([BYTES])],
  ['a File', () => new File([BYTES], 'f.txt')],
  ['a file', () => fromFile(path)],
])

const streamed = kinds<unknown>([
  ['a Node Readable', () => Readable.from(asyncItems())],
  ['a stream from before Node had them', legacyStream],
  ['a generator', items],
  ['an async generator', asyncItems],
  ['an async iterable', () => ({ [Symbol.asyncIterator]: asyncItems })],
  ["the platform's ReadableStream", () => ReadableStream.from(asyncItems())],
  ["the polyfill's ReadableStream", () => PolyfillStream.from(asyncItems())],
  ['a ReadableStream of strings', () => ReadableStream.from([TEXT.slice(0, 5), TEXT.slice(5)])],
])

const forms = kinds<object>([
  ["the platform's", () => fill(new FormData())],
  ["undici 8's", () => fill(new UndiciFormData())],
  ["undici 7's", () => fill(new Undici7FormData())],
  ["nobody's", duckForm],
])

const empty = kinds<unknown>([
  ['nothing', () => null],
  ['an empty string', () => ''],
  ['no bytes', () => new Uint8Array(0)],
  ['an empty ArrayBuffer', () => new ArrayBuffer(0)],
  ['an empty Blob', () => new Blob([])],
  ['an empty generator', () => (function* none() {})()],
  ['an empty async generator', () => (async function* none() {})()],
  ['an empty Readable', () => Readable.from([])],
  ['an empty ReadableStream', () => new ReadableStream({ start: (controller) => controller.close() })],
  ['an empty part of a file', () => fromFile(path, { start: LENGTH })],
])

const rows = (['HTTP/1.1', 'HTTP/2'] as const).flatMap((version) =>
  (['wire', 'reqwest'] as const).flatMap((transport) =>
    (['fetch', 'dispatch'] as const).map((way) => ({ version, transport, way })),
  ),
)
const MISMATCH = { name: 'RequestContentLengthMismatchError', code: 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH' }

describe.each(select(rows))('$way over $version on $transport', ({ version, transport, way }) => {
  let server: Server
  let agent: Agent

  beforeAll(async () => {
    server = await servers[version]()
  })
  afterAll(() => server[Symbol.asyncDispose]())
  beforeEach(() => {
    agent = new Agent({ transport, useH2c: version === 'HTTP/2' })
  })
  afterEach(() => agent.destroy())

  const sent = (body: unknown, options = {}): Promise<Outcome> => post(way, agent, server.origin, body, options)

  test('a string has its length, and for fetch a type', async () => {
    const type = way === 'fetch' ? 'text/plain;charset=UTF-8' : undefined
    expect(await sent(TEXT)).toEqual({ type, length: LENGTH, body: TEXT })
  })

  test.each(sized)('%s has its length and no type', async (_name, open) => {
    expect(await sent(open())).toEqual({ type: undefined, length: LENGTH, body: TEXT })
  })

  test.each(VIEWS)('%o is sent as its bytes', async (View) => {
    const view = new View(Uint8Array.from(even).buffer)
    expect(await sent(view)).toEqual({ type: undefined, length: 16, body: even.toString() })
  })

  test.each([
    ['a Blob', new Blob([BYTES], { type: 'image/x' })],
    ['a File', new File([BYTES], 'f', { type: 'image/x' })],
  ])('%s with a type brings it along, unless the caller has one', async (_name, body) => {
    expect(await sent(body)).toEqual({ type: 'image/x', length: LENGTH, body: TEXT })
    const headers = { 'content-type': 'image/y' }
    expect(await sent(body, { headers })).toEqual({ type: 'image/y', length: LENGTH, body: TEXT })
  })

  test.each(streamed)('%s has no length and no type', async (_name, open) => {
    expect(await sent(open())).toEqual({ type: undefined, length: 'chunked', body: TEXT })
  })

  test.each(streamed)('%s has the length that the caller says', async (_name, open) => {
    const headers = { 'content-length': `${LENGTH}` }
    expect(await sent(open(), { headers })).toEqual({ type: undefined, length: LENGTH, body: TEXT })
  })

  test.each(forms)('%s FormData is multipart, with its length', async (_name, open) => {
    const { type, length, body } = (await sent(open())) as Sent
    const boundary = /^multipart\/form-data; boundary=(.+)$/.exec(type!)![1]!
    expect(length).toBe(Buffer.byteLength(body))
    expect(body.replaceAll(boundary, 'B')).toBe(
      `--B\r\nContent-Disposition: form-data; name="field"\r\n\r\n${TEXT}\r\n` +
        `--B\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\nContent-Type: a/b\r\n\r\n${TEXT}\r\n` +
        '--B--\r\n',
    )
  })

  test('URLSearchParams are a form for fetch, and pairs, which cannot be sent, for dispatch', async () => {
    const type = 'application/x-www-form-urlencoded;charset=UTF-8'
    expect(await sent(new URLSearchParams({ a: '1 2' }))).toEqual(
      way === 'fetch' ? { type, length: 5, body: 'a=1+2' } : { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' },
    )
  })

  test('an array is its text for fetch, and its items for dispatch', async () => {
    expect(await sent(['one', 'two'])).toEqual(
      way === 'fetch'
        ? { type: 'text/plain;charset=UTF-8', length: 7, body: 'one,two' }
        : { type: undefined, length: 'chunked', body: 'onetwo' },
    )
  })

  test.each(empty)('%s is a length of 0 where a body is expected', async (_name, open) => {
    const expected = { length: 0, body: '' }
    expect(await sent(open())).toMatchObject(expected)
    expect(await sent(open(), { method: 'PATCH' })).toMatchObject(expected)
  })

  test.each(empty)('%s is no body elsewhere', async (_name, open) => {
    expect(await sent(open(), { method: 'DELETE' })).toMatchObject({ length: null, body: '' })
  })

  test.each([...sized, ...streamed])('%s that is longer than its content-length is an error', async (_name, open) => {
    expect(await sent(open(), { headers: { 'content-length': `${LENGTH - 1}` } })).toEqual(MISMATCH)
  })

  test.each([...sized, ...streamed])('%s that is shorter than its content-length is an error', async (_name, open) => {
    expect(await sent(open(), { headers: { 'content-length': `${LENGTH + 1}` } })).toEqual(MISMATCH)
  })
})
