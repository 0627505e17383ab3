/** Proxies that are silent, that refuse, and that break off. */
import { describe, expect, test } from 'vitest'
import { Agent, errors, fetch } from '../lib/index.ts'
import type { AgentOptions, FetchInit } from '../lib/index.ts'
import { rejection } from './support/bodies.ts'
import { certificateAuthority } from './support/certificates.ts'
import { until } from './support/deadline.ts'
import { startProxy } from './support/proxies.ts'
import { Recorder, send } from './support/recorder.ts'
import { startServer, startTcpServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'

const connect = { ca: certificateAuthority }

/** Takes connections, says `words` when it is spoken to, and then nothing more. */
const startSilent = (words = ''): Promise<RunningServer> =>
  startTcpServer((socket) => {
    socket.once('data', () => socket.write(words))
    socket.resume().on('end', () => socket.destroy())
  })

describe('a proxy that hangs', () => {
  test.each([
    ['before it answers CONNECT', 'http', 'https://origin.test', ''],
    ['within its answer to CONNECT', 'http', 'https://origin.test', 'HTTP/1.1 200 OK\r\nx-more: '],
    ['in its TLS handshake, for https', 'https', 'https://origin.test', ''],
    ['in its TLS handshake, for http', 'https', 'http://origin.test', ''],
    ['before it greets, in SOCKS5', 'socks5h', 'http://origin.test', ''],
    ['after it has greeted, in SOCKS5', 'socks5h', 'https://origin.test', '\x05\x00'],
    ['in SOCKS4', 'socks4a', 'http://origin.test', ''],
  ])('%s is a connect timeout that names it', async (_name, scheme, origin, words) => {
    await using server = await startSilent(words)
    const port = new URL(origin.replace('https', 'http')).port || (origin.startsWith('https') ? 443 : 80)
    const proxy = `${scheme}://127.0.0.1:${server.port}`
    const expected = {
      name: 'ConnectTimeoutError',
      code: 'UND_ERR_CONNECT_TIMEOUT',
      message: `Connect Timeout Error (attempted address: origin.test:${port} through proxy 127.0.0.1:${server.port}, timeout: 50ms)`,
    }
    for (const [options, init] of [
      [{ proxy, connectTimeout: 50 }, {}],
      [{ proxy, connect: { timeout: 50 } }, {}],
      [{ proxy }, { connectTimeout: 50 }],
    ] satisfies [AgentOptions, FetchInit][]) {
      await using agent = new Agent(options)
      const { cause } = await rejection(fetch(origin, { dispatcher: agent, ...init }))
      expect(cause).toBeInstanceOf(errors.ConnectTimeoutError)
      expect(cause).toMatchObject({ name: expected.name, code: expected.code, phase: 'connect' })
      expect(cause.message).toContain(expected.message)
    }
    await using agent = new Agent({ proxy, connectTimeout: 50 })
    const recorder = new Recorder()
    await send(agent, origin, recorder).ended
    expect(recorder.error).toMatchObject(expected)
    await until(() => server.sockets.size === 0)
  })

  test('is left at once by an abort', async () => {
    await using server = await startSilent()
    await using agent = new Agent({ proxy: `http://127.0.0.1:${server.port}`, connectTimeout: 0 })
    const stop = new AbortController()
    const failed = rejection(fetch('https://origin.test', { dispatcher: agent, signal: stop.signal }))
    await until(() => server.sockets.size === 1)
    stop.abort(new Error('enough'))
    expect((await failed).message).toBe('enough')
    await until(() => server.sockets.size === 0)
  })

  test('is not what is waited for when the origin behind it hangs', async () => {
    await using origin = await startSilent()
    await using proxy = await startProxy()
    await using agent = new Agent({ proxy: proxy.url, connectTimeout: 50 })
    const { cause } = await rejection(fetch(`https://127.0.0.1:${origin.port}`, { dispatcher: agent }))
    expect(cause.code).toBe('UND_ERR_CONNECT_TIMEOUT')
    expect(cause.message).toContain(`127.0.0.1:${origin.port} through proxy 127.0.0.1:${proxy.port}`)
  })
})

test('a direct connection that hangs names no proxy', async () => {
  await using origin = await startSilent()
  await using agent = new Agent({ proxy: 'http://127.0.0.1:1', connectTimeout: 50 })
  await using direct = new Agent({ connectTimeout: 50 })
  const { cause } = await rejection(fetch(`https://127.0.0.1:${origin.port}`, { dispatcher: direct }))
  expect(cause.message).toContain(`(attempted address: 127.0.0.1:${origin.port}, timeout: 50ms)`)
  expect((await rejection(fetch(origin.origin, { dispatcher: agent }))).cause.code).toBe('ECONNREFUSED')
})

test.each([302, 400, 403, 407, 502, 503, 504])('CONNECT answered with %i has that status', async (status) => {
  await using proxy = await startProxy({ refusesWith: status })
  await using agent = new Agent({ connect, proxy: proxy.url })
  const { cause } = await rejection(fetch('https://origin.test', { dispatcher: agent }))
  expect(cause).toMatchObject({ code: 'UND_ERR_ABORTED', statusCode: status })
  expect(cause.message).toContain(`Proxy response (${status}) !== 200 when HTTP Tunneling`)
})

test.each(['http', 'https'])('a proxy of %s that goes away before it answers is no timeout', async (scheme) => {
  await using server = await startTcpServer((socket) => socket.once('data', () => socket.end()))
  await using agent = new Agent({ connect, proxy: `${scheme}://127.0.0.1:${server.port}` })
  const { cause } = await rejection(fetch('https://origin.test', { dispatcher: agent }))
  expect(['UND_ERR_SOCKET', 'ECONNRESET']).toContain(cause.code)
})

test("a proxy's own certificate is checked", async () => {
  await using server = await startServer((_request, response) => response.end('x'))
  await using proxy = await startProxy({ isSecure: true })
  await using trusting = new Agent({ connect, proxy: proxy.url })
  expect(await (await fetch(server.origin, { dispatcher: trusting })).text()).toBe('x')
  await using agent = new Agent({ proxy: proxy.url })
  const { cause } = await rejection(fetch(server.origin, { dispatcher: agent }))
  expect(cause.code).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
})
