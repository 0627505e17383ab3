/** fetch/api/basic: what is sent by default, and what a plain response is. */
import { createHash } from 'node:crypto'
import { expect } from 'vitest'
import { echo, encode, rejection } from '../context.ts'
import type { Context } from '../context.ts'
import { wpt } from '../registry.ts'

wpt('fetch/api/basic/accept-header.any.js', {
  'accept is */* where the caller gives none': async (context) => {
    expect((await context.see()).headers['accept']).toBe('*/*')
  },
  'accept of the caller stands': async (context) => {
    expect((await context.see({ headers: { Accept: 'custom/*' } })).headers['accept']).toBe('custom/*')
  },
  'accept-language is sent where the caller gives none': async (context) => {
    expect((await context.see()).headers['accept-language']).toBe('*')
  },
  'accept-language of the caller stands': async (context) => {
    expect((await context.see({ headers: [['Accept-Language', 'bzh']] })).headers['accept-language']).toBe('bzh')
  },
})

wpt('fetch/api/headers/headers-no-cors.any.js', {
  'a user-agent is sent': async (context) => {
    expect((await context.see()).headers['user-agent']).toMatch(/.+/)
  },
  'a user-agent of the caller stands': async (context) => {
    expect((await context.see({ headers: { 'user-agent': 'mine/1' } })).headers['user-agent']).toBe('mine/1')
  },
})

/** Length, type and body of what was sent. */
async function sent(context: Context, init: Record<string, unknown>) {
  const { method, headers, body } = await context.see(init)
  return [method, headers['content-length'], headers['content-type'], body]
}

const form = (): FormData => {
  const data = new FormData()
  data.append('a', '1')
  return data
}

wpt('fetch/api/basic/request-headers.any.js', {
  'GET says no length and no type': async (context) => {
    expect(await sent(context, {})).toEqual(['GET', undefined, undefined, ''])
  },
  'HEAD says no length and no type': async (context) => {
    let seen: unknown
    const origin = await context.serve((request, response) => {
      seen = [request.method, request.headers['content-length'], request.headers['content-type']]
      response.end()
    })
    await context.fetch(origin, { method: 'HEAD' })
    expect(seen).toEqual(['HEAD', undefined, undefined])
  },
  'PUT without a body says 0': async (context) => {
    expect(await sent(context, { method: 'PUT' })).toEqual(['PUT', '0', undefined, ''])
  },
  'POST without a body says 0': async (context) => {
    expect(await sent(context, { method: 'POST' })).toEqual(['POST', '0', undefined, ''])
  },
  'an empty string is a body of 0 bytes with a type': async (context) => {
    expect(await sent(context, { method: 'POST', body: '' })).toEqual(['POST', '0', 'text/plain;charset=UTF-8', ''])
  },
  'PUT of a string': async (context) => {
    expect(await sent(context, { method: 'PUT', body: "Request's body" })).toEqual([
      'PUT',
      '14',
      'text/plain;charset=UTF-8',
      "Request's body",
    ])
  },
  'POST of an ArrayBuffer has no type': async (context) => {
    expect(await sent(context, { method: 'POST', body: new ArrayBuffer(4) })).toEqual([
      'POST',
      '4',
      undefined,
      '\0\0\0\0',
    ])
  },
  'POST of each kind of view sends its part of the buffer': async (context) => {
    const { buffer } = encode('0123456789abcdef0123456789abcdef')
    for (const body of [
      new Uint8Array(buffer, 1, 3),
      new Int8Array(buffer, 1, 3),
      new Uint8ClampedArray(buffer, 1, 3),
      new Uint16Array(buffer, 2, 2),
      new Int32Array(buffer, 4, 1),
      new Float32Array(buffer, 4, 1),
      new Float64Array(buffer, 8, 1),
      new BigUint64Array(buffer, 8, 1),
      new DataView(buffer, 1, 3),
    ]) {
      const expected = Buffer.from(buffer, body.byteOffset, body.byteLength).toString()
      expect(await sent(context, { method: 'POST', body })).toEqual(['POST', `${body.byteLength}`, undefined, expected])
    }
  },
  'POST of a Blob has its type': async (context) => {
    const body = new Blob(['Test'], { type: 'text/maybe' })
    expect(await sent(context, { method: 'POST', body })).toEqual(['POST', '4', 'text/maybe', 'Test'])
  },
  'POST of a Blob without a type has none': async (context) => {
    expect(await sent(context, { method: 'POST', body: new Blob(['Test']) })).toEqual(['POST', '4', undefined, 'Test'])
  },
  'POST of an empty Blob says 0, and its type': async (context) => {
    const body = new Blob([], { type: 'text/maybe' })
    expect(await sent(context, { method: 'POST', body })).toEqual(['POST', '0', 'text/maybe', ''])
  },
  'POST of FormData has a boundary': async (context) => {
    const [, length, type, body] = await sent(context, { method: 'POST', body: form() })
    const boundary = /^multipart\/form-data; boundary=(.+)$/.exec(type!)![1]!
    expect(body).toBe(`--${boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--${boundary}--\r\n`)
    expect(length).toBe(`${body!.length}`)
  },
  'POST of URLSearchParams': async (context) => {
    const body = new URLSearchParams([
      ['a b', '\u00e9&'],
      ['a b', '2'],
    ])
    expect(await sent(context, { method: 'POST', body })).toEqual([
      'POST',
      '19',
      'application/x-www-form-urlencoded;charset=UTF-8',
      'a+b=%C3%A9%26&a+b=2',
    ])
  },
  'a content-type of the caller stands': async (context) => {
    const headers = { 'Content-Type': 'application/mine' }
    expect(await sent(context, { method: 'POST', body: 'x', headers })).toEqual(['POST', '1', 'application/mine', 'x'])
  },
  'a method of no normalisation without a body says no length': async (context) => {
    expect(await sent(context, { method: 'REPORT' })).toEqual(['REPORT', undefined, undefined, ''])
  },
  'a method of no normalisation with a body': async (context) => {
    expect(await sent(context, { method: 'REPORT', body: 'egg' })).toEqual([
      'REPORT',
      '3',
      'text/plain;charset=UTF-8',
      'egg',
    ])
  },
  'a number, a boolean and an object with toString are sent as text': async (context) => {
    const bodies: [unknown, string][] = [
      [5, '5'],
      [true, 'true'],
      [{ toString: () => 'mine' }, 'mine'],
    ]
    for (const [body, text] of bodies) {
      const type = 'text/plain;charset=UTF-8'
      expect(await sent(context, { method: 'POST', body })).toEqual(['POST', `${text.length}`, type, text])
    }
  },
  'a lone surrogate is sent as U+FFFD': async (context) => {
    expect((await context.see({ method: 'POST', body: 'a\ud800b' })).body).toBe('a\u00ef\u00bf\u00bdb')
  },
})

wpt('fetch/api/basic/request-upload.any.js', {
  'a ReadableStream is sent in chunks of unknown length': async (context) => {
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(encode('a'))
        controller.enqueue(encode('bc'))
        controller.close()
      },
    })
    const seen = await context.see({ method: 'POST', body, duplex: 'half' })
    expect([seen.body, seen.headers['transfer-encoding'], seen.headers['content-length']]).toEqual([
      'abc',
      'chunked',
      undefined,
    ])
    expect(seen.headers['content-type']).toBeUndefined()
  },
  'an empty ReadableStream is an empty body': async (context) => {
    const body = new ReadableStream({ start: (controller) => controller.close() })
    expect((await context.see({ method: 'POST', body, duplex: 'half' })).body).toBe('')
  },
  'a chunk that is no Uint8Array fails the fetch': async (context) => {
    const origin = await context.serve(echo)
    for (const chunk of [null, 5, {}]) {
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(chunk)
          controller.close()
        },
      })
      expect(await rejection(context.fetch(origin, { method: 'POST', body, duplex: 'half' }))).toBeInstanceOf(TypeError)
    }
  },
  'a chunk that is a string fails the fetch': async (context) => {
    const origin = await context.serve(echo)
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue('text')
        controller.close()
      },
    })
    expect(await rejection(context.fetch(origin, { method: 'POST', body, duplex: 'half' }))).toBeInstanceOf(TypeError)
  },
  'a stream that errors fails the fetch': async (context) => {
    const origin = await context.serve(echo)
    const body = new ReadableStream({ pull: (controller) => controller.error(new Error('source broke')) })
    expect(await rejection(context.fetch(origin, { method: 'POST', body, duplex: 'half' }))).toBeInstanceOf(TypeError)
  },
  'a stream without duplex is refused': async (context) => {
    const origin = await context.serve(echo)
    const body = new ReadableStream({ start: (controller) => controller.close() })
    expect(await rejection(context.fetch(origin, { method: 'POST', body }))).toBeInstanceOf(TypeError)
  },
  'a stream that is locked is refused': async (context) => {
    const origin = await context.serve(echo)
    const body = new ReadableStream()
    body.getReader()
    expect(await rejection(context.fetch(origin, { method: 'POST', body, duplex: 'half' }))).toBeInstanceOf(TypeError)
  },
  'a stream that was read is refused': async (context) => {
    const origin = await context.serve(echo)
    const body = new ReadableStream({ pull: (controller) => controller.enqueue(encode('x')) })
    const reader = body.getReader()
    await reader.read()
    reader.releaseLock()
    expect(await rejection(context.fetch(origin, { method: 'POST', body, duplex: 'half' }))).toBeInstanceOf(TypeError)
  },
  'the stream is locked once it is sent': async (context) => {
    const origin = await context.serve(echo)
    const body = new ReadableStream({ start: (controller) => controller.close() })
    const fetching = context.fetch(origin, { method: 'POST', body, duplex: 'half' })
    fetching.catch(() => {})
    expect(body.locked).toBe(true)
    await fetching
  },
})

wpt('fetch/api/basic/request-head.any.js', {
  'HEAD with a body is refused': async (context) => {
    const failure = await rejection(context.fetch('http://a.test', { method: 'HEAD', body: 'x' }))
    expect(failure).toBeInstanceOf(TypeError)
  },
  'GET with a body is refused, even an empty one': async (context) => {
    for (const body of ['x', '', new Uint8Array(0)]) {
      expect(await rejection(context.fetch('http://a.test', { body }))).toBeInstanceOf(TypeError)
    }
  },
})

wpt('fetch/api/basic/text-utf8.any.js', {
  'text() drops the BOM of UTF-8': async (context) => {
    const response = await context.respond(new Uint8Array([0xef, 0xbb, 0xbf, ...encode('caf\u00e9')]))
    expect(await response.text()).toBe('caf\u00e9')
  },
  'text() drops one BOM only': async (context) => {
    const response = await context.respond(new Uint8Array([0xef, 0xbb, 0xbf, 0xef, 0xbb, 0xbf, 0x61]))
    expect(await response.text()).toBe('\ufeffa')
  },
  'text() takes UTF-16 for UTF-8': async (context) => {
    const response = await context.respond(new Uint8Array([0xfe, 0xff, 0x4e, 0x09]))
    expect(await response.text()).toBe('\ufffd\ufffdN\t')
  },
  'text() ignores the charset': async (context) => {
    const response = await context.respond(new Uint8Array([0x63, 0xe9]), {
      'content-type': 'text/plain;charset=latin1',
    })
    expect(await response.text()).toBe('c\ufffd')
  },
  'text() replaces what is no UTF-8': async (context) => {
    const response = await context.respond(new Uint8Array([0x61, 0x80, 0xc3, 0x28, 0xe2, 0x82]))
    expect(await response.text()).toBe('a\ufffd\ufffd(\ufffd')
  },
  'a character may come in two chunks': async (context) => {
    const { response, write, end } = await context.stream()
    await write(new Uint8Array([0xe2, 0x82]))
    const text = response.text()
    await write(new Uint8Array([0xac]))
    end()
    expect(await text).toBe('\u20ac')
  },
})

for (const status of [204, 205, 304]) {
  wpt('fetch/api/basic/response-null-body.any.js', {
    [`${status} has a null body that reads as nothing`]: async (context) => {
      const origin = await context.serve((_request, response) => response.writeHead(status).end())
      const response = await context.fetch(origin)
      expect([response.status, response.body]).toEqual([status, null])
      expect(await response.text()).toBe('')
      expect(response.bodyUsed).toBe(false)
    },
  })
}

wpt('fetch/api/basic/response-null-body.any.js', {
  'HEAD has a null body whatever its headers say': async (context) => {
    const origin = await context.serve((_request, response) => response.writeHead(200, { 'content-length': 9 }).end())
    const response = await context.fetch(origin, { method: 'HEAD' })
    expect([response.body, response.headers.get('content-length'), await response.text()]).toEqual([null, '9', ''])
  },
  'an empty body is not null': async (context) => {
    const response = await context.respond('')
    expect(response.body).not.toBe(null)
    expect(await response.text()).toBe('')
    expect(response.bodyUsed).toBe(true)
  },
})

wpt('fetch/api/basic/response-url.sub.any.js', {
  'the url has no fragment, but its query': async (context) => {
    const origin = await context.serve(echo)
    expect((await context.fetch(`${origin}/ada#x`)).url).toBe(`${origin}/ada`)
    expect((await context.fetch(`${origin}/#`)).url).toBe(`${origin}/`)
    expect((await context.fetch(`${origin}/a?b=c#d`)).url).toBe(`${origin}/a?b=c`)
  },
  'the url is normalised': async (context) => {
    const origin = await context.serve(echo)
    expect((await context.fetch(`${origin}/a/../b c`)).url).toBe(`${origin}/b%20c`)
  },
  'the server does not see the fragment': async (context) => {
    expect((await context.see({}, '/a?b#c')).url).toBe('/a?b')
  },
})

wpt('fetch/api/basic/http-response-code.any.js', {
  'statuses and their phrases are kept': async (context) => {
    const origin = await context.serve((request, response) => {
      response.writeHead(Number(request.url!.slice(1)), 'A Phrase').end()
    })
    for (const status of [200, 201, 299, 300, 400, 404, 418, 451, 500, 599]) {
      const response = await context.fetch(`${origin}/${status}`)
      expect([response.status, response.statusText, response.ok]).toEqual([status, 'A Phrase', status < 300])
      await response.text()
    }
  },
  'an absent phrase is empty': async (context) => {
    const origin = await context.raw('HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n')
    expect((await context.fetch(origin)).statusText).toBe('')
  },
})

wpt('fetch/api/basic/header-value-combining.any.js', {
  'repeated headers are joined in their order': async (context) => {
    const origin = await context.raw(
      'HTTP/1.1 200 OK\r\nexample: 1\r\nother: x\r\nExample: 2\r\nexample:\r\ncontent-length: 0\r\n\r\n',
    )
    expect((await context.fetch(origin)).headers.get('example')).toBe('1, 2, ')
  },
  'www-authenticate is joined as any other': async (context) => {
    const origin = await context.raw(
      'HTTP/1.1 401 No\r\nwww-authenticate: 1\r\nwww-authenticate: 2\r\ncontent-length: 0\r\n\r\n',
    )
    expect((await context.fetch(origin)).headers.get('WWW-Authenticate')).toBe('1, 2')
  },
})

wpt('fetch/api/basic/header-value-null-byte.any.js', {
  'a NUL in a value is a network error': async (context) => {
    const origin = await context.raw('HTTP/1.1 200 OK\r\nx-a: a\0b\r\ncontent-length: 0\r\n\r\n')
    expect(await rejection(context.fetch(origin))).toBeInstanceOf(TypeError)
  },
})

wpt('fetch/api/basic/conditional-get.any.js', {
  '304 to a condition of the caller is the response': async (context) => {
    const origin = await context.serve((request, response) => {
      response.writeHead(request.headers['if-none-match'] === '"v"' ? 304 : 200, { etag: '"v"' }).end()
    })
    expect((await context.fetch(origin)).status).toBe(200)
    expect((await context.fetch(origin, { headers: { 'if-none-match': '"v"' } })).status).toBe(304)
  },
})

wpt('fetch/api/basic/error-after-response.any.js', {
  'a connection that breaks inside the body fails text() and not fetch()': async (context) => {
    const { response, write, fail } = await context.stream({}, { 'content-length': '10' })
    await write('some')
    const text = rejection(response.text())
    fail()
    expect(await text).toBeInstanceOf(TypeError)
  },
  'a connection that breaks inside a chunked body fails text()': async (context) => {
    const { response, write, fail } = await context.stream()
    await write('some')
    const text = rejection(response.text())
    fail()
    expect(await text).toBeInstanceOf(TypeError)
  },
  'what came before the break can be read': async (context) => {
    const { response, write, fail } = await context.stream({}, { 'content-length': '10' })
    const reader = response.body!.getReader()
    const first = reader.read()
    await write('some')
    expect((await first).value).toEqual(encode('some'))
    const second = rejection(reader.read())
    fail()
    expect(await second).toBeInstanceOf(TypeError)
    expect(await rejection(reader.closed)).toBe(await second)
  },
})

wpt('fetch/h1-parsing/status-code.window.js', {
  'a server that sends no HTTP is a network error': async (context) => {
    const origin = await context.raw('hello\r\n\r\n')
    expect(await rejection(context.fetch(origin))).toBeInstanceOf(TypeError)
  },
  'a connection that ends before the head is a network error with a cause': async (context) => {
    const origin = await context.raw((socket) => socket.destroy())
    const failure = (await rejection(context.fetch(origin))) as Error
    expect(failure).toBeInstanceOf(TypeError)
    expect(failure.message).toBe('fetch failed')
    expect(failure.cause).toBeInstanceOf(Error)
  },
})

wpt('fetch/content-length/content-length.html', {
  'bytes beyond the length are not of the body': async (context) => {
    const origin = await context.raw('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhello')
    expect(await (await context.fetch(origin)).text()).toBe('he')
  },
  'without a length the connection ends the body': async (context) => {
    const origin = await context.raw('HTTP/1.1 200 OK\r\n\r\nhello')
    expect(await (await context.fetch(origin)).text()).toBe('hello')
  },
})

const sri = (algorithm: string, text: string): string =>
  `${algorithm}-${createHash(algorithm).update(text).digest('base64')}`

/** What `text()` of a body of `hello` says. */
const checked = async (context: Context, integrity: string): Promise<string> =>
  (await context.respond('hello', {}, { integrity })).text()

wpt('fetch/api/basic/integrity.sub.any.js', {
  'an empty integrity checks nothing': async (context) => {
    expect(await checked(context, '')).toBe('hello')
  },
  'sha256, sha384 and sha512 are checked': async (context) => {
    for (const algorithm of ['sha256', 'sha384', 'sha512']) {
      expect(await checked(context, sri(algorithm, 'hello'))).toBe('hello')
    }
  },
  'another body is an error': async (context) => {
    for (const algorithm of ['sha256', 'sha384', 'sha512']) {
      expect(await rejection(checked(context, sri(algorithm, 'other')))).toBeInstanceOf(TypeError)
    }
  },
  'one of several of one algorithm is enough': async (context) => {
    expect(await checked(context, `${sri('sha256', 'other')} ${sri('sha256', 'hello')}`)).toBe('hello')
  },
  'the strongest algorithm alone counts': async (context) => {
    expect(await checked(context, `${sri('sha256', 'other')} ${sri('sha512', 'hello')}`)).toBe('hello')
    const weak = `${sri('sha256', 'hello')} ${sri('sha512', 'other')}`
    expect(await rejection(checked(context, weak))).toBeInstanceOf(TypeError)
  },
  'what is no integrity checks nothing': async (context) => {
    expect(await checked(context, 'md5-x sha1-y nonsense')).toBe('hello')
  },
  'options behind the hash are ignored': async (context) => {
    expect(await checked(context, `${sri('sha256', 'hello')}?foo=bar`)).toBe('hello')
  },
  'base64url is base64': async (context) => {
    const text = 'hello'
    const hash = createHash('sha256').update(text).digest('base64').replaceAll('+', '-').replaceAll('/', '_')
    expect(await checked(context, `sha256-${hash}`)).toBe('hello')
  },
})

wpt('fetch/api/basic/historical.any.js', {
  'a response has no trailer member of the first drafts': async (context) => {
    const response = await context.respond('x')
    expect('trailer' in response).toBe(false)
    expect('useFinalURL' in response).toBe(false)
  },
})

wpt('fetch/api/basic/keepalive.any.js', {
  'keepalive is accepted': async (context) => {
    expect((await context.see({ keepalive: true })).method).toBe('GET')
  },
})

wpt('fetch/range/general.any.js', {
  'range of the caller is sent, and 206 is a response': async (context) => {
    const origin = await context.serve((request, response) => {
      response.writeHead(206, { 'content-range': 'bytes 1-2/5' }).end(request.headers.range)
    })
    const response = await context.fetch(origin, { headers: { range: 'bytes=1-2' } })
    expect([response.status, response.ok, await response.text()]).toEqual([206, true, 'bytes=1-2'])
  },
})
