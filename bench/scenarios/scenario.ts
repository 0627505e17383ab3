import type { Config } from '../config.ts'
import type { ServerInfo } from '../server-process.ts'
import type { Measurement, Metric } from '../metrics.ts'
import type { ScenarioName } from './names.ts'

/** One thing that all contestants do. */
export interface Work {
  /** `scenario/what`, stable: the goals and the JSON name it. */
  id: string
  title: string
  /** What the contestants are compared by. */
  metric: Metric
  /** Whether `--assert` looks at it. */
  isThroughput: boolean
  method: 'GET' | 'POST'
  path: string
  parallel: number
  /** Bytes of a body, of the request or of the response. */
  bytes: number
  /** Those who can do it. */
  contestants: string[]
}

export interface Context {
  config: Config
  server: ServerInfo
  /** A folder for files, in memory where the system has one. */
  folder: string
}

export interface Scenario {
  name: ScenarioName
  /** Whether one process may do all works of a round, one after the other. */
  isShared: boolean
  /** Rounds, where they differ from the configured ones. */
  rounds?(config: Config): number
  works(config: Config): Work[]
  measure(contestant: string, work: Work, context: Context): Promise<Measurement>
}
