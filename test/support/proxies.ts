/** Local proxies for one test each: HTTP (whole URLs and CONNECT), with or without TLS, and SOCKS5. */
import { createServer, request as forward } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { connect, createServer as createTcpServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { certificate } from './certificates.ts'

/** What a proxy was asked for. */
export interface ProxyRequest {
  method: string
  /** The URL, or `host:port` of CONNECT. */
  target: string
  headers: IncomingHttpHeaders
}

export interface RunningProxy extends AsyncDisposable {
  readonly port: number
  /** `http://127.0.0.1:PORT`, or `https://localhost:PORT`. */
  readonly url: string
  readonly requests: ProxyRequest[]
}

export interface ProxyServerOptions {
  /** The only `proxy-authorization` that is let in; 407 otherwise. */
  authorization?: string
  isSecure?: boolean
  /** Answers CONNECT with this status in place of connecting. */
  refusesWith?: number
}

async function listen(server: Server, name: string): Promise<Omit<RunningProxy, 'requests'>> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `${name}:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Names of `*.test` are the loopback's to this proxy, so that tests see who looked a name up. */
function connectTo(host: string, port: number): Socket {
  return connect(port, host.endsWith('.test') ? '127.0.0.1' : host)
}

function join(one: Duplex, other: Duplex): void {
  one.on('error', () => other.destroy())
  other.on('error', () => one.destroy())
  one.pipe(other).pipe(one)
}

/** An HTTP proxy. */
export async function startProxy(options: ProxyServerOptions = {}): Promise<RunningProxy> {
  const requests: ProxyRequest[] = []
  const isRefused = ({ method, url, headers }: IncomingMessage): boolean => {
    requests.push({ method: method!, target: url!, headers })
    return options.authorization !== undefined && headers['proxy-authorization'] !== options.authorization
  }
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    if (isRefused(request)) return void response.writeHead(407).end('who are you')
    const { hostname, port, pathname, search } = new URL(request.url!)
    const { 'proxy-authorization': _, ...headers } = request.headers
    const host = hostname.endsWith('.test') ? '127.0.0.1' : hostname
    const passed = forward({ host, port, path: pathname + search, method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(response)
    })
    passed.on('error', () => response.writeHead(502).end())
    request.pipe(passed)
  }
  const server = options.isSecure ? createHttpsServer(certificate('signed'), onRequest) : createServer(onRequest)
  server.on('connect', (request: IncomingMessage, socket: Duplex) => {
    const status = isRefused(request) ? 407 : options.refusesWith
    if (status !== undefined) return void socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`)
    const [host, port] = request.url!.split(/:(?=\d+$)/)
    const passed = connectTo(host!.replace(/[[\]]/g, ''), Number(port))
    passed.once('connect', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      join(socket, passed)
    })
    passed.once('error', () => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'))
  })
  return { ...(await listen(server, options.isSecure ? 'https://localhost' : 'http://127.0.0.1')), requests }
}

export interface SocksOptions {
  user?: string
  password?: string
  /** RFC 1928 §6; 0 connects. */
  reply?: number
}

/** A SOCKS5 proxy (RFC 1928) with or without a password (RFC 1929). `requests` tell the address as it was written. */
export async function startSocksProxy({ user, password, reply = 0 }: SocksOptions = {}): Promise<RunningProxy> {
  const requests: ProxyRequest[] = []
  const server = createTcpServer((socket) => void serve(socket).catch(() => socket.destroy()))
  async function serve(socket: Socket): Promise<void> {
    const read = reader(socket)
    const [, methods] = await read(2)
    const offered = [...(await read(methods!))]
    const method = user === undefined ? 0 : 2
    if (!offered.includes(method)) return void socket.end(Buffer.from([5, 0xff]))
    socket.write(Buffer.from([5, method]))
    if (method === 2) {
      const [, length] = await read(2)
      const name = (await read(length!)).toString()
      const secret = (await read((await read(1))[0]!)).toString()
      const isRight = name === user && secret === password
      socket.write(Buffer.from([1, isRight ? 0 : 1]))
      if (!isRight) return void socket.end()
    }
    const kind = (await read(4))[3]!
    let host
    if (kind === 1) host = [...(await read(4))].join('.')
    else if (kind === 3) host = (await read((await read(1))[0]!)).toString()
    else host = (await read(16)).toString('hex').replace(/(.{4})(?=.)/g, '$1:')
    const port = (await read(2)).readUInt16BE()
    requests.push({ method: 'CONNECT', target: `${host}:${port}`, headers: {} })
    const answer = Buffer.from([5, reply, 0, 1, 0, 0, 0, 0, 0, 0])
    if (reply !== 0) return void socket.end(answer)
    const passed = connectTo(host, port)
    passed.once('connect', () => {
      socket.write(answer)
      socket.removeAllListeners('readable')
      join(socket, passed)
    })
    passed.once('error', () => socket.destroy())
  }
  const running = await listen(server, 'socks5h://127.0.0.1')
  return { ...running, requests }
}

/** Reads so many bytes at a time. */
function reader(socket: Socket): (length: number) => Promise<Buffer> {
  return async (length) => {
    if (length === 0) return Buffer.alloc(0)
    for (;;) {
      const bytes = socket.read(length) as Buffer | null
      if (bytes !== null) return bytes
      if (socket.readableEnded || socket.destroyed) throw new Error('closed')
      await new Promise<void>((resolve) => {
        socket.once('readable', resolve)
        socket.once('close', resolve)
      })
    }
  }
}
