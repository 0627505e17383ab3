/**
 * Any order of reads, cancels and released locks on one side, and of chunks and ends on the other, keeps the bytes of
 * a body intact, and settles every read and the body once. The seeds are fixed: a failure names its own.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import { binding } from '../native/binding.ts'
import { floodBytes, implementations, type Streams } from './support/bodies.ts'
import { within } from './support/deadline.ts'
import { untilCollected } from './support/gc.ts'
import { startScript, type Exchange, type ScriptedServer } from './support/script.ts'

const SEEDS = 150
const STEPS = 40

/** xorshift32: the same numbers everywhere. */
class Random {
  private state: number

  constructor(seed: number) {
    // Seeds that follow each other begin far apart.
    this.state = Math.imul(seed, 0x9e37_79b1) | 1
  }

  /** 0 ≤ result < limit */
  below(limit: number): number {
    let next = this.state
    next ^= next << 13
    next ^= next >>> 17
    next ^= next << 5
    this.state = next
    return (next >>> 0) % limit
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!
  }
}

type Ending = 'end' | 'truncate' | 'reset' | 'cancel'

/** One body, what was sent of it, and what its readers got. */
class Play {
  sent = 0
  ending: Ending | null = null
  readonly received: Buffer[] = []
  readonly failures: any[] = []
  sawEnd = false
  private readonly random: Random
  private readonly exchange: Exchange
  private readonly body: ReadableStream
  private reader: any = null
  private isByob = false
  private reads: Promise<void>[] = []
  private readonly released = new Set<object>()

  constructor(random: Random, exchange: Exchange, body: ReadableStream) {
    this.random = random
    this.exchange = exchange
    this.body = body
  }

  async step(): Promise<void> {
    const { random } = this
    switch (random.below(10)) {
      case 0:
      case 1:
      case 2:
        this.send(1 + random.below(random.pick([3, 100, 9000, 120_000])))
        break
      case 3:
      case 4:
      case 5:
        void this.read()
        break
      case 6:
        this.release()
        break
      case 7:
        // Lets the other side, or a later turn, be first.
        for (let turns = random.below(4); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
        break
      case 8:
        await Promise.race([this.reads[0], new Promise((resolve) => setImmediate(resolve))])
        break
      default:
        if (random.below(8) === 0) this.finish(random.pick(['end', 'truncate', 'reset', 'cancel'] as const))
    }
  }

  finish(ending: Ending): void {
    if (this.ending !== null) return
    this.ending = ending
    if (ending === 'end') this.exchange.end()
    else if (ending === 'truncate') this.exchange.truncate()
    else if (ending === 'reset') this.exchange.socket.resetAndDestroy()
    else {
      this.acquire()
      this.reader.cancel('enough').catch(() => {})
    }
  }

  /** Reads on until there is nothing more to come, and settles every read on the way. */
  async drain(): Promise<void> {
    this.release()
    while (!this.sawEnd && this.failures.length === 0) await this.read()
    await Promise.all(this.reads)
    // The end stays the end.
    const failures = this.failures.length
    await this.read()
    expect(this.failures.length).toBe(failures === 0 ? 0 : failures + 1)
    expect(new Set(this.failures).size).toBeLessThanOrEqual(1)
  }

  private send(length: number): void {
    if (this.ending !== null) return
    this.exchange.chunk(floodBytes(this.sent, this.sent + length))
    this.sent += length
  }

  private acquire(): void {
    if (this.reader !== null) return
    this.isByob = this.random.below(2) === 0
    this.reader = this.body.getReader(this.isByob ? ({ mode: 'byob' } as any) : {})
    this.reader.closed.catch(() => {})
  }

  private release(): void {
    if (this.reader === null) return
    this.released.add(this.reader)
    this.reader.releaseLock()
    this.reader = null
  }

  private read(): Promise<void> {
    this.acquire()
    const { reader } = this
    const view = new Uint8Array(1 + this.random.below(this.random.pick([5, 1000, 70_000])))
    const index = this.reads.length
    const settled = reader.read(this.isByob ? view : undefined).then(
      ({ done, value }: { done: boolean; value?: Uint8Array }) => {
        if (value !== undefined && value.byteLength > 0) this.received[index] = Buffer.from(value)
        if (done) this.sawEnd = true
        else expect(value!.byteLength).toBeGreaterThan(0)
      },
      (error: any) => {
        // A read whose reader has released its lock fails for that reason alone, and takes no byte with it.
        if (this.released.has(reader) && error instanceof TypeError && error.message !== 'terminated') return
        this.failures.push(error)
      },
    )
    this.reads.push(settled)
    return settled
  }
}

async function play(seed: number, server: ScriptedServer, agent: Agent, streams: Streams): Promise<void> {
  const random = new Random(seed)
  const pending = fetch(server.origin, { dispatcher: agent, streams: streams as any })
  const exchange = (await server.next()).head()
  const game = new Play(random, exchange, (await pending).body!)
  for (let step = 0; step < STEPS; step++) await game.step()
  game.finish(random.pick(['end', 'end', 'truncate', 'cancel']))
  await within(game.drain(), { what: 'every read' })
  const received = Buffer.concat(game.received.filter(Boolean))
  expect(received.equals(floodBytes(0, received.length))).toBe(true)
  switch (game.ending) {
    case 'end':
      expect([received.length, game.sawEnd, game.failures]).toEqual([game.sent, true, []])
      break
    case 'truncate':
      expect([received.length, game.sawEnd]).toEqual([game.sent, false])
      expect(game.failures[0]).toMatchObject({ message: 'terminated', cause: { code: expect.any(String) } })
      break
    case 'reset':
      // A reset takes with it what the kernel had not handed over.
      expect(received.length).toBeLessThanOrEqual(game.sent)
      expect([game.failures[0].message, game.failures[0].cause.code]).toEqual(['terminated', 'ECONNRESET'])
      break
    default:
      expect([game.sawEnd, game.failures]).toEqual([true, []])
      await within(exchange.gone, { what: 'the end of the connection' })
  }
}

describe.each(implementations)('a body of the streams of $name', ({ streams }) => {
  let server: ScriptedServer
  let agent: Agent

  beforeEach(async () => {
    server = await startScript()
    agent = new Agent()
  })

  afterEach(async () => {
    await agent.destroy()
    await server.close()
  })

  test(`survives ${SEEDS} random plays of ${STEPS} steps`, { timeout: 120_000 }, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      await play(seed, server, agent, streams).catch((cause: unknown) => {
        throw new Error(`seed ${seed}: ${(cause as Error).message}`, { cause })
      })
    }
    expect(agent.stats).toMatchObject({ bufferedBytes: 0, running: 0 })
    await untilCollected(() => binding.counters().handles === 0)
    expect(binding.counters()).toMatchObject({ awaited: 0, tasks: 0 })
  })
})
