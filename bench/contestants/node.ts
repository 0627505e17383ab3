/** What Node brings. */
import { Agent, request as httpRequest } from 'node:http'
import { connect } from 'node:http2'
import { assertStatus, type Client, type Opener, type Target } from './client.ts'

function http1(target: Target): Client {
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity })
  const { hostname, port } = new URL(target.origin)
  return ({ method, path, body }) =>
    new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-length': body.length }
      const request = httpRequest({ hostname, port, method, path, agent, headers }, (response) => {
        assertStatus(response.statusCode!)
        let bytes = 0
        response.on('data', (chunk: Buffer) => (bytes += chunk.length))
        response.on('end', () => resolve(bytes))
        response.on('error', reject)
      })
      request.on('error', reject)
      request.end(body)
    })
}

function http2({ origin, ca }: Target): Client {
  const session = connect(origin, { ca })
  let failure: Error | undefined
  session.on('error', (error) => (failure = error))
  return ({ method, path, body }) =>
    new Promise((resolve, reject) => {
      if (failure !== undefined) throw failure
      const stream = session.request({ ':method': method, ':path': path }, { endStream: body === undefined })
      let bytes = 0
      stream.on('response', (headers) => assertStatus(headers[':status']!))
      stream.on('data', (chunk: Buffer) => (bytes += chunk.length))
      stream.on('end', () => resolve(bytes))
      stream.on('error', reject)
      if (body !== undefined) stream.end(body)
    })
}

export const nodeClients: Opener[] = [
  {
    name: 'built-in fetch',
    http2: false,
    proxy: false,
    async open({ origin }) {
      return async ({ method, path, body }) => {
        const response = await globalThis.fetch(origin + path, { method, body: body as never })
        assertStatus(response.status)
        return (await response.arrayBuffer()).byteLength
      }
    },
  },
  { name: 'node:http', http2: false, proxy: false, open: async (target) => http1(target) },
  { name: 'node:http2', http2: true, proxy: false, open: async (target) => http2(target) },
]
