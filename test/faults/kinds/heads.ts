/** Heads of HTTP/1.1 that are too large, or are none. */
import type { Kind } from '../kind.ts'
import type { Wire } from '../server/wire.ts'

const OK = 'HTTP/1.1 200 OK\r\n'
const BODY = 'content-length: 2\r\n\r\nok'
const say =
  (text: string) =>
  (wire: Wire): Promise<void> =>
    wire.send(text)
const fields = (text: string): ((wire: Wire) => Promise<void>) => say(`${OK}${text}${BODY}`)
const many = (count: number): string => Array.from({ length: count }, (_, n) => `h${n}: ${n}\r\n`).join('')
/** Of a small start and floods of more. */
const endless =
  (start: string, more: string | ((turn: number) => string)) =>
  async (wire: Wire): Promise<void> => {
    await wire.send(start)
    await wire.flood(more)
  }
const short = { headersTimeout: 300 }

export const heads: Kind[] = [
  { name: 'a head of 15 KiB', h1: fields(`x: ${'a'.repeat(15_000)}\r\n`), expect: '200 ok' },
  { name: 'a head of 20 KiB', h1: fields(`x: ${'a'.repeat(20_000)}\r\n`), expect: 'UND_ERR_HEADERS_OVERFLOW' },
  { name: 'a head of 2 MiB', h1: fields(`x: ${'a'.repeat(2 ** 21)}\r\n`), expect: 'UND_ERR_HEADERS_OVERFLOW' },
  {
    name: 'a head of 200 KiB that is allowed',
    h1: fields(`x: ${'a'.repeat(200 * 1024)}\r\n`),
    options: { maxHeaderSize: 256 * 1024 },
    expect: '200 ok',
  },
  { name: '500 fields', h1: fields(many(500)), expect: '200 ok' },
  { name: '10 000 fields', h1: fields(many(10_000)), expect: 'UND_ERR_HEADERS_OVERFLOW' },
  {
    name: 'a head without an end',
    h1: endless(OK, (turn) => `h${turn}: ${'b'.repeat(1000)}\r\n`),
    expect: 'UND_ERR_HEADERS_OVERFLOW',
  },
  { name: 'a field without an end', h1: endless(`${OK}x: `, 'b'.repeat(65_536)), expect: 'UND_ERR_HEADERS_OVERFLOW' },
  { name: 'a field name without an end', h1: endless(OK, 'b'.repeat(65_536)), expect: 'UND_ERR_HEADERS_OVERFLOW' },
  {
    name: 'a reason without an end',
    h1: endless('HTTP/1.1 200 ', 'b'.repeat(65_536)),
    expect: 'UND_ERR_HEADERS_OVERFLOW',
  },
  {
    name: 'empty lines without an end',
    h1: endless('', '\r\n'.repeat(30_000)),
    expect: ['UND_ERR_HEADERS_OVERFLOW', 'HPE_INVALID_CONSTANT'],
  },
  { name: 'an empty line before the head', h1: say(`\r\n${OK}${BODY}`), expect: '200 ok' },
  {
    name: 'lines that end in LF alone',
    h1: say('HTTP/1.1 200 OK\ncontent-length: 2\n\nok'),
    expect: ['HPE_CR_EXPECTED', 'HPE_INVALID_HEADER_TOKEN'],
  },
  {
    name: 'one line that ends in LF alone',
    h1: say(`${OK}x: y\n${BODY}`),
    expect: ['HPE_CR_EXPECTED', 'HPE_INVALID_HEADER_TOKEN'],
  },
  { name: 'a CR in a value', h1: fields('x: a\rb\r\n'), expect: ['HPE_INVALID_HEADER_TOKEN', 'HPE_LF_EXPECTED'] },
  { name: 'a value of CR', h1: fields('x: \r\r\n'), expect: ['HPE_INVALID_HEADER_TOKEN', 'HPE_LF_EXPECTED'] },
  { name: 'a NUL in a value', h1: fields('x: a\0b\r\n'), expect: 'HPE_INVALID_HEADER_TOKEN' },
  { name: 'a NUL in a name', h1: fields('x\0y: a\r\n'), expect: 'HPE_INVALID_HEADER_TOKEN' },
  { name: 'a control character in a value', h1: fields('x: a\x01b\r\n'), expect: 'HPE_INVALID_HEADER_TOKEN' },
  { name: 'a blank before the colon', h1: fields('x : y\r\n'), expect: 'HPE_INVALID_HEADER_TOKEN' },
  { name: 'a line without a colon', h1: fields('foobar\r\n'), expect: 'HPE_INVALID_HEADER_TOKEN' },
  { name: 'an empty name', h1: fields(': x\r\n'), expect: 'HPE_INVALID_HEADER_TOKEN' },
  { name: 'a folded value', h1: fields('x: a\r\n  b\r\n'), expect: 'HPE_INVALID_HEADER_TOKEN' },
  {
    name: 'a folded content-length',
    h1: say(`${OK}content-length: 2\r\n 0\r\n\r\nok`),
    expect: ['HPE_INVALID_HEADER_TOKEN', 'HPE_INVALID_CONTENT_LENGTH', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'],
  },
  {
    name: 'a folded transfer-encoding',
    h1: say(`${OK}transfer-encoding:\r\n chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`),
    expect: 'HPE_INVALID_HEADER_TOKEN',
  },
  {
    name: 'a folded status line',
    h1: fields(' folded\r\n'),
    expect: 'HPE_INVALID_HEADER_TOKEN',
  },
  {
    name: 'a folded status line of an early hint',
    h1: say(`HTTP/1.1 103 Early\r\n folded\r\nlink: x\r\n\r\n${OK}${BODY}`),
    expect: 'HPE_INVALID_HEADER_TOKEN',
  },
  { name: 'garbage', h1: say('\x16\x03\x01\x02\x00garbage\r\n\r\n'), expect: 'HPE_INVALID_CONSTANT' },
  {
    name: 'garbage without a line',
    h1: say('garbage'),
    options: short,
    expect: ['HPE_INVALID_CONSTANT', 'UND_ERR_HEADERS_TIMEOUT'],
  },
  {
    name: 'HTTP/0.9',
    h1: async (wire) => {
      await wire.send('<html>hello</html>')
      wire.end()
    },
    expect: 'HPE_INVALID_CONSTANT',
  },
  {
    name: 'frames of HTTP/2',
    h1: say('\0\0\0\x04\0\0\0\0\0'),
    options: short,
    expect: ['HPE_INVALID_CONSTANT', 'UND_ERR_HEADERS_TIMEOUT'],
  },
  { name: 'ICY', h1: say(`ICY 200 OK\r\n${BODY}`), expect: 'HPE_INVALID_CONSTANT' },
  { name: 'HTTP/3.7', h1: say(`HTTP/3.7 200 OK\r\n${BODY}`), expect: ['HPE_INVALID_VERSION', 'HPE_INVALID_CONSTANT'] },
  { name: 'no reason', h1: say(`HTTP/1.1 200\r\n${BODY}`), expect: '200 ok' },
  {
    name: 'status 999',
    h1: say(`HTTP/1.1 999 X\r\n${BODY}`),
    expect: { dispatch: '999 ok', fetch: ['HPE_INVALID_STATUS', '999 ok'] },
  },
  ...['99', '000', 'abc', '2xx', '-20'].map((status): Kind => ({
    name: `status ${status}`,
    h1: say(`HTTP/1.1 ${status} X\r\n${BODY}`),
    expect: 'HPE_INVALID_STATUS',
  })),
  { name: 'status 1000', h1: say(`HTTP/1.1 1000 X\r\n${BODY}`), expect: 'HPE_INVALID_STATUS' },
]
