/**
 * A client in a process of its own, so that its memory is its own: takes the head of a flood, blocks its event loop,
 * and reads everything only when it is told to. Sends `{ growth, bufferedBytes }`, then `{ hash, length }`.
 *
 * node flooded-client.ts WARM_UP_URL URL WINDOW BLOCK_MS
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Agent, fetch } from '../../lib/index.ts'

const [warmUpUrl, url, windowBytes, blockMs] = process.argv.slice(2)

const agent = new Agent({ windowBytes: Number(windowBytes) })
// Everything that is loaded or compiled once belongs to the baseline.
const warm = await fetch(warmUpUrl!, { dispatcher: agent })
const reader = warm.body!.getReader()
await reader.read()
await reader.cancel()
globalThis.gc!()

const before = process.memoryUsage.rss()
const response = await fetch(url!, { dispatcher: agent })
// The gate is lifted by a demand: the window fills behind this read.
const reading = response.body!.getReader()
const first = await reading.read()
const until = performance.now() + Number(blockMs)
while (performance.now() < until);
process.send!({ growth: process.memoryUsage.rss() - before, bufferedBytes: agent.stats.bufferedBytes })

await once(process, 'message')
const hash = createHash('sha256').update(first.value!)
let length = first.value!.byteLength
for (;;) {
  const { done, value } = await reading.read()
  if (done) break
  hash.update(value)
  length += value.byteLength
}
process.send!({ hash: hash.digest('hex'), length })
process.disconnect()
