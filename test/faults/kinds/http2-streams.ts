/** What an HTTP/2 server does to one stream, by which no other may be hurt. */
import {
  block,
  data,
  END_HEADERS,
  END_STREAM,
  field,
  frame,
  headers,
  longHeaders,
  PADDED,
  resetStream,
  status,
  TYPE,
  windowUpdate,
} from '../server/frames.ts'
import type { Http2Wire } from '../server/http2.ts'
import { join } from '../server/wire.ts'
import type { Bytes } from '../server/wire.ts'
import type { Http2Script, Kind } from '../kind.ts'

type Say = (id: number) => Bytes[]

const say =
  (what: Say): Http2Script =>
  (wire, id) =>
    wire.send(...what(id))
/** Head and end in one, of a block. */
const only = (payload: Buffer): Http2Script => say((id) => [headers(id, END_STREAM, payload)])
/** A head of a block, and `ok`. */
const withBody = (payload: Buffer): Http2Script => say((id) => [longHeaders(id, payload), data(id, 'ok', END_STREAM)])
const FAILED = 'ERR_HTTP2_STREAM_ERROR'
const big = (count: number, bytes: number): Buffer =>
  join(status(200), ...Array.from({ length: count }, (_, n) => field(`x${n}`, 'v'.repeat(bytes))))

/** Of RFC 9113 §7, and one that nobody knows; a refused stream (7) is sent again. */
const CODES = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 99]

/** Each is malformed (RFC 9113 §8.1.1): that stream fails, and nothing else. */
const MALFORMED: Record<string, Http2Script> = {
  'no status': only(field('x', 'y')),
  'two statuses': only(join(status(200), status(201))),
  'a status of letters': only(status('abc')),
  'a status of four digits': only(status('2000')),
  'a name in capitals': only(block(200, ['X-Upper', 'y'])),
  'an empty name': only(block(200, ['', 'y'])),
  'a NUL in a value': only(block(200, ['x', 'a\0b'])),
  'CR LF in a value': only(block(200, ['x', 'a\r\nset-cookie: a=b'])),
  'CR LF in a name': only(block(200, ['x\r\ny', 'a'])),
  'a colon in a name': only(block(200, ['x:y', 'a'])),
  'a connection header': only(block(200, ['connection', 'close'])),
  'a transfer-encoding': withBody(block(200, ['transfer-encoding', 'chunked'])),
  'a pseudo-header behind a header': only(join(field('x', 'y'), status(200))),
  'an unknown pseudo-header': only(block(200, [':foo', 'y'])),
  'an informational head that ends': only(status(103)),
  'less than its content-length': withBody(block(200, ['content-length', '5'])),
  'more than its content-length': withBody(block(200, ['content-length', '1'])),
  'two content-lengths': withBody(block(200, ['content-length', '2'], ['content-length', '3'])),
  'a content-length that is none': withBody(block(200, ['content-length', 'x'])),
  'a 204 with a body': withBody(status(204)),
  'a 304 with a body': withBody(status(304)),
  'HEADERS twice': say((id) => [headers(id), headers(id), data(id, 'ok', END_STREAM)]),
  'trailers that go on': say((id) => [
    headers(id),
    data(id, 'ok'),
    headers(id, 0, field('x', 'y')),
    data(id, 'zz', END_STREAM),
  ]),
  'a status in the trailers': say((id) => [headers(id), data(id, 'ok'), headers(id, END_STREAM)]),
  'a window that overflows': say((id) => [windowUpdate(id, 0x7fff_ffff), windowUpdate(id, 0x7fff_ffff)]),
}

/** They end the connection, or are not seen. */
const AWAITED = new Set([
  'a status of letters',
  'a status of four digits',
  'a name in capitals',
  'an empty name',
  'a NUL in a value',
  'CR LF in a value',
  'CR LF in a name',
  'a colon in a name',
  'an unknown pseudo-header',
  'a 204 with a body',
  'a 304 with a body',
  'a status in the trailers',
  'a window that overflows',
])

/** Malformed too; a client may look the other way. */
const OVERLOOKED: Record<string, Http2Script> = {
  'a blank around a value': only(block(200, ['x', ' a '])),
  "a request's pseudo-header": only(block(200, [':path', '/y'])),
  'a status of 101': say((id) => [headers(id, 0, status(101)), headers(id, END_STREAM)]),
}

/** They show in the body, or already in the head, as the frames come in. */
const IN_BODY = new Set([
  'less than its content-length',
  'more than its content-length',
  'HEADERS twice',
  'trailers that go on',
  'a status in the trailers',
  'a transfer-encoding',
])

const active = new WeakMap<Http2Wire, number>()

/** Takes 50 ms for each request, and refuses what is more than two. */
const twoAtOnce: Http2Script = async (wire, id) => {
  const others = active.get(wire) ?? 0
  if (others === 2) return wire.send(resetStream(id, 7))
  active.set(wire, others + 1)
  await wire.pause(50)
  await wire.send(headers(id), data(id, 'ok', END_STREAM))
  return active.set(wire, active.get(wire)! - 1)
}

export const streams: Kind[] = [
  ...CODES.map((code): Kind => ({
    name: `RST_STREAM ${code} before the head`,
    h2: say((id) => [resetStream(id, code)]),
    isAlone: true,
    expect: FAILED,
  })),
  ...[...CODES, 7].map((code): Kind => ({
    name: `RST_STREAM ${code} inside the body`,
    h2: say((id) => [headers(id), data(id, 'o'), resetStream(id, code)]),
    isAlone: true,
    expect: `200 then ${FAILED}`,
  })),
  { name: 'RST_STREAM 7 before the head', h2: say((id) => [resetStream(id, 7)]), isAlone: true, expect: '200 ok' },
  {
    name: 'RST_STREAM 7 before every head',
    h2: say((id) => [resetStream(id, 7)]),
    isLasting: true,
    isAlone: true,
    expect: FAILED,
  },
  {
    name: 'RST_STREAM behind the end',
    h2: say((id) => [headers(id), data(id, 'ok', END_STREAM), resetStream(id, 0)]),
    isAlone: true,
    expect: '200 ok',
  },
  ...Object.entries(MALFORMED).map(([name, h2]): Kind => ({
    name,
    h2,
    isAlone: true,
    expect: IN_BODY.has(name) ? [FAILED, `200 then ${FAILED}`] : FAILED,
    ...(AWAITED.has(name) ? { awaits: 'engine' } : {}),
  })),
  ...Object.entries(OVERLOOKED).map(([name, h2]): Kind => ({ name, h2, isAlone: true, expect: ['200', FAILED] })),
  {
    name: 'an early hint',
    h2: say((id) => [headers(id, 0, status(103)), headers(id), data(id, 'ok', END_STREAM)]),
    isAlone: true,
    expect: '200 ok',
  },
  {
    name: 'early hints without an end',
    h2: (wire, id) =>
      wire.flood(Buffer.concat(Array.from({ length: 100 }, () => headers(id, 0, status(103)))), 4 * 2 ** 20),
    options: { headersTimeout: 1000 },
    expect: ['UND_ERR_HEADERS_OVERFLOW', 'ERR_HTTP2_STREAM_ERROR'],
    awaits: 'engine',
  },
  { name: 'a head of 15 KiB', h2: withBody(big(15, 1000)), isAlone: true, expect: '200 ok' },
  {
    name: 'a head of 30 KiB',
    h2: withBody(big(30, 1000)),
    isAlone: true,
    expect: 'UND_ERR_HEADERS_OVERFLOW',
    awaits: 'engine',
  },
  {
    name: 'a head of 100 KiB',
    h2: withBody(big(100, 1000)),
    isAlone: true,
    expect: 'UND_ERR_HEADERS_OVERFLOW',
    awaits: 'engine',
  },
  {
    name: 'a head of 1 MiB',
    h2: withBody(big(1000, 1000)),
    isAlone: true,
    expect: 'UND_ERR_HEADERS_OVERFLOW',
    awaits: 'engine',
  },
  {
    name: 'a head of 60 KiB that is allowed',
    h2: withBody(big(60, 1000)),
    options: { maxHeaderSize: 256 * 1024 },
    isAlone: true,
    expect: '200 ok',
    awaits: 'engine',
  },
  {
    name: '10 000 fields',
    h2: withBody(join(status(200), ...Array.from({ length: 10_000 }, (_, n) => field(`h${n}`, 'v')))),
    isAlone: true,
    expect: 'UND_ERR_HEADERS_OVERFLOW',
    awaits: 'engine',
  },
  {
    name: 'trailers of 30 KiB',
    h2: say((id) => [
      headers(id),
      data(id, 'ok'),
      longHeaders(id, big(30, 1000).subarray(status(200).length), END_STREAM),
    ]),
    isAlone: true,
    expect: '200 then UND_ERR_HEADERS_OVERFLOW',
    awaits: 'engine',
  },
  {
    name: 'DATA behind the end',
    h2: say((id) => [headers(id), data(id, 'ok', END_STREAM), data(id, 'more')]),
    isAlone: true,
    expect: '200 ok',
  },
  {
    name: 'HEADERS behind the end',
    h2: say((id) => [headers(id), data(id, 'ok', END_STREAM), headers(id)]),
    isAlone: true,
    expect: '200 ok',
  },
  {
    name: 'padding alone',
    h2: say((id) => [headers(id), frame(TYPE.DATA, PADDED | END_STREAM, id, Uint8Array.of(200), Buffer.alloc(200))]),
    isAlone: true,
    expect: '200',
  },
  {
    name: 'empty DATA without an end',
    h2: async (wire, id) => {
      await wire.send(headers(id))
      await wire.flood(Buffer.concat(Array.from({ length: 200 }, () => data(id, ''))))
    },
    options: { bodyTimeout: 500 },
    expect: ['200 then UND_ERR_BODY_TIMEOUT', '200 then ERR_HTTP2_SESSION_ERROR', '200 then UND_ERR_SOCKET'],
  },
  {
    name: 'window updates without an end',
    h2: (wire, id) => wire.flood(Buffer.concat(Array.from({ length: 200 }, () => windowUpdate(id, 1)))),
    options: { headersTimeout: 500 },
    expect: 'UND_ERR_HEADERS_TIMEOUT',
  },
  {
    name: 'a compressed head that grows',
    // A field of 4000 bytes enters the table, and a byte each repeats it.
    h2: say((id) => [
      longHeaders(id, join(status(200), field('x', 'y'.repeat(4000), 0x40), Buffer.alloc(15_000, 0xbe))),
      data(id, 'ok', END_STREAM),
    ]),
    expect: 'UND_ERR_HEADERS_OVERFLOW',
    isAlone: true,
    awaits: 'engine',
  },
  {
    name: 'a window that stays closed',
    h2: () => {},
    greet: (wire) => wire.send(frame(TYPE.SETTINGS, 0, 0, Uint8Array.of(0, 4, 0, 0, 0, 0))),
    request: { method: 'POST', body: 'x'.repeat(200_000) },
    options: { headersTimeout: 400 },
    expect: 'UND_ERR_HEADERS_TIMEOUT',
  },
  {
    name: 'two streams at once for twenty requests',
    greet: (wire) => wire.send(frame(TYPE.SETTINGS, 0, 0, Uint8Array.of(0, 3, 0, 0, 0, 2))),
    h2: twoAtOnce,
    isLasting: true,
    requests: 20,
    options: { headersTimeout: 300 },
    expect: '200 ok',
    awaits: 'engine',
  },
  {
    name: 'HEADERS that depend on themselves',
    h2: say((id) => [
      frame(TYPE.HEADERS, END_HEADERS | 0x20, id, Uint8Array.of(0, 0, 0, id, 1), status(200)),
      data(id, 'ok', END_STREAM),
    ]),
    expect: ['200 ok', FAILED, 'ERR_HTTP2_SESSION_ERROR'],
  },
]
