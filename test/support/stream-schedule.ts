/** Schedules: what a program and a server do to one body, step by step. A schedule follows from its seed alone. */
import type { Framing } from './body-server.ts'
import { Random } from './random.ts'

export const VIEWS = {
  Uint8Array,
  Int8Array,
  Uint8ClampedArray,
  Uint16Array,
  Int16Array,
  Uint32Array,
  Int32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
}

export type ViewName = keyof typeof VIEWS

/** `stream`, `reader` and `response` are indexes in the order of their making; the body of the fetch is stream 0. */
export type Step =
  | { do: 'getReader'; stream: number; mode: 'default' | 'byob' }
  | { do: 'read'; reader: number }
  | { do: 'readView'; reader: number; view: ViewName; offset: number; length: number; min?: number }
  | { do: 'readNothing'; reader: number; how: 'empty' | 'detached' | 'min 0' | 'min beyond' | 'no view' }
  | { do: 'releaseLock'; reader: number }
  | { do: 'cancelReader'; reader: number }
  | { do: 'cancelStream'; stream: number }
  | { do: 'tee'; stream: number }
  | { do: 'iterate'; stream: number; limit: number; preventCancel: boolean }
  | { do: 'clone'; response: number }
  | { do: 'consume'; response: number; how: 'text' | 'bytes' | 'arrayBuffer' }
  | { do: 'abort' }
  | { do: 'send'; count: number }
  | { do: 'end' }
  | { do: 'cut'; how: 'FIN' | 'reset' }
  /** Until what was sent has come. */
  | { do: 'arrive' }
  /** Until the first of the reads that wait is answered, and no microtask longer; not for ever. */
  | { do: 'await' }
  /** So many microtasks. */
  | { do: 'tick'; count: number }
  /** One turn of the event loop, and a look at everything that was promised. */
  | { do: 'turn' }
  | { do: 'gc' }

export interface Schedule {
  seed: number
  streams: 'the platform' | 'web-streams-polyfill'
  framing: Framing
  length: number
  /** Bytes that come with the head. */
  first: number
  /** The whole body comes with the head. */
  isAtOnce: boolean
  /** Nobody asks for the stream: the response itself is read. */
  isUnopened: boolean
  steps: Step[]
  /**
   * There are steps between microtasks or an iterator's, whose number is an implementation's affair, or the branches of a
   * tee, whose order decides which chunks the other gets: what each read comes to is not compared, only that all bytes do.
   */
  isRacy: boolean
  /** The reads that wait are answered before what is left is read; on branches of a tee they always are. */
  isPatient: boolean
  /** How what is left is read, of a branch of a tee as `Uint8Array`. */
  drain: 'default' | ViewName
}

/** What the generator knows of a stream: nothing that depends on time. */
interface Stream {
  /** The reader that has the lock; `null` without one. */
  reader: number | null
  /** Locked for good, or cancelled. */
  isTaken: boolean
  /** A read was asked for. */
  isRead: boolean
  /** A reader has left a view behind that may hold a part of what it wants. */
  hasPart: boolean
}

interface Reader {
  stream: number
  mode: 'default' | 'byob'
  /** One of its reads may be waiting with a part of what it wants. */
  mayHavePart: boolean
  /** Reads since its lock was taken. */
  reads: number
}

function newStream(): Stream {
  return { reader: null, isTaken: false, isRead: false, hasPart: false }
}

class Generator {
  private readonly random: Random
  private readonly streams: Stream[] = [newStream()]
  private readonly readers: Reader[] = []
  /** The stream of each response; -1 when it was consumed. */
  private readonly responses: number[] = [0]
  private readonly steps: Step[] = []
  private readonly isLarge: boolean
  private readonly length: number
  private readonly isRacy: boolean
  private isOver = false
  private isAborted = false

  constructor(random: Random, length: number, isAtOnce: boolean, isRacy: boolean) {
    this.random = random
    this.isRacy = isRacy
    this.length = length
    this.isLarge = length > 64 * 1024
    this.isOver = isAtOnce
  }

  generate(count: number): Step[] {
    for (let turn = 0; turn < count; turn++) this.random.weigh(this.choices())()
    return this.steps
  }

  private choices(): (readonly [number, () => void])[] {
    const { random, isLarge } = this
    const free = this.indexes(this.streams, ({ reader, isTaken }) => reader === null && !isTaken)
    const held = this.indexes(this.readers, (reader, index) => this.streams[reader.stream]!.reader === index)
    const whole = this.indexes(this.responses, (stream) => free.includes(stream) && !this.streams[stream]!.isRead)
    const choices: (readonly [number, () => void])[] = [
      [10, () => this.add({ do: 'turn' })],
      [this.isRacy ? 12 : 0, () => this.add({ do: 'tick', count: random.int(1, 6) })],
      [this.isRacy ? 12 : 0, () => this.add({ do: 'await' })],
      [0.4, () => this.add({ do: 'gc' })],
      [this.isAborted ? 0 : 0.5, () => this.abort()],
    ]
    if (!this.isOver) {
      choices.push(
        [14, () => this.send()],
        [isLarge ? 1 : 3, () => this.end({ do: 'end' })],
        [0.7, () => this.end({ do: 'cut', how: random.pick(['FIN', 'reset']) })],
      )
    }
    if (free.length > 0) {
      const stream = random.pick(free)
      choices.push(
        [18, () => this.getReader(stream)],
        [0.8, () => this.tee(stream)],
        [0.8, () => this.iterate(stream)],
        [0.4, () => this.take(stream, { do: 'cancelStream', stream })],
      )
    }
    if (held.length > 0) {
      const reader = random.pick(held)
      choices.push(
        [34, () => this.read(reader)],
        [11, () => this.release(reader)],
        [1, () => this.readNothing(reader)],
        [0.7, () => this.cancel(reader)],
      )
    }
    if (this.readers.length > 0) {
      // Whether it has the lock or not.
      const reader = random.int(0, this.readers.length - 1)
      choices.push([0.5, () => this.read(reader)])
    }
    if (whole.length > 0) {
      const response = random.pick(whole)
      choices.push([0.6, () => this.clone(response)], [0.6, () => this.consume(response)])
    }
    return choices
  }

  private indexes<Item>(items: Item[], test: (item: Item, index: number) => boolean): number[] {
    return items.flatMap((item, index) => (test(item, index) ? [index] : []))
  }

  private add(step: Step): void {
    this.steps.push(step)
  }

  private send(): void {
    const { random, isLarge, length } = this
    const count = isLarge ? random.pick([1, 1000, 40_000, 300_000, length]) : random.pick([1, 2, 3, 5, 8, 64, 1000])
    this.add({ do: 'send', count })
    if (random.chance(0.7)) this.add({ do: 'arrive' })
  }

  private end(step: Step): void {
    this.isOver = true
    this.add(step)
    if (this.random.chance(0.5)) this.add({ do: 'arrive' })
  }

  private abort(): void {
    this.isAborted = true
    this.add({ do: 'abort' })
  }

  private getReader(stream: number): void {
    const mode = this.random.chance(0.65) ? 'byob' : 'default'
    this.streams[stream]!.reader = this.readers.length
    this.readers.push({ stream, mode, mayHavePart: false, reads: 0 })
    this.add({ do: 'getReader', stream, mode })
  }

  private read(index: number): void {
    const { random } = this
    const reader = this.readers[index]!
    this.streams[reader.stream]!.isRead = true
    const times = random.weigh([
      [6, 1],
      [2, 2],
      [1, 3],
    ])
    for (let turn = 0; turn < times; turn++) {
      if (reader.mode === 'byob') {
        this.readView(index)
        continue
      }
      // Node 24 takes a queue of one chunk for one of many, where more than one read waits, and throws an assertion
      // (readableByteStreamControllerProcessReadRequestsUsingQueue): bytes lie there when a view that was partly filled
      // has been left behind.
      if (this.streams[reader.stream]!.hasPart && reader.reads > 0) return
      reader.reads += 1
      this.add({ do: 'read', reader: index })
    }
  }

  private readView(index: number): void {
    const { random, isLarge } = this
    const chosen = random.chance(0.5) ? 'Uint8Array' : random.pick(Object.keys(VIEWS) as ViewName[])
    // Where the end is no whole element for one branch of a tee, the other is never closed: ReadableByteStreamTee
    // (Streams §4.9.2) takes it that its ReadableByteStreamControllerClose cannot fail.
    const view = this.isRacy ? 'Uint8Array' : chosen
    const length = isLarge
      ? random.pick([1, 1000, 16_384, 65_536, 262_144, 1_000_000])
      : random.pick([1, 2, 3, 4, 7, 16, 100, 4000])
    const step: Step = { do: 'readView', reader: index, view, offset: random.pick([0, 0, 8, 16]), length }
    if (!this.isRacy && random.chance(0.3)) step.min = random.chance(0.3) ? length : random.int(1, length)
    const isWhole = (step.min ?? 1) * elementSize(view) === 1
    if (!isWhole) this.readers[index]!.mayHavePart = true
    this.readers[index]!.reads += 1
    this.add(step)
  }

  private readNothing(reader: number): void {
    const how = this.random.pick(['empty', 'detached', 'min 0', 'min beyond', 'no view'] as const)
    if (this.readers[reader]!.mode === 'byob') this.add({ do: 'readNothing', reader, how })
  }

  private release(index: number): void {
    const { stream, mode, mayHavePart, reads } = this.readers[index]!
    // Behind a view that was left before the stream had started, or right behind a pull, no read into a view calls `pull`
    // (Streams §4.10.11, PullInto): it hangs, in the branches of a tee, which are the implementation's own.
    if (stream > 0 && mode === 'byob' && reads > 0) return
    this.streams[stream]!.reader = null
    if (mayHavePart) this.streams[stream]!.hasPart = true
    this.add({ do: 'releaseLock', reader: index })
  }

  private cancel(reader: number): void {
    this.add({ do: 'cancelReader', reader })
  }

  private take(stream: number, step: Step): void {
    this.streams[stream]!.isTaken = true
    this.add(step)
  }

  private tee(stream: number): void {
    // More than a few branches show nothing new.
    if (this.streams.length > 4 || !this.isRacy) return
    this.take(stream, { do: 'tee', stream })
    this.streams.push(newStream(), newStream())
  }

  private iterate(stream: number): void {
    const { random } = this
    if (!this.isRacy) return
    const limit = random.pick([1, 2, 1000])
    this.take(stream, { do: 'iterate', stream, limit, preventCancel: random.chance(0.5) })
  }

  private clone(response: number): void {
    if (this.streams.length > 4 || !this.isRacy) return
    const branch = this.streams.length
    this.take(this.responses[response]!, { do: 'clone', response })
    this.streams.push(newStream(), newStream())
    this.responses[response] = branch
    this.responses.push(branch + 1)
  }

  private consume(response: number): void {
    const how = this.isRacy ? 'bytes' : this.random.pick(['text', 'bytes', 'arrayBuffer'] as const)
    this.take(this.responses[response]!, { do: 'consume', response, how })
    this.responses[response] = -1
  }
}

/** Of a response that is read as a whole, and only so. */
function unopenedSteps(random: Random, isAtOnce: boolean): Step[] {
  const steps: Step[] = []
  const events: Step[] = [
    { do: 'consume', response: 0, how: random.pick(['text', 'bytes', 'arrayBuffer']) },
    ...(random.chance(0.3) ? [{ do: 'abort' } as const] : []),
    ...(isAtOnce ? [] : [{ do: 'send', count: random.int(1, 100_000) } as const]),
    ...(random.chance(0.2) ? [{ do: 'cut', how: random.pick(['FIN', 'reset'] as const) } as const] : []),
    ...(random.chance(0.3) ? [{ do: 'clone', response: 0 } as const] : []),
  ]
  while (events.length > 0) {
    steps.push(...events.splice(random.int(0, events.length - 1), 1))
    if (random.chance(0.5)) steps.push({ do: 'turn' })
  }
  return steps
}

export function elementSize(view: ViewName): number {
  return view === 'DataView' ? 1 : VIEWS[view].BYTES_PER_ELEMENT
}

export function makeSchedule(seed: number): Schedule {
  const random = new Random(seed)
  const streams = random.pick(['the platform', 'web-streams-polyfill'] as const)
  const framing = random.pick(['length', 'length', 'chunked', 'close'] as const)
  const length = random.weigh([
    [70, () => random.int(0, 40)],
    [20, () => random.int(41, 20_000)],
    [7, () => random.int(64 * 1024, 300_000)],
    [3, () => random.int(1024 * 1024, 2.5 * 1024 * 1024)],
  ])()
  const isAtOnce = random.chance(0.2)
  const first = random.chance(0.5) ? 0 : random.int(0, Math.min(length, 70_000))
  const isUnopened = random.chance(0.06)
  const isRacy = !isUnopened && random.chance(0.35)
  const steps = isUnopened
    ? unopenedSteps(random, isAtOnce)
    : new Generator(random, length, isAtOnce, isRacy).generate(random.int(4, 30))
  const drain = random.pick(['default', 'Uint8Array', 'Uint8Array', 'DataView', 'Uint16Array', 'Uint32Array'] as const)
  const isPatient = random.chance(0.5)
  return { seed, streams, framing, length, first, isAtOnce, isUnopened, steps, isRacy, isPatient, drain }
}

/** A line for each step. */
export function printSchedule({ steps, ...head }: Schedule): string {
  return [JSON.stringify(head), ...steps.map((step, index) => `${index}: ${JSON.stringify(step)}`)].join('\n')
}
