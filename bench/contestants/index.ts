import type { Opener } from './client.ts'
import { libraryClients } from './libraries.ts'
import { nodeClients } from './node.ts'
import { sluiceClients } from './sluice.ts'
import { undiciClients } from './undici.ts'

export const clients: Opener[] = [...sluiceClients, ...undiciClients, ...nodeClients, ...libraryClients]

/** The package a contestant of this name needs from `bench/package.json`; none needs more than one. */
export function packageOf(contestant: string): string | undefined {
  return ['got', 'ky', 'axios', 'impit'].find((name) => contestant === name)
}

/** The program it needs. */
export function programOf(contestant: string): string | undefined {
  return ['curl', 'wrk'].find((name) => contestant === name)
}

/**
 * Whom a contestant is compared with: its counterpart of undici, where there is one, or the first of undici's that does
 * the same work; then the built-in fetch. None when it is that one itself.
 */
export function rivalOf(contestant: string, present: readonly string[]): string | undefined {
  const [, kind] = /^sluice (?:undici\.)?(\S+?)(?:,|$)/.exec(contestant) ?? []
  const order = [
    ...(kind === undefined ? [] : [`undici ${kind}`]),
    'undici dispatch',
    'undici request',
    'undici stream',
    'undici fetch',
    'undici websocket',
    'built-in fetch',
  ]
  const rival = order.find((name) => present.includes(name))
  return rival === contestant ? undefined : rival
}
