/**
 * A name server of one's own for `getaddrinfo`, and programs that have no other: each runs in a mount namespace with a
 * `resolv.conf` of its own, which takes root on Linux.
 */
import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { randomInt } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What a name is answered with; `silence` is no answer. */
export type DnsAnswer = { addresses: string[] } | 'NXDOMAIN' | 'SERVFAIL' | 'REFUSED' | 'nothing' | 'silence'

const CODES = { SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5, nothing: 0 }
const A = 1

export interface RunningDnsStub extends AsyncDisposable {
  /** The names that were asked for, in order; one for each query. */
  readonly asked: string[]
  /** What stands before a program's command. */
  readonly launcher: readonly string[]
}

const MOUNT = 'mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@"'
const UNSHARE = ['unshare', '--mount', 'sh', '-c', MOUNT, 'sh']

/** Whether programs can be given a `resolv.conf` of their own here. */
export const canRunDnsStub =
  process.platform === 'linux' &&
  spawnSync(UNSHARE[0]!, [...UNSHARE.slice(1), '/etc/resolv.conf', '/etc/nsswitch.conf', 'true']).status === 0

function nameOf(query: Buffer): { name: string; end: number } {
  const labels: string[] = []
  let at = 12
  for (let length = query[at]!; length > 0; length = query[at]!) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  // The empty label, type and class.
  return { name: labels.join('.').toLowerCase(), end: at + 5 }
}

/** RFC 1035 §4.1, for one question. */
function reply(query: Buffer, end: number, answer: Exclude<DnsAnswer, 'silence'>): Buffer {
  const isForA = query.readUInt16BE(end - 4) === A
  const addresses = typeof answer === 'object' && isForA ? answer.addresses : []
  const head = Buffer.from(query.subarray(0, end))
  head.writeUInt16BE(0x8180 | (typeof answer === 'object' ? 0 : CODES[answer]), 2)
  head.writeUInt16BE(addresses.length, 6)
  head.writeUInt32BE(0, 8)
  const records = addresses.map((address) =>
    Buffer.from([0xc0, 12, 0, A, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split('.').map(Number)]),
  )
  return Buffer.concat([head, ...records])
}

/**
 * A server for names in `zone`; others do not exist. `seconds` is how long a program's resolver waits for an answer that
 * does not come.
 */
export async function startDnsStub(zone: Record<string, DnsAnswer>, seconds = 1): Promise<RunningDnsStub> {
  const asked: string[] = []
  const socket = createSocket('udp4')
  socket.on('message', (query, peer) => {
    const { name, end } = nameOf(query)
    asked.push(name)
    const answer = zone[name] ?? 'NXDOMAIN'
    if (answer !== 'silence') socket.send(reply(query, end, answer), peer.port, peer.address)
  })
  // resolv.conf has no ports: the address of the loopback is what is one's own.
  const address = `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(1, 255)}`
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(53, address, resolve)
  })
  const folder = await mkdtemp(join(tmpdir(), 'sluice-dns-'))
  const [resolv, nsswitch] = [join(folder, 'resolv.conf'), join(folder, 'nsswitch.conf')]
  await writeFile(resolv, `nameserver ${address}\noptions timeout:${seconds} attempts:1\n`)
  await writeFile(nsswitch, 'hosts: files dns\n')
  return {
    asked,
    launcher: [...UNSHARE, resolv, nsswitch],
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => socket.close(resolve))
      await rm(folder, { recursive: true })
    },
  }
}
