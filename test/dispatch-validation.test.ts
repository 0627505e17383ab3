import { expect, test } from 'vitest'
import { Agent as UndiciAgent } from 'undici'
import { Agent as Undici7Agent } from 'undici7'
import { assertHandlerObject, rejectDispatch } from '../lib/dispatch-request.ts'
import { NotSupportedError } from '../lib/errors.ts'
import { base, build, errorOf, facts, fullHandler, noop, request, undiciError } from './support/dispatch.ts'
import type { Options } from './support/dispatch.ts'

/** Options that undici rejects at once: each with the reason that a reader should see. */
const rejected: [string, Options][] = [
  ['origin absent', { origin: undefined }],
  ['origin empty', { origin: '' }],
  ['origin not a string', { origin: 5 }],
  ['origin an object', { origin: { hostname: 'a' } }],
  ['origin unparsable', { origin: 'nonsense' }],
  ['origin of another protocol', { origin: 'ftp://example.test' }],
  ['origin URL of another protocol', { origin: new URL('ws://example.test') }],
  ['origin with a path', { origin: 'http://127.0.0.1:9/a' }],
  ['origin with a query', { origin: 'http://127.0.0.1:9?a' }],
  ['origin with a hash', { origin: new URL('http://127.0.0.1:9/#a') }],
  ['path absent', { path: undefined }],
  ['path null', { path: null }],
  ['path empty', { path: '' }],
  ['path without a slash', { path: 'a' }],
  ['path of another scheme', { path: 'ftp://a' }],
  ['path with a space', { path: '/a b' }],
  ['path with a line break', { path: '/a\r\nb' }],
  ['path past latin1', { path: '/\u0100' }],
  ['method absent', { method: undefined }],
  ['method empty', { method: '' }],
  ['method with a space', { method: 'GET /' }],
  ['method long and wrong', { method: 'ABCDEFGHIJKLMNOP(' }],
  ['method with a non-ASCII letter', { method: 'G\u00c9T' }],
  ['path and method both wrong', { path: 5, method: 5 }],
  ['upgrade true', { upgrade: true }],
  ['upgrade with a line break', { upgrade: 'a\nb' }],
  ['headersTimeout negative', { headersTimeout: -1 }],
  ['headersTimeout NaN', { headersTimeout: Number.NaN }],
  ['headersTimeout infinite', { headersTimeout: Infinity }],
  ['headersTimeout a string', { headersTimeout: '5' }],
  ['bodyTimeout negative', { bodyTimeout: -1 }],
  ['bodyTimeout a string', { bodyTimeout: '5' }],
  ['both timeouts wrong', { bodyTimeout: -1, headersTimeout: -1 }],
  ['reset not boolean', { reset: 1 }],
  ['expectContinue not boolean', { expectContinue: 'yes' }],
  ['throwOnError given', { throwOnError: false }],
  ['maxRedirections given', { maxRedirections: 1 }],
  ['maxRedirections a string', { maxRedirections: '0' }],
  ['typeOfService negative', { typeOfService: -1 }],
  ['typeOfService too large', { typeOfService: 256 }],
  ['typeOfService fractional', { typeOfService: 1.5 }],
  ['typeOfService a string', { typeOfService: '1' }],
  ['body a number', { body: 5 }],
  ['body zero', { body: 0 }],
  ['body false', { body: false }],
  ['body a plain object', { body: {} }],
  ['body a function', { body: noop }],
  ['body a SharedArrayBuffer', { body: new SharedArrayBuffer(2) }],
  ['body wrong and query wrong', { body: 5, query: { a: 1 }, path: '/?a' }],
  ['query beside a query', { query: { a: 1 }, path: '/?a' }],
  ['query beside a hash', { query: { a: 1 }, path: '/#a' }],
  ['query wrong and headers wrong', { query: { a: 1 }, path: '/?', headers: 5 }],
  ['headers a string', { headers: 'a: b' }],
  ['headers an empty string', { headers: '' }],
  ['headers zero', { headers: 0 }],
  ['headers a function', { headers: noop }],
  ['headers odd', { headers: ['a'] }],
  ['headers of triples', { headers: new Set([['a', 'b', 'c']]) }],
  ['headers of strings', { headers: new Set(['ab']) }],
  ['header value an object', { headers: { a: {} } }],
  ['header value a Date', { headers: { a: new Date(0) } }],
  ['header value a nested list', { headers: { a: [['b']] } }],
  ['header value an object in a list', { headers: { a: [{}] } }],
  ['header value with a line break', { headers: { 'X-Bad': 'a\r\nb' } }],
  ['header value with NUL', { headers: { a: 'a\0' } }],
  ['header value with DEL', { headers: { a: '\x7f' } }],
  ['header value past latin1', { headers: { a: '\u0100' } }],
  ['header value past latin1 in a list', { headers: { a: ['ok', '\u0100'] } }],
  [
    'header value a function of two lines',
    { headers: { a: Object.assign(() => {}, { [Symbol.toPrimitive]: () => 'a\n' }) } },
  ],
  ['header value whose toString smuggles', { headers: { a: Object.assign(() => {}, { toString: () => 'a\r\nb' }) } }],
  ['header name empty', { headers: { '': 'a' } }],
  ['header name with a space', { headers: { 'a b': 'a' } }],
  ['header name with a colon', { headers: { 'a:b': 'a' } }],
  ['header name past ASCII', { headers: { '\u00e9': 'a' } }],
  ['header name and value wrong', { headers: { 'a b': {} } }],
  ['host twice', { headers: ['host', 'a', 'Host', 'b'] }],
  ['host a list', { headers: { host: ['a'] } }],
  ['content-length signed', { headers: { 'content-length': '+5' } }],
  ['content-length negative', { headers: { 'content-length': -5 } }],
  ['content-length fractional', { headers: { 'content-length': 1.5 } }],
  ['content-length empty', { headers: { 'content-length': '' } }],
  ['content-length null', { headers: { 'content-length': null } }],
  ['content-length a list', { headers: { 'content-length': ['5'] } }],
  ['content-length twice', { headers: ['content-length', '5', 'Content-Length', 'x'] }],
  ['transfer-encoding', { headers: { 'Transfer-Encoding': 'chunked' } }],
  ['keep-alive', { headers: { 'Keep-Alive': 'timeout=5' } }],
  ['upgrade as a header', { headers: { UPGRADE: 'websocket' } }],
  ['transfer-encoding with a bad value', { headers: { 'Transfer-Encoding': '\n' } }],
  ['connection a list', { headers: { connection: ['close'] } }],
  ['connection not a token', { headers: { connection: 'a b' } }],
  ['connection with an empty token', { headers: { Connection: 'close,' } }],
  ['connection empty', { headers: { connection: null } }],
  ['expect', { headers: { Expect: '100-continue' } }],
]

test.each(rejected)('rejects as undici does: %s', (_what, opts) => {
  const all = { ...base, ...opts }
  expect(facts(errorOf(() => build(all)))).toEqual(facts(undiciError(all)))
})

test.each([undefined, null, 5, 'text', true])('rejects as undici does: opts %s', (opts) => {
  expect(facts(errorOf(() => build(opts)))).toEqual(facts(undiciError(opts)))
})

test.each([undefined, null, 5, 'text', noop])('throws as undici does: handler %s', (handler) => {
  const theirs = errorOf(() => new UndiciAgent().dispatch(base, handler as any))
  expect(facts(errorOf(() => assertHandlerObject(handler)))).toEqual(facts(theirs))
})

const methodNames = ['onRequestStart', 'onResponseError', 'onResponseStart', 'onResponseData', 'onResponseEnd']

test.each(methodNames)('rejects as undici does: a handler whose %s is no function', (name) => {
  for (const value of [undefined, null, 'text']) {
    const handler = { ...fullHandler, [name]: value }
    expect(facts(errorOf(() => build(base, handler)))).toEqual(facts(undiciError(base, handler)))
  }
})

test.each(['onBodySent', 'onRequestSent'])('rejects as undici does: a handler whose %s is no function', (name) => {
  for (const value of [null, 5]) {
    const handler = { ...fullHandler, [name]: value }
    expect(facts(errorOf(() => build(base, handler)))).toEqual(facts(undiciError(base, handler)))
  }
  expect(build(base, { ...fullHandler, [name]: undefined }).method).toBe('GET')
})

test('rejects as undici does: an upgrade without onRequestUpgrade, and wrong options before a wrong handler', () => {
  const handler = { ...fullHandler, onRequestUpgrade: undefined }
  for (const opts of [
    { ...base, upgrade: 'websocket' },
    { ...base, method: 'CONNECT', path: 'a:80' },
    { ...base, headers: { expect: 'x' }, upgrade: 'websocket' },
  ]) {
    expect(facts(errorOf(() => build(opts, handler)))).toEqual(facts(undiciError(opts, handler)))
  }
})

test('rejects as undici 7 does: a legacy handler that lacks a method', () => {
  const legacy = { onConnect: noop, onHeaders: noop, onData: noop, onComplete: noop, onError: noop, onUpgrade: noop }
  expect(build(base, legacy).target).toBe('/')
  for (const name of ['onConnect', 'onHeaders', 'onData', 'onComplete']) {
    let theirs: Error | undefined
    const handler = { ...legacy, [name]: undefined, onError: (error: Error) => void (theirs = error) }
    const agent = new Undici7Agent()
    agent.dispatch(base as any, handler as any)
    void agent.destroy()
    expect(facts(errorOf(() => build(base, handler)))).toEqual(facts(theirs!))
  }
  expect(errorOf(() => build(base, { ...legacy, onError: undefined })).message).toBe('invalid onError method')
  expect(errorOf(() => build({ ...base, upgrade: 'x' }, { ...legacy, onUpgrade: 1 })).message).toBe(
    'invalid onUpgrade method',
  )
})

test.each([['typeOfService', { typeOfService: 16 }, 'typeOfService not supported']])(
  'says that the transport cannot do it: %s',
  (_what, opts, message) => {
    const error = errorOf(() => request(opts))
    expect(error).toBeInstanceOf(NotSupportedError)
    expect(error.message).toBe(message)
  },
)

test('a rejection reaches the handler of either generation before dispatch returns, or is thrown', () => {
  const error = new Error('invalid')
  const calls: unknown[][] = []
  const handler = {
    onResponseError(...args: unknown[]) {
      calls.push([this === handler, ...args])
    },
  }
  const legacy = {
    onError(...args: unknown[]) {
      calls.push([this === legacy, ...args])
    },
  }
  expect(rejectDispatch(handler, error)).toBe(false)
  expect(rejectDispatch(legacy, error)).toBe(false)
  expect(calls).toEqual([
    [true, null, error],
    [true, error],
  ])
  for (const silent of [{}, { onRequestStart: noop }, { onData: () => true }]) {
    expect(errorOf(() => rejectDispatch(silent, error))).toBe(error)
  }
})
