/** undici-contract.md §2.1: request headers, byte for byte as a raw server receives them. */
import type { DispatchOptions } from '../../lib/index.ts'
import { REQWEST, WIRE } from './support/contestants.ts'
import { OK } from './support/raw-server.ts'
import { row } from './support/row.ts'
import type { Stage } from './support/stage.ts'

type Options = Partial<DispatchOptions> & Record<string, unknown>

/** The request line and header lines; or the refusal. */
async function wire(stage: Stage, options: Options): Promise<string[]> {
  const server = await stage.raw(OK)
  const observer = await stage.fetch(server.origin, options)
  if (observer.error !== null) return [`${observer.error.name}: ${observer.error.message}`]
  return server.requests[0]!.lines.map((line) => stage.mask(line))
}

/** The lines after `host` and `connection`. */
async function own(stage: Stage, headers: unknown): Promise<string[]> {
  const lines = await wire(stage, { headers: headers as never })
  return lines[0]!.startsWith('GET ') ? lines.slice(3) : lines
}

const all = async <T>(stage: Stage, cases: readonly T[], act: (stage: Stage, each: T) => Promise<unknown>) => {
  const results = []
  for (const each of cases) results.push(await act(stage, each))
  return results
}

const HOST = 'host: 127.0.0.1:PORT'
const KEEP = 'connection: keep-alive'
const invalid = (message: string): string[] => [`InvalidArgumentError: ${message}`]

row('§2.1 a GET has host and connection, in this order, and nothing else', {
  on: WIRE,
  run: (stage) => wire(stage, {}),
  expected: ['GET / HTTP/1.1', HOST, KEEP],
})

row('§2.1 an object: order and case of names are kept', {
  on: WIRE,
  run: (stage) => own(stage, { 'X-Zebra': '1', accept: '*/*', 'x-Apple': '2', 'USER-AGENT': 'me' }),
  expected: ['X-Zebra: 1', 'accept: */*', 'x-Apple: 2', 'USER-AGENT: me'],
})

row('§2.1 a flat array', {
  on: WIRE,
  run: (stage) => own(stage, ['A', '1', 'b', '2', 'A', '3']),
  expected: ['A: 1', 'b: 2', 'A: 3'],
})

row('§2.1 iterables of pairs: Map, Headers, generator', {
  on: WIRE,
  run: (stage) => {
    function* pairs(): Generator<[string, string]> {
      yield ['B', '1']
      yield ['a', '2']
    }
    return all(stage, [new Map([['B', '1']]), new Headers({ B: '1', a: '2' }), pairs()], own)
  },
  expected: [['B: 1'], ['a: 2', 'b: 1'], ['B: 1', 'a: 2']],
})

row('§2.1 shapes that are none', {
  run: (stage) =>
    all(stage, [['odd'], new Set([['a', 'b', 'c']]), new Set(['ab']), 'a: b', 5, () => {}], (_, headers) =>
      wire(stage, { headers: headers as never }),
    ),
  expected: [
    invalid('headers array must be even'),
    invalid('headers must be in key-value pair format'),
    invalid('headers must be in key-value pair format'),
    invalid('headers must be an object or an array'),
    invalid('headers must be an object or an array'),
    invalid('headers must be an object or an array'),
  ],
})

row('§2.1 an array of pairs is no shape', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const observer = await stage.fetch(server.origin, {
      headers: [
        ['a', '1'],
        ['b', '2'],
      ] as never,
    })
    return observer.error?.name
  },
  expected: 'TypeError',
})

row('§2.1 values: number, boolean, null, undefined, lists', {
  on: WIRE,
  run: (stage) =>
    own(stage, { number: 5, yes: true, no: false, empty: null, gone: undefined, list: ['a', 'b', null, 1], none: [] }),
  expected: ['number: 5', 'yes: true', 'no: false', 'empty: ', 'list: a', 'list: b', 'list: ', 'list: 1'],
})

row('§2.1 values: characters', {
  on: WIRE,
  run: (stage) => own(stage, { tab: 'a\tb', latin: 'caf\u00e9 \u00ff', printable: ' !"#~' }),
  expected: ['tab: a\tb', 'latin: caf\u00e9 \u00ff', 'printable:  !"#~'],
})

row('§2.1 values that are refused', {
  run: (stage) =>
    all(
      stage,
      [
        { 'X-Key': {} },
        { 'X-Key': new Date(0) },
        { 'X-Key': [{}] },
        { 'X-Key': 'a\r\nb' },
        { 'X-Key': 'a\0' },
        { 'X-Key': '\x7f' },
        { 'X-Key': '\u0100' },
        { 'X-Key': ['fine', '\u0100'] },
      ],
      (_, headers) => wire(stage, { headers: headers as never }),
    ),
  expected: Array.from({ length: 8 }, () => invalid('invalid X-Key header')),
})

row('§2.1 names that are refused', {
  run: (stage) =>
    all(stage, [{ '': 'a' }, { 'a b': 'a' }, { 'a:': 'a' }, { 'a\n': 'a' }, { '\u00e9': 'a' }], (_, headers) =>
      wire(stage, { headers: headers as never }),
    ),
  expected: Array.from({ length: 5 }, () => invalid('invalid header key')),
})

row("§2.1 host: the caller's, first, and lower-case", {
  on: WIRE,
  run: (stage) => wire(stage, { headers: { a: '1', Host: 'named.test', b: '2' } }),
  expected: ['GET / HTTP/1.1', 'host: named.test', KEEP, 'a: 1', 'b: 2'],
})

row('§2.1 host: an empty one', {
  on: WIRE,
  run: async (stage) => (await wire(stage, { headers: { host: '' } }))[1],
  expected: 'host: ',
  differs: [{ id: 'C18', observed: HOST }],
})

row('§2.1 host: once, and one value', {
  run: (stage) =>
    all(stage, [['host', 'a', 'Host', 'b'], { host: ['a'] }], (_, headers) =>
      wire(stage, { headers: headers as never }),
    ),
  expected: [invalid('duplicate host header'), invalid('invalid host header')],
})

row('§2.1 host of an origin with a default port', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    await stage.fetch(server.origin.replace('127.0.0.1', 'localhost'))
    return stage.mask(server.requests[0]!.lines[1]!)
  },
  expected: 'host: localhost:PORT',
})

row('§2.1 content-length: written once, last, from the body', {
  on: WIRE,
  run: (stage) => wire(stage, { method: 'POST', body: 'hello', headers: { 'Content-Length': '5', 'x-last': '1' } }),
  expected: ['POST / HTTP/1.1', HOST, KEEP, 'x-last: 1', 'content-length: 5'],
})

row('§2.1 content-length: digits, once', {
  run: (stage) =>
    all(
      stage,
      [
        { 'content-length': '+5' },
        { 'content-length': '5a' },
        { 'content-length': '' },
        { 'content-length': -1 },
        { 'content-length': 1.5 },
        { 'content-length': ['5'] },
        ['content-length', '5', 'Content-Length', '5'],
      ],
      (_, headers) => wire(stage, { headers: headers as never }),
    ),
  expected: [
    ...Array.from({ length: 6 }, () => invalid('invalid content-length header')),
    invalid('duplicate content-length header'),
  ],
})

row('§2.1 transfer-encoding, keep-alive and upgrade are refused', {
  run: (stage) =>
    all(stage, [{ 'Transfer-Encoding': 'chunked' }, { 'KEEP-ALIVE': 'x' }, { Upgrade: 'h2c' }], (_, headers) =>
      wire(stage, { headers: headers as never }),
    ),
  expected: [
    invalid('invalid transfer-encoding header'),
    invalid('invalid keep-alive header'),
    invalid('invalid upgrade header'),
  ],
})

row('§2.1 connection: tokens that are none', {
  run: (stage) =>
    all(
      stage,
      [{ connection: 'a b' }, { connection: 'close,' }, { connection: '' }, { connection: ['close'] }],
      (_, headers) => wire(stage, { headers: headers as never }),
    ),
  expected: Array.from({ length: 4 }, () => invalid('invalid connection header')),
})

row('§2.1 connection: close anywhere closes; the header itself is not copied', {
  on: WIRE,
  run: (stage) =>
    all(stage, ['close', 'x-foo, CLOSE', 'x-foo', 'keep-alive', 'Keep-Alive, x-foo'], (_, connection) =>
      wire(stage, { headers: { Connection: connection, 'x-foo': '1' } }),
    ),
  expected: [
    ['GET / HTTP/1.1', HOST, 'connection: close', 'x-foo: 1'],
    ['GET / HTTP/1.1', HOST, 'connection: close', 'x-foo: 1'],
    ['GET / HTTP/1.1', HOST, KEEP, 'x-foo: 1'],
    ['GET / HTTP/1.1', HOST, KEEP, 'x-foo: 1'],
    ['GET / HTTP/1.1', HOST, KEEP, 'x-foo: 1'],
  ],
})

row('§2.1 expect is not supported', {
  run: (stage) => wire(stage, { method: 'POST', body: 'x', headers: { Expect: '100-continue' } }),
  expected: ['NotSupportedError: expect header not supported'],
})

row('§2.1 reset: true closes, and says so', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw(OK)
    const agent = stage.open({ connections: 1 })
    await stage.send(agent, server.origin, { reset: true }).ended
    await stage.send(agent, server.origin, { reset: true }).ended
    return [server.requests.map(({ lines, connection }) => [connection, lines[2]]), server.accepted]
  },
  expected: [
    [
      [0, 'connection: close'],
      [1, 'connection: close'],
    ],
    2,
  ],
})

row('§2.1 nothing is added: no user-agent, no accept, no accept-encoding', {
  on: WIRE,
  run: async (stage) => {
    const lines = await all(stage, ['GET', 'POST', 'DELETE', 'OPTIONS', 'PROPFIND'], (_, method) =>
      wire(stage, { method }),
    )
    return lines.map((request) => (request as string[]).slice(3))
  },
  expected: [[], ['content-length: 0'], [], [], ['content-length: 0']],
})

row('§2.1 what reqwest writes instead', {
  on: REQWEST,
  run: (stage) => wire(stage, { method: 'POST', body: 'hello', headers: { 'X-Case': '1', Host: 'named.test' } }),
  expected: ['POST / HTTP/1.1', 'host: named.test', KEEP, 'X-Case: 1', 'content-length: 5'],
  differs: [
    {
      id: 'C3',
      observed: ['POST / HTTP/1.1', 'x-case: 1', 'host: named.test', 'content-length: 5', 'accept: */*'],
    },
  ],
})
