/** One side of a comparison: streams, readers and responses that the steps of a schedule are done to. */
import { elementSize, VIEWS } from './stream-schedule.ts'
import type { Step } from './stream-schedule.ts'

/** What was promised by one step, as far as it is known. */
export class Outcome {
  /** The step, or what came of it later. */
  readonly of: string
  state: 'pending' | 'fulfilled' | 'rejected' = 'pending'
  value: unknown = undefined
  /** There is nothing to read after it. */
  isEnd = false
  /** The stream that it has bytes of. */
  readonly stream: number
  readonly settled: Promise<void>

  constructor(of: string, stream: number, promise: Promise<unknown>) {
    this.of = of
    this.stream = stream
    this.settled = promise.then(
      (value) => this.settle('fulfilled', value),
      (error: unknown) => this.settle('rejected', error),
    )
  }

  private settle(state: 'fulfilled' | 'rejected', value: unknown): void {
    this.state = state
    this.value = value
    this.isEnd = state === 'rejected' || (isResult(value) && value.done)
  }

  /** `null` where both came to the same. */
  static difference(one: Outcome, other: Outcome): string | null {
    if (one.state !== other.state) return `${one.describe()} is not ${other.describe()}`
    if (one.state === 'pending') return null
    const isSame = one.state === 'rejected' ? isSameError(one.value, other.value) : isSameValue(one.value, other.value)
    return isSame ? null : `${one.describe()} is not ${other.describe()}`
  }

  /** What it holds is compared, and may go. */
  forget(): void {
    this.value = undefined
  }

  /** What was read. */
  get bytes(): Buffer {
    const value = isResult(this.value) ? this.value.value : this.value
    return this.state === 'fulfilled' && ArrayBuffer.isView(value) ? bytesOf(value) : Buffer.alloc(0)
  }

  describe(): string {
    if (this.state === 'pending') return 'pending'
    const { value } = this
    if (this.state === 'rejected') return `rejected with ${String(value)}`
    return `fulfilled with ${describe(value)}`
  }
}

interface Result {
  done: boolean
  value?: ArrayBufferView | undefined
}

function isResult(value: unknown): value is Result {
  return typeof value === 'object' && value !== null && 'done' in value
}

function bytesOf(view: ArrayBufferView): Buffer {
  return Buffer.from(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength)
}

function describe(value: unknown): string {
  if (isResult(value)) return `{ done: ${value.done}, value: ${describe(value.value)} }`
  if (value instanceof ArrayBuffer) return `ArrayBuffer(${value.byteLength})`
  if (!ArrayBuffer.isView(value)) return String(value).slice(0, 60)
  const start = bytesOf(value).subarray(0, 16).toString('hex')
  return `${value.constructor.name} of ${value.byteLength} bytes at ${value.byteOffset} of ${value.buffer.byteLength}: ${start}`
}

function isSameError(one: unknown, other: unknown): boolean {
  return one === other || (one instanceof Error && other instanceof Error && one.name === other.name)
}

function isSameValue(one: unknown, other: unknown): boolean {
  if (isResult(one) && isResult(other)) return one.done === other.done && isSameValue(one.value, other.value)
  if (one instanceof ArrayBuffer && other instanceof ArrayBuffer) return Buffer.from(one).equals(Buffer.from(other))
  if (ArrayBuffer.isView(one) && ArrayBuffer.isView(other))
    return one.constructor === other.constructor && bytesOf(one).equals(bytesOf(other))
  return one === other
}

export class Side {
  /** In the order of the steps, the same on every side. */
  readonly outcomes: Outcome[] = []
  readonly streams: ReadableStream<Uint8Array>[] = []
  /** Of a branch, the stream that was teed. */
  readonly parents: (number | null)[] = []
  private readonly readers: { reader: any; stream: number }[] = []
  private readonly responses: { response: Response; stream: number }[]

  /** The stream of `response` is asked for only where there is one. */
  constructor(response: Response, stream: ReadableStream<Uint8Array> | null) {
    this.responses = [{ response, stream: 0 }]
    if (stream !== null) this.addStream(stream, null)
  }

  /** Does what a program does; what a server does is not a side's. */
  apply(step: Step): void {
    let promise: Promise<unknown> | null
    try {
      promise = this.start(step)
    } catch (error) {
      promise = Promise.reject(error as Error)
    }
    if (promise !== null) this.outcomes.push(new Outcome(step.do, this.streamOf(step), promise))
  }

  private start(step: Step): Promise<unknown> | null {
    switch (step.do) {
      case 'getReader':
        return this.getReader(step.stream, step.mode)
      case 'read':
        return this.readers[step.reader]!.reader.read()
      case 'readView':
        return this.readView(step)
      case 'readNothing':
        return this.readNothing(this.readers[step.reader]!.reader, step.how)
      case 'releaseLock':
        this.readers[step.reader]!.reader.releaseLock()
        return null
      case 'cancelReader':
        return this.readers[step.reader]!.reader.cancel('not wanted')
      case 'cancelStream':
        return this.streams[step.stream]!.cancel('not wanted')
      case 'tee':
        for (const branch of this.streams[step.stream]!.tee()) this.addStream(branch, step.stream)
        return null
      case 'iterate':
        return this.iterate(step.stream, step.limit, step.preventCancel)
      case 'clone':
        return this.clone(step.response)
      case 'consume':
        return this.responses[step.response]!.response[step.how]()
      default:
        return null
    }
  }

  private getReader(stream: number, mode: 'default' | 'byob'): Promise<void> {
    const from = this.streams[stream]!
    const reader = mode === 'byob' ? from.getReader({ mode }) : from.getReader()
    this.readers.push({ reader, stream })
    return reader.closed
  }

  private readView({ reader, view, offset, length, min }: Extract<Step, { do: 'readView' }>): Promise<unknown> {
    const memory = new ArrayBuffer(offset + length * elementSize(view) + 8)
    const target = new (VIEWS[view] as typeof Uint8Array)(memory, offset, length)
    // Two arguments only where there are two: a call with `undefined` is another call.
    const { reader: from } = this.readers[reader]!
    return min === undefined ? from.read(target) : from.read(target, { min })
  }

  private readNothing(reader: any, how: Extract<Step, { do: 'readNothing' }>['how']): Promise<unknown> {
    const view = new Uint8Array(4)
    if (how === 'empty') return reader.read(new Uint8Array(0))
    if (how === 'min 0') return reader.read(view, { min: 0 })
    if (how === 'min beyond') return reader.read(view, { min: 5 })
    if (how === 'no view') return reader.read('text')
    structuredClone(view.buffer, { transfer: [view.buffer] })
    return reader.read(view)
  }

  private async iterate(stream: number, limit: number, preventCancel: boolean): Promise<Uint8Array> {
    const chunks: Uint8Array[] = []
    for await (const chunk of this.streams[stream]!.values({ preventCancel })) {
      chunks.push(chunk)
      if (chunks.length === limit) break
    }
    return new Uint8Array(Buffer.concat(chunks))
  }

  private clone(index: number): null {
    const { response, stream } = this.responses[index]!
    const other = response.clone()
    const branch = this.streams.length
    this.responses[index]!.stream = branch
    this.responses.push({ response: other, stream: branch + 1 })
    if (branch > 0) for (const { body } of [response, other]) this.addStream(body!, stream)
    return null
  }

  private addStream(stream: ReadableStream<Uint8Array>, parent: number | null): void {
    this.streams.push(stream)
    this.parents.push(parent)
  }

  private streamOf(step: Step): number {
    if ('reader' in step) return this.readers[step.reader]?.stream ?? -1
    if ('response' in step) return this.responses[step.response]?.stream ?? -1
    return 'stream' in step ? step.stream : -1
  }

  get readerCount(): number {
    return this.readers.length
  }
}
