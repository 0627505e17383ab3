/** undici's `WebSocket` over undici's own agent and over sluice's. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import type { CloseEvent, WebSocket } from 'undici7'
import { certificateAuthority } from './support/certificates.ts'
import { contestants, type OpenAgent, type Undici } from './support/contestants.ts'
import { until, within } from './support/deadline.ts'
import { startServer, startTcpServer } from './support/servers.ts'
import { echo, startWebSocketServer } from './support/websocket-server.ts'
import type { Peer } from './support/websocket-server.ts'

const KIB = 1024
const MIB = 1024 * KIB

const originals = ['undici.globalDispatcher.1', 'undici.globalDispatcher.2'].map(
  (name) => [Symbol.for(name), Reflect.get(globalThis, Symbol.for(name)) as unknown] as const,
)
afterEach(() => {
  for (const [key, value] of originals) Reflect.set(globalThis, key, value)
})

/** Opens a connection and collects what happens on it. */
function connect(undici: Undici, { dispatcher }: OpenAgent, url: string, protocols: string[] = []) {
  const socket = new undici.WebSocket(url, { dispatcher, protocols })
  return { socket, ...observe(socket) }
}

function observe(socket: WebSocket) {
  socket.binaryType = 'arraybuffer'
  const messages: (string | ArrayBuffer)[] = []
  const errors: unknown[] = []
  const opened = Promise.withResolvers<void>()
  const closed = Promise.withResolvers<CloseEvent>()
  socket.addEventListener('open', () => opened.resolve())
  socket.addEventListener('message', ({ data }) => messages.push(data as string))
  socket.addEventListener('error', ({ error }) => errors.push(error))
  socket.addEventListener('close', (event) => {
    closed.resolve(event)
    opened.reject(new Error(`closed with ${event.code}`))
  })
  const open = within(opened.promise, { what: 'open' })
  // Some tests are about connections that never open.
  open.catch(() => {})
  return {
    messages,
    errors,
    opened: open,
    /** Code, reason and cleanness. */
    closed: closed.promise.then(({ code, reason, wasClean }) => [code, reason, wasClean]),
  }
}

const message = async (peer: Peer): Promise<string> => String((await once(peer, 'message'))[0])
const peerClosed = async (peer: Peer): Promise<[number, string]> => {
  const [code, reason] = await once(peer, 'close')
  return [code as number, String(reason)]
}

describe.each(contestants)('%s', (_name, { undici, open }) => {
  test('10 000 messages of 0 B to 1 MiB, text and binary, come back whole and in order', async () => {
    const count = 10_000
    const pool = new Uint8Array(MIB).map((_, index) => index * 31 + (index >> 8))
    const text = 'Grüße, 世界 ☃ '.repeat(MIB / 16)
    const sizeOf = (index: number): number =>
      index % 1000 === 7 ? MIB : index % 100 === 3 ? 64 * KIB + index : index % 10 === 0 ? 0 : (index * 37) % 2000
    const nth = (index: number): string | Uint8Array<ArrayBuffer> =>
      index % 2 === 0 ? text.slice(0, sizeOf(index)) : pool.subarray(0, sizeOf(index))
    await using server = await startWebSocketServer({ onPeer: echo })
    await using agent = open()
    const { socket, messages, opened, closed } = connect(undici, agent, server.url)
    await opened
    for (let index = 0; index < count; index++) socket.send(nth(index))
    await until(() => messages.length === count, { timeoutMs: 25_000 })
    for (const [index, data] of messages.entries()) {
      const expected = nth(index)
      const isSame =
        typeof expected === 'string'
          ? data === expected
          : typeof data !== 'string' && Buffer.compare(new Uint8Array(data), expected) === 0
      if (!isSame) expect.fail(`message ${index} of ${expected.length} differs`)
    }
    expect(socket.bufferedAmount).toBe(0)
    socket.close()
    expect(await closed).toEqual([1005, '', true])
  })

  test('bytes that come with the 101 are the first message', async () => {
    await using server = await startTcpServer((socket) => {
      socket.once('data', (head) => {
        const key = /sec-websocket-key: (.*)\r\n/i.exec(head.toString())![1]!
        const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
        const reply =
          `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n` +
          `sec-websocket-accept: ${accept}\r\n\r\n`
        socket.write(Buffer.concat([Buffer.from(reply), Buffer.from([0x81, 5]), Buffer.from('early')]))
      })
    })
    await using agent = open()
    const { messages, opened } = connect(undici, agent, server.origin.replace('http', 'ws'))
    await opened
    await until(() => messages.length === 1)
    expect(messages).toEqual(['early'])
  })

  test('ping and pong go both ways', async () => {
    await using server = await startWebSocketServer()
    await using agent = open()
    const { socket, opened } = connect(undici, agent, server.url)
    const peer = await server.next()
    await opened
    const pong = once(peer, 'pong')
    peer.ping('are you there')
    expect(String((await pong)[0])).toBe('are you there')
    const ping = once(peer, 'ping')
    undici.ping(socket, Buffer.from('and you'))
    expect(String((await ping)[0])).toBe('and you')
  })

  test.each([
    ['a code and a reason', [3001, 'had enough'], [3001, 'had enough']],
    ['neither', [], [1005, '']],
  ] as const)('the client closes with %s', async (_what, args, expected) => {
    await using server = await startWebSocketServer()
    await using agent = open()
    const { socket, opened, closed } = connect(undici, agent, server.url)
    const peer = await server.next()
    await opened
    const seen = peerClosed(peer)
    socket.close(...(args as unknown as [number, string]))
    expect(await seen).toEqual(expected)
    expect(await closed).toEqual([...expected, true])
    await until(() => server.sockets.size === 0)
  })

  test.each([
    ['a code and a reason', [4000, 'bye'], [4000, 'bye']],
    ['a code of the protocol', [1011], [1011, '']],
    ['neither', [], [1005, '']],
  ] as const)('the server closes with %s', async (_what, args, expected) => {
    await using server = await startWebSocketServer()
    await using agent = open()
    const { opened, closed, errors } = connect(undici, agent, server.url)
    const peer = await server.next()
    await opened
    peer.close(...(args as unknown as [number, string]))
    expect(await closed).toEqual([...expected, true])
    expect(errors).toEqual([])
    await until(() => server.sockets.size === 0)
  })

  test('a server that dies between messages closes with 1006', async () => {
    await using server = await startWebSocketServer()
    await using agent = open()
    const { opened, closed } = connect(undici, agent, server.url)
    const peer = await server.next()
    await opened
    peer.terminate()
    expect(await closed).toEqual([1006, '', false])
  })

  test('a server that dies inside a message closes with 1006, and the message is not delivered', async () => {
    await using server = await startWebSocketServer()
    await using agent = open()
    const { messages, opened, closed } = connect(undici, agent, server.url)
    const peer = await server.next()
    await opened
    peer.send('whole')
    await until(() => messages.length === 1)
    const [socket] = server.sockets
    // A binary message of 100 bytes, of which 3 come.
    socket!.end(Buffer.from([0x82, 100, 1, 2, 3]))
    expect(await closed).toEqual([1006, '', false])
    expect(messages).toEqual(['whole'])
  })

  test('a server that resets while both sides are sending closes with 1006', async () => {
    await using server = await startWebSocketServer({ onPeer: echo })
    await using agent = open()
    const { socket, messages, opened, closed } = connect(undici, agent, server.url)
    await opened
    for (let index = 0; index < 64; index++) socket.send(new Uint8Array(MIB))
    await until(() => messages.length > 0)
    const [connection] = server.sockets
    connection!.resetAndDestroy()
    expect(await closed).toEqual([1006, '', false])
    expect(messages.length).toBeLessThan(64)
  })

  test('permessage-deflate is offered and spoken', async () => {
    await using server = await startWebSocketServer({ onPeer: echo, perMessageDeflate: { threshold: 0 } })
    await using agent = open()
    const { socket, messages, opened } = connect(undici, agent, server.url)
    const peer = await server.next()
    await opened
    expect(socket.extensions).toContain('permessage-deflate')
    expect(peer.extensions).toContain('permessage-deflate')
    const long = 'compressible '.repeat(100_000)
    socket.send(long)
    socket.send('short')
    await until(() => messages.length === 2)
    expect(messages).toEqual([long, 'short'])
    const [connection] = server.sockets
    expect(connection!.bytesWritten).toBeLessThan(long.length / 10)
  })

  test('a server that does not read keeps bufferedAmount up, and one that does lets it fall', async () => {
    const total = 64 * MIB
    await using server = await startWebSocketServer()
    await using agent = open()
    const { socket, opened } = connect(undici, agent, server.url)
    const slow = await server.next()
    await opened
    slow.pause()
    let received = 0
    slow.on('message', (data: Buffer) => (received += data.length))
    for (let sent = 0; sent < total; sent += MIB) socket.send(new Uint8Array(MIB))
    expect(socket.bufferedAmount).toBe(total)

    // While that one waits, another connection of the agent does its work.
    const other = connect(undici, agent, server.url)
    const brisk = await server.next()
    await other.opened
    for (let round = 0; round < 200; round++) {
      const arrived = message(brisk)
      other.socket.send(`round ${round}`)
      expect(await arrived).toBe(`round ${round}`)
      brisk.send('seen')
      await until(() => other.messages.length === round + 1)
    }
    // The rest is what two kernels and the agent take on their own account.
    expect(socket.bufferedAmount).toBeGreaterThan(total / 2)
    slow.resume()
    await until(() => received === total && socket.bufferedAmount === 0, { timeoutMs: 20_000 })
  })

  test('a subprotocol is agreed', async () => {
    await using server = await startWebSocketServer({ handleProtocols: (offered) => [...offered][1] ?? false })
    await using agent = open()
    const { socket, opened } = connect(undici, agent, server.url, ['first', 'second'])
    await opened
    expect([socket.protocol, (await server.next()).protocol]).toEqual(['second', 'second'])
  })

  test.each([200, 401, 503])('a server that answers %i in place of 101 closes with 1006', async (status) => {
    await using server = await startServer((_request, response) => response.writeHead(status).end('no'))
    await using agent = open()
    const { opened, closed, errors } = connect(undici, agent, server.origin.replace('http', 'ws'))
    expect(await closed).toEqual([1006, '', false])
    await expect(opened).rejects.toThrow('closed with 1006')
    expect(errors).toHaveLength(1)
  })

  test('nobody listening closes with 1006', async () => {
    await using agent = open()
    const server = await startTcpServer(() => {})
    await server.close()
    const { closed, errors } = connect(undici, agent, server.origin.replace('http', 'ws'))
    expect(await closed).toEqual([1006, '', false])
    expect(errors).toHaveLength(1)
  })

  test('wss goes by the certificate authority of the agent', async () => {
    await using server = await startWebSocketServer({ tls: true, onPeer: echo })
    await using agent = open({ connect: { ca: certificateAuthority } })
    const { socket, messages, opened, closed } = connect(undici, agent, server.url)
    await opened
    const secret = 'secret '.repeat(MIB / 7)
    socket.send(secret)
    await until(() => messages.length === 1)
    expect(messages[0]).toBe(secret)
    socket.close(1000, 'done')
    expect(await closed).toEqual([1000, 'done', true])
  })

  test('wss to a server that the agent does not trust closes with 1006', async () => {
    await using server = await startWebSocketServer({ tls: true })
    await using agent = open()
    const { closed, errors } = connect(undici, agent, server.url)
    expect(await closed).toEqual([1006, '', false])
    expect(errors).toHaveLength(1)
  })

  test('close() of the agent does not wait for an open WebSocket, which goes on', async () => {
    await using server = await startWebSocketServer({ onPeer: echo })
    await using agent = open()
    const { socket, messages, opened, closed } = connect(undici, agent, server.url)
    await opened
    await within(agent.dispatcher.close(), { what: 'close()' })
    socket.send('still here')
    await until(() => messages.length === 1)
    socket.close()
    expect(await closed).toEqual([1005, '', true])
  })

  test('many connections at once have an agent in common', async () => {
    await using server = await startWebSocketServer({ onPeer: echo })
    await using agent = open()
    const clients = Array.from({ length: 100 }, () => connect(undici, agent, server.url))
    await Promise.all(clients.map(({ opened }) => opened))
    expect(server.sockets.size).toBe(100)
    for (const [index, { socket }] of clients.entries()) socket.send(`${index}`)
    await until(() => clients.every(({ messages }) => messages.length === 1))
    expect(clients.map(({ messages }) => messages[0])).toEqual(clients.map((_, index) => `${index}`))
    for (const { socket } of clients) socket.close()
    await Promise.all(clients.map(({ closed }) => closed))
    await until(() => server.sockets.size === 0)
  })

  test('a request of the agent is served beside an upgraded connection', async () => {
    await using server = await startWebSocketServer({ onPeer: echo })
    await using plain = await startServer((_request, response) => response.end('plain'))
    await using agent = open()
    const { socket, messages, opened } = connect(undici, agent, server.url)
    await opened
    const { body } = await undici.request(plain.origin, { dispatcher: agent.dispatcher })
    expect(await body.text()).toBe('plain')
    socket.send('x')
    await until(() => messages.length === 1)
  })

  test("Node's own WebSocket takes the agent from the global dispatcher", async () => {
    await using server = await startWebSocketServer({ onPeer: echo })
    await using agent = open()
    let dispatched = 0
    const counting = agent.dispatcher.compose((dispatch) => (options, handler) => {
      dispatched++
      return dispatch(options, handler)
    })
    undici.setGlobalDispatcher(counting)
    const socket = new globalThis.WebSocket(server.url)
    const { messages, opened, closed } = observe(socket as unknown as WebSocket)
    await opened
    socket.send('by the platform')
    await until(() => messages.length === 1)
    expect([messages, dispatched]).toEqual([['by the platform'], 1])
    socket.close(1000)
    expect(await closed).toEqual([1000, '', true])
  })
})
