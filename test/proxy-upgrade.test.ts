/** Requests that become sockets, through a proxy: undici's `WebSocket`, `upgrade` and `connect`. */
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import type { AgentOptions } from '../lib/index.ts'
import { rejection } from './support/bodies.ts'
import { certificateAuthority } from './support/certificates.ts'
import { contestants } from './support/contestants.ts'
import { until } from './support/deadline.ts'
import { startProxy, startSocksProxy } from './support/proxies.ts'
import { startServer, startTcpServer } from './support/servers.ts'
import { echo, startWebSocketServer } from './support/websocket-server.ts'

const BASIC = `Basic ${Buffer.from('me:s x').toString('base64')}`
const hostOf = (url: string): string => new URL(url).host

const overSluice = contestants.filter(([, { agent }]) => agent === 'sluice')

describe.each(overSluice)("undici's WebSocket: %s", (_name, { undici, open }) => {
  /** What comes back for one message, or how the connection closed instead. */
  async function exchange(url: string, options: AgentOptions): Promise<unknown> {
    await using agent = open({ connect: { ca: certificateAuthority }, ...options })
    const socket = new undici.WebSocket(url, { dispatcher: agent.dispatcher })
    const { promise, resolve } = Promise.withResolvers<unknown>()
    socket.addEventListener('open', () => socket.send('hello'))
    socket.addEventListener('message', ({ data }) => {
      resolve(data)
      socket.close()
    })
    socket.addEventListener('close', ({ code }) => resolve(code))
    return await promise
  }

  test.each([false, true])('goes through a tunnel; with TLS: %s', async (tls) => {
    await using server = await startWebSocketServer({ tls, onPeer: echo })
    await using proxy = await startProxy({ authorization: BASIC })
    expect(await exchange(server.url, { proxy: { uri: proxy.url, token: BASIC } })).toBe('hello')
    expect(proxy.requests).toMatchObject([
      { method: 'CONNECT', target: hostOf(server.url), headers: { 'proxy-authorization': BASIC } },
    ])
  })

  test.each([false, true])('goes through a proxy of https; with TLS: %s', async (tls) => {
    await using server = await startWebSocketServer({ tls, onPeer: echo })
    await using proxy = await startProxy({ isSecure: true })
    expect(await exchange(server.url, { proxy: proxy.url })).toBe('hello')
    expect(proxy.requests).toMatchObject([{ method: 'CONNECT' }])
  })

  test.each([false, true])('goes through SOCKS; with TLS: %s', async (tls) => {
    await using server = await startWebSocketServer({ tls, onPeer: echo })
    await using proxy = await startSocksProxy()
    expect(await exchange(server.url, { proxy: proxy.url })).toBe('hello')
    expect(proxy.requests).toHaveLength(1)
  })

  test.each([false, true])('is closed where the proxy refuses; with TLS: %s', async (tls) => {
    await using server = await startWebSocketServer({ tls, onPeer: echo })
    await using proxy = await startProxy({ refusesWith: 403 })
    expect(await exchange(server.url, { proxy: proxy.url })).toBe(1006)
    expect(server.sockets.size).toBe(0)
  })
})

/** Switches to what sends everything back. */
const startEcho = (status: number): ReturnType<typeof startTcpServer> =>
  startTcpServer((socket) => {
    let head = ''
    const onData = (chunk: Buffer): void => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      socket.off('data', onData)
      socket.write(
        `HTTP/1.1 ${status} Go\r\nconnection: upgrade\r\nupgrade: echo\r\nx-line: ${head.split('\r\n')[0]}\r\n\r\n`,
      )
      socket.pipe(socket)
    }
    socket.on('data', onData)
  })

interface Upgraded {
  socket: Duplex
  headers: Record<string, string>
}

/** undici's types let an origin of one's own in for `connect` alone. */
const upgrade = (agent: Agent, options: object): Promise<Upgraded> => agent.upgrade(options as never) as never

test('an upgrade asks the origin, not the proxy', async () => {
  await using server = await startEcho(101)
  await using proxy = await startProxy()
  await using agent = new Agent({ proxy: proxy.url })
  const { socket, headers } = await upgrade(agent, { origin: server.origin, path: '/chat', protocol: 'echo' })
  expect(headers['x-line']).toBe('GET /chat HTTP/1.1')
  socket.write('ping')
  expect(String((await once(socket, 'data'))[0])).toBe('ping')
  socket.destroy()
  expect(proxy.requests).toMatchObject([{ method: 'CONNECT', target: `127.0.0.1:${server.port}` }])
  await until(() => server.sockets.size === 0)
})

test('a CONNECT of the caller reaches the origin through the tunnel', async () => {
  await using server = await startEcho(200)
  await using proxy = await startProxy()
  await using agent = new Agent({ proxy: proxy.url })
  const { socket, headers } = await agent.connect({ origin: server.origin, path: 'inner.test:80' })
  expect(headers['x-line']).toBe('CONNECT inner.test:80 HTTP/1.1')
  socket.write('ping')
  expect(String((await once(socket, 'data'))[0])).toBe('ping')
  socket.destroy()
  expect(proxy.requests).toMatchObject([{ method: 'CONNECT', target: `127.0.0.1:${server.port}` }])
})

test('other requests of the same agent go on being passed on by the proxy', async () => {
  await using server = await startServer((_request, response) => response.end('plain'))
  await using proxy = await startProxy()
  await using agent = new Agent({ proxy: proxy.url })
  const get = async (): Promise<string> => (await fetch(server.origin, { dispatcher: agent })).text()
  await get()
  // It answers with 200, which is no upgrade.
  expect(await rejection(upgrade(agent, { origin: server.origin, path: '/' }))).toBeInstanceOf(Error)
  await get()
  expect(proxy.requests.map(({ method }) => method)).toEqual(['GET', 'CONNECT', 'GET'])
})
