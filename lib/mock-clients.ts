/**
 * `new MockAgent({ agent })` of undici keeps its mocks in the map of clients that undici's own `Agent` has under a
 * private symbol, and expects that agent to route by it. The symbol is another for each copy of undici, so it is known
 * by its description, and the map is made when it is asked for.
 */
import { EventEmitter } from 'node:events'
import type { AnyDispatchHandler, DispatchOptions } from './types.ts'

/** A mock for one origin: an undici `MockPool` or `MockClient`. */
interface MockClient {
  dispatch(options: DispatchOptions, handler: AnyDispatchHandler): boolean | void
  close(): Promise<void>
}

/** By origin; a `MockAgent` also has matchers for keys, which it resolves to origins itself. undici 7 wraps its mocks. */
type MockClients = Map<unknown, MockClient | { dispatcher: MockClient }>

const byAgent = new WeakMap<object, MockClients>()

/** Whether any agent has mocks: the others need not look. */
let isUsed = false

/** The mock that serves `options`, under the keys of undici's `Agent`. */
export function findMock(agent: object, { origin, allowH2 }: DispatchOptions): MockClient | undefined {
  if (!isUsed) return undefined
  const mocks = byAgent.get(agent)
  if (mocks === undefined) return undefined
  const key = String(origin)
  const entry = (allowH2 === false ? mocks.get(`${key}#http1-only`) : undefined) ?? mocks.get(key)
  return entry === undefined ? undefined : unwrap(entry)
}

/** Closes the mocks of `agent`, as undici's `Agent` closes its clients. */
export async function closeMocks(agent: object): Promise<void> {
  const entries = [...(byAgent.get(agent)?.values() ?? [])]
  await Promise.all(entries.map((entry) => unwrap(entry).close()))
}

function unwrap(entry: MockClient | { dispatcher: MockClient }): MockClient {
  return 'dispatch' in entry ? entry : entry.dispatcher
}

function openMocks(agent: object): MockClients {
  const mocks = byAgent.get(agent) ?? (new Map() as MockClients)
  byAgent.set(agent, mocks)
  isUsed = true
  return mocks
}

/** Behind a class's own members and before those of `EventEmitter`: answers what neither has but undici asks for. */
const prototype = new Proxy(Object.create(EventEmitter.prototype) as object, {
  get(target, key, receiver: object) {
    if (typeof key === 'symbol' && key.description === 'clients') return openMocks(receiver)
    return Reflect.get(target, key, receiver) as unknown
  },
})

/** Gives the agents of `Class`, which extends `EventEmitter`, the map of clients that a `MockAgent` looks for. */
export function acceptMocks(Class: { prototype: object }): void {
  Object.setPrototypeOf(Class.prototype, prototype)
}
