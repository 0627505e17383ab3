/** One request by each of the ways, and what came of it in one line. */
import { existsSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { fetch, toFile } from '../../../lib/index.ts'
import type { Agent, AnyDispatchHandler, DispatchOptions, FetchInit } from '../../../lib/index.ts'
import type { Path } from '../kind.ts'

export interface Target {
  agent: Agent
  origin: string
  options: Partial<DispatchOptions>
  /** A path for the file of `toFile`, where nothing is. */
  file: string
}

export interface Seen {
  /** As {@link Expectation} has it. */
  outcome: string
  /** What must never be, whatever comes. */
  problems: string[]
}

/** Longer ones are told by their length. */
const LONGEST_TEXT = 24

class Response {
  #status = 0
  #length = 0
  #text = ''

  head(status: number): void {
    this.#status = status
  }

  data(chunk: Uint8Array): void {
    this.#length += chunk.byteLength
    if (this.#text.length <= LONGEST_TEXT) this.#text += Buffer.from(chunk.subarray(0, 64)).toString('latin1')
  }

  toString(): string {
    if (this.#length === 0) return String(this.#status)
    const isText = this.#length <= LONGEST_TEXT && /^[\x20-\x7e]*$/.test(this.#text)
    return `${this.#status} ${isText ? this.#text : `${this.#length} bytes`}`
  }

  failed(error: unknown): string {
    return this.#status === 0 ? nameOf(error) : `${this.#status} then ${nameOf(error)}`
  }
}

/** The code, or what stands for it in an error that has none. */
function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return `not an Error: ${String(error)}`
  const { code } = error as NodeJS.ErrnoException
  return code ?? `${error.name}: ${error.message.slice(0, 60)}`
}

function throughDispatch(isLegacy: boolean, { agent, origin, options }: Target, onBegin?: () => void): Promise<Seen> {
  const response = new Response()
  const problems: string[] = []
  const { promise, resolve } = Promise.withResolvers<Seen>()
  let state: 'waiting' | 'started' | 'receiving' | 'over' = 'waiting'
  const call = (name: string, from: (typeof state)[], to: typeof state): boolean => {
    const isRight = from.includes(state)
    if (!isRight) problems.push(`${name} while ${state}`)
    if (state !== 'over') state = to
    return isRight
  }
  const onStart = (): void => void call('a start', ['waiting'], 'started')
  const onHead = (status: number): true => {
    // Informational responses come before the one.
    if (status < 200 && status !== 101) call('an informational head', ['started'], 'started')
    else if (call('a head', ['started'], 'receiving')) response.head(status)
    return true
  }
  const onData = (chunk: Buffer): true => {
    if (call('data', ['receiving'], 'receiving')) response.data(chunk)
    onBegin?.()
    return true
  }
  // A later call of the same turn, or of the next, is a problem still.
  const settle = (outcome: string): void => void setImmediate(resolve, { outcome, problems })
  const onEnd = (): void => {
    if (call('an end', ['receiving'], 'over')) settle(response.toString())
  }
  const onError = (error: Error): void => {
    if (call('an error', ['waiting', 'started', 'receiving'], 'over')) settle(response.failed(error))
  }
  const handler: AnyDispatchHandler = isLegacy
    ? { onConnect: onStart, onHeaders: onHead, onData, onComplete: onEnd, onError }
    : {
        onRequestStart: onStart,
        onResponseStart: (_controller, status) => void onHead(status),
        onResponseData: (_controller, chunk) => void onData(chunk),
        onResponseEnd: onEnd,
        onResponseError: (_controller, error) => onError(error),
      }
  agent.dispatch({ origin, path: '/', method: 'GET', ...options }, handler)
  return promise
}

async function throughFetch(target: Target, read: (body: ReadableStream, response: Response) => Promise<void>) {
  const { agent, origin, options } = target
  const { headers, ...init } = options
  const response = new Response()
  try {
    const { status, body: stream } = await fetch(origin, {
      ...init,
      headers: headers ?? {},
      dispatcher: agent,
    } as FetchInit)
    response.head(status)
    if (stream !== null) await read(stream as ReadableStream, response)
    return { outcome: response.toString(), problems: [] as string[] }
  } catch (error) {
    const isFetchs = error instanceof TypeError && error.cause !== undefined
    return { outcome: response.failed(isFetchs ? error.cause : error), problems: [] as string[] }
  }
}

async function throughFile(target: Target): Promise<Seen> {
  const seen = await throughFetch(target, async (body, response) => {
    await body.pipeTo(toFile(target.file) as unknown as WritableStream)
    response.data(await readFile(target.file))
    await rm(target.file)
  })
  if (existsSync(target.file)) {
    seen.problems.push('a file is left')
    await rm(target.file)
  }
  return seen
}

/** `onBegin` is called when a body begins, by `dispatch` alone. */
export const ways: Record<Path, (target: Target, onBegin?: () => void) => Promise<Seen>> = {
  dispatch: (target, onBegin) => throughDispatch(false, target, onBegin),
  legacy: (target) => throughDispatch(true, target),
  fetch: (target) =>
    throughFetch(target, async (body, response) => {
      for await (const chunk of body) response.data(chunk as Uint8Array)
    }),
  toFile: throughFile,
}
