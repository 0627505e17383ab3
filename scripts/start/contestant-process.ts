/**
 * One download in a process of its own, so that memory and CPU are its alone: `contestant-process.ts CLIENT URL FILE`
 * tells its {@link Outcome}; `contestant-process.ts stall URL` asks for the URL and then reads nothing.
 */
import { createWriteStream } from 'node:fs'
import { Writable } from 'node:stream'
import { describeError } from './describe-error.ts'

export type Client = 'sluice' | 'built-in'

export type Outcome =
  | { error: string }
  | {
      /** ms from the request to the closed file. */
      ms: number
      /** The largest memory of the whole process, bytes. */
      peakMemory: number
      /** CPU time of the JavaScript thread, ms. */
      threadCpu: number
      /** CPU time of all threads, ms. */
      processCpu: number
    }

const clients: Record<Client, () => Promise<(url: string, file: string) => Promise<void>>> = {
  sluice: async () => {
    const { fetch, toFile } = await import('../../lib/index.ts')
    return async (url, file) => {
      const { body } = await fetch(url)
      await body!.pipeTo(toFile(file))
    }
  },
  'built-in': async () => async (url, file) => {
    const { body } = await globalThis.fetch(url)
    await body!.pipeTo(Writable.toWeb(createWriteStream(file)))
  },
}

async function run(client: Client, url: string, file: string): Promise<Outcome> {
  const download = await clients[client]()
  const start = performance.now()
  const thread = process.threadCpuUsage()
  const whole = process.cpuUsage()
  await download(url, file)
  const threadUsed = process.threadCpuUsage(thread)
  const wholeUsed = process.cpuUsage(whole)
  return {
    ms: performance.now() - start,
    peakMemory: process.resourceUsage().maxRSS * 1024,
    threadCpu: (threadUsed.user + threadUsed.system) / 1000,
    processCpu: (wholeUsed.user + wholeUsed.system) / 1000,
  }
}

async function stall(url: string): Promise<{ stalled: true }> {
  const { fetch } = await import('../../lib/index.ts')
  // Held in a global, so that it is not collected: a dropped response gives its socket back.
  Object.assign(globalThis, { held: await fetch(url) })
  return { stalled: true }
}

const [job, url = '', file = ''] = process.argv.slice(2)
process.on('disconnect', () => process.exit(0))
try {
  process.send?.(job === 'stall' ? await stall(url) : await run(job as Client, url, file))
} catch (error) {
  process.send?.({ error: describeError(error) } satisfies Outcome)
}
