import { constants } from 'node:os'
import { describe, expect, test } from 'vitest'
import { Agent, errors, fetch } from '../lib/index.ts'
import type { DispatchOptions } from '../lib/index.ts'
import { certificateAuthority } from './support/certificates.ts'
import type { CertificateName } from './support/certificates.ts'
import { Recorder, send } from './support/recorder.ts'
import { closedPort, startServer, startTcpServer, startTlsServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'

interface Failure {
  name: string
  /** Starts what fails; its address is `address` in the messages. */
  start(): Promise<{ origin: string; address: string; close(): Promise<void> }>
  /** Node's code, and what else the error is. */
  code: string
  properties?: object
  phase: string
  /** The body fails, not the head. */
  inBody?: boolean
}

const at = async (starting: Promise<RunningServer>) => {
  const server = await starting
  return { origin: server.origin, address: new URL(server.origin).host, close: () => server.close() }
}

/** A TCP server that answers every connection's first bytes so. */
const answering = (answer: string, end: 'end' | 'resetAndDestroy' = 'end') =>
  at(
    startTcpServer((socket) =>
      socket.once('data', () => {
        if (end === 'end') socket.end(answer, 'latin1')
        else socket.write(answer, 'latin1', () => socket.resetAndDestroy())
      }),
    ),
  )

const presenting = (certificate: CertificateName) =>
  at(startTlsServer((_request, response) => response.end(), { certificate }))

const nowhere = async (origin: string) => ({ origin, address: new URL(origin).host, close: async () => {} })

const failures: Failure[] = [
  {
    name: 'a host that does not resolve',
    start: () => nowhere('http://does-not-exist.invalid:8080'),
    code: 'ENOTFOUND',
    properties: { syscall: 'getaddrinfo', hostname: 'does-not-exist.invalid' },
    phase: 'connect',
  },
  {
    name: 'a port that refuses',
    start: async () => nowhere(`http://127.0.0.1:${await closedPort()}`),
    code: 'ECONNREFUSED',
    properties: { syscall: 'connect', address: '127.0.0.1', errno: -constants.errno.ECONNREFUSED },
    phase: 'connect',
  },
  {
    name: 'an expired certificate',
    start: () => presenting('expired'),
    code: 'CERT_HAS_EXPIRED',
    phase: 'connect',
  },
  {
    name: 'a self-signed certificate',
    start: () => presenting('self-signed'),
    code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
    phase: 'connect',
  },
  {
    name: 'a certificate of another host',
    start: () => presenting('wrong-host'),
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    phase: 'connect',
  },
  {
    name: 'no TLS at the other end',
    start: async () => {
      const server = await at(startServer((_request, response) => response.end()))
      return { ...server, origin: server.origin.replace('http:', 'https:') }
    },
    code: 'ERR_SSL_WRONG_VERSION_NUMBER',
    phase: 'connect',
  },
  {
    name: 'an answer that is not HTTP',
    start: () => answering('220 smtp.test ESMTP\r\n\r\n'),
    code: 'HPE_INVALID_CONSTANT',
    properties: { name: 'HTTPParserError' },
    phase: 'headers',
  },
  {
    name: 'a header that is not HTTP',
    start: () => answering('HTTP/1.1 200 OK\r\nbad header\r\n\r\n'),
    code: 'HPE_INVALID_HEADER_TOKEN',
    properties: { name: 'HTTPParserError' },
    phase: 'headers',
  },
  {
    name: 'a connection closed instead of an answer',
    start: () => answering(''),
    code: 'UND_ERR_SOCKET',
    properties: { name: 'SocketError' },
    phase: 'headers',
  },
  {
    name: 'a connection reset instead of an answer',
    start: () => answering('', 'resetAndDestroy'),
    code: 'ECONNRESET',
    phase: 'headers',
  },
  {
    name: 'a head cut short',
    start: () => answering('HTTP/1.1 200 OK\r\nx-a: '),
    code: 'UND_ERR_SOCKET',
    phase: 'headers',
  },
  {
    name: 'a body cut short of its content-length',
    start: () => answering('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello'),
    code: 'UND_ERR_SOCKET',
    properties: { name: 'SocketError' },
    phase: 'body',
    inBody: true,
  },
  {
    name: 'a chunked body cut short',
    start: () => answering('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n'),
    code: 'UND_ERR_SOCKET',
    properties: { name: 'SocketError' },
    phase: 'body',
    inBody: true,
  },
  {
    name: 'a chunk size that is none',
    start: () => answering('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n'),
    code: 'HPE_INVALID_CHUNK_SIZE',
    properties: { name: 'HTTPParserError' },
    phase: 'body',
    inBody: true,
  },
  {
    name: 'a connection reset inside the body',
    start: () => answering('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello', 'resetAndDestroy'),
    code: 'ECONNRESET',
    phase: 'body',
    inBody: true,
  },
]

describe.each(failures)('$name', ({ start, code, properties, phase, inBody }) => {
  test(`is one ${code} of dispatch`, async () => {
    const server = await start()
    await using agent = new Agent({ connect: { ca: certificateAuthority } })
    const recorder = new Recorder()
    await send(agent, server.origin, recorder).ended
    // Another request's end is later than a second report of the first would be.
    await send(agent, server.origin, new Recorder()).ended
    expect(recorder.order.filter((call) => call !== 'start')).toEqual(inBody ? ['head', 'data', 'error'] : ['error'])
    expect(recorder.error).toBeInstanceOf(Error)
    expect(recorder.error).toMatchObject({ code, ...properties })
    await server.close()
  })

  test('fails fetch with a cause that names host, phase and code', async () => {
    const server = await start()
    await using agent = new Agent({ connect: { ca: certificateAuthority } })
    const error = await fetch(server.origin, { dispatcher: agent }).then(
      (response) => response.text().catch((thrown: unknown) => thrown as TypeError),
      (thrown: unknown) => thrown as TypeError,
    )
    expect(error).toBeInstanceOf(TypeError)
    const { message, cause } = error as TypeError & { cause: Error }
    expect(message).toBe(inBody ? 'terminated' : 'fetch failed')
    expect(cause).toMatchObject({ code, ...properties })
    for (const part of [server.address, phase, code]) expect(cause.message).toContain(part)
    await server.close()
  })
})

test.each<[string, Partial<DispatchOptions>, string]>([
  ['a URL that is none', { origin: 'http://a b' }, 'Invalid URL'],
  ['an origin with a path', { origin: 'http://a.test/b' }, 'invalid url'],
  ['a method with a space', { method: 'GE T' }, 'invalid request method'],
  ['a path with a line break', { path: '/a\r\nx: y' }, 'invalid request path'],
  ['CRLF in a header', { headers: { 'x-a': 'b\r\nx-c: d' } }, 'invalid x-a header'],
  ['a header name with a space', { headers: { 'x a': 'b' } }, 'invalid header key'],
])('%s is reported by dispatch before anything is sent', async (_name, options, message) => {
  await using agent = new Agent()
  const recorder = new Recorder()
  expect(send(agent, 'http://127.0.0.1:8', recorder, options).calls).toEqual(['error'])
  expect(recorder.error!.message).toContain(message)
  expect(recorder.error!.code).toMatch(/^(UND_ERR_INVALID_ARG|ERR_INVALID_URL)$/)
})

test("a failure has the class that undici's users look for", async () => {
  await using server = await startTcpServer((socket) => socket.once('data', () => socket.destroy()))
  await using agent = new Agent()
  const recorder = new Recorder()
  await send(agent, server.origin, recorder, { method: 'POST', body: 'x' }).ended
  expect(recorder.error instanceof errors.SocketError || recorder.error!.code === 'ECONNRESET').toBe(true)
  const undici = await import('undici')
  if (recorder.error instanceof errors.SocketError) expect(recorder.error).toBeInstanceOf(undici.errors.SocketError)
})
