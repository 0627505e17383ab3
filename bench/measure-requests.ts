import { load } from './installation.ts'
import { Durations, makeParallelRequests, type Request } from './make-parallel-requests.ts'
import { Meter, peakRss } from './meter.ts'
import type { Measurement } from './metrics.ts'
import { mean, percentile } from './statistics.ts'

interface Mitata {
  measure(work: () => Promise<void>, options: object): Promise<{ samples: number[] }>
}

/** Requests of one sample: enough that filling and emptying the lanes weighs little, few enough for large bodies. */
function samplesOf(parallel: number, bytes: number): number {
  if (bytes >= 512 * 1024) return parallel * 2
  return Math.max(parallel * 4, 64)
}

/**
 * mitata repeats {@link makeParallelRequests} until `time` ms have been measured. Its call of `gc`, which it makes right
 * before the first sample, starts the meter, so that no warm-up is counted.
 */
export async function measureRequests(
  request: Request,
  { parallel, bytes, time, warmUp }: { parallel: number; bytes: number; time: number; warmUp: number },
): Promise<Measurement> {
  const mitata = (await load('mitata')) as Mitata
  const durations = new Durations()
  const count = samplesOf(parallel, bytes)
  let requests = 0
  const sample = async (): Promise<void> => {
    await makeParallelRequests(request, { count, parallel, bytes, durations })
    requests += count
  }
  const warm = performance.now()
  do await sample()
  while (performance.now() - warm < warmUp)
  let meter = new Meter()
  await mitata.measure(sample, {
    min_cpu_time: time * 1e6,
    min_samples: 3,
    // A sample is many requests already.
    batch_threshold: 0,
    warmup_samples: 1,
    gc() {
      globalThis.gc?.()
      durations.clear()
      requests = 0
      meter = new Meter()
    },
  })
  const { seconds, processSeconds, threadSeconds } = meter.read()
  const sorted = durations.sorted
  return {
    perSecond: requests / seconds,
    meanMicros: mean(sorted),
    p50Micros: percentile(sorted, 0.5),
    p99Micros: percentile(sorted, 0.99),
    processMicros: (processSeconds / requests) * 1e6,
    threadMicros: (threadSeconds / requests) * 1e6,
    ...(bytes >= 16 * 1024 ? { gbPerSecond: (requests * bytes) / 1e9 / seconds } : {}),
    peakRss: peakRss(),
  }
}
