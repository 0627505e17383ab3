/** One contestant's round: `client-process.ts NAME PORT REQUESTS CONCURRENCY WARM_UP` sends its {@link Measurement}. */
import { contestants, type Request } from './contestants.ts'

export interface Measurement {
  /** Requests per second. */
  perSecond: number
  /** CPU time of the whole process, µs per request. */
  processMicros: number
  /** CPU time of the JavaScript thread, µs per request. */
  threadMicros: number
}

async function run(request: Request, count: number, concurrency: number): Promise<void> {
  let left = count
  const lane = async (): Promise<void> => {
    while (left-- > 0) await request()
  }
  await Promise.all(Array.from({ length: concurrency }, lane))
}

async function measure(request: Request, count: number, concurrency: number): Promise<Measurement> {
  const whole = process.cpuUsage()
  const thread = process.threadCpuUsage()
  const start = performance.now()
  await run(request, count, concurrency)
  const ms = performance.now() - start
  const threadUsed = process.threadCpuUsage(thread)
  const wholeUsed = process.cpuUsage(whole)
  return {
    perSecond: (count / ms) * 1000,
    processMicros: (wholeUsed.user + wholeUsed.system) / count,
    threadMicros: (threadUsed.user + threadUsed.system) / count,
  }
}

const [name, port, ...numbers] = process.argv.slice(2)
const [requests = 0, concurrency = 1, warmUp = 0] = numbers.map(Number)
process.on('disconnect', () => process.exit(0))
try {
  const contestant = contestants.find((candidate) => candidate.name === name)
  if (contestant === undefined) throw new Error(`no such contestant: ${name}`)
  const request = await contestant.start(`http://127.0.0.1:${port}`, concurrency)
  await run(request, warmUp, concurrency)
  process.send?.(await measure(request, requests, concurrency))
} catch (error) {
  process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
}
