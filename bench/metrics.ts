/** The figures of a row: their names, their units and which way is better. */

export const metrics = {
  perSecond: { title: 'requests/s', digits: 0, isBetter: 'more' },
  gbPerSecond: { title: 'GB/s', digits: 3, isBetter: 'more' },
  meanMicros: { title: 'mean µs', digits: 0, isBetter: 'less' },
  p50Micros: { title: 'p50 µs', digits: 0, isBetter: 'less' },
  p99Micros: { title: 'p99 µs', digits: 0, isBetter: 'less' },
  processMicros: { title: 'process µs/req', digits: 1, isBetter: 'less' },
  threadMicros: { title: 'JS thread µs/req', digits: 1, isBetter: 'less' },
  cpuPerGb: { title: 'CPU s/GB', digits: 3, isBetter: 'less' },
  threadPerGb: { title: 'JS thread s/GB', digits: 3, isBetter: 'less' },
  importMs: { title: 'import ms', digits: 1, isBetter: 'less' },
  firstMs: { title: 'first response ms', digits: 1, isBetter: 'less' },
  rssAboveIdle: { title: 'RSS above idle, MB', digits: 1, isBetter: 'less' },
  peakRss: { title: 'peak RSS MB', digits: 0, isBetter: 'less' },
} as const satisfies Record<string, { title: string; digits: number; isBetter: 'more' | 'less' }>

export type Metric = keyof typeof metrics

/** What one contestant did in one round. A GB is 10⁹ bytes, a MB 10⁶. */
export type Measurement = Partial<Record<Metric, number>>
