/** Proxies that refuse, hang, lie, or are not there. */
import type { AgentOptions } from '../../../lib/index.ts'
import type { Kind, Ports } from '../kind.ts'
import type { Bytes, Wire } from '../server/wire.ts'

const through = (scheme: string, more: AgentOptions = {}) => {
  return (ports: Ports): AgentOptions => ({ proxy: `${scheme}://127.0.0.1:${ports.proxy}`, ...more })
}
const http = through('http')
const hasty = { connectTimeout: 2000, headersTimeout: 500 }
/** What it says to its first message. */
const answer =
  (...pieces: Bytes[]) =>
  async (wire: Wire): Promise<void> => {
    await wire.heard()
    await wire.send(...pieces)
  }
const last =
  (...pieces: Bytes[]) =>
  async (wire: Wire): Promise<void> => {
    await answer(...pieces)(wire)
    wire.end()
  }
/** SOCKS5: what it says to the greeting, and to the request. */
const socks =
  (greeting: Bytes, reply?: Bytes) =>
  async (wire: Wire): Promise<void> => {
    await answer(greeting)(wire)
    if (reply !== undefined) await answer(reply)(wire)
  }
const tunnelled = ['h1s', 'h2'] as const
const NO_AUTH = Uint8Array.of(5, 0)
const refusal = (status: string): string => `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno`

export const proxies: Kind[] = [
  {
    name: 'a proxy that is not there',
    options: { proxy: 'http://127.0.0.1:2' },
    isHopeless: true,
    expect: 'ECONNREFUSED',
  },
  {
    name: 'a proxy that resets',
    proxy: (wire) => wire.heard().then(() => wire.reset()),
    options: http,
    expect: ['ECONNRESET', 'UND_ERR_PRX_CONN'],
  },
  { name: 'a proxy that closes', proxy: last(), options: http, over: ['h1'], expect: 'UND_ERR_SOCKET' },
  {
    name: 'a proxy that closes',
    proxy: last(),
    options: http,
    over: tunnelled,
    expect: ['UND_ERR_SOCKET', 'UND_ERR_PRX_CONN'],
  },
  {
    name: 'a proxy that hangs',
    proxy: () => {},
    options: through('http', hasty),
    over: ['h1'],
    expect: 'UND_ERR_HEADERS_TIMEOUT',
  },
  {
    name: 'a proxy that hangs',
    proxy: () => {},
    options: through('http', hasty),
    over: tunnelled,
    expect: 'UND_ERR_CONNECT_TIMEOUT',
  },
  {
    name: 'a proxy that hangs inside its answer',
    proxy: answer('HTTP/1.1 200 OK\r\nx: '),
    options: through('http', hasty),
    over: tunnelled,
    expect: 'UND_ERR_CONNECT_TIMEOUT',
  },
  {
    name: 'a proxy that wants a password',
    proxy: last(refusal('407 Who')),
    options: http,
    over: ['h1'],
    expect: '407 no',
  },
  ...['407 Who', '403 Forbidden', '502 Bad Gateway', '302 Found'].map((status): Kind => ({
    name: `a proxy that answers CONNECT with ${status.slice(0, 3)}`,
    proxy: answer(refusal(status)),
    options: http,
    over: tunnelled,
    expect: ['UND_ERR_PRX_CONN', 'UND_ERR_ABORTED'],
  })),
  {
    name: 'a proxy that talks garbage',
    proxy: answer('garbage\r\n\r\n'),
    options: http,
    over: ['h1'],
    expect: 'HPE_INVALID_CONSTANT',
  },
  {
    name: 'a proxy that talks garbage',
    proxy: answer('garbage\r\n\r\n'),
    options: http,
    over: tunnelled,
    expect: ['UND_ERR_SOCKET', 'UND_ERR_PRX_CONN', 'HPE_INVALID_CONSTANT'],
  },
  {
    name: 'a proxy that answers without an end',
    proxy: async (wire) => {
      await answer('HTTP/1.1 200 OK\r\n')(wire)
      await wire.flood((turn) => `h${turn}: ${'b'.repeat(1000)}\r\n`)
    },
    options: http,
    over: tunnelled,
    expect: ['UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_PRX_CONN'],
  },
  {
    name: 'a proxy that tunnels to itself',
    proxy: async (wire) => {
      await answer('HTTP/1.1 200 OK\r\n\r\n')(wire)
      await answer('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL')(wire)
    },
    options: http,
    over: tunnelled,
    expect: 'ERR_SSL_WRONG_VERSION_NUMBER',
  },
  {
    name: 'a proxy that speaks behind its 200',
    proxy: answer('HTTP/1.1 200 OK\r\n\r\nEVIL'),
    options: through('http', hasty),
    over: tunnelled,
    expect: ['UND_ERR_SOCKET', 'UND_ERR_PRX_CONN', 'ERR_SSL_WRONG_VERSION_NUMBER'],
  },
  {
    name: 'a proxy that closes its tunnel',
    proxy: last('HTTP/1.1 200 OK\r\n\r\n'),
    options: http,
    over: tunnelled,
    expect: 'ECONNRESET',
  },
  {
    name: 'a proxy of https that speaks no TLS',
    proxy: last('HTTP/1.1 400 Bad\r\n\r\n'),
    options: through('https'),
    isHopeless: true,
    expect: ['UND_ERR_PRX_TLS', 'ERR_SSL_WRONG_VERSION_NUMBER'],
  },
  {
    name: 'a SOCKS proxy that hangs',
    proxy: () => {},
    options: through('socks5', hasty),
    expect: 'UND_ERR_CONNECT_TIMEOUT',
  },
  {
    name: 'a SOCKS proxy that closes',
    proxy: last(),
    options: through('socks5'),
    expect: ['UND_ERR_SOCKS5', 'UND_ERR_SOCKET', 'UND_ERR_PRX_CONN'],
  },
  {
    name: 'a SOCKS proxy of another version',
    proxy: socks(Uint8Array.of(4, 0)),
    options: through('socks5'),
    expect: ['UND_ERR_SOCKS5', 'UND_ERR_SOCKS5_VERSION'],
  },
  {
    name: 'a SOCKS proxy that wants a password',
    proxy: socks(Uint8Array.of(5, 255)),
    options: through('socks5'),
    expect: ['UND_ERR_SOCKS5', 'UND_ERR_SOCKS5_AUTH_REJECTED'],
  },
  ...[1, 2, 3, 4, 5, 6, 7, 8, 99].map((reply): Kind => ({
    name: `a SOCKS proxy that replies ${reply}`,
    proxy: socks(NO_AUTH, Uint8Array.of(5, reply, 0, 1, 0, 0, 0, 0, 0, 0)),
    options: through('socks5'),
    expect: `UND_ERR_SOCKS5_REPLY_${reply}`,
    ...(reply > 8 ? { awaits: 'proxies' } : {}),
  })),
]
