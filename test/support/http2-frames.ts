/** A server that speaks HTTP/2 frame by frame (RFC 9113 §4.1), over TCP or what else brings a socket. */
import type { Socket } from 'node:net'
import { until } from './deadline.ts'
import { startTcpServer } from './servers.ts'
import type { RunningServer } from './servers.ts'

export const FRAME = { DATA: 0, HEADERS: 1, RST_STREAM: 3, SETTINGS: 4, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8 } as const
export const ACK = 1
const PREFACE = 24
const HEAD = 9
const INITIAL_WINDOW_SIZE = 4
const DEFAULT_WINDOW = 65_535

export interface Frame {
  type: number
  flags: number
  stream: number
  payload: Buffer
}

export interface FrameConnection {
  /** What the client has sent, in order. */
  readonly frames: Frame[]
  send(type: number, flags: number, stream: number, payload?: Buffer): void
  end(): void
}

export interface FrameServer extends RunningServer {
  readonly connections: FrameConnection[]
  /** The first frame of this kind on the connection, once it is there. */
  frame(type: number, connection?: number): Promise<Frame>
}

function encode(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(HEAD)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

function serve(socket: Socket): FrameConnection {
  const frames: Frame[] = []
  let bytes = Buffer.alloc(0)
  let at = PREFACE
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    while (bytes.length >= at + HEAD) {
      const end = at + HEAD + bytes.readUIntBE(at, 3)
      if (bytes.length < end) return
      const [type, flags] = [bytes[at + 3]!, bytes[at + 4]!]
      frames.push({ type, flags, stream: bytes.readUInt32BE(at + 5), payload: bytes.subarray(at + HEAD, end) })
      if (type === FRAME.SETTINGS && flags === 0) socket.write(encode(FRAME.SETTINGS, ACK, 0, Buffer.alloc(0)))
      if (type === FRAME.PING && flags === 0) socket.write(encode(FRAME.PING, ACK, 0, frames.at(-1)!.payload))
      at = end
    }
  })
  socket.on('end', () => socket.destroy())
  socket.write(encode(FRAME.SETTINGS, 0, 0, Buffer.alloc(0)))
  return {
    frames,
    send: (type, flags, stream, payload = Buffer.alloc(0)) => void socket.write(encode(type, flags, stream, payload)),
    end: () => void socket.end(),
  }
}

export async function startFrameServer(): Promise<FrameServer> {
  const connections: FrameConnection[] = []
  const server = await startTcpServer((socket) => void connections.push(serve(socket)))
  const frame = (type: number, connection = 0): Promise<Frame> =>
    until(() => connections[connection]?.frames.find((candidate) => candidate.type === type), {
      what: `frame ${type} on connection ${connection}`,
    })
  return Object.defineProperties(server, {
    connections: { value: connections },
    frame: { value: frame },
  }) as FrameServer
}

/** The windows that a client gives: of each stream, and of the connection. */
export function windowsOf(frames: readonly Frame[]): { stream: number; connection: number } {
  const { payload } = frames.find(({ type, flags }) => type === FRAME.SETTINGS && flags === 0)!
  let stream = DEFAULT_WINDOW
  for (let at = 0; at < payload.length; at += 6) {
    if (payload.readUInt16BE(at) === INITIAL_WINDOW_SIZE) stream = payload.readUInt32BE(at + 2)
  }
  const updates = frames.filter((frame) => frame.type === FRAME.WINDOW_UPDATE && frame.stream === 0)
  return { stream, connection: updates.reduce((sum, update) => sum + update.payload.readUInt32BE(), DEFAULT_WINDOW) }
}

/** A code or a last stream, as RST_STREAM and GOAWAY have them. */
export function words(...numbers: number[]): Buffer {
  const payload = Buffer.alloc(numbers.length * 4)
  numbers.forEach((number, index) => payload.writeUInt32BE(number, index * 4))
  return payload
}
