/** The cases, by the file of web-platform-tests whose subject they have. */
import type { Context } from './context.ts'

export type Run = (context: Context) => unknown

export interface Case {
  file: string
  /** `FILE: TITLE` */
  name: string
  title: string
  /** Whether the streams implementation matters. */
  isOfStreams: boolean
  run: Run
}

export const cases: Case[] = []

function add(file: string, titled: Record<string, Run>, isOfStreams: boolean): void {
  for (const [title, run] of Object.entries(titled)) {
    cases.push({ file, title, name: `${file}: ${title}`, isOfStreams, run })
  }
}

/** Cases after `file`, named by what holds. */
export function wpt(file: string, titled: Record<string, Run>): void {
  add(file, titled, false)
}

/** Cases that also run with another implementation of the streams. */
export function wptStreams(file: string, titled: Record<string, Run>): void {
  add(file, titled, true)
}
