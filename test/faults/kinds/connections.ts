/** Connections that do not come about, break off, fall silent or trickle. */
import { data, END_STREAM, headers, status, TYPE } from '../server/frames.ts'
import { join } from '../server/wire.ts'
import type { Kind } from '../kind.ts'

/** A head with a body of so many bytes. */
const head = (length: number): string => `HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\n`
const CHUNKED = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'
const IN_HEAD = 'HTTP/1.1 200 OK\r\ncontent-le'
/** HEADERS that announce more than they bring. */
const inHead = (id: number): Buffer => Buffer.from([0, 0, 9, TYPE.HEADERS, 4, 0, 0, 0, id, 0x88])
const LONG = Buffer.alloc(2_000_000)
/** Each shortens what must come to an end, and nothing else: a busy machine is slow. */
const shortHead = { headersTimeout: 300 }
const shortBody = { bodyTimeout: 300 }

export const connections: Kind[] = [
  {
    name: 'connection refused',
    origin: 'http://127.0.0.1:2',
    over: ['h1'],
    expect: 'ECONNREFUSED',
  },
  {
    name: 'connection refused',
    origin: 'https://127.0.0.1:2',
    over: ['h1s', 'h2'],
    expect: 'ECONNREFUSED',
  },
  {
    name: 'reset before the head',
    h1: (wire) => wire.reset(),
    h2: (wire) => wire.reset(),
    expect: 'ECONNRESET',
  },
  {
    name: 'reset inside the head',
    h1: async (wire) => {
      await wire.send(IN_HEAD)
      await wire.reset()
    },
    h2: async (wire, id) => {
      await wire.send(inHead(id))
      await wire.reset()
    },
    expect: 'ECONNRESET',
  },
  {
    name: 'reset inside the body',
    h1: async (wire) => {
      await wire.send(head(1000), 'abc')
      await wire.reset()
    },
    h2: async (wire, id) => {
      await wire.send(headers(id), data(id, 'abc'))
      await wire.reset()
    },
    expect: '200 then ECONNRESET',
    awaits: 'engine',
    awaitsOver: ['h2'],
  },
  {
    name: 'reset inside a long body',
    h1: async (wire) => {
      await wire.send(head(100_000_000), LONG)
      await wire.reset()
    },
    expect: '200 then ECONNRESET',
  },
  {
    name: 'reset inside a chunked body',
    h1: async (wire) => {
      await wire.send(CHUNKED, '5\r\nhello\r\n')
      await wire.reset()
    },
    expect: '200 then ECONNRESET',
  },
  {
    name: 'reset inside a body without length',
    h1: async (wire) => {
      await wire.send('HTTP/1.1 200 OK\r\n\r\nhello')
      await wire.reset()
    },
    expect: '200 then ECONNRESET',
  },
  {
    name: 'half-close before the head',
    h1: (wire) => wire.end(),
    h2: (wire) => wire.end(),
    expect: 'UND_ERR_SOCKET',
  },
  {
    name: 'half-close inside the head',
    h1: async (wire) => {
      await wire.send(IN_HEAD)
      wire.end()
    },
    h2: async (wire, id) => {
      await wire.send(inHead(id))
      wire.end()
    },
    expect: 'UND_ERR_SOCKET',
  },
  {
    name: 'half-close inside the body',
    h1: async (wire) => {
      await wire.send(head(1000), 'abc')
      wire.end()
    },
    h2: async (wire, id) => {
      await wire.send(headers(id), data(id, 'abc'))
      wire.end()
    },
    expect: '200 then UND_ERR_SOCKET',
  },
  {
    name: 'half-close inside a long body',
    h1: async (wire) => {
      await wire.send(head(3_000_000), LONG)
      wire.end()
    },
    expect: '200 then UND_ERR_SOCKET',
  },
  {
    name: 'half-close inside a chunk',
    h1: async (wire) => {
      await wire.send(CHUNKED, '5\r\nhel')
      wire.end()
    },
    expect: '200 then UND_ERR_SOCKET',
  },
  {
    name: 'half-close in place of the last chunk',
    h1: async (wire) => {
      await wire.send(CHUNKED, '5\r\nhello\r\n')
      wire.end()
    },
    expect: '200 then UND_ERR_SOCKET',
  },
  {
    name: 'half-close inside the trailers',
    h1: async (wire) => {
      await wire.send(CHUNKED, '5\r\nhello\r\n0\r\nx: ')
      wire.end()
    },
    expect: '200 then UND_ERR_SOCKET',
  },
  {
    name: 'half-close behind the body',
    h1: async (wire) => {
      await wire.send(head(2), 'ok')
      wire.end()
    },
    h2: async (wire, id) => {
      await wire.send(headers(id), data(id, 'ok', END_STREAM))
      wire.end()
    },
    expect: '200 ok',
    awaits: 'engine',
    isRare: true,
  },
  {
    name: 'close at once',
    accept: (wire) => wire.cut(),
    over: ['h1'],
    // Nothing was sent: another connection may be tried.
    expect: ['UND_ERR_SOCKET', '200 ok'],
  },
  {
    name: 'close at once, always',
    accept: (wire) => wire.cut(),
    isLasting: true,
    over: ['h1'],
    expect: 'UND_ERR_SOCKET',
  },
  {
    name: 'reset at once',
    accept: (wire) => wire.raw.resetAndDestroy(),
    over: ['h1'],
    expect: ['ECONNRESET', '200 ok'],
  },
  {
    name: 'reset at once, always',
    accept: (wire) => wire.raw.resetAndDestroy(),
    isLasting: true,
    over: ['h1'],
    expect: 'ECONNRESET',
  },
  {
    name: 'silence before the head',
    h1: () => {},
    h2: () => {},
    options: shortHead,
    expect: 'UND_ERR_HEADERS_TIMEOUT',
  },
  {
    name: 'silence inside the head',
    h1: (wire) => wire.send(IN_HEAD),
    options: shortHead,
    expect: 'UND_ERR_HEADERS_TIMEOUT',
  },
  {
    name: 'silence inside the head',
    h2: async (wire, id) => {
      await wire.send(inHead(id))
      wire.isMute = true
    },
    options: { ...shortHead, pingInterval: 100 },
    expect: ['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_SOCKET'],
    awaits: 'engine',
  },
  {
    name: 'silence before the body',
    h1: (wire) => wire.send(head(10)),
    h2: (wire, id) => wire.send(headers(id)),
    options: shortBody,
    expect: '200 then UND_ERR_BODY_TIMEOUT',
  },
  {
    name: 'silence inside the body',
    h1: (wire) => wire.send(head(10), 'abc'),
    h2: (wire, id) => wire.send(headers(id), data(id, 'abc')),
    options: shortBody,
    expect: '200 then UND_ERR_BODY_TIMEOUT',
  },
  {
    name: 'silence inside a long body',
    h1: (wire) => wire.send(head(3_000_000), LONG),
    options: shortBody,
    expect: '200 then UND_ERR_BODY_TIMEOUT',
  },
  {
    name: 'silence inside a chunked body',
    h1: (wire) => wire.send(CHUNKED, '5\r\nhello\r\n'),
    options: shortBody,
    expect: '200 then UND_ERR_BODY_TIMEOUT',
  },
  {
    name: 'silence of the whole connection',
    h2: (wire) => {
      wire.isMute = true
    },
    options: { ...shortHead, pingInterval: 100 },
    expect: ['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_SOCKET'],
    awaits: 'engine',
  },
  {
    name: 'silence in place of a connection',
    accept: () => {},
    over: ['h1s', 'h2'],
    options: { connectTimeout: 2000 },
    expect: 'UND_ERR_CONNECT_TIMEOUT',
  },
  {
    name: 'one byte at a time',
    h1: (wire) => wire.drip(`${head(2)}ok`),
    h2: (wire, id) => wire.drip(join(headers(id), data(id, 'ok', END_STREAM))),
    expect: '200 ok',
  },
  {
    name: 'one byte at a time, chunked, behind an early hint',
    h1: (wire) => wire.drip(`HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n${CHUNKED}2\r\nok\r\n0\r\nx: y\r\n\r\n`),
    h2: (wire, id) =>
      wire.drip(
        join(headers(id, 0, status(103)), headers(id), data(id, 'ok'), headers(id, END_STREAM, join('\0\x01x\x01y'))),
      ),
    expect: '200 ok',
  },
  {
    name: 'a head that trickles without an end',
    h1: async (wire) => {
      await wire.send('HTTP/1.1 200 OK\r\nx: ')
      await wire.drip('a'.repeat(10_000), 20)
    },
    options: shortHead,
    expect: 'UND_ERR_HEADERS_TIMEOUT',
  },
]
