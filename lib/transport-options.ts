/** What the engines cannot do, and what cannot be done together. */
import type { NativeAgentConfig } from '../native/binding.ts'
import type { AgentOptions, ConnectOptions } from './agent-options.ts'
import { InvalidArgumentError } from './errors.ts'
import { isGiven } from './option-table.ts'

/** What reqwest has no setting for. */
const WIRE_ONLY: readonly (keyof AgentOptions)[] = [
  'connections',
  'pipelining',
  'keepAliveMaxTimeout',
  'keepAliveTimeoutThreshold',
  'maxRequestsPerClient',
  'clientTtl',
  'maxConcurrentStreams',
  'initialWindowSize',
  'connectionWindowSize',
  'pingInterval',
  'h2Options',
  'localAddress',
  'socketPath',
  'autoSelectFamily',
  'autoSelectFamilyAttemptTimeout',
]
const WIRE_ONLY_CONNECT: readonly (keyof ConnectOptions)[] = [
  'servername',
  'ALPNProtocols',
  'socketPath',
  'localAddress',
  'keepAlive',
  'keepAliveInitialDelay',
  'preferH2',
  'autoSelectFamily',
  'autoSelectFamilyAttemptTimeout',
]

/** @throws InvalidArgumentError naming what asks more of reqwest than it has */
export function checkTransport(options: AgentOptions, connect: ConnectOptions, native: NativeAgentConfig): void {
  if (isGiven(options.socketPath ?? connect.socketPath)) {
    const other = native.proxies === undefined ? (isGiven(options.allowAddress) ? 'allowAddress' : null) : 'proxy'
    if (other !== null) throw new InvalidArgumentError(`socketPath and ${other} exclude each other`)
  }
  if (options.transport !== 'reqwest') return
  const given = [
    ...(native.proxies === undefined ? [] : ['proxy']),
    ...WIRE_ONLY.filter((name) => isGiven(options[name])),
    ...WIRE_ONLY_CONNECT.filter((name) => isGiven(connect[name])).map((name) => `connect.${name}`),
  ]
  if (given.length > 0) {
    throw new InvalidArgumentError(`option ${given[0]} is not supported by transport 'reqwest'`)
  }
}
