import { Readable } from 'node:stream'
import { expect, test, vi } from 'vitest'
import { Agent as UndiciAgent } from 'undici'
import { normalizeOrigin } from '../lib/dispatch-request.ts'
import { NotSupportedError, RequestContentLengthMismatchError } from '../lib/errors.ts'
import {
  base,
  build,
  collect,
  errorOf,
  facts,
  fullHandler,
  noop,
  request,
  undiciHead,
  wireHead,
} from './support/dispatch.ts'
import type { Options } from './support/dispatch.ts'

test('accepts what built-in fetch passes, and ignores keys it does not know', () => {
  const result = request({
    maxRedirections: 0,
    upgrade: undefined,
    body: null,
    __mockAgentBodyForDispatch: 'x',
    signal: {},
    headers: { 'accept-encoding': 'gzip' },
    throwOnError: null,
    typeOfService: 0,
    expectContinue: false,
    servername: null,
    // undici 7's request passes it along.
    dispatcher: {},
  })
  expect(result).toEqual({
    origin: 'http://127.0.0.1:9',
    method: 'GET',
    target: '/',
    headers: ['accept-encoding', 'gzip'],
    host: null,
    reset: null,
    body: { kind: 'none' },
    contentLength: null,
    headersTimeout: null,
    bodyTimeout: null,
    upgrade: null,
    expectContinue: false,
    idempotent: true,
    blocking: true,
    servername: null,
    allowH2: null,
    trailers: null,
  })
})

test.each([
  ['http://Example.TEST', 'http://example.test'],
  ['http://example.test:80/', 'http://example.test'],
  ['https://example.test:443', 'https://example.test'],
  ['https://example.test:80', 'https://example.test:80'],
  ['http://[::1]:8080', 'http://[::1]:8080'],
  ['http://user:secret@example.test', 'http://example.test'],
])('the origin of %s is %s, as a string or as a URL', (origin, expected) => {
  expect(normalizeOrigin(origin)).toBe(expected)
  expect(normalizeOrigin(origin)).toBe(expected)
  expect(normalizeOrigin(new URL(origin))).toBe(expected)
})

test('origins are right however many there are', () => {
  for (let i = 0; i < 1000; i++) expect(normalizeOrigin(`http://h${i}:80`)).toBe(`http://h${i}`)
  expect(normalizeOrigin('http://h0:80')).toBe('http://h0')
})

test('header names are judged the same however many came before', () => {
  for (let i = 0; i < 3000; i++) expect(request({ headers: { [`x-${i}`]: 'v' } }).headers).toEqual([`x-${i}`, 'v'])
  expect(request({ headers: { CONNECTION: 'close', 'x-2999': '1' } })).toMatchObject({
    headers: ['x-2999', '1'],
    reset: true,
  })
  expect(() => request({ headers: { 'x 1': 'v' } })).toThrow('invalid header key')
})

test('timeouts, flags and defaults are passed on', () => {
  expect(request({ headersTimeout: 0, bodyTimeout: 1.5, allowH2: false, reset: false })).toMatchObject({
    headersTimeout: 0,
    bodyTimeout: 1.5,
    allowH2: false,
    reset: false,
  })
  expect(request({ method: 'POST' })).toMatchObject({ idempotent: false, blocking: true })
  expect(request({ method: 'HEAD' })).toMatchObject({ idempotent: true, blocking: false })
  expect(request({ method: 'QUERY' })).toMatchObject({ idempotent: true })
  expect(request({ method: 'POST', idempotent: true, blocking: false })).toMatchObject({
    idempotent: true,
    blocking: false,
  })
})

test('frozen options are read and not written', () => {
  const headers = Object.freeze({ host: 'a', connection: 'close' })
  const opts = Object.freeze({ ...base, headers, query: Object.freeze({ a: '1' }), body: Object.freeze(['x']) })
  expect(build(opts)).toMatchObject({ headers: [], host: 'a', reset: true, target: '/?a=1' })
})

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const chunks = async function* (): AsyncGenerator<Uint8Array> {
  yield bytes('abc')
}
const ended = (text: string): Readable => {
  const stream = new Readable({ read() {} })
  stream.push(text)
  stream.push(null)
  return stream
}

/** Options as a function, for bodies that can be read once. */
const accepted: [string, () => Options][] = [
  ['nothing but a path', () => ({})],
  ['a path that a URL parser would rewrite', () => ({ path: '//a/../b/%7e?x=\xe9#h' })],
  ['an absolute path', () => ({ path: 'http://proxied.test/a' })],
  ['a method of any case', () => ({ method: 'get' })],
  ['an unusual method', () => ({ method: "M-SEARCH!#$%&'*+.^_`|~" })],
  ['a query', () => ({ query: { a: 1, b: ['x', 'y z'], c: true, d: null, e: undefined, f: '\u00e9&=' } })],
  ['an empty query', () => ({ query: {} })],
  ['header case and order', () => ({ headers: { 'X-B': '1', 'x-a': '2', 'CONTENT-TYPE': 'a/b' } })],
  ['a flat header list with repeats', () => ({ headers: ['X-A', '1', 'x-b', '2', 'X-A', '3'] })],
  ['a Map of headers', () => ({ headers: new Map([['X-A', '1']]) })],
  ['a Headers object', () => ({ headers: new Headers({ 'X-A': '1', b: '2' }) })],
  ['a generator of pairs', () => ({ headers: new Set([['X-A', ['1', '2']]]) })],
  [
    'an object with its own iterator',
    () => ({
      headers: {
        *[Symbol.iterator]() {
          yield ['X-A', '1']
        },
      },
    }),
  ],
  ['headers without a prototype', () => ({ headers: Object.assign(Object.create(null), { 'X-A': '1' }) })],
  [
    'coerced header values',
    () => ({ headers: { a: 1, b: true, c: null, d: undefined, e: [1, null, 'x', false], f: 9n } }),
  ],
  ['an empty list value', () => ({ headers: { a: [] } })],
  ['latin1 and tabs in a header value', () => ({ headers: { a: '\xe9\t\x80 x' } })],
  ['headers null', () => ({ headers: null })],
  ['a host', () => ({ headers: { 'X-A': '1', Host: 'other.test' } })],
  ['connection tokens', () => ({ headers: { connection: 'keep-alive, X-Thing' } })],
  ['content-type given as a list', () => ({ headers: { 'content-type': ['a/b'] }, method: 'POST' })],
  ['content-length on a GET without a body', () => ({ headers: { 'content-length': '5' } })],
  ['content-length on a POST without a body', () => ({ method: 'POST', headers: { 'content-length': '5' } })],
  ['content-length 0 on a DELETE', () => ({ method: 'DELETE', headers: { 'content-length': 0 } })],
  ...['POST', 'PUT', 'PATCH', 'QUERY', 'PROPFIND', 'PROPPATCH', 'DELETE', 'HEAD', 'OPTIONS', 'post'].map(
    (method): [string, () => Options] => [`an empty ${method}`, () => ({ method })],
  ),
  ['a string', () => ({ method: 'POST', body: 'h\u00e9llo' })],
  ['an empty string', () => ({ method: 'POST', body: '' })],
  ['an empty string with GET', () => ({ body: '' })],
  ['a Buffer', () => ({ method: 'PUT', body: Buffer.from('abc') })],
  ['an empty Buffer', () => ({ method: 'PUT', body: Buffer.alloc(0) })],
  ['a view of part of a buffer', () => ({ method: 'PUT', body: new Uint16Array(new ArrayBuffer(8), 2, 2) })],
  ['an empty view of a buffer', () => ({ method: 'PUT', body: new DataView(new ArrayBuffer(8), 2, 0) })],
  ['an ArrayBuffer', () => ({ method: 'PUT', body: new ArrayBuffer(3) })],
  ['a GET with a body', () => ({ body: 'abc' })],
  ['a GET with a body and a wrong length', () => ({ body: 'abc', headers: { 'content-length': '7' } })],
  ['a DELETE with a body', () => ({ method: 'DELETE', body: 'abc' })],
  ['the right content-length', () => ({ method: 'POST', body: 'abc', headers: { 'Content-Length': '03' } })],
  ['a typed Blob', () => ({ method: 'POST', body: new Blob(['abc'], { type: 'text/x' }) })],
  ['a Blob without a type', () => ({ method: 'POST', body: new Blob(['abc']) })],
  ['an empty Blob', () => ({ method: 'POST', body: new Blob([], { type: 'text/x' }) })],
  [
    'a typed Blob with a content-type',
    () => ({
      method: 'POST',
      body: new Blob(['abc'], { type: 'text/x' }),
      headers: { 'Content-Type': '' },
    }),
  ],
  ['an async generator', () => ({ method: 'POST', body: chunks() })],
  ['an async generator with GET', () => ({ body: chunks() })],
  ['an async generator with a length', () => ({ method: 'POST', body: chunks(), headers: { 'content-length': '3' } })],
  ['an array of chunks', () => ({ method: 'POST', body: ['ab', bytes('c')] })],
  ['a web stream', () => ({ method: 'POST', body: ReadableStream.from(chunks()) })],
  ['a Readable', () => ({ method: 'POST', body: Readable.from(chunks()) })],
  ['a Readable that has ended with its data', () => ({ method: 'POST', body: ended('abcd') })],
  ['a Readable that has ended without data', () => ({ method: 'POST', body: ended('') })],
]

test.each(accepted)('makes the head that undici writes: %s', async (_what, options) => {
  const theirs = await undiciHead(options())
  expect(theirs.error).toBe(undefined)
  const ours = request(options())
  expect(wireHead(ours)).toEqual(theirs.lines)
  const at = ours.headers.indexOf('host')
  if (at >= 0) expect([at, ours.headers[1]]).toEqual([0, theirs.host])
})

test('a host stands apart, even an empty one', async () => {
  const headers = { 'x-a': '1', HOST: '' }
  expect(request({ headers })).toMatchObject({ host: '', headers: ['x-a', '1'] })
  expect((await undiciHead({ headers })).host).toBe('')
})

test('connection: close, in any case and company, closes', async () => {
  for (const connection of ['close', 'CLOSE', 'x, Close']) {
    expect(request({ headers: { connection } })).toMatchObject({ reset: true, headers: [] })
    expect(request({ headers: { connection }, reset: false }).reset).toBe(true)
    expect((await undiciHead({ headers: { connection }, reset: false })).connection).toBe('close')
  }
  expect(request({ headers: { connection: 'keep-alive' } }).reset).toBe(null)
  expect(request({ reset: true }).reset).toBe(true)
})

const mismatched: [string, () => Options][] = [
  ['a string', () => ({ method: 'POST', body: 'abc', headers: { 'content-length': '2' } })],
  ['bytes', () => ({ method: 'DELETE', body: bytes('abc'), headers: { 'content-length': '4' } })],
  ['a length of 0', () => ({ method: 'PUT', body: 'abc', headers: { 'content-length': '0' } })],
  ['a Blob', () => ({ method: 'POST', body: new Blob(['abc']), headers: { 'content-length': '4' } })],
  ['a Readable that has ended', () => ({ method: 'POST', body: ended('abc'), headers: { 'content-length': '4' } })],
]

test.each(mismatched)(
  'rejects a content-length that is not the length of %s, as undici does',
  async (_what, options) => {
    const { error } = await undiciHead(options())
    expect(facts(errorOf(() => request(options())))).toEqual(facts(error!))
  },
)

test.each(mismatched)('warns only, without strictContentLength, as undici does: %s', async (_what, options) => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(noop)
  try {
    const theirs = await undiciHead(options(), new UndiciAgent({ strictContentLength: false, allowH2: false }))
    expect(warn).toHaveBeenCalledOnce()
    expect(wireHead(build({ ...base, ...options() }, fullHandler, false))).toEqual(theirs.lines)
    expect(warn).toHaveBeenCalledTimes(2)
    expect(warn.mock.lastCall?.[0]).toBeInstanceOf(RequestContentLengthMismatchError)
  } finally {
    warn.mockRestore()
  }
})

test('a request that fails validation has not touched its body', () => {
  let opened = 0
  class CountingBlob extends Blob {
    override stream(): any {
      opened++
      return super.stream()
    }
  }
  let read = 0
  const stream = new Readable({ read: () => void read++ })
  for (const body of [new CountingBlob(['abc']), stream]) {
    expect(() => request({ body, headers: { expect: 'x' } })).toThrow(NotSupportedError)
    expect(() => build({ ...base, body }, { ...fullHandler, onResponseEnd: 5 })).toThrow('invalid onResponseEnd')
  }
  expect([opened, read]).toEqual([0, 0])
  request({ body: new CountingBlob(['abc']) })
  expect(opened).toBe(1)
})

test('bytes are the caller’s own memory, as far as his view reaches', () => {
  const buffer = new Uint8Array([0, 1, 2, 3, 4, 5])
  const given = request({ method: 'POST', body: buffer }).body
  expect(given.kind === 'bytes' && given.bytes).toBe(buffer)
  const part = request({ method: 'POST', body: new DataView(buffer.buffer, 1, 2) }).body
  expect(part.kind === 'bytes' && [...part.bytes]).toEqual([1, 2])
})

test('a Blob streams its bytes', async () => {
  const { body } = request({ method: 'POST', body: new Blob(['abc', 'def']) })
  expect((await collect(body)).toString()).toBe('abcdef')
})

test('a header iterator on Object.prototype is not followed', () => {
  Object.defineProperty(Object.prototype, Symbol.iterator, {
    configurable: true,
    *value() {
      yield ['x-injected', '1']
    },
  })
  try {
    expect(request({ headers: { a: 'b' } }).headers).toEqual(['a', 'b'])
  } finally {
    Reflect.deleteProperty(Object.prototype, Symbol.iterator)
  }
})
