import { rivalOf } from './contestants/index.ts'
import { metrics, type Measurement, type Metric } from './metrics.ts'
import { median, spread } from './statistics.ts'
import { isUnsupported } from './unsupported.ts'

/** One contestant's figures for one work. */
export interface Row {
  work: string
  title: string
  /** What the work is compared by. */
  metric: Metric
  isThroughput: boolean
  contestant: string
  rounds: number
  /** Medians over the rounds. */
  values: Measurement
  /** Half the distance between the extremes of `metric`, in % of its median. */
  spread: number | null
  /** `metric` over the rival's; above 1 is better where more is better. */
  ratio: number | null
  rival: string | null
  /** Why there are no figures, or not of all rounds. */
  error: string | null
}

export interface WorkIdentity {
  id: string
  title: string
  metric: Metric
  isThroughput: boolean
}

/** What the rounds of one contestant gave. */
export interface Series {
  contestant: string
  measurements: Measurement[]
  errors: string[]
}

/** The rows of one work. A round that failed is an error of its row, whatever the others gave. */
export function rowsOf(work: WorkIdentity, series: readonly Series[]): Row[] {
  const measured = series.filter(({ measurements }) => measurements.length > 0)
  const names = measured.map(({ contestant }) => contestant)
  const valueOf = (name: string): number | undefined => {
    const { measurements } = measured.find(({ contestant }) => contestant === name)!
    return medians(measurements)[work.metric]
  }
  return series.map(({ contestant, measurements, errors }) => {
    const values = medians(measurements)
    const own = values[work.metric]
    const rival = rivalOf(contestant, names) ?? null
    const other = rival === null ? undefined : valueOf(rival)
    const figures = measurements.map((measurement) => measurement[work.metric]).filter((value) => value !== undefined)
    const failures = errors.length === 0 ? null : `${[...new Set(errors)].join('; ')}`
    return {
      work: work.id,
      title: work.title,
      metric: work.metric,
      isThroughput: work.isThroughput,
      contestant,
      rounds: measurements.length,
      values,
      spread: figures.length > 1 ? spread(figures) : null,
      ratio: own === undefined || other === undefined ? null : own / other,
      rival,
      error: failures === null || measurements.length === 0 ? failures : `${errors.length} rounds failed: ${failures}`,
    }
  })
}

function medians(measurements: readonly Measurement[]): Measurement {
  const values: Measurement = {}
  for (const metric of Object.keys(metrics) as Metric[]) {
    const figures = measurements.map((measurement) => measurement[metric]).filter((value) => value !== undefined)
    if (figures.length > 0) values[metric] = median(figures)
  }
  return values
}

/** The rows of sluice that fall below `floor` times undici's throughput, and those that failed where they should not. */
export function belowFloor(rows: readonly Row[], floor: number): Row[] {
  return rows.filter(({ contestant, isThroughput, ratio, rival, error }) => {
    if (!isThroughput || !contestant.startsWith('sluice ')) return false
    if (error !== null) return !isUnsupported(error)
    return rival?.startsWith('undici ') === true && ratio !== null && ratio < floor
  })
}
