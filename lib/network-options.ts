/** Names and addresses: `resolve` and `allowAddress`. */
import { isIP } from 'node:net'
import type { NativeAgentConfig } from '../native/binding.ts'
import { InvalidArgumentError } from './errors.ts'
import type { AddressCheck } from './questions.ts'

/** Networks in CIDR notation, or single addresses. */
export interface AddressLists {
  /** An address must be in one of these. */
  allow?: readonly string[] | undefined
  /** … and in none of these. */
  deny?: readonly string[] | undefined
}

/** Which addresses an agent may connect to; an array is `{ allow }`. */
export type AddressOption = AddressCheck | AddressLists | readonly string[]

/** Addresses of hosts that are not looked up. */
export type HostTable = Record<string, string | readonly string[]>

type AddressConfig = Pick<NativeAgentConfig, 'asksAddress' | 'allowNetworks' | 'denyNetworks'>

/** @throws InvalidArgumentError; the core reads the networks themselves */
export function readAddressOption(given: unknown): AddressConfig {
  if (given === undefined || given === null) return {}
  if (typeof given === 'function') return { asksAddress: true }
  if (typeof given !== 'object') throw new InvalidArgumentError('invalid allowAddress')
  const lists = (Array.isArray(given) ? { allow: given } : given) as AddressLists
  for (const [name, list] of Object.entries(lists)) {
    if (name !== 'allow' && name !== 'deny') throw new InvalidArgumentError(`unknown option allowAddress.${name}`)
    if (list !== undefined && (!Array.isArray(list) || !list.every((item) => typeof item === 'string'))) {
      throw new InvalidArgumentError(`invalid allowAddress.${name}`)
    }
  }
  const { allow, deny } = lists
  if (allow === undefined && deny === undefined) throw new InvalidArgumentError('invalid allowAddress: it is empty')
  if (allow?.length === 0) throw new InvalidArgumentError('invalid allowAddress.allow: it is empty')
  return { allowNetworks: allow && [...allow], denyNetworks: deny && [...deny] }
}

/** A line for each host: its name and its addresses. @throws InvalidArgumentError */
export function readHostTable(given: unknown): string[] | undefined {
  if (given === undefined || given === null) return undefined
  if (typeof given !== 'object' || Array.isArray(given)) throw new InvalidArgumentError('invalid resolve')
  return Object.entries(given as HostTable).map(([host, list]) => {
    const addresses = [list].flat()
    if (addresses.length === 0 || !addresses.every((address) => typeof address === 'string' && isIP(address) !== 0)) {
      throw new InvalidArgumentError(`invalid resolve: ${host} needs IP addresses`)
    }
    if (host === '' || /\s/.test(host)) throw new InvalidArgumentError(`invalid resolve: ${host} is no host`)
    return [host.toLowerCase(), ...addresses].join(' ')
  })
}
