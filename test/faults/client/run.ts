/** One run: a kind over one protocol and one path by an agent of its own, and everything that must hold afterwards. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { Agent } from '../../../lib/index.ts'
import type { AgentOptions } from '../../../lib/index.ts'
import { until, within } from '../../support/deadline.ts'
import { expectationOf, isAwaited } from '../kind.ts'
import type { Kind, Path, Protocol } from '../kind.ts'
import type { FaultServer } from './server-process.ts'
import { ways } from './paths.ts'
import type { Seen, Target } from './paths.ts'

export interface Run {
  kind: Kind
  protocol: Protocol
  path: Path
}

export interface Result {
  run: Run
  outcome: string
  /** Why it is wrong: empty for what is right. */
  problems: string[]
}

/** For what must not come to a timeout: a kind that must has its own. */
const TIMEOUTS: AgentOptions = { connectTimeout: 30_000, headersTimeout: 30_000, bodyTimeout: 30_000 }
/** For an ordinary request, whose answer may stand behind much that was sent before. */
const NEXT = { headersTimeout: 30_000, bodyTimeout: 30_000 }
/** Where it is expected to fail. */
const NEXT_AWAITED = { headersTimeout: 2000, bodyTimeout: 2000 }
/** ms for one request: it hangs. */
const MOST = 60_000
/** ms for the server to see every connection end. */
const DRAIN = 30_000

const HELD = 'held open'

export class Client {
  readonly #server: FaultServer
  readonly #slot: number
  readonly #folder: string

  constructor(server: FaultServer, slot: number, folder: string) {
    this.#server = server
    this.#slot = slot
    this.#folder = folder
  }

  async run(run: Run): Promise<Result> {
    const { kind, protocol, path } = run
    const ports = this.#server.info.slots[this.#slot]!
    const origin = `${protocol === 'h1' ? 'http' : 'https'}://127.0.0.1:${ports[protocol]}`
    const given = typeof kind.options === 'function' ? kind.options(ports) : kind.options
    const connect = { ca: this.#server.info.ca, ...given?.connect }
    const agent = new Agent({ ...TIMEOUTS, allowH2: protocol === 'h2', ...given, connect })
    const target: Target = {
      agent,
      origin: kind.origin ?? origin,
      options: { ...kind.request },
      file: join(this.#folder, randomUUID()),
    }
    const problems: string[] = []
    const held = kind.isAlone === true ? await this.#hold(target, protocol, problems) : undefined
    await this.#arm([kind.name], protocol)
    const all = await Promise.all(
      Array.from({ length: kind.requests ?? 1 }, (_, n) => this.#ask(path, { ...target, file: `${target.file}${n}` })),
    )
    problems.push(...all.flatMap((seen) => seen.problems))
    const outcomes = [...new Set(all.map((seen) => seen.outcome))]
    const expected = expectationOf(kind, path)
    for (const outcome of outcomes) if (!expected.includes(outcome)) problems.push(`it is ${outcome}`)
    await this.#arm([], protocol)
    if (kind.isHopeless !== true) {
      const options = isAwaited(kind, protocol) ? NEXT_AWAITED : NEXT
      const next = await this.#ask(path, { ...target, origin, options })
      if (next.outcome !== '200 ok') problems.push(`the next request: ${next.outcome}`)
    }
    if (held !== undefined) {
      const { outcome } = await held.seen
      if (outcome !== '200 ok') problems.push(`the stream beside it: ${outcome}`)
    }
    await this.#end(agent, problems)
    return { run, outcome: outcomes.join(' | '), problems }
  }

  /** A response under way on the connection, in a wrapping that is not awaited with it. */
  async #hold(target: Target, protocol: Protocol, problems: string[]): Promise<{ seen: Promise<Seen> }> {
    await this.#arm([HELD], protocol)
    const started = Promise.withResolvers<void>()
    const seen = this.#ask('dispatch', { ...target, options: {} }, started.resolve)
    await within(Promise.race([started.promise, seen]), { what: 'the stream beside it' }).catch(() =>
      problems.push('the stream beside it does not begin'),
    )
    return { seen }
  }

  async #ask(path: Path, target: Target, onBegin?: () => void): Promise<Seen> {
    try {
      return await within(ways[path](target, onBegin), { timeoutMs: MOST })
    } catch {
      await destroy(target.agent)
      return { outcome: 'HANGS', problems: [] }
    }
  }

  async #arm(arm: string[], protocol: Protocol): Promise<void> {
    await this.#server.ask({ slot: this.#slot, arm, protocol })
  }

  async #end(agent: Agent, problems: string[]): Promise<void> {
    try {
      await until(() => agent.stats.bufferedBytes === 0 && agent.stats.running === 0, { timeoutMs: DRAIN })
    } catch {
      const { bufferedBytes, running } = agent.stats
      problems.push(`bufferedBytes ${bufferedBytes}, running ${running}`)
    }
    if (!agent.destroyed) await within(agent.close(), { timeoutMs: MOST }).catch(() => problems.push('close hangs'))
    const { open } = await this.#server.ask({ slot: this.#slot, drain: DRAIN })
    if (open !== 0) problems.push(`${open} sockets left`)
    await destroy(agent)
  }
}

/** Even an end that does not come must not be waited for. */
const destroy = (agent: Agent): Promise<void> =>
  within(agent.destroy(new Error('it hangs')), { timeoutMs: MOST }).catch(() => {})
