/** Ports for one client that runs one kind after another. What comes in on them gets the kind at hand. */
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { okOverHttp1, serveHttp1 } from './http1.ts'
import { Http2Wire, okOverHttp2, serveHttp2 } from './http2.ts'
import { serveProxy } from './proxy.ts'
import { openTls } from './tls.ts'
import { Wire } from './wire.ts'
import type { Kind, Ports, Protocol } from '../kind.ts'

export class Slot {
  /** Each is for one connection or request, in this order; what comes behind the last gets an ordinary answer. */
  #queue: Kind[] = []
  readonly #open = new Set<Socket>()
  readonly #wires = new Set<Wire>()
  /** Streams that go on beside the kind at hand. */
  readonly #held: (() => void)[] = []
  #waiting: (() => void) | undefined
  ports!: Ports

  async listen(): Promise<this> {
    const [h1, h1s, h2, proxy] = await Promise.all([
      this.#listen((raw) => this.#serve(raw, 'h1')),
      this.#listen((raw) => this.#serve(raw, 'h1s')),
      this.#listen((raw) => this.#serve(raw, 'h2')),
      this.#listen((raw) => this.#serveProxy(raw)),
    ])
    this.ports = { h1: h1!, h1s: h1s!, h2: h2!, proxy: proxy! }
    return this
  }

  arm(kinds: Kind[]): void {
    this.#queue = [...kinds]
    for (const wire of this.#wires) wire.calm()
  }

  /** Connections that are open: 0 as soon as they are, or what is left after `ms`. */
  async open(ms: number): Promise<number> {
    if (this.#open.size > 0) {
      const timer = setTimeout(() => this.#waiting?.(), ms)
      await new Promise<void>((resolve) => (this.#waiting = resolve))
      this.#waiting = undefined
      clearTimeout(timer)
    }
    return this.#open.size
  }

  /** Breaks off what a client has left behind, so that it is not found a second time. */
  clear(): void {
    this.#queue = []
    this.#held.length = 0
    for (const socket of this.#open) socket.destroy()
  }

  async #listen(onSocket: (raw: Socket) => unknown): Promise<number> {
    const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (raw) => {
      this.#open.add(raw)
      raw.on('error', () => {})
      // A client that has closed its end wants nothing more.
      raw.once('end', () => raw.destroy())
      raw.once('close', () => {
        this.#open.delete(raw)
        if (this.#open.size === 0) this.#waiting?.()
      })
      void onSocket(raw)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return (server.address() as AddressInfo).port
  }

  /** The kind at hand, if it is one for this moment. */
  #take(isForIt: (kind: Kind) => boolean): Kind | undefined {
    const next = this.#queue[0]
    if (next === undefined || !isForIt(next)) return undefined
    if (next.isLasting !== true) this.#queue.shift()
    return next
  }

  #keep<T extends Wire>(wire: T): T {
    this.#wires.add(wire)
    void wire.gone.then(() => this.#wires.delete(wire))
    return wire
  }

  #serve(raw: Socket, protocol: Protocol): void {
    const { accept } = this.#take((kind) => kind.accept !== undefined) ?? {}
    if (accept !== undefined) return void accept(this.#keep(new Wire(drained(raw))))
    if (protocol === 'h1') return this.#serveHttp(new Wire(raw))
    const { certificate } = this.#take((kind) => kind.certificate !== undefined) ?? {}
    const tls = openTls(raw, certificate ?? 'signed', protocol === 'h2' ? 'h2' : 'http/1.1')
    tls.socket.once('secure', () => {
      if (protocol === 'h1s') return this.#serveHttp(new Wire(raw, tls))
      const first = this.#queue[0]
      const greet = this.#take((kind) => kind.greet !== undefined && kind.h2 === undefined)?.greet ?? first?.greet
      serveHttp2(this.#keep(new Http2Wire(raw, tls, this.#held)), greet, (wire, id) => {
        const kind = this.#take((candidate) => candidate.h2 !== undefined)
        void (kind?.h2 ?? okOverHttp2)(wire, id)
      })
    })
  }

  #serveHttp(wire: Wire): void {
    this.#keep(wire)
    const { greet } = this.#take((kind) => kind.greet !== undefined) ?? {}
    if (greet !== undefined) void greet(wire)
    serveHttp1(wire, () => {
      const kind = this.#take((candidate) => candidate.h1 !== undefined)
      void (kind?.h1 ?? okOverHttp1)(wire)
    })
  }

  #serveProxy(raw: Socket): void {
    const { proxy } = this.#take((kind) => kind.proxy !== undefined) ?? {}
    if (proxy === undefined) return void serveProxy(new Wire(raw))
    void proxy(this.#keep(new Wire(drained(raw))))
  }
}

/** What comes is read and let go, so that the client's end is seen. */
function drained(raw: Socket): Socket {
  return raw.resume()
}
