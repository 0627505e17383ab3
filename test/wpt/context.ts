/** What a case gets: a `fetch`, the streams of its bodies, and servers that are gone at its end. */
import type { RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { Agent as UndiciAgent } from 'undici'
import * as polyfill from 'web-streams-polyfill'
import { Agent, fetch as sluiceFetch } from '../../lib/index.ts'
import type { FetchInit } from '../../lib/index.ts'
import { startServer, startTcpServer } from '../support/servers.ts'
import type { RunningServer } from '../support/servers.ts'

export type Fetch = (input: string | URL | Request, init?: Record<string, unknown>) => Promise<Response>

export interface Streams {
  ReadableStream: typeof ReadableStream
  WritableStream: typeof WritableStream
  TransformStream: typeof TransformStream
}

/** `undici`: over a dispatcher of undici's. */
export type Name = 'built-in' | 'sluice' | 'sluice, reqwest' | 'sluice, undici' | 'sluice, polyfill'

/** A response whose body is written as the case says. */
export interface OpenBody {
  response: Response
  /** Resolves when the chunk was handed to the kernel. */
  write(chunk: string | Uint8Array): Promise<void>
  end(): void
  /** Drops the connection inside the body. */
  fail(): void
  /** Resolves when the connection is closed, by whomever. */
  closed: Promise<void>
}

/** What a request was, as the server got it. */
export interface Seen {
  method: string
  url: string
  headers: Record<string, string | undefined>
  body: string
}

export class Context implements AsyncDisposable {
  readonly name: Name
  readonly streams: Streams
  readonly fetch: Fetch
  private readonly cleanups: (() => unknown)[] = []

  constructor(name: Name) {
    this.name = name
    this.streams = name === 'sluice, polyfill' ? (polyfill as unknown as Streams) : globalThis
    this.fetch = this.open(name)
  }

  private open(name: Name): Fetch {
    if (name === 'built-in') return globalThis.fetch as unknown as Fetch
    if (name === 'sluice') return sluiceFetch as unknown as Fetch
    const agent =
      name === 'sluice, undici'
        ? new UndiciAgent()
        : new Agent({ transport: name === 'sluice, reqwest' ? 'reqwest' : 'wire' })
    this.cleanups.push(() => agent.destroy())
    const own = { dispatcher: agent, ...(name === 'sluice, polyfill' && { streams: this.streams }) }
    // What is no init stays none, and what it inherits or computes stays so.
    const withOwn = (init: object): FetchInit => Object.assign(Object.create(init) as object, own)
    return (input, init) =>
      sluiceFetch(input, init === undefined || Object(init) === init ? withOwn(init ?? {}) : (init as FetchInit))
  }

  /** The origin of a server. */
  async serve(handler: RequestListener): Promise<string> {
    return (await this.adopt(startServer(handler))).origin
  }

  /** The origin of a server that answers the first bytes of each connection with bytes of its own, latin1. */
  async raw(answer: string | ((socket: Socket, head: string) => void)): Promise<string> {
    const server = await this.adopt(
      startTcpServer((socket) => {
        socket.once('data', (chunk) => {
          if (typeof answer === 'function') answer(socket, chunk.toString('latin1'))
          else socket.end(Buffer.from(answer, 'latin1'))
        })
      }),
    )
    return server.origin
  }

  private async adopt(starting: Promise<RunningServer>): Promise<RunningServer> {
    const server = await starting
    this.cleanups.push(() => server.close())
    return server
  }

  defer(cleanup: () => unknown): void {
    this.cleanups.push(cleanup)
  }

  /** A response with this body, complete. */
  async respond(body: string | Uint8Array, headers: Record<string, string> = {}, init?: object): Promise<Response> {
    const origin = await this.serve((_request, response) => response.writeHead(200, headers).end(body))
    return this.fetch(origin, init as Record<string, unknown>)
  }

  async stream(init?: Record<string, unknown>, headers: Record<string, string> = {}): Promise<OpenBody> {
    const started = Promise.withResolvers<ServerResponse>()
    const closed = Promise.withResolvers<void>()
    const origin = await this.serve((_request, response) => {
      response.on('close', () => closed.resolve())
      response.writeHead(200, headers).flushHeaders()
      started.resolve(response)
    })
    const response = await this.fetch(origin, init)
    const sender = await started.promise
    return {
      response,
      write: (chunk) => new Promise((resolve) => sender.write(chunk, () => resolve())),
      end: () => sender.end(),
      fail: () => sender.destroy(),
      closed: closed.promise,
    }
  }

  /** What a server sees of a request. */
  async see(init?: Record<string, unknown>, path = '/'): Promise<Seen> {
    const origin = await this.serve(echo)
    return (await (await this.fetch(origin + path, init)).json()) as Seen
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cleanup of this.cleanups.toReversed()) await cleanup()
  }
}

/** Answers with what it was sent. */
export const echo: RequestListener = async (request, response) => {
  const bytes = await buffer(request).catch(() => null)
  // The client has broken off: there is nobody to answer.
  if (bytes === null) return
  const body = bytes.toString('latin1')
  response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body }))
}

export const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)
export const decode = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)

/** What a promise rejects with. @throws Error when it does not */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  const settled = await promise.then(
    () => null,
    (reason: unknown) => ({ reason }),
  )
  if (settled === null) throw new Error('it did not reject')
  return settled.reason
}
