/**
 * The servers, in a process of their own: their memory and sockets must not count as the client's. Tells the origins of
 * HTTP/1, HTTP/1 over TLS and HTTP/2 over TLS, which all answer the same.
 */
import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { createSecureServer } from 'node:http2'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { certificate } from '../../test/support/certificates.ts'
import type { Protocol } from './options.ts'

export type Origins = Record<Protocol, string>

const LARGE = Buffer.alloc(256 * 1024, 1)

/** The same for both versions: what they do not have in common is not used. */
type Answer = ServerResponse | Http2ServerResponse

function answer(request: IncomingMessage | Http2ServerRequest, response: Answer): void {
  const path = request.url ?? ''
  // Clients that break off are what this is about.
  for (const side of [request, response]) side.on('error', () => {})
  switch (path.split('/')[1]) {
    case 'small':
      send(response, 200, 'small')
      break
    case 'large':
      response.setHeader('content-length', LARGE.byteLength)
      send(response, 200, LARGE)
      break
    case 'flood':
      flood(response)
      break
    case 'broken':
      breakOff(response)
      break
    case 'redirect': {
      const hops = Number(path.split('/')[2])
      response.setHeader('location', hops === 0 ? '/small' : `/redirect/${hops - 1}`)
      send(response, 302, 'elsewhere')
      break
    }
    case 'take':
      request.on('end', () => send(response, 200, 'taken'))
      request.resume()
      break
    case 'early':
      // The body is not looked at.
      send(response, 413, 'too much')
      break
    default:
      // Never answered; who does not read does not learn of the end either.
      request.resume()
  }
}

function send(response: Answer, status: number, body: string | Buffer): void {
  response.statusCode = status
  ;(response as ServerResponse).end(body)
}

/** A body without an end, as fast as the client takes it. */
function flood(response: Answer): void {
  const target = response as ServerResponse
  const write = (): void => {
    while (!target.destroyed && target.writable && target.write(LARGE));
  }
  target.on('drain', write)
  write()
}

/** A body that ends before its length. */
function breakOff(response: Answer): void {
  response.setHeader('content-length', 1000)
  const target = response as ServerResponse
  target.write('some', () => ('stream' in response ? response.stream.destroy() : target.destroy()))
}

async function listen(server: Server, scheme: string, host: string): Promise<string> {
  server.on('connection', (socket) => socket.on('error', () => {}))
  const listening = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', listening.resolve)
  await listening.promise
  return `${scheme}://${host}:${(server.address() as AddressInfo).port}`
}

const http1 = createServer(answer)
const tls = createTlsServer(certificate('signed'), answer)
for (const server of [http1, tls]) Object.assign(server, { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 })
const http2 = createSecureServer({ ...certificate('signed') }, answer as never as RequestListener as never)
http2.on('sessionError', () => {})

process.on('disconnect', () => process.exit(0))
process.send!({
  http1: await listen(http1, 'http', '127.0.0.1'),
  tls: await listen(tls, 'https', 'localhost'),
  http2: await listen(http2, 'https', 'localhost'),
} satisfies Origins)
