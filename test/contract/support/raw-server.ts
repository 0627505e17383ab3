/** A server that keeps the bytes of every request as they came, and answers with bytes. */
import type { Socket } from 'node:net'
import { until } from '../../support/deadline.ts'
import { startTcpServer } from '../../support/servers.ts'
import type { RunningServer } from '../../support/servers.ts'

/** One request as it stood on the wire, latin1. */
export interface WireRequest {
  /** Of the server, from 0. */
  readonly connection: number
  /** The request line and the header lines, without the empty one. */
  readonly lines: string[]
  /** What followed the head, chunk framing included. */
  readonly body: string
}

export interface RawServer extends RunningServer {
  /** The whole requests so far. */
  readonly requests: readonly WireRequest[]
  /** All bytes of each connection, latin1. */
  readonly received: readonly string[]
  /** Connections that the client has ended or reset. */
  readonly ended: number
  /** Resolves with the `index`-th request, from 0. */
  request(index?: number): Promise<WireRequest>
}

/** Bytes to write; nothing leaves the request without an answer. */
export type Reply = (request: WireRequest, socket: Socket, index: number) => string | Buffer | void

export const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'
export const EMPTY = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'

/** Answers each request once it is whole. */
export async function startRawServer(reply: Reply | string = OK): Promise<RawServer> {
  const requests: WireRequest[] = []
  const received: string[] = []
  let ended = 0
  const answer = typeof reply === 'string' ? () => reply : reply
  const server = await startTcpServer((socket) => {
    const connection = received.push('') - 1
    let rest = ''
    let isUpgraded = false
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1')
      received[connection] += text
      if (isUpgraded) return
      rest += text
      for (let found = takeRequest(rest); found !== null; found = takeRequest(rest)) {
        rest = rest.slice(found.length)
        const request = { connection, lines: found.lines, body: found.body }
        const index = requests.push(request) - 1
        isUpgraded = found.lines[0]!.startsWith('CONNECT ') || found.lines.some((line) => /^upgrade:/i.test(line))
        const bytes = answer(request, socket, index)
        if (bytes !== undefined && socket.writable) socket.write(typeof bytes === 'string' ? latin1(bytes) : bytes)
      }
    })
    let isOver = false
    const over = (): void => {
      if (!isOver) ended++
      isOver = true
      // A client that is gone gets no answer any more.
      if (!socket.destroyed && !isUpgraded) socket.end()
    }
    socket.on('end', over).on('close', over)
  })
  return Object.defineProperties(server, {
    requests: { value: requests },
    received: { value: received },
    ended: { get: () => ended },
    request: {
      value: (index = 0) => until(() => requests[index], { what: `request ${index}, after ${received.join('|')}` }),
    },
  }) as RawServer
}

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

interface Found {
  lines: string[]
  body: string
  length: number
}

/** The first whole request of `text`. */
function takeRequest(text: string): Found | null {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return null
  const lines = text.slice(0, end).split('\r\n')
  const rest = text.slice(end + 4)
  const length = bodyLength(lines, rest)
  if (length === null || rest.length < length) return null
  return { lines, body: rest.slice(0, length), length: end + 4 + length }
}

function bodyLength(lines: string[], rest: string): number | null {
  if (lines.some((line) => /^transfer-encoding: *chunked$/i.test(line))) {
    if (rest.startsWith('0\r\n\r\n')) return 5
    const last = rest.indexOf('\r\n0\r\n\r\n')
    return last < 0 ? null : last + 7
  }
  const length = lines.find((line) => /^content-length:/i.test(line))
  return length === undefined ? 0 : Number(length.slice(length.indexOf(':') + 1))
}

/** A head with its lines, and a body. */
export function response(status: string, headers: readonly string[] = [], body = ''): string {
  return [`HTTP/1.1 ${status}`, ...headers, '', body].join('\r\n')
}
