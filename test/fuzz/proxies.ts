/**
 * Values of `proxy` and of `HTTP_PROXY`. Each is a proxy, the one that another reading of it says, or an error when the
 * agent is made; none leads to the origin.
 */
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { once } from 'node:events'
import { domainToASCII } from 'node:url'
import { Agent, errors, fetch } from '../../lib/index.ts'
import { eachSeed, mutate } from './random.ts'
import type { Random } from '../support/random.ts'

export const name = 'proxies'
/** Cases of a long run. */
export const longCases = 50_000

const ORIGIN = 'origin.test'
const VARIABLES = ['http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY']
const SCHEMES = ['http', 'HTTP', 'https', 'socks', 'socks5h', 'socks4a', '']
const LETTERS = [
  'a',
  'Z',
  '7',
  '@',
  ':',
  '/',
  '?',
  '#',
  '%',
  '\\',
  ' ',
  '"',
  "'",
  'ä',
  '€',
  '😀',
  '[',
  ']',
  '{',
  '|',
  '^',
  '+',
]
const NOISE = [
  ...LETTERS,
  '//',
  '%00',
  '%ff',
  '\n',
  '\t',
  '\0',
  '.',
  '-',
  '0',
  'socks5',
  'http:',
  'ftp',
  '<',
  '\u00ad',
  '．',
]
const HOSTS = ['p.test', 'P.test', 'a-b.p.test', 'bücher.test', 'xn--bcher-kva.test', 'p.test.']

/** A proxy as one reading of its value says it is. */
interface Reading {
  scheme: string
  host: string
  port: number
  /** `user:password`; `null` for none. */
  userinfo: string | null
}

/** What became of a request. */
interface Outcome {
  /** Names that were looked up. */
  names: string[]
  /** What the proxy was told first, if it was reached. */
  told: { kind: string; userinfo: string | null } | null
  error: (Error & { code?: string; port?: number }) | null
}

export async function run(seed: number, cases: number): Promise<void> {
  await using proxy = await startListener()
  await eachSeed(name, seed, cases, (random) => checkOne(random, proxy))
}

async function checkOne(random: Random, proxy: Listener): Promise<void> {
  const whole = create(random, proxy.port)
  const isWhole = !random.isOneIn(2)
  const value = isWhole ? whole.value : mutate(random, whole.value, NOISE)
  const expected = isWhole ? whole.reading : read(value)
  const variable = random.isOneIn(2) ? random.pick(VARIABLES) : null
  if (value === '' || (variable !== null && value.includes('\0'))) return
  const say = (what: string): Error => new Error(`${variable ?? 'proxy'}=${JSON.stringify(value)}: ${what}`)

  const made = makeAgent(value, variable)
  if (made instanceof Error) {
    if (!(made instanceof errors.InvalidArgumentError)) throw say(`a ${made.name}: ${made.message}`)
    if (!made.message.startsWith(`invalid ${variable ?? 'proxy'}: `)) throw say(`"${made.message}" does not name it`)
    if (isWhole) throw say(`refused: ${made.message}`)
    return
  }
  const { agent, names } = made
  proxy.told = null
  const outcome: Outcome = { names, told: null, error: null }
  await fetch(`http://${ORIGIN}/`, { dispatcher: agent }).then(
    (response) => response.text(),
    (error: Error) => (outcome.error = (error.cause as Error | undefined) ?? error),
  )
  await agent.destroy()
  outcome.told = proxy.told
  if (expected === null) throw say(names.includes(ORIGIN) ? 'went directly' : 'taken for a proxy')
  // A proxy of these is given the address of the origin, which is looked up after the proxy itself.
  const resolvesHere = /^socks[45]$/.test(expected.scheme)
  if (resolvesHere ? isName(expected.host) && names[0] === ORIGIN : names.includes(ORIGIN)) throw say('went directly')
  compare(expected, outcome, proxy.port, say)
}

function compare(expected: Reading, { names, told, error }: Outcome, port: number, say: (what: string) => Error): void {
  const host = isName(expected.host) ? expected.host : null
  if (host !== null && names[0] !== host) throw say(`${names[0]} was looked up, not ${host}`)
  if (error?.port !== undefined && error.port !== expected.port) throw say(`port ${error.port}, not ${expected.port}`)
  // A changed port may be another program's, which need not answer.
  if (/TIMEOUT/.test(error?.code ?? '')) return
  if (told === null) {
    if (expected.port === port && host !== null) throw say(`the proxy was not reached: ${error?.message}`)
    return
  }
  if (expected.port !== port) throw say(`the proxy was reached, at another port than ${expected.port}`)
  const kind =
    expected.scheme === '' ? 'http' : expected.scheme === 'socks' ? 'socks5' : expected.scheme.replace(/[ah]$/, '')
  if (told.kind !== kind) throw say(`${told.kind} was spoken, not ${kind}`)
  if (kind === 'https') return
  const wanted =
    kind === 'socks4' ? (expected.userinfo?.split('\0')[0] ?? null) : (expected.userinfo?.replace('\0', ':') ?? null)
  if (told.userinfo !== wanted) throw say(`told ${JSON.stringify(told.userinfo)}, not ${JSON.stringify(wanted)}`)
}

const isName = (host: string): boolean => !/^\[|^[\d.]+$/.test(host)

function makeAgent(value: string, variable: string | null): { agent: Agent; names: string[] } | Error {
  const names: string[] = []
  const lookup = (
    host: string,
    _options: unknown,
    callback: (error: Error | null, addresses?: string) => void,
  ): void => {
    names.push(host)
    callback(null, '127.0.0.1')
  }
  if (variable !== null) process.env[variable] = value
  try {
    const agent = new Agent({
      proxy: variable === null ? value : 'env',
      connect: { lookup: lookup as never },
      allowAddress: ['127.0.0.1'],
      connectTimeout: 1000,
      headersTimeout: 1000,
    })
    return { agent, names }
  } catch (error) {
    return error as Error
  } finally {
    if (variable !== null) delete process.env[variable]
  }
}

/** A value and what it was put together from. */
function create(random: Random, port: number): { value: string; reading: Reading } {
  const scheme = random.pick(SCHEMES)
  const host = random.pick(HOSTS)
  const isSocks5 = /^socks5?h?$/.test(scheme)
  const word = (least: number): string => random.sequence(LETTERS, least, 6)
  const user = random.isOneIn(4) ? null : word(1)
  const password = user === null || (!isSocks5 && random.isOneIn(4)) ? null : word(1)
  const written = [user, password]
    .filter((text) => text !== null)
    .map((text, index) => write(random, text, `${index === 0 ? ':' : ''}${scheme === '' ? ' ' : ''}`))
  const prefix = scheme === '' ? '' : `${scheme}://`
  const value = `${prefix}${written.join(':')}${user === null ? '' : '@'}${host}:${port}${random.pick(['', '', '/'])}`
  return {
    value: random.isOneIn(8) ? ` ${value} ` : value,
    reading: {
      scheme: scheme.toLowerCase(),
      host: domainToASCII(host),
      port,
      userinfo: user === null ? null : `${user}\0${password ?? ''}`,
    },
  }
}

/** Percent-encoded where it must be, which a blank is at the very beginning, and elsewhere now and then. */
function write(random: Random, text: string, more: string): string {
  return Array.from(text)
    .map((character) =>
      `/?#\\%${more}`.includes(character) || random.isOneIn(4)
        ? [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')
        : character,
    )
    .join('')
}

/** Another reading than the URL parser's, by the grammar alone; `null` for what is no proxy. */
function read(value: string): Reading | null {
  if (/[\p{Cc}\\]/u.test(value)) return null
  const parts =
    /^(?:(?<scheme>[a-z][a-z0-9+.-]*):\/\/)?(?:(?<userinfo>[^/?#]*)@)?(?<host>\[[0-9a-f:.]+\]|[^/?#@:[\]]+)(?::(?<port>\d*))?(?:\/(?:\.|%2e)*)?$/i.exec(
      value.replaceAll(/^ +| +$/g, ''),
    )?.groups
  if (parts === undefined) return null
  const scheme = (parts['scheme'] ?? '').toLowerCase()
  const defaults: Record<string, number> = {
    '': -1,
    http: 80,
    https: 443,
    socks: 1080,
    socks5: 1080,
    socks5h: 1080,
    socks4: 1080,
    socks4a: 1080,
  }
  if (!Object.hasOwn(defaults, scheme)) return null
  const port = parts['port'] ? Number(parts['port']) : defaults[scheme]!
  const host = readHost(parts['host']!)
  if (host === null || port <= 0 || port > 65_535) return null
  const [user = '', ...rest] = (parts['userinfo'] ?? '').split(':')
  const userinfo = [decode(user), decode(rest.join(':'))]
  if (userinfo.some((text) => text === null || /\p{Cc}/u.test(text))) return null
  return { scheme, host, port, userinfo: userinfo.join('') === '' ? null : userinfo.join('\0') }
}

function readHost(text: string): string | null {
  if (text.startsWith('[')) return text
  const host = domainToASCII(decode(text) ?? '')
  return /^[a-z0-9._-]+$/.test(host) ? host : null
}

/** A % that begins no byte is one. `null` for what is no UTF-8. */
function decode(text: string): string | null {
  const bytes = Buffer.from(
    text.replaceAll(/[^%]+|%[0-9a-f]{2}|%/gi, (part) =>
      part.length === 3 && part[0] === '%' ? part.slice(1) : Buffer.from(part).toString('hex'),
    ),
    'hex',
  )
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}

interface Listener extends AsyncDisposable {
  port: number
  told: Outcome['told']
}

/** Listens to what a client of a proxy says first, and answers no more than it must to hear it all. */
async function startListener(): Promise<Listener> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    let heard = Buffer.alloc(0)
    socket.on('data', (chunk) => {
      heard = Buffer.concat([heard, chunk])
      hear(heard, socket, listener)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const listener: Listener = {
    port: (server.address() as AddressInfo).port,
    told: null,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return listener
}

function hear(heard: Buffer, socket: Socket, listener: Listener): void {
  const tell = (kind: string, userinfo: string | null): void => {
    listener.told = { kind, userinfo }
    socket.destroy()
  }
  if (heard[0] === 5) {
    const methods = heard.subarray(2, 2 + (heard[1] ?? 0))
    if (heard.length < 3 || methods.length < heard[1]!) return
    if (!methods.includes(2)) return tell('socks5', null)
    const login = heard.subarray(2 + methods.length)
    if (login.length === 0) {
      socket.write(Buffer.from([5, 2]))
      return
    }
    const user = login.subarray(2, 2 + (login[1] ?? 0))
    const password = login.subarray(3 + user.length)
    if (password.length >= (login[2 + user.length] ?? Infinity))
      tell('socks5', `${user.toString()}:${password.toString()}`)
  } else if (heard[0] === 4) {
    const end = heard.indexOf(0, 8)
    if (end > 0) tell('socks4', end === 8 ? null : heard.toString('utf8', 8, end))
  } else if (heard[0] === 0x16) {
    tell('https', null)
  } else if (heard.includes('\r\n\r\n')) {
    const basic = /^proxy-authorization: Basic (?<text>\S*)/im.exec(heard.toString('latin1'))?.groups?.['text']
    listener.told = { kind: 'http', userinfo: basic === undefined ? null : Buffer.from(basic, 'base64').toString() }
    socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
  }
}
