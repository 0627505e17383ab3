/** A server on a thread of its own, which answers while the test's thread is busy. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

const SERVER = `
  const { parentPort, workerData } = require('node:worker_threads')
  const server = require('node:http').createServer((_, response) => void response.end(Buffer.alloc(workerData.length, 7)))
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1000 }, () => parentPort.postMessage(server.address().port))`

/** Answers every request with `length` bytes, their length announced, until it is disposed of. */
export async function startServerThread(length: number): Promise<AsyncDisposable & { origin: string }> {
  const worker = new Worker(SERVER, { eval: true, workerData: { length } })
  const [port] = (await once(worker, 'message')) as [number]
  return {
    origin: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      await worker.terminate()
    },
  }
}
