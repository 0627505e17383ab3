/**
 * What a program asks of the built-in `fetch`. Syntax and globals are those of Node 22: no `await using` here.
 */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { closedPort, flood, startServer, startTlsServer } from '../support/servers.ts'
import type { RunningServer } from '../support/servers.ts'
import { until } from '../support/deadline.ts'

/** `fetch` with whatever leads it to the agent under test already in `init`. */
export type Fetch = (url: string, init?: RequestInit & { duplex?: 'half' }) => Promise<Response>

export interface Case {
  readonly name: string
  run(fetch: Fetch): Promise<void>
}

const PARALLEL = 1000
const UPLOAD_CHUNKS = 64
const UPLOAD_CHUNK = 16 * 1024

/** In the order they run. */
export const cases: readonly Case[] = [
  {
    name: 'GET',
    run: (fetch) =>
      withServer(
        (request, response) => {
          response.writeHead(203, 'Not Mine', { 'x-asked': request.headers['x-ask'], 'set-cookie': ['a=1', 'b=2'] })
          response.end(`${request.method} ${request.url}`)
        },
        async ({ origin }) => {
          const response = await fetch(`${origin}/path?query=1`, { headers: { 'x-ask': 'this' } })
          strictEqual(response.status, 203)
          strictEqual(response.statusText, 'Not Mine')
          strictEqual(response.headers.get('x-asked'), 'this')
          deepStrictEqual(response.headers.getSetCookie(), ['a=1', 'b=2'])
          strictEqual(await response.text(), 'GET /path?query=1')
        },
      ),
  },
  {
    name: 'GET over TLS',
    run: async (fetch) => {
      const server = await startTlsServer((_request, response) => response.end('secret'))
      try {
        strictEqual(await (await fetch(server.origin)).text(), 'secret')
      } finally {
        await server.close()
      }
    },
  },
  {
    name: 'streamed POST',
    run: (fetch) =>
      withServer(
        async (request, response) => {
          const body = await buffer(request)
          response.end(JSON.stringify([request.method, request.headers['transfer-encoding'], body.length, sum(body)]))
        },
        async ({ origin }) => {
          let pulled = 0
          const body = new ReadableStream({
            pull(controller) {
              if (pulled === UPLOAD_CHUNKS) controller.close()
              else controller.enqueue(new Uint8Array(UPLOAD_CHUNK).fill(pulled++))
            },
          })
          const response = await fetch(origin, { method: 'POST', body, duplex: 'half' })
          const total = UPLOAD_CHUNK * ((UPLOAD_CHUNKS * (UPLOAD_CHUNKS - 1)) / 2)
          deepStrictEqual(await response.json(), ['POST', 'chunked', UPLOAD_CHUNKS * UPLOAD_CHUNK, total])
        },
      ),
  },
  {
    name: 'abort before the response',
    run: (fetch) =>
      withServer(
        () => {},
        async (server) => {
          const abort = new AbortController()
          const reason = new Error('no longer wanted')
          const response = fetch(server.origin, { signal: abort.signal })
          const outcome = rejects(response, (error) => error === reason)
          await until(() => server.requests === 1, { what: 'the request' })
          abort.abort(reason)
          await outcome
          await until(() => server.sockets.size === 0, { what: 'the end of the connection' })
        },
      ),
  },
  {
    name: 'abort inside the body',
    run: (fetch) =>
      withServer(
        (_request, response) => flood(response),
        async (server) => {
          const abort = new AbortController()
          const response = await fetch(server.origin, { signal: abort.signal })
          const reader = response.body!.getReader()
          ok((await reader.read()).value!.byteLength > 0)
          abort.abort()
          const readToTheEnd = async (): Promise<void> => {
            while (!(await reader.read()).done);
          }
          await rejects(readToTheEnd, { name: 'AbortError' })
          await until(() => server.sockets.size === 0, { what: 'the end of the connection' })
        },
      ),
  },
  {
    name: 'redirect',
    run: (fetch) =>
      withServer(
        (request, response) => {
          if (request.url === '/end') response.end(`${request.method} at the end`)
          else response.writeHead(302, { location: request.url === '/first' ? '/second' : '/end' }).end('elsewhere')
        },
        async ({ origin }) => {
          const response = await fetch(`${origin}/first`, { method: 'POST', body: 'lost on the way' })
          deepStrictEqual([response.status, response.redirected, response.url], [200, true, `${origin}/end`])
          strictEqual(await response.text(), 'GET at the end')
        },
      ),
  },
  {
    name: 'redirect that keeps the body',
    run: (fetch) =>
      withServer(
        async (request, response) => {
          const body = await buffer(request)
          if (request.url === '/end') response.end(`${request.method} ${body.toString()}`)
          else response.writeHead(307, { location: '/end' }).end()
        },
        async ({ origin }) => {
          const response = await fetch(`${origin}/first`, { method: 'PUT', body: 'kept' })
          strictEqual(await response.text(), 'PUT kept')
        },
      ),
  },
  {
    name: 'gzip',
    run: (fetch) => {
      const plain = 'compressible '.repeat(100_000)
      const packed = gzipSync(plain)
      return withServer(
        (request, response) => {
          ok(String(request.headers['accept-encoding']).includes('gzip'), 'fetch says that it takes gzip')
          response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': packed.length }).end(packed)
        },
        async ({ origin }) => strictEqual(await (await fetch(origin)).text(), plain),
      )
    },
  },
  {
    name: `${PARALLEL} requests at once`,
    run: (fetch) =>
      withServer(
        (request, response) => response.end(`answer to ${request.url}`),
        async (server) => {
          const urls = Array.from({ length: PARALLEL }, (_, index) => `/${index}`)
          const texts = await Promise.all(urls.map(async (url) => (await fetch(server.origin + url)).text()))
          deepStrictEqual(
            texts,
            urls.map((url) => `answer to ${url}`),
          )
          strictEqual(server.requests, PARALLEL)
        },
      ),
  },
  {
    name: 'nobody listens',
    run: async (fetch) => {
      const port = await closedPort()
      await rejects(fetch(`http://127.0.0.1:${port}/`), (error: Error & { cause: object }) => {
        deepStrictEqual([error.name, error.message], ['TypeError', 'fetch failed'])
        const { code, syscall, address, port: where } = error.cause as Record<string, unknown>
        deepStrictEqual([code, syscall, address, where], ['ECONNREFUSED', 'connect', '127.0.0.1', port])
        return true
      })
    },
  },
  {
    name: 'the server dies inside the body',
    run: (fetch) =>
      withServer(
        (_request, response) => {
          response.writeHead(200, { 'content-length': 10 })
          response.write('hello', () => response.destroy())
        },
        async ({ origin }) => {
          const response = await fetch(origin)
          await rejects(response.text(), (error: Error & { cause: { code?: string } }) => {
            deepStrictEqual([error.name, error.message], ['TypeError', 'terminated'])
            strictEqual(error.cause.code, 'UND_ERR_SOCKET')
            return true
          })
        },
      ),
  },
]

interface CountingServer extends RunningServer {
  readonly requests: number
}

async function withServer(
  handler: (request: IncomingMessage, response: ServerResponse) => unknown,
  use: (server: CountingServer) => Promise<void>,
): Promise<void> {
  let requests = 0
  const server = await startServer((request, response) => {
    requests++
    void handler(request, response)
  })
  try {
    await use(Object.defineProperty(server, 'requests', { get: () => requests }) as CountingServer)
  } finally {
    await server.close()
  }
}

function sum(bytes: Uint8Array): number {
  return bytes.reduce((total, byte) => total + byte, 0)
}
