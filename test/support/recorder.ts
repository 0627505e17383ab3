/** A handler of either generation that writes down what it is told, with hooks to act from inside its callbacks. */
import type {
  AnyDispatchHandler,
  DispatchControllerLike,
  DispatchHandler,
  DispatchOptions,
  DispatcherLike,
  LegacyDispatchHandler,
} from '../../lib/types.ts'
import { within } from './deadline.ts'

export type Generation = 'current' | 'legacy'

/** What both generations let a handler do; a legacy one pauses by what it returns. */
export interface Gate {
  abort(reason?: Error): void
  pause(): void
  resume(): void
}

export interface Hooks {
  start?(gate: Gate): void
  head?(gate: Gate): void
  data?(gate: Gate, chunk: Buffer): void
  end?(gate: Gate): void
  error?(error: Error): void
}

export type HeaderRecord = Record<string, string | string[] | undefined>

export class Recorder {
  /** `start`, `head`, `data`, `end`, `error`, in order; `nested` where one was called inside another. */
  readonly calls: string[] = []
  readonly chunks: Buffer[] = []
  readonly handler: AnyDispatchHandler
  status = 0
  statusText = ''
  headers: HeaderRecord = {}
  trailers: HeaderRecord | null = null
  error: (Error & { code?: string }) | null = null
  /** Of the current generation. */
  controller: DispatchControllerLike | null = null
  gate!: Gate
  private readonly hooks: Hooks
  private readonly over = Promise.withResolvers<void>()
  private inside = ''

  constructor(generation: Generation = 'current', hooks: Hooks = {}) {
    this.hooks = hooks
    this.handler = generation === 'current' ? this.currentHandler() : this.legacyHandler()
  }

  /** Resolves at the end or at the error. */
  get ended(): Promise<void> {
    return within(this.over.promise, { what: `the end after ${this.calls.join(', ')}` })
  }

  get body(): Buffer {
    return Buffer.concat(this.chunks)
  }

  get bytes(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
  }

  /** `calls` with the repeats of `data` left out. */
  get order(): string[] {
    return this.calls.filter((call, index) => call !== 'data' || this.calls[index - 1] !== 'data')
  }

  private record(call: string, act: () => void): void {
    // `abort` reports before it returns: only an error may come inside another callback.
    if (this.inside !== '' && call !== 'error') this.calls.push('nested')
    this.calls.push(call)
    const before = this.inside
    this.inside = call
    try {
      act()
    } finally {
      this.inside = before
      if (call === 'end' || call === 'error') this.over.resolve()
    }
  }

  private currentHandler(): DispatchHandler {
    const { hooks } = this
    return {
      onRequestStart: (controller) =>
        this.record('start', () => {
          this.controller = controller
          this.gate = controller
          hooks.start?.(controller)
        }),
      onResponseStart: (controller, status, headers, statusText) =>
        this.record('head', () => {
          Object.assign(this, { status, headers, statusText })
          hooks.head?.(controller)
        }),
      onResponseData: (controller, chunk) =>
        this.record('data', () => {
          this.chunks.push(chunk)
          hooks.data?.(controller, chunk)
        }),
      onResponseEnd: (controller, trailers) =>
        this.record('end', () => {
          this.trailers = trailers
          hooks.end?.(controller)
        }),
      onResponseError: (_controller, error) =>
        this.record('error', () => {
          this.error = error
          hooks.error?.(error)
        }),
    }
  }

  private legacyHandler(): LegacyDispatchHandler {
    const { hooks } = this
    let wantsPause = false
    let resume: () => void = () => {}
    const gate: Gate = {
      abort: () => {},
      pause: () => {
        wantsPause = true
      },
      resume: () => {
        wantsPause = false
        resume()
      },
    }
    const flow = (call: string, act: () => void): boolean => {
      wantsPause = false
      this.record(call, act)
      return !wantsPause
    }
    return {
      onConnect: (abort) =>
        this.record('start', () => {
          gate.abort = abort
          this.gate = gate
          hooks.start?.(gate)
        }),
      onHeaders: (status, raw, resumeBody, statusText) =>
        flow('head', () => {
          resume = resumeBody
          Object.assign(this, { status, headers: recordOf(raw), statusText })
          hooks.head?.(gate)
        }),
      onData: (chunk) =>
        flow('data', () => {
          this.chunks.push(chunk)
          hooks.data?.(gate, chunk)
        }),
      onComplete: (raw) =>
        this.record('end', () => {
          this.trailers = recordOf(raw as Buffer[])
          hooks.end?.(gate)
        }),
      onError: (error) =>
        this.record('error', () => {
          this.error = error
          hooks.error?.(error)
        }),
    }
  }
}

/** Raw headers as undici's record. */
export function recordOf(raw: readonly (Buffer | string)[]): HeaderRecord {
  const record: HeaderRecord = {}
  for (let index = 0; index < raw.length; index += 2) {
    const name = latin1(raw[index]!).toLowerCase()
    const value = latin1(raw[index + 1]!)
    const seen = Object.hasOwn(record, name) ? record[name] : undefined
    const next = seen === undefined ? value : [seen, value].flat()
    Object.defineProperty(record, name, { value: next, enumerable: true, configurable: true, writable: true })
  }
  return record
}

function latin1(text: Buffer | string): string {
  return typeof text === 'string' ? text : text.toString('latin1')
}

/** Dispatches a GET of `/` unless told otherwise. */
export function send(
  dispatcher: DispatcherLike,
  origin: string,
  recorder: Recorder,
  options: Partial<DispatchOptions> = {},
): Recorder {
  dispatcher.dispatch({ origin, path: '/', method: 'GET', ...options }, recorder.handler)
  return recorder
}
