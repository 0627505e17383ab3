/** The server's end of one connection, byte by byte. No call fails: a client that has gone is what many kinds lead to. */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { TlsConnection } from './tls.ts'

export type Bytes = string | Uint8Array

/** Strings stand for bytes, a character each. */
export function join(...pieces: Bytes[]): Buffer {
  return Buffer.concat(pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)))
}

export class Wire {
  /** The TCP connection. */
  readonly raw: Socket
  /** What HTTP is spoken on: `raw`, or TLS over it. */
  readonly stream: Duplex
  isGone = false
  /** Resolves when the client has closed or reset its end, or the server has destroyed the connection. */
  readonly gone: Promise<void>

  readonly #tls: TlsConnection | undefined
  /** Which flood goes on: {@link calm} ends those before it. */
  #flood = 0

  constructor(raw: Socket, tls?: TlsConnection) {
    this.raw = raw
    this.stream = tls?.socket ?? raw
    this.#tls = tls
    this.gone = new Promise((resolve) => {
      const leave = (): void => {
        this.isGone = true
        resolve()
      }
      raw.once('close', leave)
      raw.once('end', leave)
      this.stream.once('close', leave)
    })
  }

  /** Resolves with the first bytes that the client sends. */
  heard(): Promise<void> {
    return new Promise((resolve) => {
      this.stream.once('data', () => resolve())
      void this.gone.then(resolve)
    })
  }

  /** Resolves when the system has taken the bytes. */
  async send(...pieces: Bytes[]): Promise<void> {
    if (this.isGone || !this.stream.writable) return
    await new Promise<void>((resolve) => this.stream.write(join(...pieces), () => resolve()))
  }

  /** A byte at a time, `ms` apart. */
  async drip(bytes: Bytes, ms = 1): Promise<void> {
    const flood = this.#flood
    for (const byte of join(bytes)) {
      if (this.isGone || flood !== this.#flood) return
      await this.send(Uint8Array.of(byte))
      await delay(ms)
    }
  }

  /**
   * Again and again, as fast as the client takes it, until it has gone or its request has come to an end, and for
   * `most` bytes: what does not end by then would not, and others run beside it.
   */
  async flood(piece: Bytes | ((turn: number) => Bytes), most = 32 * 2 ** 20): Promise<void> {
    const flood = this.#flood
    const last = this.raw.bytesWritten + most
    for (let turn = 0; this.raw.bytesWritten < last; turn++) {
      if (this.isGone || !this.stream.writable || flood !== this.#flood) return
      await this.send(typeof piece === 'function' ? piece(turn) : piece)
    }
  }

  /** Ends what does not end by itself. */
  calm(): void {
    this.#flood++
  }

  /** Lets what was sent arrive in a read of its own. */
  pause(ms = 10): Promise<void> {
    return delay(ms)
  }

  /** Sends no more, and says so: FIN, over TLS with `close_notify` before it. */
  end(): void {
    this.stream.end()
  }

  /** A FIN without `close_notify`. */
  cut(): void {
    this.raw.end()
  }

  /** Bytes on the TCP connection, beneath TLS. */
  async garble(bytes: Bytes): Promise<void> {
    if (this.raw.writable) await new Promise<void>((resolve) => this.raw.write(join(bytes), () => resolve()))
  }

  /** A fatal alert of TLS, encrypted as it must be. */
  alert(): void {
    this.#tls?.breakOff()
  }

  /** A RST, after a moment in which the client reads what was sent. */
  async reset(): Promise<void> {
    await delay(5)
    this.raw.resetAndDestroy()
  }
}
