/** What the operating system holds of a loopback connection. Linux alone says. */
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'

export const tellsQueues = process.platform === 'linux'

/** Bytes that a client has written to `socket`'s connection and that `socket` has not read: in both their buffers. */
export function bytesInKernel(socket: Socket): number {
  const ours = endpoint(socket.localAddress!, socket.localPort!)
  const theirs = endpoint(socket.remoteAddress!, socket.remotePort!)
  let bytes = 0
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)) {
    const [, local, remote, , queues] = line.trim().split(/\s+/)
    const [unsent, unread] = (queues ?? '0:0').split(':').map((hex) => Number.parseInt(hex, 16))
    if (local === theirs && remote === ours) bytes += unsent!
    if (local === ours && remote === theirs) bytes += unread!
  }
  return bytes
}

/** As `/proc/net/tcp` writes it: the address as a little-endian word. */
function endpoint(address: string, port: number): string {
  const hex = (value: number, width: number): string => value.toString(16).toUpperCase().padStart(width, '0')
  const bytes = address.split('.').map(Number).reverse()
  return `${bytes.map((byte) => hex(byte, 2)).join('')}:${hex(port, 4)}`
}
