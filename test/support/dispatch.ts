/** Runs the same options through sluice's checks and through a real undici agent. */
import { Agent as UndiciAgent } from 'undici'
import {
  assertDispatchOptions,
  assertHandlerObject,
  createDispatchRequest,
  normalizeOrigin,
} from '../../lib/dispatch-request.ts'
import type { DispatchRequest } from '../../lib/dispatch-request.ts'
import { startTcpServer } from './servers.ts'

export type Options = Record<string, any>

export const noop = (): void => {}
export const fullHandler = {
  onRequestStart: noop,
  onRequestUpgrade: noop,
  onResponseStart: noop,
  onResponseData: noop,
  onResponseEnd: noop,
  onResponseError: noop,
}

/** The calls a dispatcher makes for one `dispatch`. */
export function build(opts: unknown, handler: any = fullHandler, strict = true): DispatchRequest {
  assertHandlerObject(handler)
  assertDispatchOptions(opts)
  return createDispatchRequest(normalizeOrigin(opts.origin), opts, handler, strict)
}

export const base = { origin: 'http://127.0.0.1:9', path: '/', method: 'GET' }
export const request = (opts: Options): DispatchRequest => build({ ...base, ...opts })

export function errorOf(run: () => unknown): Error & { code?: string } {
  try {
    run()
  } catch (error) {
    return error as Error
  }
  throw new Error('nothing was thrown')
}

/** The error of a real undici agent, which it reports before `dispatch` returns. */
export function undiciError(opts: unknown, handler: object = fullHandler, agent: any = new UndiciAgent()): Error {
  let reported: Error | undefined
  const observed =
    'onResponseError' in handler && typeof handler.onResponseError === 'function'
      ? { ...handler, onResponseError: (_controller: unknown, error: Error) => void (reported ??= error) }
      : handler
  try {
    agent.dispatch(opts, observed)
  } catch (error) {
    reported ??= error as Error
  } finally {
    void agent.destroy()
  }
  if (!reported) throw new Error('undici accepted it')
  return reported
}

export const facts = (error: Error & { code?: string }): object => ({
  name: error.name,
  code: error.code,
  message: error.message,
})

/** Everything but `host` and `connection`, which the transport writes, in undici's order. */
export function wireHead(result: DispatchRequest): string[] {
  const lines = [`${result.method} ${result.target} HTTP/1.1`]
  for (let i = 0; i < result.headers.length; i += 2) {
    if (result.headers[i] !== 'host') lines.push(`${result.headers[i]}: ${result.headers[i + 1]}`)
  }
  if (result.contentLength !== null) lines.push(`content-length: ${result.contentLength}`)
  else if (result.body.kind === 'stream') lines.push('transfer-encoding: chunked')
  return lines
}

export interface Sent {
  lines: string[]
  host: string
  connection: string
  error: Error | undefined
}

/** What a real undici agent writes for these options. */
export async function undiciHead(opts: Options, agent: any = new UndiciAgent({ allowH2: false })): Promise<Sent> {
  let head = ''
  await using server = await startTcpServer((socket) => {
    socket.on('data', (chunk) => {
      const before = head.includes('\r\n\r\n')
      head += chunk.toString('latin1')
      if (!before && head.includes('\r\n\r\n')) {
        socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
      }
    })
  })
  const done = Promise.withResolvers<Error | undefined>()
  agent.dispatch(
    { ...base, ...opts, origin: server.origin },
    {
      ...fullHandler,
      onResponseEnd: () => done.resolve(undefined),
      onResponseError: (_controller: unknown, error: Error) => done.resolve(error),
    },
  )
  const error = await done.promise
  await agent.destroy()
  const lines = head.slice(0, head.indexOf('\r\n\r\n')).split('\r\n')
  const take = (name: string): string => {
    const at = lines.findIndex((line) => line.startsWith(`${name}: `))
    return at < 0 ? '' : lines.splice(at, 1)[0]!.slice(name.length + 2)
  }
  return { host: take('host'), connection: take('connection'), lines, error }
}

export async function collect(body: DispatchRequest['body']): Promise<Buffer> {
  if (body.kind === 'none') return Buffer.alloc(0)
  if (body.kind === 'bytes') return Buffer.from(body.bytes)
  const parts: Buffer[] = []
  const source = body.kind === 'file' ? body.stream : body.source
  for await (const chunk of source as AsyncIterable<Uint8Array>) parts.push(Buffer.from(chunk))
  return Buffer.concat(parts)
}
