/** Responses of HTTP/1.1 that come too often, too early, or with a body where none may be. */
import type { Kind } from '../kind.ts'
import type { Wire } from '../server/wire.ts'

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'
/** As many as fill a few MB: each costs its reader more than its bytes. */
const MOST_HINTS = 4 * 2 ** 20
/** What the next request must not be answered with. */
const SURPLUS = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL'
const CHUNKED = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'
const HINT = 'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n'
const say =
  (...text: string[]) =>
  (wire: Wire): Promise<void> =>
    wire.send(...text)
const sayApart =
  (first: string, second: string, ms: number) =>
  async (wire: Wire): Promise<void> => {
    await wire.send(first)
    if (ms > 0) await wire.pause(ms)
    await wire.send(second)
  }
const LONG = 'a'.repeat(3_000_000)

export const responses: Kind[] = [
  { name: 'two responses', h1: say(OK, SURPLUS), expect: '200 ok' },
  { name: 'two responses, chunked', h1: say(CHUNKED, SURPLUS), expect: '200 ok' },
  {
    name: 'two responses, a long one first',
    h1: say(`HTTP/1.1 200 OK\r\ncontent-length: ${LONG.length}\r\n\r\n${LONG}`, SURPLUS),
    expect: `200 ${LONG.length} bytes`,
  },
  {
    name: 'a second response in a segment of its own',
    h1: sayApart(OK, SURPLUS, 0),
    expect: '200 ok',
    awaits: 'engine',
    isRare: true,
  },
  {
    name: 'a second response after 1 ms',
    h1: sayApart(OK, SURPLUS, 1),
    expect: '200 ok',
    awaits: 'engine',
    isRare: true,
  },
  { name: 'surplus bytes', h1: say(OK, 'xxxx'), expect: '200 ok' },
  {
    name: 'a response before the request',
    greet: (wire) => wire.send(SURPLUS),
    over: ['h1', 'h1s'],
    expect: ['UND_ERR_SOCKET', '200 ok'],
    awaits: 'engine',
    isRare: true,
  },
  {
    name: 'a close before the request',
    greet: (wire) => wire.end(),
    over: ['h1', 'h1s'],
    expect: ['UND_ERR_SOCKET', '200 ok'],
  },
  { name: 'an early hint', h1: say(HINT, OK), expect: '200 ok' },
  { name: 'a 102', h1: say('HTTP/1.1 102 Processing\r\n\r\n', OK), expect: '200 ok' },
  { name: 'a 100 that nobody asked for', h1: say('HTTP/1.1 100 Continue\r\n\r\n', OK), expect: 'UND_ERR_SOCKET' },
  { name: '100 early hints', h1: say(HINT.repeat(100), OK), expect: '200 ok' },
  {
    name: 'early hints without an end',
    h1: (wire) => wire.flood(HINT.repeat(1000), MOST_HINTS),
    options: { headersTimeout: 500 },
    expect: 'UND_ERR_HEADERS_OVERFLOW',
  },
  {
    name: 'long early hints without an end',
    h1: (wire) => wire.flood(`HTTP/1.1 103 Early Hints\r\nlink: ${'x'.repeat(12_000)}\r\n\r\n`.repeat(5), MOST_HINTS),
    options: { headersTimeout: 500 },
    expect: 'UND_ERR_HEADERS_OVERFLOW',
  },
  {
    name: 'an early hint with a body',
    h1: say('HTTP/1.1 103 Early Hints\r\ncontent-length: 4\r\n\r\nbody', OK),
    expect: 'HPE_INVALID_CONSTANT',
  },
  {
    name: 'a 101 that nobody asked for',
    h1: say('HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\nhello'),
    expect: 'UND_ERR_SOCKET',
  },
  { name: 'a 204 with a body', h1: say('HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok'), expect: '204' },
  {
    name: 'a 204 in chunks',
    h1: say('HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'),
    expect: '204',
  },
  { name: 'a 304 with a body', h1: say('HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\nok'), expect: '304' },
  {
    name: 'a 304 that tells a length',
    h1: say('HTTP/1.1 304 Not Modified\r\ncontent-length: 2000000\r\n\r\n'),
    expect: '304',
  },
  {
    name: 'a 205 with a body',
    h1: say('HTTP/1.1 205 Reset Content\r\ncontent-length: 2\r\n\r\nok'),
    expect: { dispatch: '205 ok', fetch: '205' },
  },
  { name: 'HEAD with a body', request: { method: 'HEAD' }, h1: say(OK), expect: '200' },
]
