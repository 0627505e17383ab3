/** Runs of a schedule over one body. */
import type { Agent } from '../../lib/index.ts'
import { bodyStreamState } from '../../streams/body-stream.ts'
import type { ScriptedBody } from './body-server.ts'
import { StreamModel } from './stream-model.ts'
import type { Schedule, Step } from './stream-schedule.ts'
import { Outcome, Side } from './stream-side.ts'

/** What takes longer hangs (ms). */
const PATIENCE = 30_000

/** What a run is of. */
export interface Subject {
  schedule: Schedule
  body: ScriptedBody
  /** Fetches this body alone, so that what it has buffered is what has come. */
  agent: Agent
  controller: AbortController
  response: Response
}

export function startRun(subject: Subject): StreamRun {
  if (subject.schedule.isUnopened) return new UnopenedRun(subject)
  return subject.schedule.isRacy ? new RacyRun(subject) : new ComparedRun(subject)
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

async function ticks(count: number): Promise<void> {
  for (let left = count - 1; left > 0; left--) await Promise.resolve()
}

/** Does the steps, and then reads what is left of every stream. */
export abstract class StreamRun {
  protected readonly schedule: Schedule
  protected readonly body: ScriptedBody
  protected readonly agent: Agent
  protected readonly controller: AbortController
  protected readonly ours: Side
  /** How far it came, for a failure's message. */
  protected at = 'begin'
  private readonly isDrained: boolean[] = []

  constructor({ schedule, body, agent, controller, response }: Subject) {
    this.schedule = schedule
    this.body = body
    this.agent = agent
    this.controller = controller
    this.ours = new Side(response, schedule.isUnopened ? null : response.body)
  }

  /** @throws Error saying what is wrong */
  async run(): Promise<void> {
    const { body, ours } = this
    for (const [index, step] of this.schedule.steps.entries()) {
      this.at = `step ${index}`
      // No microtask between steps but those of the schedule.
      const waiting = this.runStep(step)
      if (waiting !== undefined) await waiting
    }
    this.at = 'the end'
    await this.turn()
    body.end()
    const reads = ours.outcomes.filter(
      ({ of, stream }) => (of === 'read' || of === 'readView') && (this.schedule.isPatient || stream > 0),
    )
    await this.until(() => reads.every(({ state }) => state !== 'pending'), 'a read')
    for (let reader = 0; reader < ours.readerCount; reader++) this.program({ do: 'releaseLock', reader })
    const isReady = (): boolean => this.findFree() !== null || ours.outcomes.every(({ state }) => state !== 'pending')
    await this.until(isReady, 'what has the lock')
    for (let stream = this.findFree(); stream !== null; stream = this.findFree()) {
      await this.drain(stream)
      await this.until(isReady, 'what has the lock')
    }
    this.check()
  }

  describe(): string {
    const lines = this.ours.outcomes.map((_, index) => `${index} ${this.describeOutcome(index)}`)
    return [`at ${this.at}; sent ${this.body.sent}`, ...lines].join('\n')
  }

  /** What a program does. */
  protected program(step: Step): void {
    if (step.do === 'abort') this.controller.abort(new DOMException('enough', 'AbortError'))
    else this.ours.apply(step)
  }

  /** At the end of a turn, when no microtask is left. */
  protected look(): void {}

  /** Once everything is settled. */
  protected abstract check(): void

  protected describeOutcome(index: number): string {
    const outcome = this.ours.outcomes[index]!
    return `${outcome.of}: ${outcome.describe()}`
  }

  /** Whether what was sent is there, as far as it comes without being asked for. */
  protected get hasArrived(): boolean {
    return this.agent.stats.bufferedBytes > 0
  }

  /** Whether the body comes to its end, and nobody ends the reading of it before. */
  protected get isWhole(): boolean {
    const ends = ['abort', 'cut', 'cancelReader', 'cancelStream']
    return !this.schedule.steps.some((step) => ends.includes(step.do) || (step.do === 'iterate' && !step.preventCancel))
  }

  private runStep(step: Step): Promise<void> | undefined {
    const { body } = this
    if (step.do === 'send') body.send(step.count)
    else if (step.do === 'end') body.end()
    else if (step.do === 'cut') body.cut(step.how)
    else if (step.do === 'gc') globalThis.gc?.()
    else if (step.do === 'arrive') return this.arrive()
    else if (step.do === 'turn') return this.turn()
    else if (step.do === 'await') return this.awaitRead()
    else if (step.do === 'tick') return ticks(step.count)
    else this.program(step)
    return undefined
  }

  private async turn(): Promise<void> {
    await turn()
    this.look()
  }

  /** No longer than it may take: what a socket holds is not told. */
  private async arrive(): Promise<void> {
    for (let turns = 0; turns < 40; turns++) {
      await this.turn()
      if (this.hasArrived) return
    }
  }

  private async awaitRead(): Promise<void> {
    const first = this.ours.outcomes.find(
      ({ of, state }) => state === 'pending' && (of === 'read' || of === 'readView'),
    )
    if (first !== undefined) await Promise.race([first.settled, this.turns(10)])
  }

  private async turns(count: number): Promise<void> {
    for (let left = count; left > 0; left--) await this.turn()
  }

  /** Turns until `predicate` holds. */
  private async until(predicate: () => boolean, what: string): Promise<void> {
    const start = performance.now()
    for (;;) {
      await this.turn()
      if (predicate()) return
      if (performance.now() - start > PATIENCE) throw new Error(`hangs: ${what}`)
    }
  }

  /** A stream that nobody has locked, and that was not read to its end; `null` when there is none. */
  private findFree(): number | null {
    const index = this.ours.streams.findIndex((stream, at) => !stream.locked && this.isDrained[at] !== true)
    return index === -1 ? null : index
  }

  private async drain(stream: number): Promise<void> {
    this.isDrained[stream] = true
    const { outcomes, readerCount: reader } = this.ours
    const { drain: chosen, isRacy } = this.schedule
    const view = chosen === 'default' || (stream === 0 && !isRacy) ? chosen : 'Uint8Array'
    const length = this.body.bytes.length > 100_000 ? 40_000 : 500
    this.program({ do: 'getReader', stream, mode: view === 'default' ? 'default' : 'byob' })
    for (let isEnd = false; !isEnd;) {
      const index = outcomes.length
      if (view === 'default') this.program({ do: 'read', reader })
      else this.program({ do: 'readView', reader, view, offset: 0, length })
      await this.until(() => outcomes[index]!.state !== 'pending', `the drain of stream ${stream}`)
      isEnd = outcomes[index]!.isEnd
    }
    this.program({ do: 'releaseLock', reader })
  }
}

/** A body whose stream is compared with the model's. */
class ComparedRun extends StreamRun {
  private readonly model: StreamModel
  private readonly theirs: Side
  /** Outcomes that have been compared for good. */
  private readonly isSettled: boolean[] = []

  constructor(subject: Subject) {
    super(subject)
    const { body, schedule, controller } = subject
    this.model = new StreamModel(bodyStreamState(this.ours.streams[0]!)!.source, body.bytes, controller.signal)
    this.theirs = new Side(new Response(this.model.stream), this.model.stream)
    // An empty body of the platform's is closed when it is made.
    if (body.bytes.length === 0 && schedule.streams === 'the platform') this.model.look()
  }

  /** First the model: it is to have asked when the source gives. */
  protected override program(step: Step): void {
    if (step.do === 'abort') {
      this.model.abort(() => super.program(step))
      return
    }
    this.theirs.apply(step)
    this.ours.apply(step)
    if (step.do === 'consume' && step.response === 0 && this.ours.streams.length === 1) this.model.consume()
  }

  protected override look(): void {
    if (this.model.fault !== null) throw this.model.fault as Error
    for (const [index, one] of this.ours.outcomes.entries()) {
      if (this.isSettled[index] === true) continue
      const other = this.theirs.outcomes[index]!
      const difference = Outcome.difference(one, other)
      if (difference !== null) throw new Error(`${one.of}, outcome ${index}: ${difference}`)
      if (one.state === 'pending') continue
      this.isSettled[index] = true
      one.forget()
      other.forget()
    }
    for (const [index, stream] of this.ours.streams.entries())
      if (stream.locked !== this.theirs.streams[index]!.locked) throw new Error(`stream ${index}: one is locked`)
  }

  protected override check(): void {
    const { model, body } = this
    if (this.isWhole && model.taken !== body.bytes.length)
      throw new Error(`${model.taken} of ${body.bytes.length} bytes were read`)
  }

  protected override describeOutcome(index: number): string {
    const ours = super.describeOutcome(index)
    return this.isSettled[index] === true ? ours : `${ours}; the platform: ${this.theirs.outcomes[index]!.describe()}`
  }

  protected override get hasArrived(): boolean {
    const buffered = this.agent.stats.bufferedBytes
    return this.model.taken + buffered >= this.body.sent || buffered > 8192
  }
}

/** A body of which every byte is accounted for, in whichever read it came. */
class RacyRun extends StreamRun {
  protected override check(): void {
    const { ours, body, schedule } = this
    const mayAbort = schedule.steps.some((step) => step.do === 'abort')
    for (const { of, state, value } of ours.outcomes) {
      if (state !== 'rejected' || value instanceof TypeError || value instanceof RangeError) continue
      if (!mayAbort || (value as Error).name !== 'AbortError') throw new Error(`${of} failed`, { cause: value })
    }
    const ends: number[] = []
    for (const [index, parent] of ours.parents.entries()) {
      const start = parent === null ? 0 : ends[parent]!
      const bytes = Buffer.concat(ours.outcomes.filter(({ stream }) => stream === index).map((read) => read.bytes))
      const end = start + bytes.length
      ends.push(end)
      if (!bytes.equals(body.bytes.subarray(start, end))) throw new Error(`stream ${index} lost bytes behind ${start}`)
      const isTeed = ours.parents.includes(index)
      if (this.isWhole && !isTeed && end !== body.bytes.length)
        throw new Error(`stream ${index} has bytes ${start} to ${end} of ${body.bytes.length}`)
    }
  }
}

/** A body that is read through its response alone. */
class UnopenedRun extends StreamRun {
  protected override check(): void {
    const { body, ours, schedule } = this
    const bytes = body.bytes.subarray(0, body.isCut ? body.sent : body.bytes.length)
    const mayFail = schedule.steps.some((step) => step.do === 'abort' || step.do === 'cut')
    for (const { of, state, value } of ours.outcomes) {
      // A clone of a response that was read is refused.
      if (of === 'clone') continue
      if (state === 'rejected' && !mayFail) throw value
      if (state === 'fulfilled' && !isBody(value, bytes)) throw new Error('the bytes are not those that were sent')
    }
  }
}

function isBody(value: unknown, bytes: Uint8Array): boolean {
  if (typeof value === 'string') return value === new TextDecoder().decode(bytes)
  return Buffer.from(value as ArrayBuffer).equals(bytes)
}
