/** A raw server of HTTP/1.1 bodies: each body is sent as its test says, on connections that serve on. */
import type { Socket } from 'node:net'
import { Random } from './random.ts'
import { startTcpServer, type RunningServer } from './servers.ts'

/** How a body's end is told. */
export type Framing = 'length' | 'chunked' | 'close'

const MOST_BYTES = 4 * 1024 * 1024

/** Bytes that do not repeat, so that a lost or doubled piece of any length shows. */
const noise = (() => {
  const random = new Random(1)
  const words = new Uint32Array(MOST_BYTES / 4)
  for (let at = 0; at < words.length; at++) words[at] = random.int(0, 2 ** 32 - 1)
  return new Uint8Array(words.buffer)
})()

/** The answer to one request. */
export class ScriptedBody {
  readonly framing: Framing
  /** All bytes that it will have. */
  readonly bytes: Uint8Array
  /** How many were written to the socket. */
  sent = 0
  isEnded = false
  /** The connection was closed before the body's end. */
  isCut = false
  private socket: Socket | null = null
  private readonly first: number
  private readonly isAtOnce: boolean

  /** `first` bytes come with the head, and so does the end where it `isAtOnce`. */
  constructor(framing: Framing, length: number, first: number, isAtOnce: boolean, offset: number) {
    this.framing = framing
    this.bytes = noise.subarray(offset, offset + length)
    this.first = first
    this.isAtOnce = isAtOnce
  }

  answer(socket: Socket): void {
    this.socket = socket
    const { framing, bytes } = this
    const lines = ['HTTP/1.1 200 OK']
    if (framing === 'length') lines.push(`content-length: ${bytes.length}`)
    if (framing === 'chunked') lines.push('transfer-encoding: chunked')
    if (framing === 'close') lines.push('connection: close')
    socket.cork()
    socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    this.send(this.first)
    if (this.isAtOnce) this.end()
    socket.uncork()
  }

  /** At most so many bytes more. */
  send(count: number): void {
    const { socket, bytes, framing, sent } = this
    const end = Math.min(bytes.length, sent + count)
    if (socket === null || this.isEnded || this.isCut || end === sent) return
    socket.cork()
    if (framing === 'chunked') socket.write(`${(end - sent).toString(16)}\r\n`)
    socket.write(bytes.subarray(sent, end))
    if (framing === 'chunked') socket.write('\r\n')
    socket.uncork()
    this.sent = end
    if (framing === 'length' && end === bytes.length) this.isEnded = true
  }

  /** The rest, and the end. */
  end(): void {
    const { socket, framing } = this
    if (this.isEnded || this.isCut) return
    this.send(this.bytes.length)
    if (framing === 'chunked') socket?.write('0\r\n\r\n')
    if (framing === 'close') socket?.end()
    this.isEnded = true
  }

  /** Closes the connection in the middle. */
  cut(how: 'FIN' | 'reset'): void {
    if (this.isEnded || this.isCut) return
    this.isCut = true
    if (how === 'FIN') this.socket?.end()
    else this.socket?.resetAndDestroy()
  }

  /** Nobody reads on. */
  drop(): void {
    this.socket?.destroy()
  }
}

export interface BodyServer extends RunningServer {
  /** The path at which `body` is to be fetched, once. */
  offer(body: ScriptedBody): string
}

export async function startBodyServer(): Promise<BodyServer> {
  const offers: Record<string, ScriptedBody> = Object.create(null)
  let count = 0
  const server = await startTcpServer((socket) => {
    let head = ''
    socket.on('data', (bytes) => {
      head += bytes.toString('latin1')
      if (!head.endsWith('\r\n\r\n')) return
      const path = head.split(' ', 2)[1]!
      head = ''
      const body = offers[path]
      delete offers[path]
      body?.answer(socket)
    })
    // What was half-closed by the client is of no more use.
    socket.on('end', () => socket.destroy())
  })
  const offer = (body: ScriptedBody): string => {
    const path = `/${count++}`
    offers[path] = body
    return path
  }
  return Object.defineProperty(server, 'offer', { value: offer }) as BodyServer
}
