/** fetch/api/request and fetch/api/body: what becomes of each kind of request body. */
import { Readable } from 'node:stream'
import { expect } from 'vitest'
import { echo, encode, rejection } from '../context.ts'
import type { Context, Seen } from '../context.ts'
import { wpt } from '../registry.ts'

const TEXT = 'text/plain;charset=UTF-8'

/** Type, length and body of a POST. */
async function post(context: Context, body: unknown, headers: Record<string, string> = {}): Promise<unknown[]> {
  const seen = await context.see({ method: 'POST', body, headers, duplex: 'half' })
  return [seen.headers['content-type'], seen.headers['content-length'], seen.body]
}

/** What a POST of `body` rejects with, when nothing reached the server. */
async function refusal(context: Context, body: unknown): Promise<unknown> {
  let requests = 0
  const origin = await context.serve((_request, response) => {
    requests++
    response.end()
  })
  const reason = await rejection(context.fetch(origin, { method: 'POST', body, duplex: 'half' }))
  expect(requests).toBe(0)
  return reason
}

const ofText: [string, () => unknown, string][] = [
  ['a number', () => 5, '5'],
  ['NaN', () => Number.NaN, 'NaN'],
  ['a bigint', () => 12n, '12'],
  ['false', () => false, 'false'],
  ['an object', () => ({}), '[object Object]'],
  ['an object with toString', () => ({ toString: () => 'mine' }), 'mine'],
  ['an array', () => ['a', 'b'], 'a,b'],
  ['an empty array', () => [], ''],
  ['a String object', () => new String('xy'), 'xy'],
  ['a Date', () => new Date(Number.NaN), 'Invalid Date'],
  ['a Map', () => new Map([[1, 2]]), '[object Map]'],
  ['a URL', () => new URL('http://a.test/'), 'http://a.test/'],
  ['a Response', () => new Response('x'), '[object Response]'],
  ['a SharedArrayBuffer', () => new SharedArrayBuffer(4), '[object SharedArrayBuffer]'],
  ['a promise', () => Promise.resolve('x'), '[object Promise]'],
]

wpt('fetch/api/request/request-init-002.any.js', {
  ...Object.fromEntries(
    ofText.map(([what, make, text]) => [
      `${what} is sent as its text`,
      async (context: Context) => {
        expect(await post(context, make())).toEqual([TEXT, `${text.length}`, text])
      },
    ]),
  ),
  'a symbol is a TypeError': async (context) => {
    expect(await refusal(context, Symbol('x'))).toBeInstanceOf(TypeError)
  },
  'an object without a text is a TypeError': async (context) => {
    expect(await refusal(context, Object.create(null))).toBeInstanceOf(TypeError)
  },
  'what toString throws is what fetch rejects with': async (context) => {
    const error = new RangeError('mine')
    const body = {
      toString() {
        throw error
      },
    }
    expect(await refusal(context, body)).toBe(error)
  },
  'null and undefined are no body': async (context) => {
    expect(await post(context, null)).toEqual([undefined, '0', ''])
    expect(await post(context, undefined)).toEqual([undefined, '0', ''])
  },
  'a lone surrogate at either end is U+FFFD': async (context) => {
    expect(await post(context, '\udc00a\ud800')).toEqual([TEXT, '7', '\u00ef\u00bf\u00bda\u00ef\u00bf\u00bd'])
  },
  'a lone surrogate in URLSearchParams is U+FFFD': async (context) => {
    expect((await post(context, new URLSearchParams({ a: '\ud800' })))[2]).toBe('a=%EF%BF%BD')
  },
  'empty URLSearchParams have their type': async (context) => {
    const type = 'application/x-www-form-urlencoded;charset=UTF-8'
    expect(await post(context, new URLSearchParams())).toEqual([type, '0', ''])
  },
  'a resizable ArrayBuffer and a view of one are sent as they are': async (context) => {
    expect(await post(context, new ArrayBuffer(3, { maxByteLength: 8 }))).toEqual([undefined, '3', '\0\0\0'])
    const view = new Uint8Array(new ArrayBuffer(3, { maxByteLength: 8 }))
    expect(await post(context, view)).toEqual([undefined, '3', '\0\0\0'])
  },
  'a detached ArrayBuffer and a view of one are empty': async (context) => {
    const view = new Uint8Array(4)
    structuredClone(view.buffer, { transfer: [view.buffer] })
    expect(await post(context, view.buffer)).toEqual([undefined, '0', ''])
    expect(await post(context, view)).toEqual([undefined, '0', ''])
  },
  'bytes that change after fetch() are sent as they were': async (context) => {
    const bytes = encode('before')
    const origin = await context.serve(echo)
    const sent = context.fetch(origin, { method: 'POST', body: bytes })
    bytes.set(encode('after!'))
    expect(((await (await sent).json()) as { body: string }).body).toBe('before')
  },
  'a form that changes after fetch() is sent as it was': async (context) => {
    const form = new FormData()
    form.append('a', 'before')
    const origin = await context.serve(echo)
    const sent = context.fetch(origin, { method: 'POST', body: form })
    form.set('a', 'after!')
    expect(((await (await sent).json()) as { body: string }).body).toContain('before')
  },
  'the type of a Blob is lower case': async (context) => {
    expect(await post(context, new Blob(['x'], { type: 'Text/Plain;A=B' }))).toEqual(['text/plain;a=b', '1', 'x'])
  },
  'a File is a Blob': async (context) => {
    expect(await post(context, new File(['x'], 'n', { type: 'a/b' }))).toEqual(['a/b', '1', 'x'])
  },
  'a type of the caller stands for every kind': async (context) => {
    const mine = { 'content-type': 'mine/1' }
    const form = new FormData()
    const bodies = ['x', new Blob(['x'], { type: 'a/b' }), new URLSearchParams(), form, {}, new Uint8Array(1)]
    for (const body of bodies) expect((await post(context, body, mine))[0]).toBe('mine/1')
  },
  'an empty type of the caller stands': async (context) => {
    expect(await post(context, 'x', { 'content-type': '' })).toEqual(['', '1', 'x'])
  },
})

wpt('fetch/api/body/formdata.any.js', {
  'names, values and file names are escaped': async (context) => {
    const form = new FormData()
    form.append('a"\r\nb', 'x"\ny\rz\r\n')
    form.append('f', new Blob(['1'], { type: '' }), 'n"\n.txt')
    const [type, length, body] = (await post(context, form)) as [string, string, string]
    const boundary = /boundary=(.+)$/.exec(type)![1]!
    expect(body.replaceAll(boundary, 'B').split('\r\n')).toEqual([
      '--B',
      'Content-Disposition: form-data; name="a%22%0D%0Ab"',
      '',
      'x"',
      'y',
      'z',
      '',
      '--B',
      'Content-Disposition: form-data; name="f"; filename="n%22%0A.txt"',
      'Content-Type: application/octet-stream',
      '',
      '1',
      '--B--',
      '',
    ])
    expect(length).toBe(`${body.length}`)
  },
  'a Blob is a file named blob': async (context) => {
    const form = new FormData()
    form.append('f', new Blob(['1'], { type: 'a/b' }))
    const [, , body] = (await post(context, form)) as string[]
    expect(body).toContain('name="f"; filename="blob"\r\nContent-Type: a/b\r\n\r\n1\r\n')
  },
  'names and values beyond ASCII are UTF-8': async (context) => {
    const form = new FormData()
    form.append('\u00e9', '\ud83d\ude00')
    const [, , body] = (await post(context, form)) as string[]
    expect(Buffer.from(body!, 'latin1').toString()).toContain('name="\u00e9"\r\n\r\n\ud83d\ude00\r\n')
  },
  'an empty form is its closing line': async (context) => {
    const [type, , body] = (await post(context, new FormData())) as string[]
    expect(body).toBe(`--${/boundary=(.+)$/.exec(type!)![1]}--\r\n`)
  },
  'what was sent is a form again': async (context) => {
    const form = new FormData()
    form.append('a', '1')
    form.append('a', '2')
    form.append('f', new File(['bytes'], 'n.txt', { type: 'text/plain' }))
    const [type, , body] = (await post(context, form)) as [string, string, string]
    const back = await (await context.respond(Buffer.from(body, 'latin1'), { 'content-type': type })).formData()
    const file = back.get('f') as File
    expect([back.getAll('a'), file.name, file.type, await file.text()]).toEqual([
      ['1', '2'],
      'n.txt',
      'text/plain',
      'bytes',
    ])
  },
})

async function* generate(): AsyncGenerator<Uint8Array> {
  yield encode('a')
  yield encode('b')
}

wpt('fetch/api/request/request-disturbed.any.js', {
  'a stream of which a part was read is refused': async (context) => {
    const body = ReadableStream.from(generate())
    const reader = body.getReader()
    await reader.read()
    reader.releaseLock()
    expect(await refusal(context, body)).toBeInstanceOf(TypeError)
  },
  'a stream that was cancelled is refused': async (context) => {
    const body = ReadableStream.from(generate())
    await body.cancel()
    expect(await refusal(context, body)).toBeInstanceOf(TypeError)
  },
  'a Readable that was read is refused': async (context) => {
    const body = Readable.from(generate(), { objectMode: false })
    await new Promise((resolve) => body.once('readable', resolve))
    body.read(1)
    expect(await refusal(context, body)).toBeInstanceOf(TypeError)
  },
  'a stream that is locked is refused': async (context) => {
    const body = ReadableStream.from(generate())
    body.getReader()
    expect(await refusal(context, body)).toBeInstanceOf(TypeError)
  },
  'a stream that is a body is locked from the call on': async (context) => {
    const body = ReadableStream.from(generate())
    const origin = await context.serve(echo)
    const sent = context.fetch(origin, { method: 'POST', body, duplex: 'half' })
    expect(body.locked).toBe(true)
    await sent
  },
  'a stream is sent once': async (context) => {
    const body = ReadableStream.from(generate())
    expect(await post(context, body)).toEqual([undefined, undefined, 'ab'])
    expect(await refusal(context, body)).toBeInstanceOf(TypeError)
  },
  'a body of another response is a stream': async (context) => {
    const { body } = await context.respond('from there')
    expect((await post(context, body))[2]).toBe('from there')
  },
  'a body of another response that was read is refused': async (context) => {
    const response = await context.respond('from there')
    await response.text()
    expect(await refusal(context, response.body)).toBeInstanceOf(TypeError)
  },
  'a Request that was sent is used, and is refused': async (context) => {
    const origin = await context.serve(echo)
    const request = new Request(origin, { method: 'POST', body: 'x' })
    await (await context.fetch(request)).text()
    expect(request.bodyUsed).toBe(true)
    expect(await rejection(context.fetch(request))).toBeInstanceOf(TypeError)
  },
  'a Request is used from the call on': async (context) => {
    const origin = await context.serve(echo)
    const request = new Request(origin, { method: 'POST', body: 'x' })
    const sent = context.fetch(request)
    expect(request.bodyUsed).toBe(true)
    expect(await rejection(request.text())).toBeInstanceOf(TypeError)
    await sent
  },
  'the body of a Request has its length': async (context) => {
    const origin = await context.serve(echo)
    for (const body of ['text', encode('text'), new Blob(['text']), new URLSearchParams('text'), 'x'.repeat(600_000)]) {
      const response = await context.fetch(new Request(origin, { method: 'POST', body }))
      const { headers, body: sent } = (await response.json()) as Seen
      expect([headers['content-length'], headers['transfer-encoding']]).toEqual([`${sent.length}`, undefined])
    }
  },
  'a Request whose stream goes on is sent as it comes': async (context) => {
    const started = Promise.withResolvers<void>()
    const origin = await context.serve((request, response) => {
      request.once('data', () => started.resolve())
      echo(request, response)
    })
    let feed!: ReadableStreamDefaultController
    const body = new ReadableStream({ start: (controller) => void (feed = controller) })
    feed.enqueue(encode('a'))
    const init = { method: 'POST', body, duplex: 'half' } as RequestInit
    const sent = context.fetch(new Request(origin, init))
    await started.promise
    feed.enqueue(encode('b'))
    feed.close()
    const seen = (await (await sent).json()) as Seen
    expect([seen.body, seen.headers['transfer-encoding']]).toEqual(['ab', 'chunked'])
  },
  'a Request whose stream fails at once fails with its error': async (context) => {
    const origin = await context.serve(echo)
    const failure = new Error('mine')
    const body = new ReadableStream({ pull: (controller) => controller.error(failure) })
    const init = { method: 'POST', body, duplex: 'half' } as RequestInit
    const reason = (await rejection(context.fetch(new Request(origin, init)))) as Error
    expect([reason, reason.cause]).toContain(failure)
  },
  'a Request that is aborted in the tick of the call cancels its stream': async (context) => {
    const cancelled: unknown[] = []
    const origin = await context.serve(echo)
    const controller = new AbortController()
    const body = new ReadableStream({ cancel: (reason) => void cancelled.push(reason) })
    const init = { method: 'POST', body, duplex: 'half', signal: controller.signal } as RequestInit
    const sent = context.fetch(new Request(origin, init))
    controller.abort('mine')
    expect(await rejection(sent)).toBe('mine')
    expect(cancelled).toEqual(['mine'])
  },
  'a Request whose body was read is refused': async (context) => {
    const origin = await context.serve(echo)
    const request = new Request(origin, { method: 'POST', body: 'x' })
    await request.text()
    expect(await rejection(context.fetch(request))).toBeInstanceOf(TypeError)
  },
  'a Request whose body is replaced is not used': async (context) => {
    const origin = await context.serve(echo)
    const request = new Request(origin, { method: 'POST', body: 'x' })
    const seen = (await (await context.fetch(request, { body: 'y' })).json()) as { body: string }
    expect([seen.body, request.bodyUsed]).toEqual(['y', false])
  },
  'the Request of a GET can be sent twice': async (context) => {
    const request = new Request(await context.serve(echo))
    await (await context.fetch(request)).text()
    expect((await context.fetch(request)).status).toBe(200)
  },
})

wpt('fetch/api/request/request-keepalive.any.js', {
  'a stream is refused': async (context) => {
    for (const body of [new ReadableStream(), generate()]) {
      const init = { method: 'POST', body, duplex: 'half', keepalive: true }
      expect(await rejection(context.fetch('http://localhost/', init))).toBeInstanceOf(TypeError)
    }
  },
})
