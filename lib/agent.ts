/** One pool of connections with undici's `Dispatcher` surface (undici-contract.md). */
import { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import { binding } from '../native/binding.ts'
import type { CoreErrorInfo, NativeAgent } from '../native/binding.ts'
import {
  answerAgent,
  callListeners,
  openEnvironment,
  SubmissionBatch,
  throwLater,
  unwatchAgent,
  watchAgent,
} from '../streams/exchange.ts'
import type { ConnectionListener, Submission } from '../streams/exchange.ts'
import { lockFile } from '../streams/file-source.ts'
import { NativeDispatch } from '../streams/native-dispatch.ts'
import type { DispatchJob } from '../streams/native-dispatch.ts'
import type { AgentOptions } from './agent-options.ts'
import { DispatchController } from './controller.ts'
import {
  assertDispatchOptions,
  assertHandlerObject,
  createDispatchRequest,
  normalizeOrigin,
  rejectDispatch,
} from './dispatch-request.ts'
import type { DispatchRequest } from './dispatch-request.ts'
import {
  ClientClosedError,
  ClientDestroyedError,
  createUndiciError,
  InvalidArgumentError,
  NotSupportedError,
} from './errors.ts'
import { adaptLegacyHandler, isLegacyHandler } from './legacy-handler.ts'
import { JobList } from './job-list.ts'
import { acceptMocks, closeMocks, findMock } from './mock-clients.ts'
import { readAgentOptions } from './options.ts'
import type { AgentSettings } from './options.ts'
import type { OriginPool, OriginStats } from './origin-pool.ts'
import { OriginPools } from './origin-pools.ts'
import type { PoolsHost } from './origin-pools.ts'
import type { Questions } from './questions.ts'
import { showOnly } from './redact.ts'
import type {
  AnyDispatchHandler,
  Dispatch,
  DispatcherEvents,
  DispatcherSurface,
  DispatchHandler,
  DispatchInterceptor,
  DispatchOptions,
} from './types.ts'
import { assertReachable, toWireRequest } from './wire-request.ts'

// Symbols, not #private: `compose()` puts a Proxy in front, whose methods run with the Proxy as `this`.
const kSettings = Symbol('sluice.settings')
const kNative = Symbol('sluice.native')
const kHttp1 = Symbol('sluice.http1')
const kOpenHttp1 = Symbol('sluice.openHttp1')
const kPools = Symbol('sluice.pools')
const kDispatched = Symbol('sluice.dispatched')
const kRunning = Symbol('sluice.running')
const kFetches = Symbol('sluice.fetches')
const kClosing = Symbol('sluice.closing')
const kState = Symbol('sluice.state')

/** Starts a request that is not a handler's: `fetch` reads the source itself. */
export const kSubmit = Symbol('sluice.submit')
/** The streams implementation the agent's response bodies are made of. */
export const kStreams = Symbol('sluice.streams')
/** The engine of an agent. */
export const kTransport = Symbol('sluice.transport')

/** What `agent.stats` says: undici's figures by origin, and two of the whole agent, which are not enumerable. */
export type AgentStats = Record<string, OriginStats> & {
  /** Bytes that all bodies of the agent hold now, downloads and uploads. */
  readonly bufferedBytes: number
  /** Requests under way. */
  readonly running: number
}

/** What a fetch knows of its agent, which it must not hold. */
export interface AgentState {
  closed: boolean
  destroyed: boolean
  /** What `destroy` was given. */
  reason: Error | null
  /** Answered to the core for as long as a request is under way. */
  readonly questions: Questions
}

type Callback = (error: null, data: null) => void

interface NativeSide {
  agent: NativeAgent
  batch: SubmissionBatch
}

/** A collected agent is closed: its requests go on, its idle connections do not. */
const collected = new FinalizationRegistry<NativeAgent>((agent) => {
  unwatchAgent(agent)
  binding.agentClose(agent)
})

function createNative(
  settings: AgentSettings['native'],
  listener: WeakRef<ConnectionListener>,
  questions: Questions,
): NativeSide {
  let agent
  openEnvironment()
  try {
    agent = binding.agentCreate(settings)
  } catch (error) {
    const { message } = error as Error
    throw message.startsWith('{') ? createUndiciError(JSON.parse(message) as CoreErrorInfo) : error
  }
  const side = { agent, batch: new SubmissionBatch(agent) }
  collected.register(side.batch, agent)
  watchAgent(agent, listener)
  answerAgent(agent, questions)
  return side
}

/** undici, for the methods that are its own; an optional peer, loaded at their first use. */
function loadUndici(method: string): { Dispatcher: { prototype: Record<string, (...args: unknown[]) => unknown> } } {
  try {
    return createRequire(import.meta.url)('undici') as ReturnType<typeof loadUndici>
  } catch (cause) {
    throw new NotSupportedError(`agent.${method}() is undici's own: install undici 7 or 8 beside sluice`, { cause })
  }
}

function borrow(method: string): (this: unknown, ...args: unknown[]) => never {
  return function (this: unknown, ...args: unknown[]) {
    return loadUndici(method).Dispatcher.prototype[method]!.apply(this, args) as never
  }
}

/**
 * A dispatcher for undici, for the built-in fetch and for sluice's own. Accepts both generations of handler.
 * @throws InvalidArgumentError naming an option that is unknown or wrong
 */
export class Agent extends EventEmitter<DispatcherEvents> implements DispatcherSurface {
  private readonly [kSettings]: Omit<AgentSettings, 'native'>
  private [kNative]: NativeSide | null = null
  private [kHttp1]: NativeSide | null = null
  private readonly [kOpenHttp1]: () => NativeSide
  private readonly [kPools]: OriginPools
  private readonly [kRunning] = new JobList()
  private [kFetches] = 0
  private [kClosing]: { promise: Promise<void>; resolve: () => void } | null = null
  private readonly [kState]: AgentState

  declare request: DispatcherSurface['request']
  declare stream: DispatcherSurface['stream']
  declare pipeline: DispatcherSurface['pipeline']
  declare connect: DispatcherSurface['connect']
  declare upgrade: DispatcherSurface['upgrade']

  static {
    for (const method of ['request', 'stream', 'pipeline', 'connect', 'upgrade']) {
      Object.defineProperty(this.prototype, method, { value: borrow(method), writable: true, configurable: true })
    }
    acceptMocks(this)
    showOnly<Agent>(this, (agent) => {
      const { transport, proxy, optionNames } = agent[kSettings]
      const { closed, destroyed, stats } = agent
      return { closed, destroyed, transport, proxy, options: optionNames, stats: { ...stats } }
    })
  }

  constructor(options?: AgentOptions) {
    super()
    const { native, ...settings } = readAgentOptions(options)
    this[kSettings] = settings
    this[kState] = { closed: false, destroyed: false, reason: null, questions: settings.questions }
    this[kPools] = new OriginPools(settings, poolsHost(this))
    // What is wrong with the options is said by each request, as undici does.
    const { questions } = settings
    const pools = new WeakRef(this[kPools])
    if (settings.error === null) this[kNative] = createNative(native, pools, questions)
    // Keys and passwords stay in these variables: no property leads to them.
    const http1 = { ...native, allowH2: false, http2PriorKnowledge: false }
    this[kOpenHttp1] = () => createNative(http1, pools, questions)
  }

  get closed(): boolean {
    return this[kState].closed
  }

  get destroyed(): boolean {
    return this[kState].destroyed
  }

  get stats(): AgentStats {
    const totals = { bufferedBytes: 0, running: 0 }
    for (const side of this.nativeSides()) {
      const { bufferedBytes, running } = binding.agentStats(side.agent)
      totals.bufferedBytes += bufferedBytes
      totals.running += running
    }
    const stats = this[kPools].stats
    for (const [name, value] of Object.entries(totals)) Object.defineProperty(stats, name, { value })
    return stats as AgentStats
  }

  /** What undici's `WebSocket` takes from its dispatcher. */
  get webSocketOptions(): { maxFragments: number; maxPayloadSize: number } {
    return { ...this[kSettings].webSocket }
  }

  /** What undici's `EventSource` takes from its dispatcher. */
  get eventSourceOptions(): { maxEventSize: number } {
    return { ...this[kSettings].eventSource }
  }

  get [kTransport](): AgentSettings['transport'] {
    return this[kSettings].transport
  }

  get [kStreams](): AgentSettings['streams'] {
    return this[kSettings].streams
  }

  /**
   * undici's `dispatch`: never asynchronous, never calls back before it returns but for a request that is not valid,
   * whose `onResponseError` gets no controller.
   * @returns false when further requests would wait: a `drain` event follows; and where the agent itself refuses this one
   * @throws InvalidArgumentError for a handler that is no object, or without a way to tell it
   */
  dispatch(options: DispatchOptions, handler: AnyDispatchHandler): boolean {
    assertHandlerObject(handler)
    const settings = this[kSettings]
    let request, pool
    try {
      assertDispatchOptions(options)
      this.assertOpen()
      const mock = findMock(this, options)
      if (mock !== undefined) return mock.dispatch(options, handler) ?? true
      const origin = normalizeOrigin(options.origin)
      pool = this[kPools].get(origin, (options.allowH2 ?? settings.allowH2) === false)
      if (settings.error !== null) throw settings.error
      request = createDispatchRequest(origin, options as never, handler, settings.strictContentLength)
      assertReachable(request, settings.transport)
    } catch (error) {
      rejectDispatch(handler, error as Error)
      return pool?.refuse(settings.error) ?? false
    }
    return this.start(
      request,
      pool,
      isLegacyHandler(handler) ? adaptLegacyHandler(handler) : (handler as DispatchHandler),
    )
  }

  /** Submits a request of `fetch`; call the result once it is over for the agent. @throws ClientClosedError */
  [kSubmit](submission: Submission, origin: string): { id: number; settle: () => void; state: AgentState } {
    this.assertOpen()
    const { error } = this[kSettings]
    if (error !== null) throw error
    const pool = this[kPools].get(origin, !this[kSettings].allowH2)
    pool.admitRunning()
    this[kFetches]++
    let isSettled = false
    const settle = (): void => {
      if (isSettled) return
      isSettled = true
      pool.leave(true, true)
      this[kFetches]--
      this.closeIfIdle()
    }
    return { id: this[kNative]!.batch.add(submission), settle, state: this[kState] }
  }

  /** Accepts no further request, resolves (`null`) when those under way have ended, and is destroyed then. */
  close(): Promise<void>
  close(callback: () => void): void
  close(callback?: () => void): Promise<void> | void {
    assertCallback(callback)
    return settleWith(this.closeAll(), callback)
  }

  /** Ends every request with `error` (`ClientDestroyedError` without one) and drops every connection. */
  destroy(): Promise<void>
  destroy(error: Error | null): Promise<void>
  destroy(callback: () => void): void
  destroy(error: Error | null, callback: () => void): void
  destroy(error?: Error | null | (() => void), callback?: () => void): Promise<void> | void {
    const [reason, done] = typeof error === 'function' ? [null, error] : [error ?? null, callback]
    assertCallback(done)
    return settleWith(this.destroyAll(reason), done)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy()
  }

  /** undici's `compose`: a proxy whose `dispatch` runs through `interceptors`, the last one first. */
  compose(interceptors: DispatchInterceptor[]): DispatcherSurface
  compose(...interceptors: DispatchInterceptor[]): DispatcherSurface
  compose(...args: (DispatchInterceptor | DispatchInterceptor[])[]): DispatcherSurface {
    let dispatch = this.dispatch.bind(this) as DispatcherSurface['dispatch']
    for (const interceptor of args.flat()) {
      if (interceptor === null || interceptor === undefined) continue
      if (typeof interceptor !== 'function') {
        throw new TypeError(`invalid interceptor, expected function received ${typeof interceptor}`)
      }
      dispatch = interceptor(dispatch)
      if (typeof dispatch !== 'function' || dispatch.length !== 2) throw new TypeError('invalid interceptor')
      dispatch = withCurrentHandlers(dispatch)
    }
    return new Proxy(this as DispatcherSurface, {
      get: (target, key) => (key === 'dispatch' ? dispatch : (target as never)[key]),
    })
  }

  private start(request: DispatchRequest, pool: OriginPool, handler: DispatchHandler): boolean {
    const controller = new DispatchController()
    const source = request.body.kind === 'stream' ? request.body.source : null
    if (request.body.kind === 'file') lockFile(request.body.stream)
    const wire = toWireRequest(request, this[kSettings].isKeepAlive)
    const job = new NativeDispatch(handler as never, controller, wire, source, pool)
    this[kRunning].add(job)
    controller.setRequestHandle(job)
    const hasRoom = pool.admit()
    job.submit(this.nativeFor(request).batch)
    return hasRoom
  }

  /** `allowH2: false` needs connections of its own, which reqwest has only with another client. */
  private nativeFor(request: DispatchRequest): NativeSide {
    const { transport, allowH2 } = this[kSettings]
    const isShared = request.allowH2 !== false || transport === 'wire' || !allowH2
    if (isShared || !request.origin.startsWith('https:')) return this[kNative]!
    return (this[kHttp1] ??= this[kOpenHttp1]())
  }

  private assertOpen(): void {
    if (this[kState].destroyed) throw new ClientDestroyedError()
    if (this[kState].closed) throw new ClientClosedError()
  }

  private closeAll(): Promise<void> {
    const state = this[kState]
    if (state.destroyed) return Promise.reject(new ClientDestroyedError())
    state.closed = true
    const closing = (this[kClosing] ??= Promise.withResolvers<void>())
    // Not at once: a close of the same turn joins this one.
    queueMicrotask(() => this.closeIfIdle())
    return Promise.all([closing.promise, closeMocks(this)]).then(() => {})
  }

  private closeIfIdle(): void {
    const closing = this[kClosing]
    if (closing === null || this[kState].destroyed || !this[kRunning].isEmpty || this[kFetches] > 0) return
    this[kState].destroyed = true
    for (const side of this.nativeSides()) binding.agentClose(side.agent)
    this[kPools].farewell().then(closing.resolve, throwLater)
  }

  private async destroyAll(reason: Error | null): Promise<void> {
    const state = this[kState]
    const isFirst = !state.destroyed
    state.destroyed = true
    if (!isFirst) return this[kPools].farewell()
    state.reason = reason
    const error = reason ?? new ClientDestroyedError()
    // Running requests learn of it later, not inside this call.
    await Promise.resolve()
    for (const job of this[kRunning].toArray()) job.drop(error)
    for (const side of this.nativeSides()) binding.agentDestroy(side.agent)
    await this[kPools].farewell()
    this[kClosing]?.resolve()
  }

  private nativeSides(): NativeSide[] {
    return [this[kNative], this[kHttp1]].filter((side) => side !== null)
  }

  /** A request has had its last callback. */
  [kDispatched](job: DispatchJob): void {
    this[kRunning].delete(job)
    if (this[kClosing] !== null) this.closeIfIdle()
  }
}

/** What the pools tell an agent. */
function poolsHost(agent: Agent): PoolsHost {
  return {
    onDispatched: (job) => agent[kDispatched](job),
    onReplaced: (job, other) => agent[kRunning].replace(job, other),
    emitDrain: (pool) => {
      if (agent.closed || agent.destroyed) return
      callListeners(() => agent.emit('drain', pool.url, targetsOf(agent, pool)))
    },
    emitConnection: (event, pool, error) => {
      callListeners(() => {
        if (event === 'connect') agent.emit(event, pool.url, targetsOf(agent, pool))
        else agent.emit(event, pool.url, targetsOf(agent, pool), error as Error & { code: string })
      })
    },
  }
}

/** undici's pool and client are dispatchers too; behind the agent they are no more than counted. */
function targetsOf(agent: Agent, pool: OriginPool): DispatcherSurface[] {
  return [agent, ...(pool.targets as DispatcherSurface[])]
}

/** Interceptors call the current callbacks alone, while undici 7's methods and the built-in fetch bring legacy ones. */
function withCurrentHandlers(dispatch: Dispatch): Dispatch {
  return (options, handler) => {
    const isLegacy = typeof handler === 'object' && handler !== null && isLegacyHandler(handler)
    return dispatch(options, isLegacy ? adaptLegacyHandler(handler) : handler)
  }
}

function assertCallback(callback: unknown): void {
  if (callback !== undefined && typeof callback !== 'function') throw new InvalidArgumentError('invalid callback')
}

/** undici's double form: a promise of `null`, or a callback with `(null, null)`. */
function settleWith(work: Promise<void>, callback: (() => void) | undefined): Promise<void> | void {
  if (callback === undefined) return work.then(() => null as unknown as void)
  const report = callback as unknown as Callback
  work.then(
    () => queueMicrotask(() => report(null, null)),
    (error: unknown) => queueMicrotask(() => report(error as null, null)),
  )
}
