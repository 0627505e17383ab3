/**
 * The requests under way. An array and no `Set`, for the reason that `ReceiverTable` is no `Map`: the discarded tables of
 * a set whose members come and go keep them alive.
 */
import type { DispatchJob } from '../streams/native-dispatch.ts'

export class JobList {
  private readonly jobs: DispatchJob[] = []

  get isEmpty(): boolean {
    return this.jobs.length === 0
  }

  add(job: DispatchJob): void {
    job.place = this.jobs.push(job) - 1
  }

  /** The last takes its place. */
  delete(job: DispatchJob): void {
    const { place } = job
    if (this.jobs[place] !== job) return
    const last = this.jobs.pop()!
    if (last !== job) {
      this.jobs[place] = last
      last.place = place
    }
    job.place = -1
  }

  replace(job: DispatchJob, other: DispatchJob): void {
    const { place } = job
    if (this.jobs[place] !== job) return
    this.jobs[place] = other
    other.place = place
    job.place = -1
  }

  toArray(): DispatchJob[] {
    return [...this.jobs]
  }
}
