/** HTTP/2 without TLS, on port 0. `await using server = await startH2c(…)` closes it at the end of the block. */
import { createServer } from 'node:http2'
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

export interface H2cServer extends AsyncDisposable {
  readonly origin: string
  /** Those that are open. */
  readonly sessions: ReadonlySet<ServerHttp2Session>
  /** Sessions since the start. */
  readonly accepted: number
}

export type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void

export async function startH2c(onStream: OnStream): Promise<H2cServer> {
  const server = createServer()
  const sessions = new Set<ServerHttp2Session>()
  let accepted = 0
  server.on('session', (session) => {
    accepted++
    sessions.add(session)
    session.on('error', () => {})
    session.on('close', () => sessions.delete(session))
  })
  server.on('stream', (stream, headers) => {
    // Clients that break off are what many tests are about.
    stream.on('error', () => {})
    onStream(stream, headers)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sessions,
    get accepted() {
      return accepted
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
