/** Requests that become sockets: the same bodies over undici's own agent, which is the reference. */
import type { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { Agent as UndiciAgent } from 'undici'
import { Agent } from '../lib/index.ts'
import type { AnyDispatchHandler, DispatchOptions, DispatcherSurface } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { Recorder, send } from './support/recorder.ts'
import { startServer, startTcpServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'

const contestants = [
  { name: 'sluice', open: () => new Agent() as unknown as DispatcherSurface & AsyncDisposable },
  {
    name: 'undici',
    open: () => {
      const agent = new UndiciAgent()
      return Object.assign(agent, { [Symbol.asyncDispose]: () => agent.destroy() }) as never
    },
  },
] as { name: string; open: () => DispatcherSurface & AsyncDisposable }[]

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\nX-Who: me\r\n\r\n'

/** Answers the first head with `answer`, then hands over the socket. */
async function startUpgrading(
  answer: string,
  onSocket: (socket: Socket) => void,
): Promise<RunningServer & { head: () => string }> {
  let head = ''
  const server = await startTcpServer((socket) => {
    socket.on('error', () => {})
    const onData = (chunk: Buffer): void => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      socket.off('data', onData)
      socket.write(answer)
      onSocket(socket)
    }
    socket.on('data', onData)
  })
  return Object.assign(server, { head: () => head })
}

const dropAtEnd = (socket: Socket): void => void socket.resume().on('end', () => socket.destroy())

interface Upgraded {
  status: number
  headers: Record<string, unknown>
  socket: Duplex
  calls: string[]
}

function upgrade(
  agent: DispatcherSurface,
  origin: string,
  options: Partial<DispatchOptions> = { upgrade: 'echo' },
): Promise<Upgraded> {
  const { promise, resolve, reject } = Promise.withResolvers<Upgraded>()
  const calls: string[] = []
  const handler: AnyDispatchHandler = {
    onRequestStart: () => void calls.push('start'),
    onRequestUpgrade: (_controller, status, headers, socket) => {
      calls.push('upgrade')
      resolve({ status, headers, socket, calls })
    },
    onResponseStart: () => void calls.push('head'),
    onResponseData: () => void calls.push('data'),
    onResponseEnd: () => void calls.push('end'),
    onResponseError: (_controller, error) => {
      calls.push('error')
      reject(error)
    },
  }
  agent.dispatch({ origin, path: '/', method: 'GET', ...options }, handler)
  return promise
}

const closed = (socket: Duplex): Promise<void> => new Promise((resolve) => socket.once('close', () => resolve()))

async function collect(socket: Duplex): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += (chunk as Buffer).toString('latin1')
  return text
}

describe.each(contestants)('$name', ({ open }) => {
  test('a 101 hands over the socket, with what came behind the head', async () => {
    await using server = await startUpgrading(`${SWITCH}first `, (socket) => socket.pipe(socket))
    await using agent = open()
    const { status, headers, socket, calls } = await upgrade(agent, server.origin)
    expect([status, headers]).toEqual([101, { connection: 'upgrade', upgrade: 'echo', 'x-who': 'me' }])
    expect(server.head()).toContain('connection: upgrade\r\nupgrade: echo\r\n')
    socket.end('second')
    expect(await collect(socket)).toBe('first second')
    expect(calls).toEqual(['start', 'upgrade'])
  })

  test("a legacy handler's onUpgrade gets raw headers and the socket", async () => {
    await using server = await startUpgrading(SWITCH, (socket) => socket.pipe(socket))
    await using agent = new Agent()
    const { promise, resolve } = Promise.withResolvers<[number, Buffer[], Duplex]>()
    agent.dispatch(
      { origin: server.origin, path: '/', method: 'GET', upgrade: 'echo' },
      {
        onConnect: () => {},
        onUpgrade: (status, raw, socket) => resolve([status, raw as Buffer[], socket]),
        onError: () => {},
      },
    )
    const [status, raw, socket] = await promise
    expect([status, raw.map(String)]).toEqual([101, ['Connection', 'upgrade', 'Upgrade', 'echo', 'X-Who', 'me']])
    socket.destroy()
  })

  test('another status is an ordinary response', async () => {
    await using server = await startServer((_request, response) => {
      response.statusCode = 426
      response.end('no')
    })
    await using agent = open()
    const recorder = new Recorder()
    Object.assign(recorder.handler, { onRequestUpgrade: () => recorder.calls.push('upgrade') })
    await send(agent, server.origin, recorder, { upgrade: 'echo' }).ended
    expect([recorder.status, recorder.body.toString()]).toEqual([426, 'no'])
    expect(recorder.order).toEqual(['start', 'head', 'data', 'end'])
  })

  test('a 101 that nobody asked for is a failure', async () => {
    await using server = await startUpgrading(SWITCH, dropAtEnd)
    await using agent = open()
    const recorder = send(agent, server.origin, new Recorder())
    await recorder.ended
    expect(recorder.error).toMatchObject({ code: 'UND_ERR_SOCKET', message: 'bad upgrade' })
  })

  test.each([200, 407])('CONNECT hands over the socket at %i', async (answer) => {
    await using server = await startUpgrading(`HTTP/1.1 ${answer} Whatever\r\nx-proxy: 1\r\n\r\n`, (socket) =>
      socket.pipe(socket),
    )
    await using agent = open()
    const options = { method: 'CONNECT', path: 'example.test:443', headers: { host: 'example.test:443' } }
    const { status, headers, socket } = await upgrade(agent, server.origin, options)
    expect([status, headers]).toEqual([answer, { 'x-proxy': '1' }])
    expect(server.head()).toBe(
      'CONNECT example.test:443 HTTP/1.1\r\nhost: example.test:443\r\nconnection: close\r\n\r\n',
    )
    socket.end('through')
    expect(await collect(socket)).toBe('through')
  })

  test('many bytes cross both ways, whole and in order', async () => {
    await using server = await startUpgrading(SWITCH, (socket) => socket.pipe(socket))
    await using agent = open()
    const { socket } = await upgrade(agent, server.origin)
    const block = Buffer.from(Uint8Array.from({ length: 64 * 1024 }, (_, index) => index % 251))
    let received = 0
    socket.on('data', (chunk: Buffer) => {
      for (const byte of [chunk[0]!, chunk.at(-1)!]) expect(byte).toBeLessThan(251)
      expect(chunk[0]).toBe((received % block.length) % 251)
      received += chunk.length
    })
    const ended = closed(socket)
    for (let index = 0; index < 256; index++) {
      if (!socket.write(block)) await new Promise((resolve) => socket.once('drain', resolve))
    }
    socket.end()
    await ended
    expect(received).toBe(256 * block.length)
  })

  test('a peer that does not read holds the writer back', async () => {
    await using server = await startUpgrading(SWITCH, (socket) => socket.pause())
    await using agent = open()
    const { socket } = await upgrade(agent, server.origin)
    const block = Buffer.alloc(256 * 1024)
    let accepted = 0
    // More than every buffer on the way holds.
    for (; accepted < 1024; accepted++) {
      if (socket.write(block)) continue
      const drained = new Promise<boolean>((resolve) => {
        const immediate = setTimeout(() => resolve(false), 500)
        socket.once('drain', () => {
          clearTimeout(immediate)
          resolve(true)
        })
      })
      if (!(await drained)) break
    }
    expect(accepted).toBeLessThan(256)
    const gone = closed(socket)
    socket.destroy()
    await gone
  })

  test('a reader that does not read holds the peer back', async () => {
    let sent = 0
    await using server = await startUpgrading(SWITCH, (socket) => {
      const block = Buffer.alloc(256 * 1024)
      const more = (): void => {
        while (sent < 1024 && socket.write(block)) sent++
      }
      socket.on('drain', more)
      more()
    })
    await using agent = open()
    const { socket } = await upgrade(agent, server.origin)
    let before = -1
    await until(() => {
      const isStill = sent === before
      before = sent
      return isStill
    })
    expect(sent).toBeLessThan(512)
    socket.resume()
    await until(() => sent === 1024)
    socket.destroy()
  })

  test("the peer's end ends both directions", async () => {
    let isEnded = false
    await using server = await startUpgrading(`${SWITCH}bye`, (socket) => {
      socket.on('end', () => (isEnded = true)).resume()
      socket.end()
    })
    await using agent = open()
    const { socket } = await upgrade(agent, server.origin)
    const gone = closed(socket)
    expect(await collect(socket)).toBe('bye')
    await gone
    await until(() => isEnded)
    expect([socket.destroyed, socket.errored]).toEqual([true, null])
  })

  test('an end of the writable side leaves the readable one open', async () => {
    await using server = await startUpgrading(SWITCH, (socket) => {
      let text = ''
      socket.on('data', (chunk) => (text += chunk.toString())).on('end', () => socket.end(`got ${text}`))
    })
    await using agent = open()
    const { socket } = await upgrade(agent, server.origin)
    socket.end('request')
    expect(await collect(socket)).toBe('got request')
  })

  test('destroy drops the connection and is told once', async () => {
    await using server = await startUpgrading(SWITCH, dropAtEnd)
    await using agent = open()
    const { socket } = await upgrade(agent, server.origin)
    const events: unknown[] = []
    socket.on('error', (error) => events.push(error)).on('close', () => events.push('close'))
    const reason = new Error('enough')
    socket.destroy(reason)
    socket.destroy(new Error('again'))
    await until(() => server.sockets.size === 0 && events.includes('close'))
    expect(events).toEqual([reason, 'close'])
  })

  test('a reset of the peer is the error of the socket', async () => {
    let peer: Socket | undefined
    await using server = await startUpgrading(SWITCH, (socket) => (peer = socket))
    await using agent = open()
    const { socket } = await upgrade(agent, server.origin)
    const failed = new Promise<Error & { code?: string }>((resolve) => socket.once('error', resolve))
    socket.resume()
    peer!.resetAndDestroy()
    expect((await failed).code).toBe('ECONNRESET')
    expect(socket.destroyed).toBe(true)
  })

  test('close and destroy of the agent leave the socket alone', async () => {
    for (const end of ['close', 'destroy'] as const) {
      await using server = await startUpgrading(SWITCH, (socket) => socket.pipe(socket))
      const agent = open()
      const { socket } = await upgrade(agent, server.origin)
      await agent[end]()
      socket.end('still here')
      expect(await collect(socket)).toBe('still here')
    }
  })

  test('the connection is told of as gone before the handler has it', async () => {
    await using server = await startUpgrading(SWITCH, (socket) => socket.pipe(socket))
    await using agent = open()
    const seen: string[] = []
    agent.on('disconnect', (_origin, _targets, error) => void seen.push(error.message))
    const { socket } = await upgrade(agent, server.origin)
    expect(seen).toEqual(['upgrade'])
    socket.destroy()
  })

  test('what a handler throws at its upgrade ends the socket', async () => {
    await using server = await startUpgrading(SWITCH, dropAtEnd)
    await using agent = open()
    const thrown = new Error('thrown by onRequestUpgrade')
    const recorder = new Recorder()
    Object.assign(recorder.handler, {
      onRequestUpgrade: (_controller: unknown, _status: number, _headers: unknown, socket: Duplex) => {
        socket.on('error', () => {})
        throw thrown
      },
    })
    await send(agent, server.origin, recorder, { upgrade: 'echo' }).ended
    expect(recorder.error).toBe(thrown)
    await until(() => server.sockets.size === 0)
  })
})

test('it stands where a net.Socket is expected', async () => {
  await using server = await startUpgrading(SWITCH, (socket) => socket.pipe(socket))
  await using agent = new Agent()
  const { socket } = (await upgrade(agent as never, server.origin)) as unknown as { socket: Socket }
  expect(socket.setNoDelay(true).setKeepAlive(true, 1000).ref().unref()).toBe(socket)
  expect(socket).toMatchObject({ readyState: 'open', connecting: false, remotePort: server.port })
  expect(socket.address()).toEqual({ address: '127.0.0.1', family: 'IPv4', port: socket.localPort })
  const idle = new Promise<void>((resolve) => socket.setTimeout(20, resolve))
  expect(socket.timeout).toBe(20)
  await idle
  socket.setTimeout(0)
  const gone = closed(socket)
  socket.write('x')
  await until(() => socket.bytesRead === 1)
  expect(socket.bytesWritten).toBe(1)
  socket.destroySoon()
  socket.resume()
  await gone
  expect(socket.readyState).toBe('closed')
})
