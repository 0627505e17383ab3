/**
 * Answers what the core asks of JavaScript for one agent: names (`connect.lookup`), addresses (`allowAddress`), and
 * certificates to trust, beside the platform's and where it has none.
 */
import { isIP } from 'node:net'
import type { LookupAddress, LookupOptions } from 'node:dns'
import type { CoreQuestion } from '../native/binding.ts'
import type { QuestionListener } from '../streams/exchange.ts'
import { keepError } from './errors/tickets.ts'

type LookupCallback = (
  error: NodeJS.ErrnoException | null,
  address?: string | readonly LookupAddress[],
  family?: number,
) => void

/** As Node's `dns.lookup`: it is asked for all addresses, and may answer with one. */
export type LookupFunction = (
  hostname: string,
  options: LookupOptions & { all: true },
  callback: LookupCallback,
) => void

/** Whether a connection to `ip`, an address of `host`, may be made. Anything but `true` refuses. */
export type AddressCheck = (ip: string, host: string) => boolean

export class Questions implements QuestionListener {
  private readonly lookup: LookupFunction | null
  private readonly allowAddress: AddressCheck | null

  constructor(lookup: LookupFunction | null, allowAddress: AddressCheck | null) {
    this.lookup = lookup
    this.allowAddress = allowAddress
  }

  onQuestion({ ask, host, addresses }: CoreQuestion, answer: (text: string) => void): void {
    if (ask === 'lookup') this.lookUp(host, answer)
    else if (ask === 'allow') answer(addresses.map((address) => (this.isAllowed(address, host) ? '1' : '0')).join(''))
    else this.trust(ask, answer)
  }

  /** Without an answer a connection would wait for ever; with none of them it trusts nobody more. */
  private trust(ask: 'extraRoots' | 'roots', answer: (text: string) => void): void {
    let text = ''
    try {
      text = certificates(ask).join('\n')
    } finally {
      answer(text)
    }
  }

  private lookUp(host: string, answer: (text: string) => void): void {
    let isAnswered = false
    const settle = (text: string): void => {
      if (isAnswered) return
      isAnswered = true
      answer(text)
    }
    try {
      this.lookup!(host, { all: true, family: 0, hints: 0 }, (error, found) => {
        settle(error ? failed(error) : readAddresses(found, host))
      })
    } catch (error) {
      settle(failed(error))
    }
  }

  private isAllowed(address: string, host: string): boolean {
    try {
      return this.allowAddress!(address, host) === true
    } catch {
      // Whoever cannot decide has not allowed it.
      return false
    }
  }
}

function readAddresses(found: unknown, host: string): string {
  const list = Array.isArray(found) ? (found as LookupAddress[]).map((entry) => entry?.address) : [found as string]
  const wrong = list.find((address) => typeof address !== 'string' || isIP(address) === 0)
  if (list.length > 0 && wrong === undefined && !list.includes(undefined as never)) return `found\n${list.join('\n')}`
  // Node's own code and words (`net.connect`).
  const what = list.length === 0 ? '' : String(wrong)
  const error = Object.assign(new TypeError(`Invalid IP address: ${what}`), { code: 'ERR_INVALID_IP_ADDRESS', host })
  return failed(error)
}

function failed(error: unknown): string {
  const { code, message } = (typeof error === 'object' && error !== null ? error : {}) as { [key: string]: unknown }
  const said = typeof message === 'string' ? message : String(error)
  return `failed\n${keepError(error)}\n${typeof code === 'string' ? code : ''}\n${said}`
}

/** Node says itself, when it starts, what is wrong with the file of the extra ones. */
function certificates(ask: 'extraRoots' | 'roots'): readonly string[] {
  const tls = process.getBuiltinModule('node:tls')
  return ask === 'roots' ? tls.rootCertificates : tls.getCACertificates('extra')
}
