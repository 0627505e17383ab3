/** Libraries above Node's clients, each at its defaults but for kept connections; retries are off. */
import { Agent } from 'node:http'
import { load } from '../installation.ts'
import { assertStatus, type Opener } from './client.ts'

export const libraryClients: Opener[] = [
  {
    name: 'got',
    http2: true,
    proxy: false,
    async open({ origin, ca, isHttp2 }) {
      const { default: got } = (await load('got')) as any
      const client = got.extend({
        retry: { limit: 0 },
        http2: isHttp2,
        ...(isHttp2 ? { https: { certificateAuthority: ca } } : { agent: { http: new Agent({ keepAlive: true }) } }),
      })
      return async ({ method, path, body }) => {
        const response = await client(origin + path, { method, body, responseType: 'buffer' })
        assertStatus(response.statusCode)
        return response.rawBody.length
      }
    },
  },
  {
    name: 'ky',
    http2: false,
    proxy: false,
    async open({ origin }) {
      const { default: ky } = (await load('ky')) as any
      return async ({ method, path, body }) => {
        const response = await ky(origin + path, { method, body, retry: 0 })
        assertStatus(response.status)
        return (await response.arrayBuffer()).byteLength
      }
    },
  },
  {
    name: 'axios',
    http2: false,
    proxy: true,
    async open({ origin, ca, proxy }) {
      if (ca !== undefined) throw new Error('axios has no CONNECT of its own')
      const { default: axios } = (await load('axios')) as any
      const { hostname: host, port } = new URL(proxy ?? origin)
      const client = axios.create({
        baseURL: origin,
        responseType: 'arraybuffer',
        httpAgent: new Agent({ keepAlive: true }),
        proxy: proxy === undefined ? false : { protocol: 'http', host, port: Number(port) },
      })
      return async ({ method, path, body }) => {
        const response = await client.request({ method, url: path, data: body })
        assertStatus(response.status)
        return response.data.byteLength
      }
    },
  },
  {
    name: 'impit',
    http2: true,
    proxy: true,
    async open({ origin, ca, proxy }) {
      const { Impit } = (await load('impit')) as any
      const client = new Impit({
        ignoreTlsErrors: ca !== undefined,
        ...(proxy === undefined ? {} : { proxyUrl: proxy }),
      })
      return async ({ method, path, body }) => {
        const response = await client.fetch(origin + path, { method, ...(body === undefined ? {} : { body }) })
        assertStatus(response.status)
        return (await response.arrayBuffer()).byteLength
      }
    },
  },
]
