/**
 * Requests that end in every way there is, over HTTP/1, TLS and HTTP/2, and what the process holds meanwhile: memory,
 * sockets, handles, buffered bytes. Fails where any of it grows, or an outcome is wrong.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Agent, fetch } from '../lib/index.ts'
import { certificateAuthority } from '../test/support/certificates.ts'
import { kinds, pickKind } from './soak/kinds.ts'
import type { Place } from './soak/kinds.ts'
import { parseOptions, USAGE } from './soak/options.ts'
import type { Protocol, SoakOptions } from './soak/options.ts'
import { Random } from '../test/support/random.ts'
import { judge, pictureOf, tableOf } from './soak/report.ts'
import type { Verdict } from './soak/report.ts'
import { awaitSockets, takeSample } from './soak/samples.ts'
import type { Sample } from './soak/samples.ts'
import type { Origins } from './soak/server-process.ts'
import { buildWorker, killWorker } from './soak/workers.ts'
import { Child } from './support/child.ts'

/** Requests under way at a time. */
const CONCURRENCY = 32
/** Of each agent; fewer than requests, so that dropped responses are in the way of others. */
const CONNECTIONS = 16
const STREAMS = 32
/** Samples of a whole run. */
const SAMPLES = 80
/** A busy machine has more time until there are so many. */
const MIN_SAMPLES = 15
const MORE_TIME = 3
/** Requests for each worker that is killed. */
const REQUESTS_PER_WORKER = 2000
/** Milliseconds that a request may take. */
const DEADLINE = 60_000

interface ProtocolPlace extends Place {
  protocol: Protocol
}

/**
 * What runs over HTTP/2 unless `--only` asks for more: the kinds in which no stream is reset. A server counts resets, and
 * after some thousands it ends the connection with the innocent requests that are on it, which is not right yet.
 */
const UNRESET: readonly string[] = ['ok', 'okLarge', 'okDispatch']

class Soak {
  readonly samples: Sample[] = []
  readonly outcomes: Record<string, number> = {}
  private readonly options: SoakOptions
  private readonly places: ProtocolPlace[]
  private readonly agents: InstanceType<typeof Agent>[]
  private readonly names: string[]
  private readonly random: Random
  private readonly killsWorkers: boolean
  private readonly start = performance.now()
  private started = 0
  private ended = 0
  private workers = 0

  constructor(options: SoakOptions, origins: Origins) {
    this.options = options
    this.random = new Random(options.seed)
    this.names = options.kinds === null ? Object.keys(kinds) : options.kinds.filter((name) => name in kinds)
    this.killsWorkers = options.kinds === null || options.kinds.includes('killedWorker')
    this.places = options.protocols.map((protocol) => ({
      protocol,
      agent: this.agentFor(protocol),
      fetch,
      origin: origins[protocol],
      random: this.random,
    }))
    this.agents = this.places.map(({ agent }) => agent)
  }

  private agentFor(protocol: Protocol): InstanceType<typeof Agent> {
    const connect = { ca: certificateAuthority }
    if (protocol !== 'http2') return new Agent({ connections: CONNECTIONS, allowH2: false, connect })
    return new Agent({ connections: 1, maxConcurrentStreams: STREAMS, connect: { ...connect, preferH2: true } })
  }

  /** Sockets that the agents may have, beside those of the process itself. */
  get socketLimit(): number {
    return this.options.protocols.reduce((sum, protocol) => sum + (protocol === 'http2' ? 1 : CONNECTIONS), 0)
  }

  async run(): Promise<void> {
    const { requests, seconds } = this.options
    // Whichever comes first ends a stretch, and each stretch a sample.
    const stretch = requests === Infinity ? Infinity : Math.ceil(requests / SAMPLES)
    const slice = seconds === Infinity ? Infinity : (seconds * 1000) / SAMPLES
    while (!this.isOver()) {
      const [count, time] = [this.started + stretch, performance.now() + slice]
      const goesOn = (): boolean => this.started < Math.min(count, requests) && performance.now() < time
      await Promise.all(Array.from({ length: CONCURRENCY }, () => this.work(goesOn)))
      if (this.killsWorkers && this.ended / REQUESTS_PER_WORKER >= this.workers) await this.kill()
      this.samples.push(await takeSample(this.agents, this.ended, this.elapsed))
    }
  }

  private get elapsed(): number {
    return (performance.now() - this.start) / 1000
  }

  private isOver(): boolean {
    const { requests, seconds } = this.options
    const time = this.samples.length < MIN_SAMPLES ? seconds * MORE_TIME : seconds
    return this.started >= requests || this.elapsed >= time
  }

  private async work(goesOn: () => boolean): Promise<void> {
    while (goesOn()) {
      this.started++
      const place = this.random.pick(this.places)
      const name = pickKind(this.kindsOver(place.protocol), this.random)
      await this.within(name, kinds[name]!.run(place))
      this.count(name)
    }
  }

  private kindsOver(protocol: Protocol): string[] {
    if (protocol !== 'http2' || this.options.kinds !== null) return this.names
    return this.names.filter((name) => UNRESET.includes(name))
  }

  private async kill(): Promise<void> {
    while (this.ended / REQUESTS_PER_WORKER >= this.workers) {
      this.workers++
      const place = this.random.pick(this.places)
      await this.within('killedWorker', killWorker(place.origin, this.random.below(0x1_0000_0000)))
      this.outcomes['killedWorker'] = (this.outcomes['killedWorker'] ?? 0) + 1
    }
  }

  private count(name: string): void {
    this.ended++
    this.outcomes[name] = (this.outcomes[name] ?? 0) + 1
  }

  /** @throws Error naming the kind of a request that fails or hangs */
  private async within(name: string, running: Promise<unknown>): Promise<void> {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => late.reject(new Error(`no end within ${DEADLINE} ms`)), DEADLINE)
    try {
      await Promise.race([running, late.promise])
    } catch (error) {
      throw new Error(`${name}, request ${this.ended}`, { cause: error })
    } finally {
      clearTimeout(timer)
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.agents.map((agent) => agent.destroy()))
  }
}

async function main(options: SoakOptions): Promise<boolean> {
  process.stdout.write(`seed ${options.seed}\n`)
  await buildWorker()
  using servers = new Child(new URL('./soak/server-process.ts', import.meta.url))
  const origins = await servers.next<Origins>()
  const soak = new Soak(options, origins)
  // The runtime has some of its own by now.
  const before = await awaitSockets(Infinity)
  const warnings = new Set<string>()
  process.on('warning', ({ name, message }) => warnings.add(`${name}: ${message}`))
  await soak.run()
  await soak.close()
  const left = await awaitSockets(before)
  const { samples, outcomes } = soak
  const last = samples.at(-1)!
  const verdicts: Verdict[] = [
    ...judge(samples, before + soak.socketLimit),
    { isGood: left <= before, text: `sockets at the end: ${left}, as before: ${before}` },
    { isGood: warnings.size === 0, text: `warnings: ${[...warnings].join('; ') || 'none'}` },
  ]
  const summary = `${last.requests} requests in ${last.seconds.toFixed(0)} s, seed ${options.seed}`
  const picture = options.svg ?? join(import.meta.dirname, '..', 'target', 'soak', 'soak.svg')
  mkdirSync(dirname(picture), { recursive: true })
  writeFileSync(picture, pictureOf(summary, samples))
  process.stdout.write(`${tableOf(samples)}\n${summary}: ${JSON.stringify(outcomes)}\n`)
  for (const { isGood, text } of verdicts) process.stdout.write(`${isGood ? 'ok  ' : 'BAD '} ${text}\n`)
  process.stdout.write(`${picture}\n`)
  return verdicts.every(({ isGood }) => isGood)
}

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === null) process.stdout.write(USAGE)
  else process.exitCode = (await main(options)) ? 0 : 1
} catch (error) {
  console.error(error)
  process.exit(1)
}
