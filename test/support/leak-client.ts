/**
 * A client in a process of its own that ends its requests in every way there is, and samples its memory.
 * Sends `{ samples, seconds, outcomes }` when all have ended, and `{ counters }` when asked, after a collection.
 *
 * node --expose-gc leak-client.ts ORIGIN REQUESTS
 */
import { Agent, fetch } from '../../lib/index.ts'
import { binding } from '../../native/binding.ts'
import { collectGarbage } from './gc.ts'

const [origin, count] = process.argv.slice(2)
const REQUESTS = Number(count)
const CONCURRENCY = 32
/** Samples of memory over the whole run. */
const SAMPLES = 20

const agent = new Agent({ keepAliveTimeout: 500 })
const forever = new AbortController()
const outcomes: Record<string, number> = {}

/** The outcome of one dispatch: `end`, or the error's code. */
function dispatch(path: string, onStart?: (controller: any) => void): Promise<string> {
  return new Promise((resolve) => {
    agent.dispatch(
      { origin: origin!, path, method: 'GET' },
      {
        onRequestStart() {},
        onResponseStart: (controller: any) => onStart?.(controller),
        onResponseData() {},
        onResponseEnd: () => resolve('end'),
        onResponseError: (_controller: any, error: any) => resolve(String(error.code ?? error.message)),
      },
    )
  })
}

const get = (path: string, signal?: AbortSignal): Promise<Response> =>
  fetch(`${origin}${path}`, { dispatcher: agent, signal })

const kinds: Record<string, () => Promise<unknown>> = {
  ok: async () => (await get('/small', forever.signal)).text(),
  okLarge: async () => (await get('/large')).arrayBuffer(),
  okDispatch: () => dispatch('/small'),
  error: async () => (await get('/broken')).text().catch(() => {}),
  errorDispatch: () => dispatch('/broken'),
  abort: async () => {
    const controller = new AbortController()
    const response = get('/never', controller.signal).catch(() => {})
    await new Promise((resolve) => setImmediate(resolve))
    controller.abort()
    return response
  },
  abortInBody: async () => {
    const controller = new AbortController()
    const reader = (await get('/flood', controller.signal)).body!.getReader()
    await reader.read()
    controller.abort()
    await reader.closed.catch(() => {})
  },
  abortDispatch: () => dispatch('/flood', (controller) => controller.abort(new Error('enough'))),
  cancel: async () => (await get('/flood')).body!.cancel(),
  dropped: async () => void (await get('/flood', forever.signal)),
}

const names = Object.keys(kinds)
const samples: number[] = []
let started = 0
let ended = 0

async function work(): Promise<void> {
  while (started < REQUESTS) {
    const name = names[started++ % names.length]!
    await kinds[name]!()
    outcomes[name] = (outcomes[name] ?? 0) + 1
    // What was dropped holds its connection until it is collected.
    if (++ended % 500 === 0) globalThis.gc!()
    if (ended % (REQUESTS / SAMPLES) === 0) {
      await collectGarbage()
      samples.push(process.memoryUsage.rss())
    }
  }
}

const begin = performance.now()
await Promise.all(Array.from({ length: CONCURRENCY }, work))
process.send!({ samples, seconds: (performance.now() - begin) / 1000, outcomes })

process.on('message', () => {
  void collectGarbage().then(() => {
    const { running, bufferedBytes } = agent.stats
    process.send!({ ...binding.counters(), running, bufferedBytes })
  })
})
