/** Who runs the contract: undici's own agents, which say what is right, and sluice's. */
import * as undici8 from 'undici'
import * as undici7 from 'undici7'
import { Agent } from '../../../lib/index.ts'
import type { DispatcherSurface } from '../../../lib/index.ts'
import { FetchDispatcher } from '../../support/dispatch-paths.ts'
import type { Generation } from '../../support/recorder.ts'
import { select } from '../../support/selection.ts'

export type Undici = typeof undici7

export interface Contestant {
  readonly name: string
  readonly library: 'undici 8' | 'undici 7' | 'sluice'
  /** Of the handlers that its dispatcher is given. */
  readonly generation: Generation
  readonly engine: 'undici' | 'wire' | 'reqwest' | 'fetch'
  /** Whose `request`, `fetch`, `interceptors` … go with the dispatcher. */
  readonly undici: Undici
  /** A dispatcher of its own kind; not closed by anybody. */
  open(options?: object): DispatcherSurface
}

const eight = undici8 as unknown as Undici

function theirs(library: 'undici 8' | 'undici 7', generation: Generation = 'current'): Contestant {
  const undici = library === 'undici 8' ? eight : undici7
  return {
    name: generation === 'legacy' ? `${library}, legacy handler` : library,
    library,
    generation,
    engine: 'undici',
    undici,
    open: (options) => new undici.Agent(options) as unknown as DispatcherSurface,
  }
}

function ours(name: string, rest: Partial<Contestant> = {}): Contestant {
  const engine = rest.engine ?? 'wire'
  return {
    name,
    library: 'sluice',
    generation: 'current',
    engine,
    undici: eight,
    open: (options) =>
      engine === 'fetch'
        ? (new FetchDispatcher(options) as unknown as DispatcherSurface)
        : new Agent(engine === 'reqwest' ? { ...options, transport: engine } : { ...options }),
    ...rest,
  }
}

/** Those of a row that run: by default undici 8 as the reference, and what differs from sluice in one thing. */
export function selected(contestants: readonly Contestant[], isComplete?: boolean): readonly Contestant[] {
  return select(contestants, { undici: eight }, isComplete)
}

/** Every engine with every generation of handler that it takes. */
export const DISPATCHERS: readonly Contestant[] = [
  theirs('undici 8'),
  theirs('undici 7'),
  theirs('undici 7', 'legacy'),
  ours('sluice'),
  ours('sluice, legacy handler', { generation: 'legacy' }),
  ours('sluice over reqwest', { engine: 'reqwest' }),
]

/** The same without reqwest, for what that engine refuses by name. */
export const WIRE: readonly Contestant[] = DISPATCHERS.filter(({ engine }) => engine !== 'reqwest')

/** What that engine does otherwise, beside undici 8. */
export const REQWEST: readonly Contestant[] = DISPATCHERS.filter(
  ({ engine, library }) => engine === 'reqwest' || library === 'undici 8',
)

/** What only the newer generation has: a controller. */
export const CURRENT: readonly Contestant[] = DISPATCHERS.filter(({ generation }) => generation === 'current')

export const CURRENT_WIRE: readonly Contestant[] = WIRE.filter(({ generation }) => generation === 'current')

export const LEGACY: readonly Contestant[] = DISPATCHERS.filter(({ generation }) => generation === 'legacy')

/** One of each dispatcher, for what no handler sees. */
export const AGENTS: readonly Contestant[] = CURRENT

/** `fetch`, whose response goes through `dispatchStream`. */
export const SHIM: readonly Contestant[] = [
  ours('sluice, dispatchStream of fetch', { engine: 'fetch' }),
  ours('sluice, dispatchStream of fetch, legacy handler', { engine: 'fetch', generation: 'legacy' }),
]

/** `request`, `stream`, `pipeline`, `fetch` … of each undici, over its own agent and over sluice's. */
export const APIS: readonly Contestant[] = [
  theirs('undici 8'),
  theirs('undici 7'),
  ours('undici 8 over sluice'),
  ours('undici 7 over sluice', { undici: undici7 }),
  ours('undici 8 over sluice over reqwest', { engine: 'reqwest' }),
]

export const APIS_WIRE: readonly Contestant[] = APIS.filter(({ engine }) => engine !== 'reqwest')
