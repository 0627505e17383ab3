/** A connection of HTTP/2 that answers what it must, and leaves every request to the kind at hand. */
import type { Socket } from 'node:net'
import { ACK, data, END_STREAM, frame, headers, settings, TYPE } from './frames.ts'
import type { TlsConnection } from './tls.ts'
import { Wire } from './wire.ts'
import type { Kind } from '../kind.ts'

const PREFACE = 24
const HEAD = 9

/** What a request gets when no kind is at hand. */
export const okOverHttp2: NonNullable<Kind['h2']> = async (wire, id) => {
  for (const letGo of wire.held.splice(0)) letGo()
  await wire.send(headers(id), data(id, 'ok', END_STREAM))
}

export class Http2Wire extends Wire {
  /** Reads on, and says nothing more: what a dead connection looks like. */
  isMute = false
  /** Lets the streams of a client go that have half of a body; all its connections have one. */
  readonly held: (() => void)[]

  constructor(raw: Socket, tls: TlsConnection, held: (() => void)[]) {
    super(raw, tls)
    this.held = held
  }

  /** Head and half of a body; the other half comes with the next ordinary request of the client. */
  async hold(id: number): Promise<void> {
    this.held.push(() => void this.send(data(id, 'k', END_STREAM)))
    await this.send(headers(id), data(id, 'o'))
  }

  override async send(...pieces: Parameters<Wire['send']>): Promise<void> {
    if (!this.isMute) await super.send(...pieces)
  }
}

export function serveHttp2(
  wire: Http2Wire,
  greet: Kind['greet'],
  request: (wire: Http2Wire, id: number) => void,
): void {
  let bytes = Buffer.alloc(0)
  let isPreface = true
  wire.stream.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    if (isPreface) {
      if (bytes.length < PREFACE) return
      bytes = bytes.subarray(PREFACE)
      isPreface = false
    }
    while (bytes.length >= HEAD) {
      const end = HEAD + bytes.readUIntBE(0, 3)
      if (bytes.length < end) return
      const [type, flags, id] = [bytes[3]!, bytes[4]!, bytes.readUInt32BE(5) & 0x7fffffff]
      const payload = bytes.subarray(HEAD, end)
      bytes = bytes.subarray(end)
      const isAck = (flags & ACK) !== 0
      if (type === TYPE.SETTINGS && !isAck) void wire.send(frame(TYPE.SETTINGS, ACK, 0))
      if (type === TYPE.PING && !isAck) void wire.send(frame(TYPE.PING, ACK, 0, payload))
      if (type === TYPE.HEADERS) request(wire, id)
    }
  })
  if (greet === undefined) void wire.send(settings([3, 100]))
  else void greet(wire)
}
