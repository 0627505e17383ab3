/**
 * What JavaScript knows of the connections to one origin. The core makes, queues for and closes them; this counts along,
 * to answer `dispatch` at once, to say when there is room again, and to tell a request that will be sent now from one
 * that has to wait.
 */
import type { ConnectionEvent, SocketInfo } from '../native/binding.ts'
import type { DispatchJob, DispatchOwner } from '../streams/native-dispatch.ts'
import { createUndiciError } from './errors.ts'
import { showOnly } from './redact.ts'

/** The agent's limits, as they bear on one origin. */
export interface PoolLimits {
  /** Connections; `Infinity` without a limit. */
  connections: number
  /** Streams that one HTTP/2 connection may have open. */
  maxStreams: number
  /** The connections are to negotiate, or to assume, HTTP/2. */
  mayBeHttp2: boolean
  /** The engine tells of its connections. */
  isObserved: boolean
}

/** The pool's agent. */
export interface PoolHost {
  /** A request has had its last callback. */
  onDispatched(job: DispatchJob): void
  /** `other` stands for `job` from now on. */
  onReplaced(job: DispatchJob, other: DispatchJob): void
  /** There is room again after `dispatch` has said that there is none. */
  onDrain(pool: OriginPool): void
  /** No request and no connection is left. */
  onUnused(pool: OriginPool): void
}

/** undici's `PoolStats`; for an agent with `connections: 1` its `ClientStats`. */
export interface OriginStats {
  /** Open connections; of a single one, whether it is open. */
  connected: number | boolean
  /** Connections that wait for a request. */
  free?: number
  /** Requests that have not been sent yet. */
  pending: number
  /** Requests without a connection that will be theirs. */
  queued?: number
  /** Requests that were sent and not answered in full. */
  running: number
  /** `pending` and `running`. */
  size: number
}

/** One connection, among the targets of an event: the same object from `connect` to `disconnect`. */
export class OriginConnection {
  readonly url: URL
  /** As it was when it was last told of. */
  socket: SocketInfo | null

  constructor(url: URL, socket: SocketInfo | null) {
    this.url = url
    this.socket = socket
  }
}

export class OriginPool implements DispatchOwner {
  readonly key: string
  readonly origin: string
  readonly url: URL
  readonly toError = createUndiciError
  private readonly host: PoolHost
  private readonly limits: PoolLimits
  private connected = 0
  private protocol: 'h1' | 'h2' | null = null
  private maxStreams: number
  /** Requests that were accepted, have crossed, and were started; all until their end. */
  private size = 0
  private crossed = 0
  private running = 0
  private needsDrain = false
  private isDrainQueued = false
  private readonly upgraded: SocketInfo[] = []
  /** By local port. */
  private readonly open = new Map<number, OriginConnection>()
  /** Told of last: what makes room is not known. */
  private latest: OriginConnection | null = null

  constructor(key: string, origin: string, limits: PoolLimits, host: PoolHost) {
    this.key = key
    this.origin = origin
    this.url = new URL(origin)
    this.limits = limits
    this.host = host
    this.maxStreams = limits.maxStreams
  }

  get isUnused(): boolean {
    return this.size === 0 && this.connected === 0
  }

  get connections(): number {
    return this.connected
  }

  get stats(): OriginStats {
    const { connected, running, size, limits } = this
    const pending = size - running
    if (limits.connections === 1) return { connected: connected > 0, pending, running, size }
    const free = Math.max(0, connected - Math.ceil(running / this.capacity))
    return { connected, free, pending, queued: Math.max(0, size - this.slots()), running, size }
  }

  /** Counts a request in. `false`: another one would wait. */
  admit(): boolean {
    this.size++
    if (!this.isFull()) return true
    this.needsDrain = true
    return false
  }

  /** Counts a request in that has no callbacks to time. */
  admitRunning(): void {
    this.size++
    this.crossed++
    this.running++
  }

  /** At most one: undici then has a client and no pool. */
  get hasOneConnection(): boolean {
    return this.limits.connections === 1
  }

  /**
   * Nothing came of the request it was looked up for. undici's pool takes that for a request of a client of its own, and
   * has room for others.
   */
  refuse(optionsError: Error | null): boolean {
    if (this.isUnused) this.host.onUnused(this)
    return optionsError === null && !this.hasOneConnection
  }

  leave(hasCrossed: boolean, isStarted: boolean): void {
    this.size--
    if (hasCrossed) this.crossed--
    if (isStarted) this.running--
    if (this.needsDrain) this.queueDrain()
    if (this.size === 0 && this.connected === 0) this.host.onUnused(this)
  }

  onCrossing(): boolean {
    const isWarm = !this.limits.isObserved || this.crossed < this.connected * this.capacity
    this.crossed++
    return isWarm
  }

  onStarted(): void {
    this.running++
  }

  onDispatched(job: DispatchJob): void {
    this.leave(job.hasCrossed, job.isStarted)
    this.host.onDispatched(job)
  }

  onReplaced(job: DispatchJob, other: DispatchJob): void {
    this.host.onReplaced(job, other)
  }

  /** Known only while nothing else was upgraded at the same time. */
  takeUpgraded(): SocketInfo | null {
    const { upgraded } = this
    const info = upgraded.length === 1 ? upgraded[0]! : null
    upgraded.shift()
    return info
  }

  /** What an event of this origin has for targets after the agent: undici's pool and client, or its only client. */
  get targets(): object[] {
    return this.limits.connections === 1 ? [this] : [this, (this.latest ??= new OriginConnection(this.url, null))]
  }

  /** Counts a connection in or out. */
  onConnection(event: ConnectionEvent): void {
    this.latest = this.connectionOf(event)
    if (event.event === 'connect') {
      this.connected++
      this.protocol = event.isHttp2 ? 'h2' : 'h1'
      if (event.maxStreams !== undefined) this.maxStreams = Math.min(this.limits.maxStreams, event.maxStreams)
    } else if (event.event === 'disconnect') {
      if (this.connected > 0) this.connected--
      if (event.error?.message === 'upgrade' && event.socket !== undefined) this.upgraded.push(event.socket)
    }
    if (this.needsDrain) this.queueDrain()
    if (this.isUnused) this.host.onUnused(this)
  }

  private connectionOf(told: ConnectionEvent): OriginConnection {
    const { event } = told
    const socket = told.socket ?? null
    const port = socket?.localPort
    const known = port === undefined ? undefined : this.open.get(port)
    const connection = known ?? new OriginConnection(this.url, socket)
    connection.socket = socket
    if (port !== undefined && event === 'connect') this.open.set(port, connection)
    else if (port !== undefined) this.open.delete(port)
    return connection
  }

  private get capacity(): number {
    return this.protocol === 'h2' ? this.maxStreams : 1
  }

  /** Requests that have a connection, or will have one of their own without waiting for another's. */
  private slots(): number {
    const { connected, limits } = this
    // Whether HTTP/2 is spoken shows with the first connection, and the others wait for that (undici, `Pool`).
    if (limits.mayBeHttp2 && this.protocol !== 'h1') {
      if (connected === 0) return 1
      return Math.min(limits.connections, connected) * this.capacity
    }
    return limits.connections
  }

  private isFull(): boolean {
    const { size, connected, limits } = this
    if (limits.mayBeHttp2 && this.protocol !== 'h1') {
      if (connected === 0) return size > 0
      // Beyond its streams a further connection is opened, where there may be one; the next request waits for that.
      const slots = this.slots()
      return connected < limits.connections ? size > slots : size >= slots
    }
    return size >= limits.connections
  }

  private queueDrain(): void {
    if (this.isDrainQueued || this.isFull()) return
    this.isDrainQueued = true
    queueMicrotask(() => {
      this.isDrainQueued = false
      // What was dispatched meanwhile may have filled it again: then this is not the drain that was promised.
      if (!this.needsDrain || this.isFull()) return
      this.needsDrain = false
      this.host.onDrain(this)
    })
  }
}

showOnly(OriginPool, ({ origin, stats }) => ({ origin, stats }))
