/** Has requests of every kind under way, says so, and is ended in their midst. */
import { parentPort, workerData } from 'node:worker_threads'
import { Agent, fetch } from '../../lib/index.ts'
import { kinds } from './kinds.ts'
import { Random } from '../../test/support/random.ts'

const { origin, ca, seed } = workerData as { origin: string; ca: string; seed: number }
const place = { agent: new Agent({ connections: 8, connect: { ca } }), fetch, origin, random: new Random(seed) }

async function work(name: string): Promise<void> {
  for (;;) await kinds[name]!.run(place)
}

for (const name of Object.keys(kinds)) work(name).catch(() => {})
setTimeout(() => parentPort!.postMessage('busy'), 20)
