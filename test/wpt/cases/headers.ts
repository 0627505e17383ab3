/** fetch/api/headers and fetch/http: what is sent of a HeadersInit, and what a response's headers are. */
import type { IncomingMessage } from 'node:http'
import { expect } from 'vitest'
import { echo, rejection } from '../context.ts'
import type { Context } from '../context.ts'
import { wpt } from '../registry.ts'

/** The headers whose names begin with `x-`, as the server got them. */
async function sent(context: Context, headers: unknown): Promise<string[][]> {
  const seen = Promise.withResolvers<IncomingMessage>()
  const origin = await context.serve((request, response) => {
    seen.resolve(request)
    response.end()
  })
  await context.fetch(origin, { headers })
  const { rawHeaders } = await seen.promise
  const pairs: string[][] = []
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!.toLowerCase()
    if (name.startsWith('x-')) pairs.push([name, rawHeaders[index + 1]!])
  }
  return pairs.toSorted((a, b) => (a[0]! < b[0]! ? -1 : 1))
}

async function refused(context: Context, headers: unknown): Promise<unknown> {
  return rejection(context.fetch('http://localhost/', { headers }))
}

async function raw(context: Context, lines: string): Promise<Response> {
  return context.fetch(await context.raw(`HTTP/1.1 200 OK\r\n${lines}Content-Length: 0\r\n\r\n`))
}

wpt('fetch/api/headers/headers-basic.any.js', {
  'a record': async (context) => {
    expect(await sent(context, { 'X-A': '1', 'x-b': '2' })).toEqual([
      ['x-a', '1'],
      ['x-b', '2'],
    ])
  },
  pairs: async (context) => {
    expect(await sent(context, [['x-a', '1']])).toEqual([['x-a', '1']])
  },
  'a Headers object': async (context) => {
    expect(await sent(context, new Headers({ 'x-a': '1' }))).toEqual([['x-a', '1']])
  },
  'a Map is pairs': async (context) => {
    expect(await sent(context, new Map([['x-a', '1']]))).toEqual([['x-a', '1']])
  },
  'a generator of pairs': async (context) => {
    const pairs = function* () {
      yield ['x-a', '1']
      yield new Set(['x-b', '2'])
    }
    expect(await sent(context, pairs())).toEqual([
      ['x-a', '1'],
      ['x-b', '2'],
    ])
  },
  'values are made text': async (context) => {
    const headers = { 'x-a': undefined, 'x-b': null, 'x-c': 5, 'x-d': { toString: () => 'mine' }, 'x-e': ['1', '2'] }
    expect(await sent(context, headers)).toEqual([
      ['x-a', 'undefined'],
      ['x-b', 'null'],
      ['x-c', '5'],
      ['x-d', 'mine'],
      ['x-e', '1,2'],
    ])
  },
  'no headers and undefined are none': async (context) => {
    for (const headers of [undefined, {}, [], new Headers()]) expect(await sent(context, headers)).toEqual([])
  },
  'null, a number and a string are refused': async (context) => {
    for (const headers of [null, 5, 'a: b', true]) expect(await refused(context, headers)).toBeInstanceOf(TypeError)
  },
})

wpt('fetch/api/headers/headers-record.any.js', {
  'what is inherited or not enumerable is not sent': async (context) => {
    const headers = Object.create(
      { 'x-inherited': '1' },
      {
        'x-hidden': { value: '2', enumerable: false },
        'x-own': { value: '3', enumerable: true },
      },
    ) as object
    expect(await sent(context, headers)).toEqual([['x-own', '3']])
  },
  'a symbol as a name is refused': async (context) => {
    expect(await refused(context, { [Symbol('x')]: '1' })).toBeInstanceOf(TypeError)
  },
  'a symbol as a value is refused': async (context) => {
    expect(await refused(context, { 'x-a': Symbol('x') })).toBeInstanceOf(TypeError)
  },
  'what a getter throws is what fetch rejects with': async (context) => {
    const error = new RangeError('mine')
    const headers = {
      get 'x-a'() {
        throw error
      },
    }
    expect(await refused(context, headers)).toBe(error)
  },
  'a proxy is asked': async (context) => {
    expect(await sent(context, new Proxy({ 'x-a': '1' }, {}))).toEqual([['x-a', '1']])
  },
})

wpt('fetch/api/headers/headers-errors.any.js', {
  'entries that are no pairs are refused': async (context) => {
    for (const headers of [[['x-a']], [['x-a', '1', '2']], ['ab'], [5], [null], [[]], new Set(['ab'])]) {
      expect(await refused(context, headers)).toBeInstanceOf(TypeError)
    }
  },
  'names that HTTP does not allow are refused': async (context) => {
    for (const name of ['', ' ', 'a b', 'a:', 'a\n', '\u00e9', '\u0100', '(a)', 'a@b', 'a\0']) {
      expect(await refused(context, [[name, '1']])).toBeInstanceOf(TypeError)
    }
  },
  'values that HTTP does not allow are refused': async (context) => {
    for (const value of ['a\0b', 'a\nb', 'a\rb', '\0', '\u0100', '\ud83d\ude00']) {
      expect(await refused(context, { 'x-a': value })).toBeInstanceOf(TypeError)
    }
  },
  'every character of a token is a name': async (context) => {
    const name = "x-!#$%&'*+.^_`|~09az"
    expect(await sent(context, { [name]: '1' })).toEqual([[name, '1']])
  },
})

wpt('fetch/api/headers/headers-normalize.any.js', {
  'blanks around a value are dropped': async (context) => {
    const headers = { 'x-a': ' \t\r\n a \r\n\t ', 'x-b': '\n', 'x-c': ' b c ' }
    expect(await sent(context, headers)).toEqual([
      ['x-a', 'a'],
      ['x-b', ''],
      ['x-c', 'b c'],
    ])
  },
  'a value in latin1 is sent in latin1': async (context) => {
    const [[, value]] = (await sent(context, { 'x-a': 'caf\u00e9' })) as [[string, string]]
    expect(value).toBe('caf\u00e9')
  },
  'an empty value is sent': async (context) => {
    expect(await sent(context, { 'x-a': '' })).toEqual([['x-a', '']])
  },
  'a tab within a value is kept': async (context) => {
    expect(await sent(context, { 'x-a': 'a\tb' })).toEqual([['x-a', 'a\tb']])
  },
})

wpt('fetch/api/headers/headers-combine.any.js', {
  'names of a record that differ in case alone are one header': async (context) => {
    expect((await sent(context, { 'x-a': '1', 'X-A': '2' })).map(([, value]) => value).join(', ')).toBe('1, 2')
  },
  'a name that is repeated in pairs keeps its order': async (context) => {
    const pairs = [
      ['x-a', '1'],
      ['x-b', '2'],
      ['X-A', '3'],
    ]
    const values = (await sent(context, pairs)).filter(([name]) => name === 'x-a').map(([, value]) => value)
    expect(values.join(', ')).toBe('1, 3')
  },
  'repeated headers of a response are joined': async (context) => {
    const { headers } = await raw(context, 'X-A: 1\r\nx-b: 2\r\nx-a: 3\r\nX-A:\r\n')
    expect([headers.get('x-a'), headers.get('X-B')]).toEqual(['1, 3, ', '2'])
  },
})

wpt('fetch/api/headers/header-setcookie.any.js', {
  'each set-cookie is one': async (context) => {
    const { headers } = await raw(context, 'Set-Cookie: a=1; Expires=Wed, 1\r\nX-A: 1\r\nset-cookie: b=2\r\n')
    expect(headers.getSetCookie()).toEqual(['a=1; Expires=Wed, 1', 'b=2'])
    expect([...headers].filter(([name]) => name === 'set-cookie')).toEqual([
      ['set-cookie', 'a=1; Expires=Wed, 1'],
      ['set-cookie', 'b=2'],
    ])
    expect(headers.get('set-cookie')).toBe('a=1; Expires=Wed, 1, b=2')
  },
  'none is an empty list': async (context) => {
    expect((await raw(context, '')).headers.getSetCookie()).toEqual([])
  },
  'equal ones are kept apart': async (context) => {
    const { headers } = await raw(context, 'Set-Cookie: a=1\r\nSet-Cookie: a=1\r\nSet-Cookie:\r\n')
    expect(headers.getSetCookie()).toEqual(['a=1', 'a=1', ''])
  },
  'a cookie of the caller is sent': async (context) => {
    expect((await context.see({ headers: { cookie: 'a=1' } })).headers['cookie']).toBe('a=1')
  },
  'cookies of a response are not sent with the next request': async (context) => {
    const origin = await context.serve((request, response) => {
      response.writeHead(200, { 'set-cookie': 'a=1' }).end(request.headers.cookie ?? 'none')
    })
    await (await context.fetch(origin, { credentials: 'include' })).text()
    expect(await (await context.fetch(origin, { credentials: 'include' })).text()).toBe('none')
  },
})

wpt('fetch/api/headers/headers-structure.any.js', {
  'the headers of a response are Headers, sorted and lower case': async (context) => {
    const { headers } = await raw(context, 'X-B: 2\r\nX-a: 1\r\n')
    expect(headers).toBeInstanceOf(Headers)
    expect([...headers.keys()]).toEqual(['content-length', 'x-a', 'x-b'])
    expect([headers.has('X-A'), headers.get('absent'), headers.has('absent')]).toEqual([true, null, false])
  },
  'entries, keys, values and forEach agree': async (context) => {
    const { headers } = await raw(context, 'X-B: 2\r\nX-a: 1\r\n')
    const seen: string[][] = []
    headers.forEach((value, name) => seen.push([name, value]))
    const { entries } = { entries: [...headers.entries()] }
    expect(seen).toEqual(entries)
    expect([...headers.keys()].map((name, index) => [name, [...headers.values()][index]])).toEqual(entries)
  },
  'blanks around the value of a response are dropped': async (context) => {
    expect((await raw(context, 'X-A: \t a b \t \r\n')).headers.get('x-a')).toBe('a b')
  },
  'a value of a response in latin1 is read as latin1': async (context) => {
    expect((await raw(context, 'X-A: caf\u00e9\r\n')).headers.get('x-a')).toBe('caf\u00e9')
  },
  'get refuses what is no name': async (context) => {
    const { headers } = await raw(context, '')
    expect(() => headers.get('a b')).toThrow(TypeError)
    expect(() => headers.has('')).toThrow(TypeError)
  },
})

wpt('fetch/api/basic/request-headers-case.any.js', {
  'names arrive, in whichever case': async (context) => {
    const seen = await context.see({ headers: { 'THIS-is-A-test': '1', 'THIS-IS-A-TEST': '2' } })
    expect(seen.headers['this-is-a-test']).toBe('1, 2')
  },
})

wpt('fetch/api/basic/request-header-overrides.any.js', {
  'accept-encoding of the caller stands': async (context) => {
    expect((await context.see({ headers: { 'accept-encoding': 'identity' } })).headers['accept-encoding']).toBe(
      'identity',
    )
  },
  'authorization of the caller is sent': async (context) => {
    expect((await context.see({ headers: { authorization: 'Basic eDp5' } })).headers['authorization']).toBe(
      'Basic eDp5',
    )
  },
  'host is that of the URL': async (context) => {
    const origin = await context.serve(echo)
    const seen = (await (await context.fetch(origin)).json()) as { headers: Record<string, string> }
    expect(seen.headers['host']).toBe(new URL(origin).host)
  },
  'sec-fetch-mode is the mode': async (context) => {
    const seen = await Promise.all([undefined, 'cors', 'same-origin'].map((mode) => context.see({ mode })))
    expect(seen.slice(0, 2).map(({ headers }) => headers['sec-fetch-mode'])).toEqual(['cors', 'cors'])
  },
  'a referrer of the caller is sent, cut to its origin across origins': async (context) => {
    const { headers } = await context.see({ referrer: 'http://a.test/b' })
    expect([headers['referer'], headers['origin']]).toEqual(['http://a.test/', undefined])
  },
  'no referer and no origin are sent by a program': async (context) => {
    const { headers } = await context.see()
    expect([headers['referer'], headers['origin']]).toEqual([undefined, undefined])
  },
})
