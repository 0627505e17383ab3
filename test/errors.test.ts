import { lookup } from 'node:dns'
import { connect } from 'node:net'
import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { Agent as UndiciAgent, errors as undici8 } from 'undici'
import { errors as undici7 } from 'undici7'
import { createUndiciError, errors, SocketError, UndiciError } from '../lib/errors.ts'
import * as exported from '../lib/errors.ts'
import type { CoreErrorInfo } from '../native/binding.ts'
import { fullHandler } from './support/dispatch.ts'
import { closedPort, startTcpServer } from './support/servers.ts'

type ErrorClass = new (...args: any[]) => Error & Record<string, unknown>
type ErrorClasses = Record<string, ErrorClass>

const ours = errors as unknown as ErrorClasses
const versions: [string, ErrorClasses][] = [
  ['undici 8', undici8 as unknown as ErrorClasses],
  ['undici 7', undici7 as unknown as ErrorClasses],
]

/** Arguments that each constructor accepts; all the others take a message first. */
const constructorArguments: Record<string, unknown[]> = {
  HTTPParserError: ['malformed', 'INVALID_VERSION', Buffer.from('data')],
  SocketError: ['other side closed', { remoteAddress: '127.0.0.1', remotePort: 80 }],
  RequestRetryError: ['retry', 503, { headers: { a: 'b' }, data: { count: 2 } }],
  ResponseError: ['response', 404, { headers: { a: 'b' }, body: 'text' }],
  SecureProxyConnectionError: [new Error('cause'), 'proxy'],
  ProxyConnectionError: [new Error('cause'), 'proxy'],
  Socks5ProxyError: ['socks', 'UND_ERR_SOCKS5_REPLY'],
}
const noMessage: Record<string, unknown[]> = {
  RequestRetryError: [undefined, 503, {}],
  ResponseError: [undefined, 404, {}],
}

/** What a program can read off an error; `ignored` names what a version does not have yet. */
function facts(error: Error & Record<string, unknown>, ignored: readonly string[] = []): Record<string, unknown> {
  const { name, code, message, cause, statusCode, data, body, bodyTruncated, headers } = error
  const all = { name, code, message, cause, statusCode, data, body, bodyTruncated, headers }
  return Object.fromEntries(Object.entries(all).filter(([key]) => !ignored.includes(key)))
}

test('has exactly the classes of undici 8, each exported under its name too', () => {
  expect(Object.keys(errors).sort()).toEqual(Object.keys(undici8).sort())
  expect(Object.isFrozen(errors)).toBe(true)
  for (const [name, value] of Object.entries(errors)) {
    expect((exported as Record<string, unknown>)[name]).toBe(value)
    expect(value.name).toBe(name)
  }
})

for (const [version, theirs] of versions) {
  for (const [name, Theirs] of Object.entries(theirs)) {
    const Ours = ours[name]!
    // undici 8 added it.
    const ignored = version === 'undici 7' ? ['bodyTruncated'] : []

    test(`${name} says what ${version}'s says, with arguments and without`, () => {
      for (const args of [constructorArguments[name] ?? ['a message'], noMessage[name] ?? []]) {
        expect(facts(new Ours(...args), ignored)).toEqual(facts(new Theirs(...args), ignored))
      }
    })

    test(`${name} and ${version}'s are instances of the same classes of either library`, () => {
      const args = constructorArguments[name] ?? ['a message']
      const mine = new Ours(...args)
      const other = new Theirs(...args)
      expect(mine instanceof Ours).toBe(true)
      expect(other instanceof Ours).toBe(true)
      expect(mine instanceof Theirs).toBe(true)
      for (const [key, Class] of Object.entries(theirs)) {
        // undici forgot this class's marker, so there every UndiciError is an instance of it.
        if (key === 'Socks5ProxyError') continue
        expect([key, mine instanceof Class]).toEqual([key, other instanceof Class])
        expect([key, mine instanceof ours[key]!]).toEqual([key, other instanceof Class])
      }
    })
  }
}

test('instanceof is false for what is no error', () => {
  for (const value of [null, undefined, 'text', 1, {}, new Error('plain'), Object.create(null)]) {
    expect(value instanceof UndiciError).toBe(false)
    expect(value instanceof SocketError).toBe(false)
    expect((value as unknown) instanceof errors.HTTPParserError).toBe(false)
  }
  expect(new SocketError('x') instanceof errors.Socks5ProxyError).toBe(false)
  expect(new SocketError('x') instanceof Error).toBe(true)
})

test('markers do not show in a printed error', () => {
  const text = inspect(new errors.ConnectTimeoutError('late'))
  expect(text).toContain('ConnectTimeoutError: late')
  expect(text).not.toContain('Symbol(')
  expect(Reflect.ownKeys(new errors.ConnectTimeoutError('late')).filter((key) => typeof key === 'symbol')).toEqual([])
})

test('builds every class of the table from its name alone', () => {
  for (const [name, Class] of Object.entries(ours)) {
    const { code } = new Class(...(noMessage[name] ?? []))
    const info = {
      name,
      code: name === 'HTTPParserError' ? 'HPE_INVALID_VERSION' : String(code),
      message: `of ${name}`,
    }
    const error = createUndiciError(info)
    expect(error).toBeInstanceOf(Class)
    expect(error.constructor.name).toBe(name)
    expect(error).toMatchObject({ code: info.code, message: info.message })
  }
})

test('builds a refused connection as Node does: same properties, in the same order', async () => {
  const port = await closedPort()
  const failed = Promise.withResolvers<NodeJS.ErrnoException & { address: string; port: number }>()
  connect(port, '127.0.0.1').on('error', (error) => {
    failed.resolve(error as NodeJS.ErrnoException & { address: string; port: number })
  })
  const real = await failed.promise
  const built = createUndiciError({
    name: 'Error',
    code: 'ECONNREFUSED',
    message: `connect ECONNREFUSED 127.0.0.1:${port}`,
    port,
    address: '127.0.0.1',
    syscall: 'connect',
    errno: real.errno!,
    phase: 'connect',
    host: `127.0.0.1:${port}`,
  })
  expect(Object.entries(built)).toEqual(Object.entries(real))
  expect(built.message).toBe(real.message)
  expect(built.name).toBe('Error')
  expect(built instanceof UndiciError).toBe(false)
})

test('builds a failed lookup as Node does', async () => {
  // A label of 64 octets is refused by the local resolver (RFC 1035 §2.3.4): no name server is asked.
  const hostname = `${'a'.repeat(64)}.invalid`
  const failed = Promise.withResolvers<NodeJS.ErrnoException & { hostname: string }>()
  lookup(hostname, (error) => {
    failed.resolve(error as NodeJS.ErrnoException & { hostname: string })
  })
  const real = await failed.promise
  const built = createUndiciError({
    name: 'Error',
    hostname,
    code: real.code!,
    errno: real.errno!,
    syscall: 'getaddrinfo',
    message: `getaddrinfo ${real.code} ${hostname}`,
  })
  expect(Object.entries(built)).toEqual(Object.entries(real))
  expect(built.message).toBe(real.message)
})

test('a TLS error has its code and no field that is not known', () => {
  const built = createUndiciError({ name: 'Error', code: 'CERT_HAS_EXPIRED', message: 'certificate has expired' })
  expect(Object.entries(built)).toEqual([['code', 'CERT_HAS_EXPIRED']])
})

test('phase, host and status ride along without being listed', () => {
  const info = { name: 'HeadersTimeoutError', code: 'UND_ERR_HEADERS_TIMEOUT', message: 'late', statusCode: 103 }
  const error = createUndiciError({ ...info, phase: 'headers', host: 'example.test:80' })
  expect(error).toMatchObject({ phase: 'headers', host: 'example.test:80', statusCode: 103 })
  expect(Object.keys(error)).not.toContain('phase')
  expect(Object.keys(createUndiciError(info))).toEqual(Object.keys(error))
  expect('phase' in createUndiciError(info)).toBe(false)
})

test('a SocketError knows the remote end where the core does', () => {
  const info = { name: 'SocketError', code: 'UND_ERR_SOCKET', message: 'other side closed' }
  expect(createUndiciError(info)).toMatchObject({ socket: null })
  expect(createUndiciError({ ...info, address: '::1', port: 8080 })).toMatchObject({
    socket: { remoteAddress: '::1', remotePort: 8080, remoteFamily: 'IPv6' },
  })
  expect(createUndiciError({ ...info, address: '127.0.0.1' })).toMatchObject({
    socket: { remoteAddress: '127.0.0.1', remoteFamily: 'IPv4' },
  })
})

test("a SocketError has undici's eight fields of its connection, known or not", async () => {
  await using server = await startTcpServer((socket) => socket.once('data', () => socket.end()))
  const failed = Promise.withResolvers<undici8.SocketError>()
  const agent = new UndiciAgent()
  agent.dispatch(
    { origin: server.origin, path: '/', method: 'GET' },
    { ...fullHandler, onResponseError: (_controller, error) => failed.resolve(error as undici8.SocketError) },
  )
  const { socket: theirs } = await failed.promise
  await agent.destroy()
  const ends = {
    localAddress: '127.0.0.1',
    localPort: theirs!.localPort!,
    remoteAddress: '127.0.0.1',
    remotePort: server.port,
    remoteFamily: 'IPv4',
    bytesWritten: theirs!.bytesWritten!,
    bytesRead: 0,
  }
  const info = { name: 'SocketError', code: 'UND_ERR_SOCKET', message: 'other side closed' }
  const { socket: ours } = createUndiciError({ ...info, socket: ends }) as SocketError
  expect(Object.entries(ours!)).toEqual(Object.entries(theirs!))
  const { socket: partly } = createUndiciError({ ...info, address: '::1' }) as SocketError
  expect(Object.keys(partly!)).toEqual(Object.keys(theirs!))
})

test('several addresses tried are an AggregateError with the code of the first', () => {
  const [first, second] = ['::1', '127.0.0.1'].map((address) => ({
    name: 'Error',
    code: 'ECONNREFUSED',
    message: `connect ECONNREFUSED ${address}:1`,
    syscall: 'connect',
    address,
    port: 1,
  })) as [CoreErrorInfo, CoreErrorInfo]
  const error = createUndiciError({ name: 'AggregateError', code: '', message: '', errors: [first, second] })
  expect(error).toBeInstanceOf(AggregateError)
  expect(error).toMatchObject({ code: 'ECONNREFUSED', message: '', name: 'AggregateError' })
  expect((error as AggregateError).errors).toEqual([createUndiciError(first), createUndiciError(second)])
  expect((error as AggregateError).errors[1]).toMatchObject({ syscall: 'connect', address: '127.0.0.1', port: 1 })
})

test('retry and response errors carry the status', () => {
  for (const name of ['RequestRetryError', 'ResponseError']) {
    const error = createUndiciError({ name, code: '', message: 'm', statusCode: 503 })
    expect(error).toMatchObject({ name, statusCode: 503 })
    expect(Object.keys(error)).toContain('statusCode')
  }
})

test('a name the table does not know still arrives with its code', () => {
  for (const name of ['NewError', 'constructor', '__proto__']) {
    const error = createUndiciError({ name, code: 'SLUICE_NEW', message: 'something new' })
    expect(error).toBeInstanceOf(UndiciError)
    expect(error).toMatchObject({ code: 'SLUICE_NEW', message: 'something new' })
    expect(error.name).toBe(name)
  }
})
