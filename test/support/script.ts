/** A server whose answers a test writes itself, step by step. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { startTcpServer, type RunningServer } from './servers.ts'

/** One request that arrived, and the connection to answer it on. */
export class Exchange {
  readonly socket: Socket
  /** Resolves when the client's end is gone, by a FIN or a reset. */
  readonly gone: Promise<void>

  constructor(socket: Socket) {
    this.socket = socket
    // A half-open client reads no further either: sluice never shuts down only one direction.
    this.gone = new Promise((resolve) => {
      socket.once('end', resolve)
      socket.once('close', () => resolve())
    })
    socket.resume()
  }

  /** Begins a chunked response, or one of `length` bytes; the connection is not used again. */
  head(length?: number): this {
    const framing = length === undefined ? 'transfer-encoding: chunked' : `content-length: ${length}`
    this.socket.write(`HTTP/1.1 200 OK\r\n${framing}\r\nconnection: close\r\n\r\n`)
    return this
  }

  /** Raw body bytes. */
  bytes(bytes: Uint8Array | string): this {
    this.socket.write(bytes)
    return this
  }

  /** One chunk of a chunked body. */
  chunk(bytes: Uint8Array | string): this {
    const body = Buffer.from(bytes as string)
    this.socket.write(Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n')]))
    return this
  }

  /** The end of a chunked body, after `trailers` in wire form. */
  end(trailers = ''): this {
    this.socket.end(`0\r\n${trailers}\r\n`)
    return this
  }

  /** Ends the connection in the middle of the body: the bytes before it arrive. */
  truncate(): this {
    this.socket.end()
    return this
  }
}

export interface ScriptedServer extends RunningServer {
  /** The next request that nobody has taken yet, when its head has arrived. */
  next(): Promise<Exchange>
}

export async function startScript(): Promise<ScriptedServer> {
  const waiting: Exchange[] = []
  const takers: ((exchange: Exchange) => void)[] = []
  const server = await startTcpServer((socket) => {
    void once(socket, 'data').then(() => {
      const exchange = new Exchange(socket)
      const taker = takers.shift()
      if (taker === undefined) waiting.push(exchange)
      else taker(exchange)
    }, ignore)
  })
  const next = async (): Promise<Exchange> =>
    waiting.shift() ?? new Promise<Exchange>((resolve) => takers.push(resolve))
  return Object.defineProperty(server, 'next', { value: next }) as ScriptedServer
}

function ignore(): void {}
