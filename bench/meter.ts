/** Time and CPU between two moments, of this process. */
export class Meter {
  private readonly start = performance.now()
  private readonly whole = process.cpuUsage()
  private readonly thread = process.threadCpuUsage()

  /** Seconds of wall time, of the whole process's CPU and of the JavaScript thread's. */
  read(): { seconds: number; processSeconds: number; threadSeconds: number } {
    const thread = process.threadCpuUsage(this.thread)
    const whole = process.cpuUsage(this.whole)
    return {
      seconds: (performance.now() - this.start) / 1000,
      processSeconds: (whole.user + whole.system) / 1e6,
      threadSeconds: (thread.user + thread.system) / 1e6,
    }
  }
}

/** MB of memory this process had at most. */
export function peakRss(): number {
  return (process.resourceUsage().maxRSS * 1024) / 1e6
}
