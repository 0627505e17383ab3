/** TLS over a connection whose bytes stay within reach: what is beneath it can be garbled, and so can what it reads. */
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { createSecureContext, TLSSocket } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { certificate } from '../../support/certificates.ts'
import type { CertificateName } from '../../support/certificates.ts'

const contexts = new Map<CertificateName, SecureContext>()

function contextOf(name: CertificateName): SecureContext {
  let context = contexts.get(name)
  if (context === undefined) contexts.set(name, (context = createSecureContext(certificate(name))))
  return context
}

/** The bytes of a TCP connection as TLS sees them. */
class Beneath extends Duplex {
  readonly #raw: Socket

  constructor(raw: Socket) {
    super({ allowHalfOpen: true })
    this.#raw = raw
    raw.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) raw.pause()
    })
    raw.once('end', () => this.push(null))
    raw.once('close', () => this.destroy())
  }

  override _read(): void {
    this.#raw.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#raw.write(chunk, done)
  }

  override _final(done: () => void): void {
    this.#raw.end()
    done()
  }
}

export interface TlsConnection {
  socket: TLSSocket
  /** Has TLS read what it cannot decrypt, at which it sends a fatal alert and ends. */
  breakOff(): void
}

export function openTls(raw: Socket, name: CertificateName, protocol: string): TlsConnection {
  const beneath = new Beneath(raw)
  const socket = new TLSSocket(beneath as unknown as Socket, {
    isServer: true,
    secureContext: contextOf(name),
    ALPNProtocols: [protocol],
  })
  // The client that has been told to go does.
  socket.on('error', () => raw.end())
  beneath.on('error', () => {})
  return {
    socket,
    breakOff: () => void beneath.push(Buffer.concat([Buffer.from([0x17, 3, 3, 0, 32]), Buffer.alloc(32, 0xaa)])),
  }
}
