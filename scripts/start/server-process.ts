/**
 * The process of the embedded server: its CPU must not count as the client's. `/N` answers with the payload of N bytes.
 * It tells its port, and answers `sent` and `hash` over the channel to its parent.
 */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { payload, payloadHash } from './payload.ts'

export type ServerQuestion = { ask: 'sent' } | { ask: 'hash'; length: number }
export type ServerAnswer = { port: number } | { sent: number } | { hash: string }

/** Small enough that what a stalled client has taken is told exactly, large enough to be fast. */
const WRITE_BYTES = 64 * 1024

/** Bytes of the latest response that the kernel has taken. */
let sent = 0

const server = createServer((request, response) => {
  const length = Number(request.url?.slice(1))
  sent = 0
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': length })
  send(response, pieces(length))
})

function send(response: ServerResponse, rest: Iterator<Uint8Array>): void {
  const { done, value } = rest.next()
  if (done === true) {
    response.end()
    return
  }
  response.write(value, (error) => {
    if (error != null) return
    sent += value.byteLength
    send(response, rest)
  })
}

function* pieces(length: number): Generator<Uint8Array> {
  for (const piece of payload(length)) {
    for (let offset = 0; offset < piece.byteLength; offset += WRITE_BYTES) {
      yield piece.subarray(offset, offset + WRITE_BYTES)
    }
  }
}

const answer = (message: ServerAnswer): void => {
  process.send?.(message)
}

process.on('message', (question: ServerQuestion) => {
  answer(question.ask === 'sent' ? { sent } : { hash: payloadHash(question.length) })
})
// The parent is gone, however it ended: so is the reason to run.
process.on('disconnect', () => process.exit(0))

server.listen(0, '127.0.0.1', () => {
  answer({ port: (server.address() as AddressInfo).port })
})
