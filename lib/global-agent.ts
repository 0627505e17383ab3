/** The agent of `fetch` calls that name none. */
import { Agent } from './agent.ts'
import { InvalidArgumentError } from './errors.ts'
import type { DispatcherLike } from './types.ts'

let globalAgent: DispatcherLike | null = null

/**
 * The global agent, made at the first call, with the proxies of the environment. One per environment (main thread or
 * worker).
 * @throws InvalidArgumentError naming a variable that cannot be a proxy
 */
export function getGlobalAgent(): DispatcherLike {
  // What `fetch` speaks is the server's choice: HTTP/2 where it has it.
  return (globalAgent ??= new Agent({ proxy: 'env', connect: { preferH2: true } }))
}

/** Replaces it by any dispatcher. @throws InvalidArgumentError */
export function setGlobalAgent(agent: DispatcherLike): void {
  if (typeof (agent as DispatcherLike | null)?.dispatch !== 'function') {
    throw new InvalidArgumentError('Argument agent must implement Agent')
  }
  globalAgent = agent
}
