import { Readable } from 'node:stream'
import { describe, expect, test, vi } from 'vitest'
import { FormData as UndiciFormData } from 'undici'
import { Agent, fetch } from '../lib/index.ts'
import type { FetchInit } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { untilCollected } from './support/gc.ts'
import { isAsked, startServer } from './support/servers.ts'

interface Sent {
  type: string | undefined
  length: string | undefined
  encoding: string | undefined
  body: string
}

/** What the server got of a POST with this body. */
async function post(body: unknown, headers: Record<string, string> = {}): Promise<Sent> {
  await using server = await startServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    response.end(
      JSON.stringify({
        type: request.headers['content-type'],
        length: request.headers['content-length'],
        encoding: request.headers['transfer-encoding'],
        body: Buffer.concat(chunks).toString('latin1'),
      }),
    )
  })
  await using agent = new Agent()
  const response = await fetch(server.origin, {
    method: 'POST',
    body: body as FetchInit['body'],
    headers,
    dispatcher: agent,
    duplex: 'half',
  })
  return (await response.json()) as Sent
}

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)
async function* generate(): AsyncGenerator<Uint8Array> {
  yield bytes('one ')
  yield bytes('two')
}
const form = <T extends { append(name: string, value: string): void }>(data: T): T => {
  data.append('field', 'value')
  return data
}

describe('request bodies', () => {
  test.each([
    ['nothing', undefined, undefined, '', '0'],
    ['null', null, undefined, '', '0'],
    ['an empty string', '', 'text/plain;charset=UTF-8', '', '0'],
    ['a string', 'caf\u00e9', 'text/plain;charset=UTF-8', Buffer.from('caf\u00e9').toString('latin1'), '5'],
    ['a Uint8Array', bytes('xbytesx').subarray(1, 6), undefined, 'bytes', '5'],
    ['an ArrayBuffer', bytes('bytes').buffer, undefined, 'bytes', '5'],
    ['a DataView', new DataView(bytes('xbytes').buffer, 1), undefined, 'bytes', '5'],
    ['a Blob', new Blob(['blob'], { type: 'image/x' }), 'image/x', 'blob', '4'],
    ['a Blob without a type', new Blob(['blob']), undefined, 'blob', '4'],
    [
      'URLSearchParams',
      new URLSearchParams({ a: '1 2' }),
      'application/x-www-form-urlencoded;charset=UTF-8',
      'a=1+2',
      '5',
    ],
    ['an async generator', generate(), undefined, 'one two', undefined],
    ['a ReadableStream', ReadableStream.from(generate()), undefined, 'one two', undefined],
    ['a Node Readable', Readable.from(generate()), undefined, 'one two', undefined],
  ])('%s', async (_name, body, type, said, length) => {
    expect(await post(body)).toEqual({
      type,
      length,
      encoding: length === undefined ? 'chunked' : undefined,
      body: said,
    })
  })

  test.each([
    ["the platform's FormData", () => form(new FormData())],
    ["undici's FormData", () => form(new UndiciFormData())],
  ])('%s', async (_name, makeForm) => {
    const { type, body, length } = await post(makeForm())
    const boundary = /^multipart\/form-data; boundary=(.+)$/.exec(type ?? '')![1]!
    expect(body).toContain(
      `--${boundary}\r\nContent-Disposition: form-data; name="field"\r\n\r\nvalue\r\n--${boundary}--`,
    )
    expect(length).toBe(String(body.length))
  })

  test('a content-type of the caller stands', async () => {
    expect((await post('{}', { 'Content-Type': 'application/json' })).type).toBe('application/json')
  })

  test('a body that is large arrives whole', async () => {
    const large = 'x'.repeat(3_000_000)
    expect((await post(large)).body.length).toBe(large.length)
  })
})

test('a body that fails before the head fails the fetch', async () => {
  await using server = await startServer((request) => void request.resume())
  await using agent = new Agent()
  const failure = new Error('source broke')
  async function* failing(): AsyncGenerator<string> {
    yield 'first'
    await until(() => isAsked(server))
    throw failure
  }
  const fetching = fetch(server.origin, { method: 'POST', body: failing(), dispatcher: agent })
  await expect(fetching).rejects.toMatchObject({ message: 'fetch failed', cause: failure })
  await until(() => server.sockets.size === 0)
})

test('a body that fails after the head fails the response', async () => {
  await using server = await startServer((request, response) => {
    request.resume()
    response.write('early')
  })
  await using agent = new Agent()
  const failure = new Error('source broke')
  const head = Promise.withResolvers<void>()
  async function* failing(): AsyncGenerator<string> {
    yield 'first'
    await head.promise
    throw failure
  }
  const response = await fetch(server.origin, { method: 'POST', body: failing(), dispatcher: agent })
  head.resolve()
  await expect(response.text()).rejects.toMatchObject({ message: 'terminated', cause: failure })
  await until(() => server.sockets.size === 0)
})

test('an aborted fetch ends the stream it was sending', async () => {
  await using server = await startServer((request) => void request.resume())
  await using agent = new Agent()
  const cancel = vi.fn()
  const body = new ReadableStream({ pull: (controller) => controller.enqueue(bytes('x'.repeat(65_536))), cancel })
  const controller = new AbortController()
  const fetching = fetch(server.origin, { method: 'POST', body, signal: controller.signal, dispatcher: agent })
  await until(() => isAsked(server))
  const reason = new Error('enough')
  controller.abort(reason)
  await expect(fetching).rejects.toBe(reason)
  await until(() => cancel.mock.calls.length === 1)
  await until(() => server.sockets.size === 0)
})

test('an aborted fetch lets go of its body', async () => {
  await using server = await startServer(() => {})
  await using agent = new Agent()
  const sendOne = async (): Promise<WeakRef<Uint8Array>> => {
    const body = new Uint8Array(100_000)
    const controller = new AbortController()
    const fetching = fetch(server.origin, { method: 'POST', body, signal: controller.signal, dispatcher: agent })
    await until(() => server.sockets.size === 1)
    controller.abort()
    await fetching.catch(() => {})
    return new WeakRef(body)
  }
  const body = await sendOne()
  await untilCollected(() => body.deref() === undefined)
})
