/** Values of `Location`. Where a redirect leads is where `new URL(location, base)` says, or the fetch fails. */
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { once } from 'node:events'
import { Agent, fetch } from '../../lib/index.ts'
import { eachSeed, mutate } from './random.ts'
import type { Random } from '../support/random.ts'

export const name = 'locations'
/** Cases of a long run. */
export const longCases = 100_000

const BASE = 'http://start.test/folder/page?old=1#part'
const PIECES = [
  'http:',
  'https:',
  'HTTP:',
  'ftp:',
  'javascript:',
  'data:,',
  '//',
  '/',
  '/',
  '\\',
  '.',
  '..',
  '%2e',
  '%2E%2e',
  '?',
  '#',
  '@',
  ':',
  ':81',
  ':0',
  ':99999',
  ':443',
  'a.test',
  'B.test',
  'bücher.test',
  'xn--bcher-kva.test',
  '127.1',
  '0x7f.0.0.1',
  '[::1]',
  '[::',
  '256.0.0.1',
  'a',
  'z',
  ' ',
  '\t',
  '%',
  '%zz',
  '%00',
  'ä',
  '€',
  '😀',
  '"',
  "'",
  '<',
  '>',
  '`',
  '{',
  '}',
  '|',
  '^',
  '[',
  ']',
  '&',
  '=',
  ';',
  '+',
  '\u00ad',
]
const WHOLE = [
  'http://a.test/x',
  '//a.test:81/x?y#z',
  '/rooted/../x',
  '../up?q',
  '?query',
  '#fragment',
  'https://a.test/',
  'http:relative',
  'https:other.test/x',
  'http://me:secret@a.test/',
  'http://a.test:25/',
]

/** What a connection is asked for: a URL; or `host:port`, of a tunnel. */
interface Asked {
  target: string
  isTunnel: boolean
}

/** Those of the blocked ports (Fetch §2.9) that come about here. */
const BLOCKED = new Set(['0', '1', '25', '43'])

export async function run(seed: number, cases: number): Promise<void> {
  await using server = await startServer()
  await using agent = new Agent({ proxy: server.url })
  await eachSeed(name, seed, cases, async (random) => {
    const location = create(random)
    server.location = location
    server.asked = []
    const failure = await fetch(BASE, { dispatcher: agent }).then(
      async (response) => void (await response.arrayBuffer()),
      (error: Error) => error,
    )
    const wanted = resolve(location)
    const [, next, ...more] = server.asked
    const said = `${JSON.stringify(location)}: asked for ${next ?? 'nothing'}, not ${wanted?.target ?? 'nothing'}`
    if (next !== wanted?.target || more.length > 0)
      throw new Error(`${said}: ${String((failure?.cause as Error | undefined)?.message)}`)
    const succeeds = wanted !== null && !wanted.isTunnel
    if ((failure === undefined) !== succeeds) throw new Error(`${said}: ${String(failure)}`)
  })
}

function create(random: Random): string {
  const text = random.isOneIn(2) ? random.sequence(PIECES, 1, 8) : mutate(random, random.pick(WHOLE), PIECES)
  // Blanks around it are no part of a field value, and an empty one is tested by hand.
  return text.replaceAll(/^[\t ]+|[\t ]+$/g, '') || '/'
}

/** What the redirect asks for, by the platform's parser; `null` where Fetch makes it a network error. */
function resolve(location: string): Asked | null {
  if (!URL.canParse(location, BASE)) return null
  const url = new URL(location, BASE)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return null
  if (url.username !== '' || url.password !== '' || BLOCKED.has(url.port)) return null
  if (url.protocol === 'https:')
    return { target: `${url.hostname}:${url.port === '' ? 443 : url.port}`, isTunnel: true }
  url.hash = ''
  return { target: url.href.replace(/#$/, ''), isTunnel: false }
}

interface Server extends AsyncDisposable {
  url: string
  location: string
  asked: string[]
}

/** A proxy that answers the first request with the redirect, and the next with 200; tunnels are refused. */
async function startServer(): Promise<Server> {
  const sockets = new Set<Socket>()
  const tcp = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    let heard = ''
    socket.on('data', (chunk) => {
      heard += chunk.toString('latin1')
      const end = heard.indexOf('\r\n\r\n')
      if (end < 0) return
      const [method, target = ''] = heard.split(' ', 2)
      heard = heard.slice(end + 4)
      server.asked.push(target)
      if (method === 'CONNECT') socket.end('HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n')
      else if (server.asked.length > 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
      else socket.write(`HTTP/1.1 302 Found\r\nlocation: ${server.location}\r\ncontent-length: 0\r\n\r\n`)
    })
  })
  tcp.listen(0, '127.0.0.1')
  await once(tcp, 'listening')
  const server: Server = {
    url: `http://127.0.0.1:${(tcp.address() as AddressInfo).port}`,
    location: '',
    asked: [],
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolveClosed) => tcp.close(resolveClosed))
    },
  }
  return server
}
