/**
 * The fault server, a program. `node program.ts SLOTS`: its first line of output is JSON, {@link ServerInfo}; then it
 * answers each line of JSON on its standard input, a {@link Command}, with one line, and it ends with that input.
 *
 * A slot serves one client at a time: whoever arms it says what the next connections and requests on its ports get.
 */
import { createInterface } from 'node:readline'
import { certificateAuthority } from '../../support/certificates.ts'
import { expectationOf, isAwaited, protocolsOf } from '../kind.ts'
import type { Kind, Ports, Protocol } from '../kind.ts'
import { kindNamed, kinds } from '../kinds.ts'
import { Slot } from './slot.ts'

export interface ServerInfo {
  slots: Ports[]
  /** PEM, to be trusted. */
  ca: string
  /** The table, as far as it is data. */
  kinds: KindInfo[]
}

export interface KindInfo {
  name: string
  protocols: Protocol[]
  /** Outcomes of `dispatch` that are right. */
  dispatch: readonly string[]
  awaited: Protocol[]
  /** Of the client: `null` where its options are more than these. */
  timeouts: { headersTimeout?: number; bodyTimeout?: number } | null
}

export interface Command {
  id: number
  slot: number
  /** What comes next, by name. */
  arm?: string[]
  protocol?: Protocol
  /** ms to wait for the end of all connections; the answer is `open`. */
  drain?: number
}

export interface Answer {
  id: number
  open?: number
}

const slots = await Promise.all(Array.from({ length: Number(process.argv[2] ?? 1) }, () => new Slot().listen()))

function infoOf(kind: Kind): KindInfo {
  const { options = {}, requests, request, origin } = kind
  const names = typeof options === 'function' ? ['function'] : Object.keys(options)
  const isPlain =
    names.every((name) => name === 'headersTimeout' || name === 'bodyTimeout') &&
    [requests, request, origin, kind.proxy].every((value) => value === undefined)
  return {
    name: kind.name,
    protocols: protocolsOf(kind),
    dispatch: expectationOf(kind, 'dispatch'),
    awaited: protocolsOf(kind).filter((protocol) => isAwaited(kind, protocol)),
    timeouts: isPlain ? (options as KindInfo['timeouts']) : null,
  }
}

async function answer({ id, slot: index, arm, protocol, drain }: Command): Promise<Answer> {
  const slot = slots[index]!
  if (arm !== undefined) slot.arm(arm.map((name) => kindNamed(name, protocol!)))
  if (drain === undefined) return { id }
  const open = await slot.open(drain)
  slot.clear()
  return { id, open }
}

function say(line: ServerInfo | Answer): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

say({ slots: slots.map(({ ports }) => ports), ca: certificateAuthority, kinds: kinds.map(infoOf) })
const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => void answer(JSON.parse(line) as Command).then(say))
lines.on('close', () => process.exit())
