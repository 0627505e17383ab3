/**
 * A server that costs as little as Node can: it does not parse, it only counts the empty lines that end a GET's head,
 * and answers all that came in one read with one write. It tells its port.
 */
import { Buffer } from 'node:buffer'
import { createServer, type AddressInfo } from 'node:net'

const BODY = '{"message":"hello, world"}'
const RESPONSE = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: keep-alive\r\n' +
    `content-length: ${BODY.length}\r\n\r\n${BODY}`,
)
const END_OF_HEAD = Buffer.from('\r\n\r\n')

const server = createServer({ noDelay: true }, (socket) => {
  // The bytes of the mark seen at the end of the last read: a head may be cut anywhere.
  let matched = 0
  socket.on('data', (chunk: Buffer) => {
    let heads = 0
    for (const byte of chunk) {
      if (byte === END_OF_HEAD[matched]) matched++
      else matched = byte === END_OF_HEAD[0] ? 1 : 0
      if (matched === END_OF_HEAD.length) {
        heads++
        matched = 0
      }
    }
    if (heads === 1) socket.write(RESPONSE)
    else if (heads > 1) socket.write(Buffer.concat(Array.from({ length: heads }, () => RESPONSE)))
  })
  socket.on('error', () => {})
})

process.on('disconnect', () => process.exit(0))
server.listen(0, '127.0.0.1', () => {
  process.send?.({ port: (server.address() as AddressInfo).port })
})
