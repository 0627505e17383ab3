/** An address that answers no SYN: its queue of connections is full. */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

/** Listens, and then does nothing for ever. */
const LISTENER = `
  const { parentPort, workerData } = require('node:worker_threads')
  const server = require('node:net').createServer()
  server.once('error', (error) => parentPort.postMessage(error.code))
  server.listen({ host: workerData.host, port: workerData.port, backlog: 1 }, () => {
    parentPort.postMessage('listening')
    Atomics.wait(new Int32Array(workerData.gate), 0, 0)
    server.close()
    process.exit()
  })`

/** Takes `host:port` until it is disposed of. Linux lets one connection more wait than it is told. */
export async function startSilentAddress(host: string, port: number): Promise<AsyncDisposable> {
  const gate = new SharedArrayBuffer(4)
  const worker = new Worker(LISTENER, { eval: true, workerData: { host, port, gate } })
  const [word] = (await once(worker, 'message')) as [string]
  if (word !== 'listening') throw new Error(`${host}:${port}: ${word}`)
  const waiting: Socket[] = []
  for (let count = 0; count < 2; count++) {
    const socket = connect(port, host)
    await once(socket, 'connect')
    socket.on('error', () => {})
    waiting.push(socket)
  }
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of waiting) socket.destroy()
      const ended = once(worker, 'exit')
      Atomics.store(new Int32Array(gate), 0, 1)
      Atomics.notify(new Int32Array(gate), 0)
      await ended
    },
  }
}
