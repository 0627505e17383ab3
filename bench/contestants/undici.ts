import { load } from '../installation.ts'
import { assertStatus, type Opener, type Target } from './client.ts'
import { dispatchRequest } from './handler.ts'

/**
 * As many connections as requests at once, what undici's own benchmarks do; without pipelining, which sluice has not.
 * HTTP/2 is multiplexed over one connection.
 */
export async function undiciAgent({ ca, connections, isHttp2, proxy }: Target): Promise<any> {
  const { Agent, ProxyAgent } = (await load('undici')) as any
  const tls = ca === undefined ? {} : { ca }
  if (proxy !== undefined) {
    return new ProxyAgent({ uri: proxy, requestTls: tls, connections, pipelining: 1, proxyTunnel: ca !== undefined })
  }
  if (isHttp2) return new Agent({ connections: 1, allowH2: true, connect: tls })
  return new Agent({ connections, pipelining: 1, allowH2: false, connect: tls })
}

const http2 = true
const proxy = true

export const undiciClients: Opener[] = [
  {
    name: 'undici dispatch',
    http2,
    proxy,
    async open(target) {
      const agent = await undiciAgent(target)
      const { origin } = target
      return ({ method, path, body }) => dispatchRequest(agent, { origin, method, path, body: body ?? null })
    },
  },
  {
    name: 'undici request',
    http2,
    proxy,
    async open(target) {
      const { request } = (await load('undici')) as any
      const dispatcher = await undiciAgent(target)
      return async ({ method, path, body }) => {
        const response = await request(target.origin + path, { method, body, dispatcher })
        assertStatus(response.statusCode)
        return (await response.body.arrayBuffer()).byteLength
      }
    },
  },
  {
    name: 'undici fetch',
    http2,
    proxy,
    async open(target) {
      const { fetch } = (await load('undici')) as any
      const dispatcher = await undiciAgent(target)
      return async ({ method, path, body }) => {
        const init = { method, body, dispatcher }
        const response = await fetch(target.origin + path, init)
        assertStatus(response.status)
        return (await response.arrayBuffer()).byteLength
      }
    },
  },
]
