/** undici's `WebSocket` over both dispatchers, and Node's own: messages that come back. */
import { engineOf, ofBoth, sluiceAgent } from '../contestants/sluice.ts'
import { load } from '../installation.ts'
import { Unsupported } from '../unsupported.ts'
import { measureRequests } from '../measure-requests.ts'
import type { Scenario, Work } from './scenario.ts'

interface Socket extends EventTarget {
  binaryType: string
  send(data: Uint8Array): void
}

type SocketConstructor = new (url: string, options?: object) => Socket

async function connect(contestant: string, url: string): Promise<Socket> {
  const undici = (await load('undici')) as { WebSocket: SocketConstructor }
  let socket: Socket
  if (contestant === 'built-in websocket') socket = new WebSocket(url) as Socket
  else if (contestant === 'undici websocket') socket = new undici.WebSocket(url)
  else socket = new undici.WebSocket(url, { dispatcher: await sluiceAgent(engineOf(contestant)) })
  socket.binaryType = 'arraybuffer'
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve, { once: true })
    socket.addEventListener('error', (event) => reject(refusal(contestant, event as { error?: Error })), { once: true })
  })
  return socket
}

/** undici's event does not tell what its dispatcher threw. */
function refusal(contestant: string, { error }: { error?: Error }): Error {
  if (contestant.endsWith(', reqwest'))
    return new Unsupported('transport reqwest has no upgrade (COMPATIBILITY.md, C7)')
  return error ?? new Error('no connection')
}

/** Sends one message and resolves with the bytes of its echo: echoes come in the order of the messages. */
function echoOn(socket: Socket, bytes: number): () => Promise<number> {
  const waiting: { resolve: (bytes: number) => void; reject: (error: Error) => void }[] = []
  const message = new Uint8Array(bytes)
  socket.addEventListener('message', (event) => {
    waiting.shift()?.resolve(((event as MessageEvent).data as ArrayBuffer).byteLength)
  })
  socket.addEventListener('close', (event) => {
    for (const { reject } of waiting.splice(0)) reject(new Error(`closed with ${(event as CloseEvent).code}`))
  })
  return () =>
    new Promise((resolve, reject) => {
      waiting.push({ resolve, reject })
      socket.send(message)
    })
}

const work = (id: string, title: string, parallel: number, bytes: number): Work => ({
  id: `websocket/${id}`,
  title,
  metric: parallel === 1 ? 'meanMicros' : 'perSecond',
  isThroughput: parallel !== 1,
  method: 'GET',
  path: '/',
  parallel,
  bytes,
  contestants: [...ofBoth('sluice websocket'), 'undici websocket', 'built-in websocket'],
})

export const websocket: Scenario = {
  name: 'websocket',
  isShared: true,
  works: () => [
    work('small', 'echo of 1 KiB, 64 at once', 64, 1024),
    work('one', 'echo of 1 KiB, one at a time', 1, 1024),
    work('large', 'echo of 1 MiB, 4 at once', 4, 1024 ** 2),
  ],
  async measure(contestant, { parallel, bytes }, { server, config }) {
    const socket = await connect(contestant, `ws://127.0.0.1:${server.websocket}/`)
    return measureRequests(echoOn(socket, bytes), { parallel, bytes, time: config.time, warmUp: config.warmUp })
  },
}
