/**
 * Local servers on port 0 for one test each. Every one closes by destroying its sockets, so no test waits for a
 * keep-alive connection. `await using server = await startServer(…)` closes it at the end of the block.
 */
import { createServer as createHttpServer } from 'node:http'
import type { RequestListener, Server as HttpServer, ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { certificate, type CertificateName } from './certificates.ts'

/** A server that listens on the loopback. */
export interface RunningServer extends AsyncDisposable {
  readonly port: number
  /** `http://127.0.0.1:PORT` or `https://localhost:PORT`; without a slash at the end. */
  readonly origin: string
  /** The connections that are open now. */
  readonly sockets: ReadonlySet<Socket>
  /** Connections accepted since the start. */
  readonly accepted: number
  /** Destroys every connection and stops listening. */
  close(): Promise<void>
}

export interface ServerOptions {
  /** The address to listen on; `127.0.0.1` by default. */
  host?: string
}

/** An HTTP/1.1 server. */
export function startServer(handler: RequestListener, options: ServerOptions = {}): Promise<RunningServer> {
  const server = createHttpServer(handler)
  // Node's own limits would end what a test deliberately keeps waiting.
  liftTimeouts(server)
  return listen(server, 'http', options)
}

export interface TlsServerOptions extends ServerOptions {
  /** Which of the fixtures to present; `signed` by default. */
  certificate?: CertificateName
}

/** An HTTPS server (HTTP/1.1) with one of the certificates of `test/fixtures/tls`. */
export function startTlsServer(handler: RequestListener, options: TlsServerOptions = {}): Promise<RunningServer> {
  const server = createHttpsServer(certificate(options.certificate ?? 'signed'), handler)
  liftTimeouts(server)
  return listen(server, 'https', options)
}

/** A TCP server: the handler speaks the protocol itself. */
export function startTcpServer(
  onSocket: (socket: Socket) => void,
  options: ServerOptions = {},
): Promise<RunningServer> {
  // allowHalfOpen: a client's FIN must not end what the handler still sends.
  return listen(createTcpServer({ allowHalfOpen: true }, onSocket), 'http', options)
}

/** Counts what a flooding server could hand to its kernel. */
export interface Flood extends RunningServer {
  /** Body bytes that the socket accepted, over all connections. */
  readonly sent: number
}

export interface FloodOptions extends ServerOptions {
  /** Bytes of the body, told in `content-length`. */
  length: number
  /** The bytes repeated in the body; 64 KiB of a counting pattern by default. */
  block?: Uint8Array
}

/**
 * Answers the first request of each connection with `length` bytes, written as fast as the client takes them; `sent`
 * tells how far it came, and byte `i` of the body is `block[i % block.length]`.
 */
export async function startFlood({ length, block = countingBlock(), ...options }: FloodOptions): Promise<Flood> {
  let sent = 0
  const server = await startTcpServer((socket) => {
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\nconnection: close\r\n\r\n`)
      let offset = 0
      const next = (): void => {
        if (offset >= length) {
          socket.end()
          return
        }
        const chunk = block.subarray(0, Math.min(block.length, length - offset))
        offset += chunk.length
        // The callback comes when the kernel has taken all of it, so what waits in Node's queue is not counted.
        socket.write(chunk, (error) => {
          if (error) return
          sent += chunk.length
          next()
        })
      }
      next()
    })
  }, options)
  return Object.defineProperty(server, 'sent', { get: () => sent }) as Flood
}

/** What {@link flood} repeats. */
export const CHUNK = Buffer.alloc(64 * 1024, 1)

/** Writes a body without an end, as fast as the client takes it. */
export function flood(response: ServerResponse): void {
  const write = (): void => {
    while (!response.destroyed && response.write(CHUNK));
  }
  response.on('drain', write)
  write()
}

/** 64 KiB in which neighbours differ, so that a lost or doubled chunk shows. */
export function countingBlock(length = 65_536): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(length)
  for (let i = 0; i < length; i++) block[i] = (i * 31 + (i >> 8)) & 0xff
  return block
}

/**
 * Whether bytes of a request have come. An abort before them finds a connection that was not given to the request yet,
 * and that is kept.
 */
export function isAsked({ sockets }: RunningServer): boolean {
  return [...sockets].some(({ bytesRead }) => bytesRead > 0)
}

/** A port of the loopback where nothing listens. */
export async function closedPort(): Promise<number> {
  const server = await startTcpServer(() => {})
  await server.close()
  return server.port
}

function liftTimeouts(server: HttpServer): void {
  server.requestTimeout = 0
  server.headersTimeout = 0
  server.keepAliveTimeout = 0
}

async function listen(
  server: Server,
  scheme: 'http' | 'https',
  { host = '127.0.0.1' }: ServerOptions,
): Promise<RunningServer> {
  const sockets = new Set<Socket>()
  let accepted = 0
  server.on('connection', (socket: Socket) => {
    accepted++
    sockets.add(socket)
    // Clients that break off are what many tests are about.
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('tlsClientError', () => {})
  const listening = Promise.withResolvers<void>()
  server.once('error', listening.reject)
  server.listen(0, host, () => {
    listening.resolve()
  })
  await listening.promise
  const { port } = server.address() as AddressInfo
  const close = async (): Promise<void> => {
    if (!server.listening) return
    const closed = new Promise<void>((resolve) => {
      server.close(() => {
        resolve()
      })
    })
    for (const socket of sockets) socket.destroy()
    await closed
  }
  // A certificate is tested against a name, not an address.
  const name = scheme === 'https' ? 'localhost' : host.includes(':') ? `[${host}]` : host
  return {
    port,
    origin: `${scheme}://${name}:${port}`,
    sockets,
    get accepted() {
      return accepted
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}
