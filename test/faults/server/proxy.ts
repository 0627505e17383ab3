/** A proxy that does what it is asked: CONNECT, HTTP by whole URLs, and SOCKS5 without a password. */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { okOverHttp1 } from './http1.ts'
import type { Wire } from './wire.ts'

const SOCKS5 = 5
const SOCKS5_OK = Uint8Array.of(SOCKS5, 0, 0, 1, 0, 0, 0, 0, 0, 0)

/** Passes everything on to a port of the loopback, whatever the host was called. */
async function joinTo(wire: Wire, port: number, answer: string | Uint8Array): Promise<void> {
  const passed = connect(port, '127.0.0.1')
  passed.on('error', () => wire.raw.destroy())
  passed.once('close', () => wire.raw.destroy())
  void wire.gone.then(() => passed.destroy())
  await wire.send(answer)
  wire.raw.pipe(passed).pipe(wire.raw)
}

function read(socket: Socket): Promise<Buffer> {
  return new Promise((resolve) => {
    socket.once('data', (chunk: Buffer) => {
      socket.pause()
      resolve(chunk)
    })
    socket.resume()
  })
}

/** A client sends nothing ahead of an answer, so that a read is a message. */
export async function serveProxy(wire: Wire): Promise<void> {
  const first = await read(wire.raw)
  if (first[0] === SOCKS5) {
    await wire.send(Uint8Array.of(SOCKS5, 0))
    const request = await read(wire.raw)
    return joinTo(wire, request.readUInt16BE(request.length - 2), SOCKS5_OK)
  }
  const target = /^CONNECT \S*:(\d+) /.exec(first.toString('latin1'))
  if (target !== null) return joinTo(wire, Number(target[1]), 'HTTP/1.1 200 Connection established\r\n\r\n')
  wire.raw.on('data', () => void okOverHttp1(wire))
  wire.raw.resume()
  await okOverHttp1(wire)
}
