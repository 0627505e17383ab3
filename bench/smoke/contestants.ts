/** One request that resolves when the whole response was received. */
export type Request = () => Promise<void>

export interface Contestant {
  name: string
  /** The one it is compared with. */
  rival?: string
  /** Loads the client and gives its request; `origin` has no slash at its end. */
  start(origin: string, concurrency: number): Promise<Request>
}

/** The least of a handler that both libraries' `dispatch` takes: it looks at every chunk and keeps none. */
interface Dispatches {
  dispatch(options: { origin: string; path: string; method: 'GET' }, handler: object): boolean
}

function requestBy(agent: Dispatches, origin: string): Request {
  const options = { origin, path: '/', method: 'GET' } as const
  return () =>
    new Promise((resolve, reject) => {
      agent.dispatch(options, {
        onRequestStart() {},
        onResponseStart() {},
        onResponseData() {},
        onResponseEnd() {
          resolve()
        },
        onResponseError(_controller: unknown, error: Error) {
          reject(error)
        },
      })
    })
}

function sluiceDispatch(transport: 'wire' | 'reqwest'): Contestant {
  return {
    name: `sluice dispatch, ${transport}`,
    rival: 'undici dispatch',
    async start(origin) {
      const { Agent } = await import('../../lib/index.ts')
      return requestBy(new Agent({ transport }), origin)
    },
  }
}

export const contestants: Contestant[] = [
  sluiceDispatch('wire'),
  sluiceDispatch('reqwest'),
  {
    name: 'undici dispatch',
    async start(origin, concurrency) {
      const { Agent } = await import('undici')
      // As many connections as requests: what undici's own benchmarks do; without pipelining, as sluice has none.
      return requestBy(new Agent({ connections: concurrency, pipelining: 1 }), origin)
    },
  },
  {
    name: 'sluice fetch',
    rival: 'built-in fetch',
    async start(origin) {
      const { fetch } = await import('../../lib/index.ts')
      return async () => {
        await (await fetch(`${origin}/`)).arrayBuffer()
      }
    },
  },
  {
    name: 'built-in fetch',
    async start(origin) {
      return async () => {
        await (await globalThis.fetch(`${origin}/`)).arrayBuffer()
      }
    },
  },
]
