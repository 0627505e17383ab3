/** undici-contract.md §3: upgrade and CONNECT, whose socket is the handler's. */
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { until, within } from '../support/deadline.ts'
import { APIS_WIRE, CURRENT, REQWEST, WIRE } from './support/contestants.ts'
import { OK, response } from './support/raw-server.ts'
import { row } from './support/row.ts'
import type { Stage } from './support/stage.ts'

const SWITCH = response('101 Switching Protocols', ['connection: Upgrade', 'Upgrade: echo'])
const UPGRADE = { upgrade: 'echo' }
const TUNNEL = { method: 'CONNECT', path: 'named.test:443' }

/** A server that switches, and echoes what comes after. */
function echoing(stage: Stage, answer = SWITCH): ReturnType<Stage['raw']> {
  return stage.raw((_request, socket) => {
    socket.on('data', (chunk) => socket.write(chunk))
    socket.on('end', () => socket.end())
    return answer
  })
}

async function read(socket: Duplex, bytes: number): Promise<string> {
  let received = ''
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => (received += chunk))
  await until(() => received.length >= bytes, { what: `${bytes} bytes, after ${received}` })
  return received
}

row('§3 upgrade: start, then onRequestUpgrade, and nothing after it', {
  on: WIRE,
  run: async (stage) => {
    const server = await echoing(stage)
    const observer = await stage.fetch(server.origin, UPGRADE)
    observer.socket!.end()
    await once(observer.socket!.resume(), 'close')
    return [observer.response, observer.head.headers, server.requests[0]!.lines.map((line) => stage.mask(line))]
  },
  expected: [
    ['start', 'upgrade 101'],
    { connection: 'Upgrade', upgrade: 'echo' },
    ['GET / HTTP/1.1', 'host: 127.0.0.1:PORT', 'connection: upgrade', 'upgrade: echo'],
  ],
})

row('§3 upgrade: headers of the caller follow, rawHeaders keep their case', {
  on: WIRE,
  run: async (stage) => {
    const server = await echoing(stage)
    const observer = await stage.fetch(server.origin, { ...UPGRADE, headers: { 'X-Mine': '1' } })
    observer.socket!.destroy()
    return [server.requests[0]!.lines.slice(2), (observer.rawHeaders as Buffer[]).map(String)]
  },
  expected: [
    ['connection: upgrade', 'upgrade: echo', 'X-Mine: 1'],
    ['connection', 'Upgrade', 'Upgrade', 'echo'],
  ],
})

row('§3 upgrade: a Duplex both ways', {
  on: WIRE,
  run: async (stage) => {
    const server = await echoing(stage)
    const { socket } = await stage.fetch(server.origin, UPGRADE)
    socket!.write('hello ')
    socket!.write('world')
    const received = await read(socket!, 11)
    socket!.end()
    await once(socket!, 'close')
    return received
  },
  expected: 'hello world',
})

row('§3 upgrade: bytes that came with the head are read first', {
  on: WIRE,
  run: async (stage) => {
    const server = await echoing(stage, `${SWITCH}early `)
    const { socket } = await stage.fetch(server.origin, UPGRADE)
    socket!.write('late')
    const received = await read(socket!, 10)
    socket!.destroy()
    return received
  },
  expected: 'early late',
})

row('§3 upgrade: backpressure of both directions over 8 MiB', {
  on: WIRE,
  run: async (stage) => {
    const server = await echoing(stage)
    const { socket } = await stage.fetch(server.origin, UPGRADE)
    const chunk = Buffer.alloc(65_536, 7)
    let received = 0
    let waited = 0
    const write = async (): Promise<void> => {
      for (let index = 0; index < 128; index++) {
        if (!socket!.write(chunk)) {
          waited++
          await once(socket!, 'drain')
        }
      }
      socket!.end()
    }
    const reading = (async () => {
      for await (const piece of socket!) received += (piece as Buffer).byteLength
    })()
    await Promise.all([write(), reading])
    return [received, waited > 0]
  },
  expected: [128 * 65_536, true],
})

row('§3 upgrade: an unread socket holds the server back', {
  on: WIRE,
  run: async (stage) => {
    let written = 0
    let isHeld = false
    const server = await stage.raw((_request, socket) => {
      const write = (): void => {
        for (;;) {
          written += 65_536
          if (!socket.write(Buffer.alloc(65_536))) break
        }
        isHeld = true
        socket.once('drain', () => {
          isHeld = false
          write()
        })
      }
      setImmediate(write)
      return SWITCH
    })
    const { socket } = await stage.fetch(server.origin, UPGRADE)
    let before = -1
    await until(async () => {
      const isStill = isHeld && written === before
      before = written
      await new Promise((resolve) => setTimeout(resolve, 30))
      return isStill
    })
    socket!.destroy()
    return written < 64 * 1024 * 1024
  },
  expected: true,
})

row("§3 upgrade: the server's end is the socket's end, then its close", {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw((_request, socket) => {
      socket.end(`${SWITCH}bye`)
    })
    const { socket } = await stage.fetch(server.origin, UPGRADE)
    const closed = once(socket!, 'close')
    const received = await text(socket!)
    await within(closed)
    return [received, socket!.destroyed]
  },
  expected: ['bye', true],
})

row('§3 upgrade: destroy() drops the connection and emits its error, then close', {
  on: WIRE,
  run: async (stage) => {
    const server = await echoing(stage)
    const { socket } = await stage.fetch(server.origin, UPGRADE)
    const events: string[] = []
    socket!.on('error', (error) => events.push(error.message)).on('close', () => events.push('close'))
    socket!.destroy(new Error('enough'))
    await until(() => events.includes('close'))
    await until(() => server.ended === 1)
    return events
  },
  expected: ['enough', 'close'],
})

row('§3 upgrade: a reset by the server is ECONNRESET', {
  on: WIRE,
  run: async (stage) => {
    const server = await echoing(stage)
    const { socket } = await stage.fetch(server.origin, UPGRADE)
    const failure = once(socket!, 'error') as Promise<[NodeJS.ErrnoException]>
    socket!.resume()
    for (const peer of server.sockets) peer.resetAndDestroy()
    const [error] = await within(failure)
    return [error.code, error.syscall]
  },
  expected: ['ECONNRESET', 'read'],
})

row('§3 upgrade: what a WebSocket does to its socket: cork, uncork, setNoDelay, setTimeout, setKeepAlive, ref, unref', {
  on: WIRE,
  run: async (stage) => {
    const server = await echoing(stage)
    const { socket } = await stage.fetch(server.origin, UPGRADE)
    const net = socket as unknown as Record<string, (...args: unknown[]) => unknown>
    socket!.cork()
    socket!.write('a')
    socket!.write('b')
    socket!.uncork()
    const isChained = ['setNoDelay', 'setKeepAlive', 'setTimeout', 'ref', 'unref'].map(
      (name) => net[name]!(0) === socket,
    )
    const received = await read(socket!, 2)
    const { remoteAddress, remotePort } = socket as unknown as Record<string, unknown>
    socket!.destroy()
    return [received, isChained, remoteAddress, remotePort === server.port]
  },
  expected: ['ab', [true, true, true, true, true], '127.0.0.1', true],
})

row('§3 upgrade: the connection leaves the pool: disconnect with InformationalError upgrade', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw((request) => (request.lines[3]?.startsWith('upgrade') === true ? SWITCH : OK))
    const agent = stage.open({ connections: 1 })
    const events: unknown[] = []
    agent.on('disconnect', (_origin, _targets, error) => events.push([error.code, error.message]))
    const upgraded = await stage.send(agent, server.origin, UPGRADE).ended
    const next = await stage.send(agent, server.origin).ended
    upgraded.socket!.destroy()
    return [events, next.head.status, server.requests.map(({ connection }) => connection)]
  },
  expected: [[['UND_ERR_INFO', 'upgrade']], 200, [0, 1]],
})

row('§3 upgrade: another answer is a normal response', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw((_request, socket) => {
      socket.end(response('403 Forbidden', ['content-length: 2'], 'no'))
    })
    const observer = await stage.fetch(server.origin, UPGRADE)
    return [observer.response, observer.body]
  },
  expected: [['start', 'head 403', 'data', 'end'], 'no'],
})

row('§3 upgrade: 101 without having asked is a SocketError', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(SWITCH)
    const observer = await stage.fetch(server.origin)
    return [observer.response, stage.facts(observer.error)]
  },
  expected: [['start', 'error'], { name: 'SocketError', code: 'UND_ERR_SOCKET', message: 'bad upgrade' }],
})

row('§3 upgrade: abort() before the answer', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(() => {})
    const observer = stage.send(stage.open(), server.origin, UPGRADE)
    await server.request()
    observer.gate.abort(new Error('enough'))
    await until(() => server.ended === 1)
    return [observer.response, observer.error?.message]
  },
  expected: [['start', 'error'], 'enough'],
})

row('§3 upgrade: a server that closes instead', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw((_request, socket) => void socket.end())
    const observer = await stage.fetch(server.origin, UPGRADE)
    return [observer.response, stage.facts(observer.error)]
  },
  expected: [['start', 'error'], { name: 'SocketError', code: 'UND_ERR_SOCKET', message: 'other side closed' }],
})

row('§3 CONNECT: the authority as target, and every final status goes to onRequestUpgrade', {
  on: WIRE,
  run: async (stage) => {
    const seen = []
    for (const status of ['200 OK', '407 Proxy Authentication Required', '502 Bad Gateway']) {
      const server = await echoing(stage, response(status, ['x-proxy: 1']))
      const observer = await stage.fetch(server.origin, { ...TUNNEL, headers: { 'Proxy-Authorization': 'Basic x' } })
      seen.push([observer.response, observer.head.headers, server.requests[0]!.lines.map((line) => stage.mask(line))])
      observer.socket!.destroy()
    }
    return seen
  },
  expected: ['200', '407', '502'].map((status) => [
    ['start', `upgrade ${status}`],
    { 'x-proxy': '1' },
    ['CONNECT named.test:443 HTTP/1.1', 'host: 127.0.0.1:PORT', 'connection: close', 'Proxy-Authorization: Basic x'],
  ]),
})

row('§3 CONNECT: a tunnel', {
  on: WIRE,
  run: async (stage) => {
    const target = await stage.raw(OK)
    const proxy = await stage.raw((request, socket) => {
      const [host, port] = request.lines[0]!.split(' ')[1]!.split(':')
      const upstream = connectTcp(Number(port), host)
      upstream.on('error', () => {})
      upstream.pipe(socket).pipe(upstream)
      return response('200 OK')
    })
    const { socket } = await stage.fetch(proxy.origin, { method: 'CONNECT', path: `127.0.0.1:${target.port}` })
    socket!.write('GET /through HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
    await read(socket!, OK.length)
    socket!.destroy()
    return target.requests[0]!.lines[0]
  },
  expected: 'GET /through HTTP/1.1',
})

row('§3 CONNECT: a head with content-length has no body', {
  on: WIRE,
  run: async (stage) => {
    const server = await echoing(stage, response('200 OK', ['content-length: 5']))
    const { socket, response: events } = await stage.fetch(server.origin, TUNNEL)
    socket!.write('hello world')
    const received = await read(socket!, 11)
    socket!.destroy()
    return [events, received]
  },
  expected: [['start', 'upgrade 200'], 'hello world'],
})

row('§3 upgrade and CONNECT over reqwest', {
  on: REQWEST,
  run: async (stage) => {
    const server = await echoing(stage)
    const observer = await stage.fetch(server.origin, UPGRADE)
    observer.socket?.destroy()
    return observer.error?.name ?? observer.response.at(-1)
  },
  expected: 'upgrade 101' as unknown,
  differs: [{ id: 'C7', observed: 'NotSupportedError' }],
})

row('§3 a throw inside onRequestUpgrade reaches onResponseError, and the socket is gone', {
  on: CURRENT.filter(({ engine }) => engine !== 'reqwest'),
  run: async (stage) => {
    const server = await echoing(stage)
    const observer = stage.send(stage.open(), server.origin, UPGRADE, {
      upgrade: (socket) => {
        socket.on('error', () => {})
        throw new Error('thrown by the handler')
      },
    })
    await observer.seen('error')
    await until(() => server.sockets.size === 0)
    return [observer.response, observer.error?.message]
  },
  expected: [['start', 'upgrade 101', 'error'], 'thrown by the handler'],
})

row("§3 dispatcher.upgrade() and undici's upgrade()", {
  on: APIS_WIRE,
  run: async (stage) => {
    const server = await echoing(stage)
    const agent = stage.open()
    const seen = []
    for (const upgrading of [
      agent.upgrade({ origin: server.origin, path: '/', protocol: 'echo' } as never),
      stage.contestant.undici.upgrade(server.origin, { dispatcher: agent as never, protocol: 'echo' }),
    ]) {
      const { headers, socket } = await upgrading
      socket.write('hi')
      seen.push([headers, await read(socket, 2)])
      socket.destroy()
    }
    return seen
  },
  expected: Array.from({ length: 2 }, () => [{ connection: 'Upgrade', upgrade: 'echo' }, 'hi']),
})

row("§3 dispatcher.connect() and undici's connect()", {
  on: APIS_WIRE,
  run: async (stage) => {
    const server = await echoing(stage, response('200 OK', ['x-proxy: 1']))
    const agent = stage.open()
    const seen = []
    for (const connecting of [
      agent.connect({ origin: server.origin, path: 'named.test:443' }),
      stage.contestant.undici.connect(server.origin, { dispatcher: agent as never, path: 'named.test:443' } as never),
    ]) {
      const { statusCode, headers, socket } = await connecting
      socket.write('hi')
      seen.push([statusCode, headers, await read(socket, 2)])
      socket.destroy()
    }
    return seen
  },
  expected: Array.from({ length: 2 }, () => [200, { 'x-proxy': '1' }, 'hi']),
})

row("§3 undici's upgrade() over an answer that is no 101: SocketError bad upgrade", {
  on: APIS_WIRE,
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['content-length: 0']))
    const failure = stage
      .open()
      .upgrade({ origin: server.origin, path: '/', protocol: 'echo' } as never)
      .then(
        () => 'resolved',
        (error: Error) => stage.facts(error),
      )
    return failure
  },
  expected: { name: 'SocketError', code: 'UND_ERR_SOCKET', message: 'bad upgrade' } as unknown,
})
