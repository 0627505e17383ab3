/** A program that computes 30% of the time: who still fills the pipe. */
import { ofBoth } from '../contestants/sluice.ts'
import { measureTransfer } from '../measure-transfer.ts'
import type { Scenario } from './scenario.ts'
import { bodyOf, fetcherOf, readAll } from './stream.ts'

const PERIOD_MS = 10
const BUSY_MS = 3

/** Blocks the event loop for its share of each period until stopped. */
function beBusy(): () => void {
  const timer = setInterval(() => {
    const end = performance.now() + BUSY_MS
    while (performance.now() < end);
  }, PERIOD_MS)
  return () => clearInterval(timer)
}

export const blocked: Scenario = {
  name: 'blocked',
  isShared: false,
  works: ({ fileBytes }) => [
    {
      id: 'blocked/reader',
      title: `default reader, event loop busy 30%, ${fileBytes / 1024 ** 2} MiB`,
      metric: 'gbPerSecond',
      isThroughput: true,
      method: 'GET',
      path: `/bytes/${fileBytes}`,
      parallel: 1,
      bytes: fileBytes,
      contestants: [...ofBoth('sluice fetch'), 'undici fetch', 'built-in fetch'],
    },
  ],
  async measure(contestant, { bytes }, { server }) {
    const fetches = await fetcherOf(contestant)
    const stop = beBusy()
    try {
      return await measureTransfer(
        async (size) => readAll(await bodyOf(fetches, `http://127.0.0.1:${server.http}/bytes/${size}`)),
        bytes,
      )
    } finally {
      stop()
    }
  },
}
