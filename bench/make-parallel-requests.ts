/** One request that resolves with the bytes of its body when the whole response was received. */
export type Request = () => Promise<number>

/** Durations of single requests in µs; it grows as needed. */
export class Durations {
  private values = new Float64Array(4096)
  private length = 0

  add(micros: number): void {
    if (this.length === this.values.length) {
      const larger = new Float64Array(this.length * 2)
      larger.set(this.values)
      this.values = larger
    }
    this.values[this.length++] = micros
  }

  clear(): void {
    this.length = 0
  }

  get sorted(): Float64Array {
    return this.values.slice(0, this.length).sort()
  }
}

/**
 * Makes `count` requests, `parallel` at once: each lane begins its next request when its last one has ended.
 * @throws Error when a response is not of `bytes` bytes
 */
export async function makeParallelRequests(
  request: Request,
  { count, parallel, bytes, durations }: { count: number; parallel: number; bytes: number; durations?: Durations },
): Promise<void> {
  let left = count
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const start = performance.now()
      const received = await request()
      durations?.add((performance.now() - start) * 1000)
      if (received !== bytes) throw new Error(`a response of ${received} bytes in place of ${bytes}`)
    }
  }
  await Promise.all(Array.from({ length: Math.min(parallel, count) }, lane))
}
