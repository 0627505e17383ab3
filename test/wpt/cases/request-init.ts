/** fetch/api/request: the members of init, checked as `new Request` checks them, and blocked ports. */
import { expect } from 'vitest'
import { echo, rejection } from '../context.ts'
import type { Context } from '../context.ts'
import { wpt } from '../registry.ts'

/** What a fetch of `init` rejects with before anything is sent. */
async function refused(context: Context, init: unknown, input: unknown = null): Promise<unknown> {
  let requests = 0
  const origin = await context.serve((_request, response) => {
    requests++
    response.end()
  })
  const reason = await rejection(context.fetch((input ?? origin) as string, init as Record<string, unknown>))
  expect(requests).toBe(0)
  return reason
}

const members: [string, unknown[], unknown[]][] = [
  ['mode', ['navigate', '', 'CORS', 'websocket', null, 5], ['cors', 'same-origin', 'no-cors', undefined]],
  ['credentials', ['', 'none', null, 5], ['omit', 'include', 'same-origin', undefined]],
  [
    'cache',
    ['', 'none', null, 'only-if-cached'],
    ['default', 'no-store', 'reload', 'no-cache', 'force-cache', undefined],
  ],
  ['redirect', ['', 'none', null, 'FOLLOW'], ['follow', 'error', 'manual', undefined]],
  ['referrerPolicy', ['none', null, 'ORIGIN'], ['', 'no-referrer', 'origin', 'unsafe-url', undefined]],
  ['referrer', ['http://', '/relative', 'x'], ['', 'about:client', undefined]],
  ['window', ['', 0, {}, 'x'], [null, undefined]],
  ['duplex', ['', 'full', null], ['half', undefined]],
  ['priority', ['', 'none', null], ['high', 'low', 'auto', undefined]],
  ['signal', [{}, 'x', 5], [null, undefined]],
  ['headers', [null, 5, 'x'], [{}, [], undefined]],
  ['method', ['', 'a b', 'GET\n', 'CONNECT', 'trace', 'Track', '\u00e9'], ['GET', 'get', undefined]],
  ['integrity', [Symbol('x')], ['', 'none', 5, undefined]],
  ['keepalive', [], [true, false, 0, 'x', null, undefined]],
]

wpt('fetch/api/request/request-error.any.js', {
  ...Object.fromEntries(
    members
      .filter(([, bad]) => bad.length > 0)
      .map(([name, bad]) => [
        `a ${name} that is none is a TypeError, and nothing is sent`,
        async (context: Context) => {
          for (const value of bad) expect(await refused(context, { [name]: value })).toBeInstanceOf(TypeError)
        },
      ]),
  ),
  ...Object.fromEntries(
    members.map(([name, , good]) => [
      `each ${name} is taken`,
      async (context: Context) => {
        const origin = await context.serve(echo)
        for (const value of good) expect((await context.fetch(origin, { [name]: value })).status).toBe(200)
      },
    ]),
  ),
  'an init that is no object is a TypeError': async (context) => {
    for (const init of [5, 'x', true, Symbol('x')]) expect(await refused(context, init)).toBeInstanceOf(TypeError)
  },
  'an init that is null, undefined, a function or an array is empty': async (context) => {
    const origin = await context.serve(echo)
    for (const init of [null, undefined, () => {}, []]) {
      expect((await context.fetch(origin, init as never)).status).toBe(200)
    }
  },
  'what is inherited by init counts': async (context) => {
    const init = Object.create({ method: 'PUT' }) as Record<string, unknown>
    const origin = await context.serve(echo)
    expect(((await (await context.fetch(origin, init)).json()) as { method: string }).method).toBe('PUT')
  },
  'what a getter of init throws is what fetch rejects with': async (context) => {
    for (const name of ['method', 'headers', 'body', 'signal', 'mode', 'redirect', 'integrity']) {
      const error = new RangeError(name)
      const get = (): never => {
        throw error
      }
      expect(await refused(context, Object.defineProperty({}, name, { get, enumerable: true }))).toBe(error)
    }
  },
  'values are made text': async (context) => {
    const origin = await context.serve(echo)
    const init = { method: { toString: () => 'put' }, redirect: { toString: () => 'follow' } }
    expect(((await (await context.fetch(origin, init)).json()) as { method: string }).method).toBe('PUT')
  },
  'no-cors is of GET, HEAD and POST': async (context) => {
    expect(await refused(context, { mode: 'no-cors', method: 'PUT' })).toBeInstanceOf(TypeError)
    expect((await context.see({ mode: 'no-cors', method: 'POST' })).method).toBe('POST')
  },
  'only-if-cached of same-origin is a network error without a cache': async (context) => {
    expect(await refused(context, { cache: 'only-if-cached', mode: 'same-origin' })).toBeInstanceOf(TypeError)
  },
  'a URL that is none is a TypeError': async (context) => {
    for (const input of ['', '/relative', 'http://', 'http://:80', 'http://a b/', undefined, 5, {}, Symbol('x')]) {
      expect(await rejection(context.fetch(input as string))).toBeInstanceOf(TypeError)
    }
  },
  'a URL with credentials is a TypeError': async (context) => {
    for (const input of ['http://a:b@localhost/', 'http://a@localhost/', 'http://:b@localhost/']) {
      expect(await rejection(context.fetch(input))).toBeInstanceOf(TypeError)
    }
  },
})

wpt('fetch/api/request/request-structure.any.js', {
  'a URL object, an object with toString and blanks around are taken': async (context) => {
    const origin = await context.serve(echo)
    for (const input of [new URL(origin), { toString: () => origin }, `  ${origin}\n`]) {
      expect((await context.fetch(input as string)).status).toBe(200)
    }
  },
  'a Request gives method, headers and body': async (context) => {
    const origin = await context.serve(echo)
    const init = { method: 'PUT', headers: { 'x-a': '1' }, body: 'text' }
    const seen = (await (await context.fetch(new Request(`${origin}/p?q`, init))).json()) as Record<string, unknown>
    expect([seen['method'], seen['url'], seen['body'], (seen['headers'] as Record<string, string>)['x-a']]).toEqual([
      'PUT',
      '/p?q',
      'text',
      '1',
    ])
  },
  'headers of init replace those of the Request': async (context) => {
    const origin = await context.serve(echo)
    const request = new Request(origin, { headers: { 'x-a': '1' } })
    const seen = (await (await context.fetch(request, { headers: { 'x-b': '2' } })).json()) as {
      headers: Record<string, string>
    }
    expect([seen.headers['x-a'], seen.headers['x-b']]).toEqual([undefined, '2'])
  },
  'method of init replaces that of the Request': async (context) => {
    const origin = await context.serve(echo)
    const request = new Request(origin, { method: 'DELETE' })
    const seen = (await (await context.fetch(request, { method: 'OPTIONS' })).json()) as { method: string }
    expect(seen.method).toBe('OPTIONS')
  },
  'a type of the body that init replaces goes with it, the header of the Request stays': async (context) => {
    const origin = await context.serve(echo)
    const request = new Request(origin, { method: 'POST', body: new Blob(['x'], { type: 'a/b' }) })
    const seen = (await (await context.fetch(request, { body: 'y' })).json()) as { headers: Record<string, string> }
    expect(seen.headers['content-type']).toBe('a/b')
  },
  'GET of a Request with a body is a TypeError': async (context) => {
    const request = new Request('http://localhost/', { method: 'POST', body: 'x' })
    expect(await rejection(context.fetch(request, { method: 'GET' }))).toBeInstanceOf(TypeError)
  },
  'redirect of the Request counts': async (context) => {
    const origin = await context.serve((_request, response) => response.writeHead(302, { location: '/' }).end())
    expect(await rejection(context.fetch(new Request(origin, { redirect: 'error' })))).toBeInstanceOf(TypeError)
    expect((await context.fetch(new Request(origin, { redirect: 'error' }), { redirect: 'manual' })).status).toBe(302)
  },
  'a fragment, a query and dots of the path': async (context) => {
    const origin = await context.serve((request, response) => response.end(request.url))
    const seen: string[] = []
    for (const path of [
      '/a/../b',
      '/a/./b',
      '/%2e%2e/c',
      '/?',
      '/?#f',
      '/a b',
      '/\u00e9?\u00e9',
      '/a%00',
      '/\'"<>`{}|',
    ]) {
      seen.push(await (await context.fetch(origin + path)).text())
    }
    expect(seen).toEqual(['/b', '/a/b', '/c', '/?', '/?', '/a%20b', '/%C3%A9?%C3%A9', '/a%00', "/'%22%3C%3E%60%7B%7D|"])
  },
})

wpt('fetch/api/request/request-init-contenttype.any.js', {
  'a method is upper case where the standard says so, and as given elsewhere': async (context) => {
    const origin = await context.serve((request, response) =>
      response.writeHead(200, { 'x-method': request.method }).end(),
    )
    const seen: unknown[] = []
    for (const method of ['delete', 'get', 'head', 'options', 'post', 'put', 'PATCH', 'REPORT', 'PROPFIND']) {
      seen.push((await context.fetch(origin, { method })).headers.get('x-method'))
    }
    expect(seen).toEqual(['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'REPORT', 'PROPFIND'])
  },
})

const PORTS = [
  1, 7, 22, 25, 53, 79, 110, 143, 389, 465, 587, 993, 2049, 3659, 4045, 5060, 6000, 6566, 6667, 6697, 10080,
]

wpt('fetch/api/request/request-bad-port.any.js', {
  'blocked ports are network errors': async (context) => {
    for (const port of PORTS) {
      for (const scheme of ['http', 'https']) {
        const error = (await rejection(context.fetch(`${scheme}://127.0.0.1:${port}/`))) as TypeError
        expect(error).toBeInstanceOf(TypeError)
        expect((error.cause as Error).message).toContain('bad port')
      }
    }
  },
  'port 0 is blocked': async (context) => {
    const error = (await rejection(context.fetch('http://127.0.0.1:0/'))) as TypeError
    expect((error.cause as Error).message).toContain('bad port')
  },
})

wpt('fetch/api/basic/scheme-others.sub.any.js', {
  'other schemes are network errors': async (context) => {
    for (const url of [
      'aaa://a.test/',
      'cap://a.test/',
      'ftp://a.test/',
      'mailto:a@b.test',
      'javascript:1',
      'ws://a.test/',
    ]) {
      expect(await rejection(context.fetch(url))).toBeInstanceOf(TypeError)
    }
  },
})

wpt('fetch/api/basic/scheme-about.any.js', {
  'about: is a network error, whatever the method': async (context) => {
    for (const [url, method] of [
      ['about:blank', 'GET'],
      ['about:blank', 'PUT'],
      ['about:unicorn', 'GET'],
      ['about:', 'GET'],
    ]) {
      expect(await rejection(context.fetch(url!, { method }))).toBeInstanceOf(TypeError)
    }
  },
})

wpt('fetch/api/basic/mode-same-origin.any.js', {
  'a program has no origin of its own: same-origin is of every URL': async (context) => {
    const origin = await context.serve(echo)
    expect((await context.fetch(origin, { mode: 'same-origin' })).status).toBe(200)
  },
})
