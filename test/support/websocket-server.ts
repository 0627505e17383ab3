/** A WebSocket server for one test. */
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { WebSocketServer } from 'ws'
import type { ServerOptions, WebSocket as Peer } from 'ws'
import { certificate } from './certificates.ts'

export type { Peer }

export interface RunningWebSocketServer extends AsyncDisposable {
  /** `ws://127.0.0.1:PORT` or `wss://localhost:PORT`. */
  readonly url: string
  /** The connections that are open now. */
  readonly sockets: ReadonlySet<Socket>
  /** The next client that nobody has taken yet, once its handshake is done. */
  next(): Promise<Peer>
}

export interface WebSocketServerOptions extends Pick<ServerOptions, 'perMessageDeflate' | 'handleProtocols'> {
  tls?: boolean
  /** Runs when a client has come, before any of its messages. */
  onPeer?: (peer: Peer) => void
}

export async function startWebSocketServer({
  tls = false,
  onPeer,
  ...options
}: WebSocketServerOptions = {}): Promise<RunningWebSocketServer> {
  const server = tls ? createTlsServer(certificate('signed')) : createServer()
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  const peers: Peer[] = []
  const takers: ((peer: Peer) => void)[] = []
  const webSocketServer = new WebSocketServer({ server, maxPayload: 256 * 1024 * 1024, ...options })
  webSocketServer.on('connection', (peer) => {
    // Clients that break off are part of the tests.
    peer.on('error', () => {})
    onPeer?.(peer)
    const taker = takers.shift()
    if (taker === undefined) peers.push(peer)
    else taker(peer)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: tls ? `wss://localhost:${port}` : `ws://127.0.0.1:${port}`,
    sockets,
    next: async () => peers.shift() ?? new Promise((resolve) => takers.push(resolve)),
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        webSocketServer.close()
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

/** Sends every message back as it came. */
export function echo(peer: Peer): void {
  peer.on('message', (data, isBinary) => peer.send(data, { binary: isBinary }))
}
