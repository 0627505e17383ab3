/** One body of a test for undici's own agent, which is the reference, and for sluice's. */
import * as undici8 from 'undici'
import * as undici7 from 'undici7'
import { Agent, type AgentOptions } from '../../lib/index.ts'
import { select } from './selection.ts'

/** undici 7's types stand for both: what the tests use of them is the same. */
export type Undici = typeof undici7
export type Dispatcher = undici7.Dispatcher

export interface Contestant {
  readonly undici: Undici
  /** Whose agent it is; the rest of undici is around it in either case. */
  readonly agent: 'undici' | 'sluice'
  /** Makes an agent; disposing of the result destroys it. */
  open(options?: AgentOptions): OpenAgent
}

export interface OpenAgent extends AsyncDisposable {
  readonly dispatcher: Dispatcher
}

const packages: [string, Undici][] = [
  ['undici 8', undici8 as unknown as Undici],
  ['undici 7', undici7],
]

const all = packages.flatMap(([name, undici]) => [
  { name: `${name}, its own Agent`, ...contestant(undici, 'undici', (options) => new undici.Agent(options as object)) },
  { name: `${name} over sluice`, ...contestant(undici, 'sluice', (options) => new Agent(options)) },
])

/** For `describe.each`: a name and the contestant. */
export const contestants = select(all, { undici: packages[0]![1], agent: 'sluice' }).map(
  ({ name, ...one }): [string, Contestant] => [name, one],
)

function contestant(
  undici: Undici,
  agent: Contestant['agent'],
  create: (options: AgentOptions | undefined) => Dispatcher,
): Contestant {
  const open = (options?: AgentOptions): OpenAgent => {
    const dispatcher = create(options)
    return { dispatcher, [Symbol.asyncDispose]: async () => await dispatcher.destroy() }
  }
  return { undici, agent, open }
}
