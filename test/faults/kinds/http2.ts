/** What an HTTP/2 server does to its connection. */
import {
  ACK,
  data,
  END_HEADERS,
  END_STREAM,
  field,
  frame,
  goAway,
  headers,
  PADDED,
  settings,
  status,
  TYPE,
  windowUpdate,
  words,
} from '../server/frames.ts'
import type { Http2Wire } from '../server/http2.ts'
import type { Bytes } from '../server/wire.ts'
import type { Kind } from '../kind.ts'

const say =
  (what: (id: number) => Bytes[]) =>
  (wire: Http2Wire, id: number): Promise<void> =>
    wire.send(...what(id))
const ok = (id: number): Buffer => Buffer.concat([headers(id), data(id, 'ok', END_STREAM)])
const flood =
  (piece: (id: number) => Buffer) =>
  (wire: Http2Wire, id: number): Promise<void> =>
    wire.flood(Buffer.concat(Array.from({ length: 200 }, () => piece(id))))

const BROKEN = ['UND_ERR_SOCKET', 'ERR_HTTP2_SESSION_ERROR']

/** Each breaks the protocol: the client says GOAWAY and ends the connection. */
const VIOLATIONS: Record<string, (id: number) => Bytes[]> = {
  'DATA before HEADERS': (id) => [data(id, 'ok', END_STREAM)],
  'a window update of 0': (id) => [windowUpdate(id, 0)],
  'DATA on stream 0': () => [data(0, 'ok')],
  'DATA on a stream that was never opened': (id) => [data(id + 100, 'ok')],
  'HEADERS on a stream that was never opened': (id) => [headers(id + 100)],
  'HEADERS on a stream of the server': () => [headers(2)],
  'RST_STREAM on stream 0': () => [frame(TYPE.RST_STREAM, 0, 0, words(8))],
  'SETTINGS of a wrong length': () => [frame(TYPE.SETTINGS, 0, 0, Buffer.alloc(5))],
  'SETTINGS on a stream': (id) => [frame(TYPE.SETTINGS, 0, id)],
  'SETTINGS acknowledged with a payload': () => [frame(TYPE.SETTINGS, ACK, 0, Buffer.alloc(6))],
  'SETTINGS with a window beyond 2^31-1': () => [settings([4, 0xffff_ffff])],
  'SETTINGS with frames of 0 bytes': () => [settings([5, 0])],
  'PING of a wrong length': () => [frame(TYPE.PING, 0, 0, Buffer.alloc(4))],
  'PING on a stream': (id) => [frame(TYPE.PING, 0, id, Buffer.alloc(8))],
  'GOAWAY on a stream': (id) => [frame(TYPE.GOAWAY, 0, id, words(0, 0))],
  'GOAWAY that is cut short': () => [frame(TYPE.GOAWAY, 0, 0, Buffer.alloc(4))],
  'a window update of 0 for the connection': () => [windowUpdate(0, 0)],
  'a window of the connection that overflows': () => [windowUpdate(0, 0x7fff_ffff), windowUpdate(0, 0x7fff_ffff)],
  'CONTINUATION without HEADERS': (id) => [frame(TYPE.CONTINUATION, END_HEADERS, id, status(200))],
  'a frame between HEADERS and CONTINUATION': (id) => [
    frame(TYPE.HEADERS, 0, id, status(200)),
    frame(TYPE.PING, 0, 0, Buffer.alloc(8)),
    frame(TYPE.CONTINUATION, END_HEADERS, id),
  ],
  'a field outside the table': (id) => [headers(id, 0, Buffer.from([0x88, 0xff, 0x50]))],
  'Huffman that is none': (id) => [headers(id, 0, Buffer.from([0x88, 0, 1, 0x78, 0x84, 0xff, 0xff, 0xff, 0xff]))],
  'a table larger than allowed': (id) => [headers(id, 0, Buffer.from([0x3f, 0xe1, 0xff, 0xff, 7, 0x88]))],
  'a frame of 20 000 bytes': (id) => [frame(TYPE.HEADERS, END_HEADERS, id, Buffer.alloc(20_000))],
  'padding longer than its frame': (id) => [frame(TYPE.HEADERS, PADDED | END_HEADERS, id, Uint8Array.of(200, 1, 2))],
  'PUSH_PROMISE that was not allowed': (id) => [
    frame(TYPE.PUSH_PROMISE, END_HEADERS, id, words(2), field(':method', 'GET'), field(':path', '/')),
  ],
  'HTTP/1.1 in place of frames': () => ['HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'],
}

export const http2: Kind[] = [
  ...Object.entries(VIOLATIONS).map(([name, what]): Kind => ({ name, h2: say(what), expect: BROKEN })),
  { name: 'GOAWAY of all requests', h2: say(() => [goAway(0, 0)]), expect: '200 ok' },
  {
    name: 'GOAWAY of all requests, and the end',
    h2: async (wire) => {
      await wire.send(goAway(0, 0))
      wire.end()
    },
    expect: '200 ok',
  },
  {
    name: 'GOAWAY of all requests, always',
    h2: say(() => [goAway(0, 0)]),
    isLasting: true, // It is tried again a hundred times, which may take longer than the timeout.
    options: { headersTimeout: 3000 },
    expect: ['UND_ERR_SOCKET', 'UND_ERR_HEADERS_TIMEOUT'],
  },
  { name: 'GOAWAY, and the answer', h2: say((id) => [goAway(id, 0), ok(id)]), expect: '200 ok' },
  {
    name: 'GOAWAY inside the body, and its end',
    h2: say((id) => [headers(id), data(id, 'o'), goAway(id, 0), data(id, 'k', END_STREAM)]),
    expect: '200 ok',
  },
  {
    name: 'GOAWAY inside the body, and the end of the connection',
    h2: async (wire, id) => {
      await wire.send(headers(id), data(id, 'o'), goAway(id, 0))
      wire.end()
    },
    expect: '200 then UND_ERR_SOCKET',
  },
  { name: 'GOAWAY with an error before the head', h2: say(() => [goAway(0, 2)]), expect: 'UND_ERR_SOCKET' },
  {
    name: 'GOAWAY with an error inside the body',
    h2: say((id) => [headers(id), data(id, 'o'), goAway(0, 2)]),
    expect: '200 then UND_ERR_SOCKET',
  },
  { name: 'GOAWAY that asks for calm', h2: say(() => [goAway(0, 11)]), expect: 'UND_ERR_SOCKET' },
  {
    name: 'GOAWAY, and silence',
    h2: say((id) => [goAway(id, 0)]),
    options: { headersTimeout: 300 },
    expect: 'UND_ERR_HEADERS_TIMEOUT',
  },
  {
    name: 'GOAWAY before a request',
    greet: (wire) => wire.send(settings(), goAway(0, 0)),
    over: ['h2'],
    expect: '200 ok',
  },
  { name: 'no SETTINGS', greet: () => {}, over: ['h2'], options: { headersTimeout: 1000 }, expect: '200 ok' },
  {
    name: 'no streams allowed',
    greet: (wire) => wire.send(settings([3, 0])),
    over: ['h2'],
    options: { headersTimeout: 300 },
    expect: ['UND_ERR_HEADERS_TIMEOUT', '200 ok'],
    awaits: 'engine',
  },
  {
    name: 'no streams allowed any more, and the answer',
    h2: say((id) => [settings([3, 0]), ok(id), settings([3, 100])]),
    expect: '200 ok',
  },
  {
    name: 'SETTINGS that allow a push, and the answer',
    h2: say((id) => [settings([2, 1]), ok(id)]),
    expect: ['200 ok', ...BROKEN],
  },
  { name: 'a table of 0 bytes', h2: say((id) => [settings([1, 0]), ok(id)]), expect: '200 ok' },
  {
    name: 'a frame of a type that nobody knows',
    h2: say((id) => [frame(0xee, 0xff, id, 'x'), ok(id)]),
    expect: '200 ok',
  },
  {
    name: '2000 SETTINGS, and the answer',
    h2: say((id) => [...Array.from({ length: 2000 }, () => settings()), ok(id)]),
    expect: '200 ok',
  },
  {
    name: 'SETTINGS without an end',
    h2: flood(() => settings()),
    options: { headersTimeout: 500 },
    expect: [...BROKEN, 'UND_ERR_HEADERS_TIMEOUT'],
  },
  {
    name: 'PING without an end',
    h2: flood(() => frame(TYPE.PING, 0, 0, Buffer.alloc(8))),
    options: { headersTimeout: 500 },
    expect: [...BROKEN, 'UND_ERR_HEADERS_TIMEOUT'],
  },
  {
    name: 'PING without an end or an ear',
    h2: async (wire) => {
      wire.stream.pause()
      await wire.flood(Buffer.concat(Array.from({ length: 200 }, () => frame(TYPE.PING, 0, 0, Buffer.alloc(8)))))
    },
    options: { headersTimeout: 500, pingInterval: 100 },
    expect: [...BROKEN, 'UND_ERR_HEADERS_TIMEOUT'],
    awaits: 'engine',
  },
  {
    name: 'RST_STREAM without an end',
    h2: flood((id) => frame(TYPE.RST_STREAM, 0, id, words(8))),
    expect: [...BROKEN, 'ERR_HTTP2_STREAM_ERROR'],
  },
  {
    name: 'PRIORITY without an end',
    h2: flood((id) => frame(TYPE.PRIORITY, 0, id, Buffer.alloc(5))),
    options: { headersTimeout: 500 },
    expect: [...BROKEN, 'UND_ERR_HEADERS_TIMEOUT'],
  },
  {
    name: 'unknown frames without an end',
    h2: flood(() => frame(0xee, 0, 0, Buffer.alloc(100))),
    options: { headersTimeout: 500 },
    expect: [...BROKEN, 'UND_ERR_HEADERS_TIMEOUT'],
  },
  {
    name: 'CONTINUATION without an end',
    h2: async (wire, id) => {
      await wire.send(frame(TYPE.HEADERS, 0, id, status(200)))
      await wire.flood(frame(TYPE.CONTINUATION, 0, id, field('x', 'y'.repeat(1000))))
    },
    expect: [...BROKEN, 'UND_ERR_HEADERS_OVERFLOW'],
  },
  {
    name: 'empty CONTINUATION without an end',
    h2: async (wire, id) => {
      await wire.send(frame(TYPE.HEADERS, 0, id, status(200)))
      await wire.flood(Buffer.concat(Array.from({ length: 200 }, () => frame(TYPE.CONTINUATION, 0, id))))
    },
    expect: [...BROKEN, 'UND_ERR_HEADERS_OVERFLOW'],
  },
  {
    name: 'more than the window',
    h2: async (wire, id) => {
      await wire.send(headers(id))
      await wire.flood(data(id, Buffer.alloc(16_384)))
    },
    // The reader of a body that is read gives windows for as long as it lasts: one that is limited does not.
    options: { maxResponseSize: 1_000_000 },
    expect: ['200 then UND_ERR_RES_EXCEEDED_MAX_SIZE', '200 then ERR_HTTP2_STREAM_ERROR'],
  },
]
