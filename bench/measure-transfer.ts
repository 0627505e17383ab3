import { Meter, peakRss } from './meter.ts'
import type { Measurement } from './metrics.ts'

/**
 * One large body, after a small one that has loaded and compiled what it needs.
 * `cleanUp` runs after each of them and is not measured.
 * @throws Error when the number of bytes moved is not the expected one
 */
export async function measureTransfer(
  transfer: (bytes: number) => Promise<number>,
  bytes: number,
  { warmUpBytes = Math.min(bytes, 16 * 1024 ** 2), cleanUp = (): void => {} } = {},
): Promise<Measurement> {
  await checked(transfer, warmUpBytes)
  cleanUp()
  globalThis.gc?.()
  const meter = new Meter()
  await checked(transfer, bytes)
  const { seconds, processSeconds, threadSeconds } = meter.read()
  cleanUp()
  const gb = bytes / 1e9
  return {
    gbPerSecond: gb / seconds,
    cpuPerGb: processSeconds / gb,
    threadPerGb: threadSeconds / gb,
    peakRss: peakRss(),
  }
}

async function checked(transfer: (bytes: number) => Promise<number>, bytes: number): Promise<void> {
  const moved = await transfer(bytes)
  if (moved !== bytes) throw new Error(`${moved} bytes moved in place of ${bytes}`)
}
