import { load } from '../installation.ts'
import { assertStatus, type Opener, type Target } from './client.ts'
import { dispatchRequest, type Dispatches } from './handler.ts'

export const engines = ['wire', 'reqwest'] as const
export type Engine = (typeof engines)[number]

/** `sluice fetch, wire` → `wire`. */
export function engineOf(contestant: string): Engine {
  const engine = engines.find((candidate) => contestant.endsWith(`, ${candidate}`))
  if (engine === undefined) throw new Error(`${contestant}: no engine in its name`)
  return engine
}

/** One name for each engine. */
export function ofBoth(name: string): string[] {
  return engines.map((engine) => `${name}, ${engine}`)
}

export async function sluiceAgent(transport: Engine, target: Partial<Target> = {}): Promise<any> {
  const { Agent } = await import('../../lib/index.ts')
  const options = {
    transport,
    ...(target.ca === undefined ? {} : { connect: { ca: target.ca } }),
    ...(target.proxy === undefined ? {} : { proxy: target.proxy }),
  }
  return new Agent(options)
}

function by(engine: Engine): Opener[] {
  const http2 = true
  const proxy = true
  return [
    {
      name: `sluice dispatch, ${engine}`,
      http2,
      proxy,
      async open(target) {
        const agent = (await sluiceAgent(engine, target)) as Dispatches
        const { origin } = target
        return ({ method, path, body }) => dispatchRequest(agent, { origin, method, path, body: body ?? null })
      },
    },
    {
      name: `sluice fetch, ${engine}`,
      http2,
      proxy,
      async open(target) {
        const { fetch } = await import('../../lib/index.ts')
        const dispatcher = await sluiceAgent(engine, target)
        return async ({ method, path, body }) => {
          const init = { method, body: body as never, dispatcher }
          const response = await fetch(target.origin + path, init)
          assertStatus(response.status)
          return (await response.arrayBuffer()).byteLength
        }
      },
    },
    {
      name: `sluice request, ${engine}`,
      http2,
      proxy,
      async open(target) {
        const { request } = (await load('undici')) as any
        const dispatcher = await sluiceAgent(engine, target)
        return async ({ method, path, body }) => {
          const response = await request(target.origin + path, { method, body, dispatcher })
          assertStatus(response.statusCode)
          return (await response.body.arrayBuffer()).byteLength
        }
      },
    },
    {
      name: `sluice undici.fetch, ${engine}`,
      http2,
      proxy,
      async open(target) {
        const { fetch } = (await load('undici')) as any
        const dispatcher = await sluiceAgent(engine, target)
        return async ({ method, path, body }) => {
          const init = { method, body, dispatcher }
          const response = await fetch(target.origin + path, init)
          assertStatus(response.status)
          return (await response.arrayBuffer()).byteLength
        }
      },
    },
  ]
}

export const sluiceClients: Opener[] = engines.flatMap(by)
