/** Which runs there are, many at a time, and what each kind has come to. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isAwaited, paths, protocolsOf } from '../kind.ts'
import type { Kind, Path, Protocol } from '../kind.ts'
import { Client } from './run.ts'
import type { Result, Run } from './run.ts'
import { FaultServer } from './server-process.ts'

/** A kind over one protocol, and everything that was seen of it. */
export class Row {
  readonly kind: Kind
  readonly protocol: Protocol
  runs = 0
  right = 0
  /** How often each outcome came, by kind of path. */
  readonly outcomes: Record<'dispatch' | 'fetch', Record<string, number>> = { dispatch: {}, fetch: {} }
  /** What was wrong, with the path, and how often. */
  readonly problems: Record<string, number> = {}

  constructor(kind: Kind, protocol: Protocol) {
    this.kind = kind
    this.protocol = protocol
  }

  get name(): string {
    return `${this.kind.name} over ${this.protocol}`
  }

  get isAwaited(): boolean {
    return isAwaited(this.kind, this.protocol)
  }

  /** Right where it should be, and wrong where it is known to be. */
  get isAsExpected(): boolean {
    if (this.isAwaited && this.kind.isRare === true) return true
    return (this.right === this.runs) !== this.isAwaited
  }

  add({ run, outcome, problems }: Result): void {
    const side = run.path === 'dispatch' || run.path === 'legacy' ? 'dispatch' : 'fetch'
    this.runs++
    if (problems.length === 0) this.right++
    this.outcomes[side][outcome] = (this.outcomes[side][outcome] ?? 0) + 1
    for (const problem of problems) {
      const key = `${run.path}: ${problem}`
      this.problems[key] = (this.problems[key] ?? 0) + 1
    }
  }
}

/** `kinds` over the protocols they have; those of `only`, if there are any. */
export function rowsOf(kinds: readonly Kind[], only: readonly Protocol[] = []): Row[] {
  return kinds.flatMap((kind) =>
    protocolsOf(kind)
      .filter((protocol) => only.length === 0 || only.includes(protocol))
      .map((protocol) => new Row(kind, protocol)),
  )
}

export interface Plan {
  rows: readonly Row[]
  /** How often each row runs on a path. */
  times: number
  /** The paths of a row, all of them by default. */
  pathsOf?: (row: Row, index: number) => readonly Path[]
  /** Runs at a time. */
  slots: number
  onRun?: (done: number, all: number) => void
}

/** Rounds over all rows, so that no kind runs beside itself more often than it must. */
function* runsOf({ rows, times, pathsOf = () => paths }: Plan): Generator<[Row, Run]> {
  for (let time = 0; time < times; time++) {
    for (const [index, row] of rows.entries()) {
      const { kind, protocol } = row
      for (const path of pathsOf(row, index)) {
        if (kind.on?.includes(path) ?? true) yield [row, { kind, protocol, path }]
      }
    }
  }
}

/** Runs all, and fills the rows. */
export async function runAll(plan: Plan): Promise<void> {
  const runs = [...runsOf(plan)]
  const folder = await mkdtemp(join(tmpdir(), 'sluice-faults-'))
  using server = await FaultServer.start(plan.slots)
  let begun = 0
  let done = 0
  const work = async (slot: number): Promise<void> => {
    const client = new Client(server, slot, folder)
    while (begun < runs.length) {
      const [row, run] = runs[begun++]!
      row.add(await client.run(run))
      plan.onRun?.(++done, runs.length)
    }
  }
  try {
    await Promise.all(Array.from({ length: plan.slots }, (_, slot) => work(slot)))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
