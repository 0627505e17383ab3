/** What a process holds, at a moment when no request is under way. */
import { readdirSync, readlinkSync } from 'node:fs'
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Agent } from '../../lib/index.ts'
import { binding } from '../../native/binding.ts'

export interface Sample {
  /** Requests that have ended. */
  requests: number
  seconds: number
  /** Bytes. */
  rss: number
  /** Of V8's heap: what is in use, and the memory that it has for it. */
  heap: number
  heapRoom: number
  external: number
  bufferedBytes: number
  /** Descriptors that are sockets; 0 where the system does not say. */
  sockets: number
  handles: number
}

/** How long what was dropped may take to be gone, in milliseconds. */
const SETTLING = 5000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function countSockets(): number {
  let count = 0
  let names: string[] = []
  try {
    names = readdirSync('/proc/self/fd')
  } catch {
    return 0
  }
  for (const name of names) {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`).startsWith('socket:')) count++
    } catch {
      // It was that of the folder itself.
    }
  }
  return count
}

function look(agents: readonly InstanceType<typeof Agent>[]): Omit<Sample, 'requests' | 'seconds'> {
  const { rss, heapUsed, external } = process.memoryUsage()
  const bufferedBytes = agents.reduce((sum, agent) => sum + agent.stats.bufferedBytes, 0)
  return {
    rss,
    heap: heapUsed,
    heapRoom: getHeapStatistics().total_physical_size,
    external,
    bufferedBytes,
    sockets: countSockets(),
    handles: binding.counters().handles,
  }
}

/** Collects until nothing of the requests that have ended is left, or for as long as that may take. */
export async function takeSample(
  agents: readonly InstanceType<typeof Agent>[],
  requests: number,
  seconds: number,
): Promise<Sample> {
  const start = performance.now()
  for (;;) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 10))
    const found = look(agents)
    const isSettled = found.handles === 0 && found.bufferedBytes === 0
    if (isSettled || performance.now() - start > SETTLING) return { requests, seconds, ...found }
  }
}

/** Waits until the process has no more than `most` sockets, or for as long as connections may idle. */
export async function awaitSockets(most: number): Promise<number> {
  const start = performance.now()
  for (;;) {
    const count = countSockets()
    if (count <= most || performance.now() - start > SETTLING) return count
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
