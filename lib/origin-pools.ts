/** The origins of one agent, and the events of their connections (undici-contract.md §5). */
import type { ConnectionEvent, CoreErrorInfo } from '../native/binding.ts'
import type { ConnectionListener } from '../streams/exchange.ts'
import type { DispatchJob } from '../streams/native-dispatch.ts'
import { createUndiciError, MaxOriginsReachedError } from './errors.ts'
import { OriginPool } from './origin-pool.ts'
import type { OriginStats, PoolHost } from './origin-pool.ts'
import type { AgentSettings } from './options.ts'
import { showOnly } from './redact.ts'

// Taken when the module loads: test suites install clocks of their own.
const { setTimeout: startTimer, clearTimeout: stopTimer } = globalThis

/** Milliseconds that an agent which is going away waits for its connections to be gone. */
const FAREWELL = 2000

/** Origins kept that nobody tells about, with an engine that does not tell. */
const MAX_UNOBSERVED = 256

const HTTP1_ONLY = '#http1-only'

/** The agent, as its pools see it. */
export interface PoolsHost {
  emitConnection(event: 'connect' | 'disconnect' | 'connectionError', pool: OriginPool, error: Error | null): void
  emitDrain(pool: OriginPool): void
  onDispatched(job: DispatchJob): void
  onReplaced(job: DispatchJob, other: DispatchJob): void
}

/** What of an agent's settings its pools heed. */
type PoolSettings = Pick<
  AgentSettings,
  'allowH2' | 'connections' | 'isObserved' | 'maxConcurrentStreams' | 'maxOrigins' | 'useH2c'
>

export class OriginPools implements ConnectionListener, PoolHost {
  private readonly pools = new Map<string, OriginPool>()
  private readonly settings: PoolSettings
  private readonly host: PoolsHost
  private connected = 0
  private onFarewell: (() => void) | null = null

  constructor(settings: PoolSettings, host: PoolsHost) {
    const { allowH2, connections, isObserved, maxConcurrentStreams, maxOrigins, useH2c } = settings
    this.settings = { allowH2, connections, isObserved, maxConcurrentStreams, maxOrigins, useH2c }
    this.host = host
  }

  /** By origin; an origin with pools of both kinds has the later one's. */
  get stats(): Record<string, OriginStats> {
    const stats: Record<string, OriginStats> = {}
    for (const pool of this.pools.values()) {
      if (this.settings.isObserved || !pool.isUnused) stats[pool.origin] = pool.stats
    }
    return stats
  }

  /**
   * The pool of an origin. Requests without HTTP/2 have connections, and a pool, of their own.
   * @throws MaxOriginsReachedError
   */
  get(origin: string, isHttp1Only: boolean): OriginPool {
    // Without HTTP/2 altogether there is one kind, and no key to make for each request.
    const key = isHttp1Only && this.settings.allowH2 ? origin + HTTP1_ONLY : origin
    return this.pools.get(key) ?? this.add(key, origin, isHttp1Only)
  }

  onConnection(event: ConnectionEvent): void {
    const { origin } = event
    const isHttp1Only = event.http1Only || !this.settings.allowH2
    const key = isHttp1Only && this.settings.allowH2 ? origin + HTTP1_ONLY : origin
    // A connection may come about for a request that is gone, and its origin with it.
    const pool = this.pools.get(key) ?? this.create(key, origin, isHttp1Only)
    if (event.event === 'connect') this.connected++
    else if (event.event === 'disconnect') this.connected--
    pool.onConnection(event)
    try {
      this.host.emitConnection(event.event, pool, toError(event.error))
    } finally {
      if (this.connected <= 0) this.onFarewell?.()
    }
  }

  onDispatched(job: DispatchJob): void {
    this.host.onDispatched(job)
  }

  onReplaced(job: DispatchJob, other: DispatchJob): void {
    this.host.onReplaced(job, other)
  }

  onDrain(pool: OriginPool): void {
    this.host.emitDrain(pool)
  }

  onUnused(pool: OriginPool): void {
    if (this.settings.isObserved && this.pools.get(pool.key) === pool) this.pools.delete(pool.key)
  }

  /** Resolves when every connection is gone; holds the process until then, but not for ever. */
  farewell(): Promise<void> {
    if (this.connected <= 0) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        stopTimer(timer)
        this.onFarewell = null
        resolve()
      }
      const timer = startTimer(done, FAREWELL)
      this.onFarewell = done
    })
  }

  private add(key: string, origin: string, isHttp1Only: boolean): OriginPool {
    const { maxOrigins, isObserved } = this.settings
    if (!isObserved && this.pools.size >= Math.min(maxOrigins, MAX_UNOBSERVED)) this.sweep()
    if (maxOrigins !== Infinity && this.countOrigins(origin) >= maxOrigins) throw new MaxOriginsReachedError()
    return this.create(key, origin, isHttp1Only)
  }

  private create(key: string, origin: string, isHttp1Only: boolean): OriginPool {
    const { connections, maxConcurrentStreams: maxStreams, useH2c, isObserved } = this.settings
    const mayBeHttp2 = !isHttp1Only && isObserved && (origin.startsWith('https:') || useH2c)
    const pool = new OriginPool(key, origin, { connections, maxStreams, mayBeHttp2, isObserved }, this)
    this.pools.set(key, pool)
    return pool
  }

  /** The origins there are beside `origin`; none, if it is one of them. */
  private countOrigins(origin: string): number {
    const origins = new Set<string>()
    for (const pool of this.pools.values()) origins.add(pool.origin)
    return origins.has(origin) ? 0 : origins.size
  }

  private sweep(): void {
    for (const [key, pool] of this.pools) if (pool.isUnused) this.pools.delete(key)
  }
}

showOnly(OriginPools, ({ stats }) => ({ stats }))

function toError(info: CoreErrorInfo | undefined): Error | null {
  return info === undefined ? null : createUndiciError(info)
}
