/** fetch/api/response and fetch/api/body: what a response of fetch is, how it is read, cloned and cancelled. */
import { expect } from 'vitest'
import { decode, encode, rejection } from '../context.ts'
import type { Context } from '../context.ts'
import { wpt, wptStreams } from '../registry.ts'

const METHODS = ['text', 'json', 'bytes', 'arrayBuffer', 'blob', 'formData'] as const
type Method = (typeof METHODS)[number]
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

const each = (titleOf: (method: Method) => string, run: (context: Context, method: Method) => unknown) =>
  Object.fromEntries(METHODS.map((method) => [titleOf(method), (context: Context) => run(context, method)]))

wpt('fetch/api/response/response-consume.html', {
  'text() of a body': async (context) => {
    expect(await (await context.respond('caf\u00e9')).text()).toBe('caf\u00e9')
  },
  'json() of a body': async (context) => {
    expect(await (await context.respond('{"a":[1,null]}')).json()).toEqual({ a: [1, null] })
  },
  'json() drops a BOM': async (context) => {
    expect(await (await context.respond('\ufeff{"a":1}')).json()).toEqual({ a: 1 })
  },
  'json() of what is none is a SyntaxError, and uses the body': async (context) => {
    const response = await context.respond('{')
    expect(await rejection(response.json())).toBeInstanceOf(SyntaxError)
    expect(response.bodyUsed).toBe(true)
  },
  'bytes() is a Uint8Array of its own memory': async (context) => {
    const bytes = await (await context.respond(new Uint8Array([0, 255, 1]))).bytes()
    expect([bytes.constructor, bytes.byteOffset, bytes.buffer.byteLength, ...bytes]).toEqual([
      Uint8Array,
      0,
      3,
      0,
      255,
      1,
    ])
  },
  'arrayBuffer() has the length of the body': async (context) => {
    const buffer = await (await context.respond('bytes')).arrayBuffer()
    expect([buffer instanceof ArrayBuffer, buffer.byteLength]).toEqual([true, 5])
  },
  'blob() has the type of the response': async (context) => {
    const blob = await (await context.respond('x', { 'content-type': 'Text/Plain; Charset=UTF-8' })).blob()
    expect([blob instanceof Blob, blob.size, blob.type]).toEqual([true, 1, 'text/plain;charset=utf-8'])
  },
  'blob() without a type has none': async (context) => {
    expect((await (await context.respond('x')).blob()).type).toBe('')
  },
  'formData() of urlencoded': async (context) => {
    const form = await (await context.respond('a=1&b=%C3%A9+x&a=2', FORM)).formData()
    expect([...form]).toEqual([
      ['a', '1'],
      ['b', '\u00e9 x'],
      ['a', '2'],
    ])
  },
  'formData() of multipart': async (context) => {
    const body =
      '--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' +
      '--B\r\nContent-Disposition: form-data; name="f"; filename="n"\r\nContent-Type: a/b\r\n\r\nxy\r\n--B--\r\n'
    const form = await (await context.respond(body, { 'content-type': 'multipart/form-data; boundary=B' })).formData()
    const file = form.get('f') as File
    expect([form.get('a'), file.name, file.type, await file.text()]).toEqual(['1', 'n', 'a/b', 'xy'])
  },
  'formData() of another type is a TypeError': async (context) => {
    expect(await rejection((await context.respond('a=1', { 'content-type': 'text/plain' })).formData())).toBeInstanceOf(
      TypeError,
    )
  },
  'formData() of a multipart body without its parts is a TypeError': async (context) => {
    const headers = { 'content-type': 'multipart/form-data; boundary=B' }
    expect(await rejection((await context.respond('text', headers)).formData())).toBeInstanceOf(TypeError)
  },
})

wpt('fetch/api/response/response-consume-empty.any.js', {
  'text, bytes, arrayBuffer and blob of nothing are empty': async (context) => {
    const read = async () => context.respond('')
    expect(await (await read()).text()).toBe('')
    expect((await (await read()).bytes()).byteLength).toBe(0)
    expect((await (await read()).arrayBuffer()).byteLength).toBe(0)
    expect((await (await read()).blob()).size).toBe(0)
  },
  'json() of nothing is a SyntaxError': async (context) => {
    expect(await rejection((await context.respond('')).json())).toBeInstanceOf(SyntaxError)
  },
  'formData() of nothing urlencoded is empty': async (context) => {
    expect([...(await (await context.respond('', FORM)).formData())]).toEqual([])
  },
  'formData() of nothing without a type is a TypeError': async (context) => {
    expect(await rejection((await context.respond('')).formData())).toBeInstanceOf(TypeError)
  },
  'a null body is empty, and stays unused': async (context) => {
    const origin = await context.serve((_request, response) => response.writeHead(204).end())
    const response = await context.fetch(origin)
    expect([await response.text(), response.bodyUsed, await response.text()]).toEqual(['', false, ''])
    expect([(await response.bytes()).byteLength, (await response.blob()).size]).toEqual([0, 0])
  },
})

wpt('fetch/api/response/response-consume-stream.any.js', {
  ...each(
    (method) => `${method}() uses the body, and a second reader is refused`,
    async (context, method) => {
      const response = await context.respond('a', FORM)
      expect(response.bodyUsed).toBe(false)
      const read = response[method]().catch(() => {})
      expect(response.bodyUsed).toBe(true)
      await read
      for (const other of METHODS) expect(await rejection(response[other]())).toBeInstanceOf(TypeError)
    },
  ),
  ...each(
    (method) => `${method}() of a body that is locked is refused, and does not use it`,
    async (context, method) => {
      const response = await context.respond('a', FORM)
      const reader = response.body!.getReader()
      expect(await rejection(response[method]())).toBeInstanceOf(TypeError)
      expect(response.bodyUsed).toBe(false)
      reader.releaseLock()
      expect(await response.text()).toBe('a')
    },
  ),
  ...each(
    (method) => `${method}() after a read is refused`,
    async (context, method) => {
      const response = await context.respond('a', FORM)
      const reader = response.body!.getReader()
      await reader.read()
      reader.releaseLock()
      expect(await rejection(response[method]())).toBeInstanceOf(TypeError)
    },
  ),
  ...each(
    (method) => `${method}() locks the body`,
    async (context, method) => {
      const response = await context.respond('a', FORM)
      const { body } = response
      const read = response[method]().catch(() => {})
      expect(body!.locked).toBe(true)
      expect(() => body!.getReader()).toThrow(TypeError)
      await read
    },
  ),
  'a body that was consumed is locked, and is used': async (context) => {
    const response = await context.respond('a')
    await response.text()
    expect([response.bodyUsed, response.body instanceof ReadableStream]).toEqual([true, true])
  },
})

const uses: [string, (body: ReadableStream<Uint8Array>) => Promise<unknown>][] = [
  ['a read', (body) => body.getReader().read()],
  ['a read into a view', (body) => body.getReader({ mode: 'byob' }).read(new Uint8Array(1))],
  ['cancel of a reader', (body) => body.getReader().cancel()],
  ['a pipe', (body) => body.pipeTo(new WritableStream())],
]

wpt(
  'fetch/api/response/response-stream-disturbed-by-pipe.any.js',
  Object.fromEntries(
    uses.flatMap(([use, start]) =>
      ['that has come', 'that comes'].map((kind) => [
        `${use} uses a body ${kind} at once`,
        async (context: Context) => {
          const open = kind === 'that comes' ? await context.stream() : null
          const response = open?.response ?? (await context.respond('a'))
          const used = start(response.body!)
          expect(response.bodyUsed).toBe(true)
          open?.end()
          await used
        },
      ]),
    ),
  ),
)

wptStreams('fetch/api/response/response-cancel-stream.any.js', {
  'cancel uses the body': async (context) => {
    const response = await context.respond('a')
    await response.body!.cancel()
    expect(response.bodyUsed).toBe(true)
    expect(await rejection(response.text())).toBeInstanceOf(TypeError)
  },
  'cancel of a locked body is refused': async (context) => {
    const response = await context.respond('a')
    response.body!.getReader()
    expect(await rejection(response.body!.cancel())).toBeInstanceOf(TypeError)
  },
  'cancel of a body that is closed does nothing': async (context) => {
    const response = await context.respond('')
    const reader = response.body!.getReader()
    await reader.read()
    reader.releaseLock()
    await response.body!.cancel()
  },
  'cancel drops the connection of a body that goes on': async (context) => {
    const { response, write, closed } = await context.stream()
    await write('a')
    await response.body!.cancel('why')
    await closed
  },
})

wpt('fetch/api/response/response-clone.any.js', {
  'a clone has the parts of its original': async (context) => {
    const response = await context.respond('a', { 'x-a': 'b' })
    const clone = response.clone()
    const parts = ({ status, statusText, ok, url, type, redirected, headers }: Response) => {
      return [status, statusText, ok, url, type, redirected, [...headers]]
    }
    expect(parts(clone)).toEqual(parts(response))
    expect(clone instanceof Response).toBe(true)
    expect(clone.headers).not.toBe(response.headers)
  },
  'both give the whole body': async (context) => {
    const response = await context.respond('a body')
    const clone = response.clone()
    expect(await clone.text()).toBe('a body')
    expect([response.bodyUsed, await response.text()]).toEqual([false, 'a body'])
  },
  'a clone of a clone gives the whole body': async (context) => {
    const response = await context.respond('a body')
    const second = response.clone().clone()
    expect([await second.text(), await response.text()]).toEqual(['a body', 'a body'])
  },
  'a clone after the body property was read': async (context) => {
    const response = await context.respond('a body')
    expect(response.body).not.toBeNull()
    expect([await response.clone().text(), await response.text()]).toEqual(['a body', 'a body'])
  },
  'a clone of a body that is used is refused': async (context) => {
    const response = await context.respond('a')
    await response.text()
    expect(() => response.clone()).toThrow(TypeError)
  },
  'a clone of a body that is locked is refused': async (context) => {
    const response = await context.respond('a')
    response.body!.getReader()
    expect(() => response.clone()).toThrow(TypeError)
  },
  'a clone of a null body has none': async (context) => {
    const origin = await context.serve((_request, response) => response.writeHead(204).end())
    expect((await context.fetch(origin)).clone().body).toBeNull()
  },
  'cancel of one half leaves the other': async (context) => {
    const { response, write, end } = await context.stream()
    const clone = response.clone()
    const cancelled = clone.body!.cancel()
    await write('a')
    end()
    expect(await response.text()).toBe('a')
    await cancelled
  },
  'cancel of both halves drops the connection': async (context) => {
    const { response, closed } = await context.stream()
    const clone = response.clone()
    await Promise.all([response.body!.cancel(1), clone.body!.cancel(2)])
    await closed
  },
  'a body that breaks fails both halves': async (context) => {
    const { response, fail } = await context.stream()
    const reads = [response.clone(), response].map((half) => rejection(half.text()))
    fail()
    for (const error of await Promise.all(reads)) expect(error).toBeInstanceOf(TypeError)
  },
  'the halves do not share memory': async (context) => {
    const response = await context.respond('aaaa')
    const clone = response.clone()
    const first = await response.bytes()
    first.fill(98)
    expect(decode(await clone.bytes())).toBe('aaaa')
  },
})

wpt('fetch/api/response/response-static-error.any.js', {
  'the statics of Response are there': async (context) => {
    const { constructor } = await context.respond('a')
    const statics = constructor as typeof Response
    expect([statics.error().type, statics.json(1).status, statics.redirect('http://a.test/').status]).toEqual([
      'error',
      200,
      302,
    ])
  },
  'the headers are immutable': async (context) => {
    const { headers } = await context.respond('a', { 'x-a': 'b' })
    expect(() => headers.append('x-a', 'c')).toThrow(TypeError)
    expect(() => headers.set('x-a', 'c')).toThrow(TypeError)
    expect(() => headers.delete('x-a')).toThrow(TypeError)
    expect(headers.get('x-a')).toBe('b')
  },
  'headers that are copied can be changed': async (context) => {
    const headers = new Headers((await context.respond('a', { 'x-a': 'b' })).headers)
    headers.set('x-a', 'c')
    expect(headers.get('x-a')).toBe('c')
  },
  'a Response can be made of one': async (context) => {
    const response = await context.respond('a', { 'x-a': 'b' })
    const copy = new Response(response.body, response)
    expect([copy.status, copy.headers.get('x-a'), await copy.text()]).toEqual([200, 'b', 'a'])
  },
  'headers and body are the same objects each time': async (context) => {
    const response = await context.respond('a')
    expect(response.headers).toBe(response.headers)
    expect(response.body).toBe(response.body)
  },
  'its members cannot be assigned': async (context) => {
    const response = await context.respond('a')
    for (const name of ['status', 'ok', 'url', 'type', 'headers', 'body', 'bodyUsed', 'redirected', 'statusText']) {
      expect(Reflect.set(response, name, 1)).toBe(false)
    }
  },
  'its methods reject where they have no response': async (context) => {
    const response = await context.respond('a')
    for (const method of METHODS) {
      expect(await rejection(Reflect.apply(response[method], {}, []) as Promise<unknown>)).toBeInstanceOf(TypeError)
    }
  },
  'its tag is Response': async (context) => {
    expect(Object.prototype.toString.call(await context.respond('a'))).toBe('[object Response]')
  },
})

wpt('fetch/api/response/response-init-001.any.js', {
  'type, url, redirected and ok of a plain response': async (context) => {
    const origin = await context.serve((_request, response) => response.end())
    const { type, url, redirected, ok, status, statusText } = await context.fetch(`${origin}/a?b#c`)
    expect([type, url, redirected, ok, status, statusText]).toEqual(['basic', `${origin}/a?b`, false, true, 200, 'OK'])
  },
  ...Object.fromEntries(
    [199, 204, 205, 304].slice(1).map((status) => [
      `${status} has a null body`,
      async (context: Context) => {
        const origin = await context.serve((_request, response) => response.writeHead(status).end())
        const response = await context.fetch(origin)
        expect([response.status, response.body, response.bodyUsed, await response.text()]).toEqual([
          status,
          null,
          false,
          '',
        ])
      },
    ]),
  ),
  'ok is of 200 to 299': async (context) => {
    const origin = await context.serve((request, response) => {
      response.writeHead(Number(request.url!.slice(1))).end()
    })
    const seen: unknown[] = []
    for (const status of [200, 201, 206, 226, 299, 300, 400, 404, 500, 599]) {
      seen.push((await context.fetch(`${origin}/${status}`)).ok)
    }
    expect(seen).toEqual([true, true, true, true, true, false, false, false, false, false])
  },
})

const types: [string, string | undefined, string][] = [
  ['none', undefined, ''],
  ['plain', 'text/plain', 'text/plain'],
  ['upper case', 'TEXT/HTML', 'text/html'],
  ['with parameters', 'text/html; charset=UTF-8; a="b c"', 'text/html;charset=utf-8;a="b c"'],
  ['no type at all', 'nothing', ''],
  ['empty', '', ''],
  ['with blanks around', '  text/plain  ', 'text/plain'],
]

wpt('fetch/api/body/mime-type.any.js', {
  ...Object.fromEntries(
    types.map(([what, sent, expected]) => [
      `the type of blob() for a content-type that is ${what}`,
      async (context: Context) => {
        const headers = sent === undefined ? {} : { 'content-type': sent }
        expect((await (await context.respond('x', headers as Record<string, string>)).blob()).type.toLowerCase()).toBe(
          expected.toLowerCase(),
        )
      },
    ]),
  ),
  'the last of two content-types counts for blob()': async (context) => {
    const origin = await context.raw(
      'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx',
    )
    const response = await context.fetch(origin)
    expect([response.headers.get('content-type'), (await response.blob()).type]).toEqual([
      'text/plain, text/html',
      'text/html',
    ])
  },
})

wptStreams('fetch/api/response/response-stream-with-broken-then.any.js', {
  'text() is what was sent although Object.prototype has a then': async (context) => {
    const response = await context.respond('sent')
    const prototype = Object.prototype as { then?: unknown }
    // oxlint-disable-next-line unicorn/no-thenable -- the page's own mischief
    prototype.then = function (this: object, resolve: (result: unknown) => void) {
      delete prototype.then
      // What other cases resolve meanwhile is left to them.
      resolve('done' in this ? { done: false, value: new TextEncoder().encode('forged') } : this)
    }
    try {
      expect(await response.text()).toBe('sent')
    } finally {
      delete prototype.then
    }
  },
})

wptStreams('fetch/api/response/response-body-readable-stream.any.js', {
  'a chunk may be given back by transfer': async (context) => {
    const response = await context.respond('abc')
    const { value } = await response.body!.getReader().read()
    expect(structuredClone(value!.buffer, { transfer: [value!.buffer] }).byteLength).toBe(3)
  },
  'a BYOB reader gets the bytes in its view': async (context) => {
    const response = await context.respond('abc')
    const reader = response.body!.getReader({ mode: 'byob' })
    const { value, done } = await reader.read(new Uint8Array(8))
    expect([decode(value), value!.buffer.byteLength, done]).toEqual(['abc', 8, false])
    const last = await reader.read(new Uint8Array(4))
    expect([last.done, last.value!.byteLength]).toEqual([true, 0])
  },
  'a view of no bytes is refused': async (context) => {
    const reader = (await context.respond('abc')).body!.getReader({ mode: 'byob' })
    expect(await rejection(reader.read(new Uint8Array(0)))).toBeInstanceOf(TypeError)
  },
  'for await reads to the end, and a break cancels': async (context) => {
    let text = ''
    for await (const chunk of (await context.respond('abc')).body!) text += decode(chunk)
    expect(text).toBe('abc')
    const { response, write, closed } = await context.stream()
    await write('a')
    for await (const chunk of response.body!) {
      expect(decode(chunk)).toBe('a')
      break
    }
    await closed
  },
  'tee gives both halves each byte': async (context) => {
    const halves = (await context.respond('abc')).body!.tee()
    const texts: string[] = []
    for (const half of halves) {
      const reader = half.getReader()
      let text = ''
      for (let next = await reader.read(); !next.done; next = await reader.read()) text += decode(next.value)
      texts.push(text)
    }
    expect(texts).toEqual(['abc', 'abc'])
  },
  'a mode that is none is refused': async (context) => {
    const { body } = await context.respond('abc')
    expect(() => body!.getReader({ mode: 'x' as 'byob' })).toThrow(TypeError)
  },
})

wpt('fetch/api/response/response-error-from-stream.any.js', {
  ...each(
    (method) => `${method}() of a body that breaks is a TypeError`,
    async (context, method) => {
      const { response, write, fail } = await context.stream({}, FORM)
      await write('a')
      const read = response[method]()
      read.catch(() => {})
      fail()
      expect(await rejection(read)).toBeInstanceOf(TypeError)
    },
  ),
  'a reader of a body that breaks rejects with a TypeError, as does closed': async (context) => {
    const { response, write, fail } = await context.stream()
    await write('a')
    const reader = response.body!.getReader()
    expect(decode((await reader.read()).value)).toBe('a')
    reader.closed.catch(() => {})
    fail()
    const reason = await rejection(reader.read())
    expect(reason).toBeInstanceOf(TypeError)
    expect(await rejection(reader.closed)).toBe(reason)
  },
})

wpt('fetch/api/basic/stream-response.any.js', {
  'a body can be read as it comes': async (context) => {
    const { response, write, end } = await context.stream()
    const reader = response.body!.getReader()
    for (const text of ['one', 'two', 'three']) {
      await write(text)
      expect(decode((await reader.read()).value)).toBe(text)
    }
    end()
    expect((await reader.read()).done).toBe(true)
  },
  'the body is of bytes whatever its type': async (context) => {
    const { value } = await (
      await context.respond('{}', { 'content-type': 'application/json' })
    )
      .body!.getReader()
      .read()
    expect(value).toEqual(encode('{}'))
  },
})
