/** A download through a proxy that adds 40 ms to every round trip: who keeps the pipe full. */
import { dispatchRequest, type Dispatches } from '../contestants/handler.ts'
import { engineOf, ofBoth, sluiceAgent } from '../contestants/sluice.ts'
import { undiciAgent } from '../contestants/undici.ts'
import { measureTransfer } from '../measure-transfer.ts'
import type { Scenario, Work } from './scenario.ts'
import { bodyOf, fetcherOf, readAll } from './stream.ts'

/** Bytes of the warm-up: it opens the connection and lets a window that adapts begin to. */
const WARM_UP = 256 * 1024

const work = (version: 'h1' | 'h2', bytes: number, others: string[]): Work => ({
  id: `latency/${version}`,
  title: `HTTP/${version === 'h1' ? '1.1' : '2'} download over 40 ms, ${bytes / 1024 ** 2} MiB`,
  metric: 'gbPerSecond',
  isThroughput: true,
  method: 'GET',
  path: `/bytes/${bytes}`,
  parallel: 1,
  bytes,
  contestants: [...ofBoth('sluice dispatch'), ...ofBoth('sluice fetch'), 'undici dispatch', 'undici fetch', ...others],
})

export const latency: Scenario = {
  name: 'latency',
  isShared: false,
  works: ({ delayedBytes }) => [work('h1', delayedBytes, ['built-in fetch']), work('h2', delayedBytes, [])],
  async measure(contestant, { id, bytes }, { server }) {
    const isHttp2 = id === 'latency/h2'
    const origin = isHttp2 ? `https://localhost:${server.delayedHttps}` : `http://127.0.0.1:${server.delayedHttp}`
    const ca = isHttp2 ? server.ca : undefined
    if (contestant.includes('dispatch')) {
      const target = { origin, ca, connections: 1, isHttp2, proxy: undefined }
      const agent: Dispatches = await (contestant === 'undici dispatch'
        ? undiciAgent(target)
        : sluiceAgent(engineOf(contestant), target))
      return measureTransfer(
        (size) => dispatchRequest(agent, { origin, path: `/bytes/${size}`, method: 'GET' }),
        bytes,
        { warmUpBytes: WARM_UP },
      )
    }
    const fetches = await fetcherOf(contestant, { allowH2: isHttp2, ...(ca === undefined ? {} : { connect: { ca } }) })
    return measureTransfer(async (size) => readAll(await bodyOf(fetches, `${origin}/bytes/${size}`)), bytes, {
      warmUpBytes: WARM_UP,
    })
  },
}
