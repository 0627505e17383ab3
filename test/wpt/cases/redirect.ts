/** fetch/api/redirect: modes, counts, methods, locations. */
import { expect } from 'vitest'
import { echo, encode, rejection } from '../context.ts'
import type { Context, Seen } from '../context.ts'
import { wpt } from '../registry.ts'

/** `/STATUS` redirects to `location`; the rest echoes. */
const startRedirect = (context: Context, location: string | undefined = '/end') =>
  context.serve((request, response) => {
    const status = Number(request.url!.slice(1))
    if (status >= 300 && status < 400) {
      request.resume()
      response.writeHead(status, location === undefined ? {} : { location }).end('left behind')
    } else echo(request, response)
  })

const REDIRECTS = [301, 302, 303, 307, 308]

for (const status of REDIRECTS) {
  wpt('fetch/api/redirect/redirect-mode.any.js', {
    [`${status} is followed by default`]: async (context) => {
      const origin = await startRedirect(context)
      const response = await context.fetch(`${origin}/${status}`)
      expect([response.status, response.url, response.redirected, response.type]).toEqual([
        200,
        `${origin}/end`,
        true,
        response.type,
      ])
    },
    [`${status} with redirect: error is a network error`]: async (context) => {
      const origin = await startRedirect(context)
      const failure = await rejection(context.fetch(`${origin}/${status}`, { redirect: 'error' }))
      expect(failure).toBeInstanceOf(TypeError)
    },
    [`${status} with redirect: manual is not followed`]: async (context) => {
      const origin = await startRedirect(context)
      const response = await context.fetch(`${origin}/${status}`, { redirect: 'manual' })
      expect([response.url, response.redirected, response.ok]).toEqual([`${origin}/${status}`, false, false])
    },
  })
}

wpt('fetch/api/redirect/redirect-mode.any.js', {
  'manual of no redirect is the response': async (context) => {
    const origin = await startRedirect(context)
    const response = await context.fetch(`${origin}/end`, { redirect: 'manual' })
    expect([response.status, response.redirected]).toEqual([200, false])
  },
  'error of no redirect is the response': async (context) => {
    const origin = await startRedirect(context)
    expect((await context.fetch(`${origin}/end`, { redirect: 'error' })).status).toBe(200)
  },
  'no redirect is not redirected': async (context) => {
    const origin = await startRedirect(context)
    const response = await context.fetch(`${origin}/end`)
    expect([response.redirected, response.url]).toEqual([false, `${origin}/end`])
  },
  '300, 304 and 399 are responses': async (context) => {
    const origin = await startRedirect(context)
    for (const status of [300, 304, 399]) {
      const response = await context.fetch(`${origin}/${status}`)
      expect([response.status, response.redirected]).toEqual([status, false])
    }
  },
  'a mode that is none is refused': async (context) => {
    expect(await rejection(context.fetch('http://a.test', { redirect: 'other' }))).toBeInstanceOf(TypeError)
  },
})

/** `/N` redirects N times. */
const startCount = (context: Context) =>
  context.serve((request, response) => {
    const left = Number(request.url!.slice(1))
    if (left > 0) response.writeHead(302, { location: `/${left - 1}` }).end()
    else response.end('there')
  })

wpt('fetch/api/redirect/redirect-count.any.js', {
  '20 redirects are followed': async (context) => {
    const response = await context.fetch(`${await startCount(context)}/20`)
    expect([response.redirected, await response.text()]).toEqual([true, 'there'])
  },
  '21 redirects are a network error': async (context) => {
    expect(await rejection(context.fetch(`${await startCount(context)}/21`))).toBeInstanceOf(TypeError)
  },
  'a URL that redirects to itself is a network error': async (context) => {
    const origin = await context.serve((_request, response) => response.writeHead(302, { location: '' }).end())
    expect(await rejection(context.fetch(origin))).toBeInstanceOf(TypeError)
  },
})

/** What the last request of a redirect was. */
async function landed(context: Context, status: number, init: Record<string, unknown>): Promise<Seen> {
  const origin = await startRedirect(context)
  return (await (await context.fetch(`${origin}/${status}`, init)).json()) as Seen
}

for (const [status, method, expected] of [
  [301, 'GET', 'GET'],
  [301, 'POST', 'GET'],
  [301, 'PUT', 'PUT'],
  [301, 'REPORT', 'REPORT'],
  [302, 'GET', 'GET'],
  [302, 'POST', 'GET'],
  [302, 'DELETE', 'DELETE'],
  [303, 'GET', 'GET'],
  [303, 'POST', 'GET'],
  [303, 'PUT', 'GET'],
  [303, 'REPORT', 'GET'],
  [307, 'GET', 'GET'],
  [307, 'POST', 'POST'],
  [308, 'POST', 'POST'],
  [308, 'PUT', 'PUT'],
] as const) {
  wpt('fetch/api/redirect/redirect-method.any.js', {
    [`${status} of ${method} is ${expected}`]: async (context) => {
      const hasBody = method !== 'GET'
      const {
        method: then,
        body,
        headers,
      } = await landed(context, status, {
        method,
        ...(hasBody && { body: 'hello', headers: { 'content-language': 'x', 'x-a': '1' } }),
      })
      expect(then).toBe(expected)
      const isKept = hasBody && expected === method
      expect(body).toBe(isKept ? 'hello' : '')
      expect(headers['content-type']).toBe(isKept ? 'text/plain;charset=UTF-8' : undefined)
      expect(headers['content-language']).toBe(isKept ? 'x' : undefined)
      expect(headers['content-length']).toBe(isKept ? '5' : undefined)
      expect(headers['x-a']).toBe(hasBody ? '1' : undefined)
    },
  })
}

for (const status of REDIRECTS) {
  wpt('fetch/api/redirect/redirect-method.any.js', {
    [`${status} of HEAD is HEAD`]: async (context) => {
      const methods: unknown[] = []
      const origin = await context.serve((request, response) => {
        methods.push(request.method)
        response.writeHead(request.url === '/' ? status : 200, { location: '/end' }).end()
      })
      expect((await context.fetch(origin, { method: 'HEAD' })).redirected).toBe(true)
      expect(methods).toEqual(['HEAD', 'HEAD'])
    },
  })
}

wpt('fetch/api/redirect/redirect-method.any.js', {
  '307 sends each kind of body again': async (context) => {
    const form = new FormData()
    form.append('a', '1')
    for (const [body, expected] of [
      ['text', /^text$/],
      [encode('bytes'), /^bytes$/],
      [new Blob(['blob']), /^blob$/],
      [new URLSearchParams({ a: '1' }), /^a=1$/],
      [form, /name="a"\r\n\r\n1\r\n/],
    ] as const) {
      const seen = await landed(context, 307, { method: 'POST', body })
      expect([seen.method, seen.body]).toEqual(['POST', expect.stringMatching(expected)])
    }
  },
  '307 sends the body of a Request again': async (context) => {
    const origin = await startRedirect(context)
    const request = new Request(`${origin}/307`, { method: 'POST', body: 'text' })
    expect(await (await context.fetch(request)).json()).toMatchObject({ method: 'POST', body: 'text' })
  },
})

wpt('fetch/api/redirect/redirect-upload.h2.any.js', {
  '307 of a stream is a network error': async (context) => {
    const origin = await startRedirect(context)
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(encode('hello'))
        controller.close()
      },
    })
    const failure = await rejection(context.fetch(`${origin}/307`, { method: 'POST', body, duplex: 'half' }))
    expect(failure).toBeInstanceOf(TypeError)
  },
  '303 of a stream is followed without it': async (context) => {
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(encode('hello'))
        controller.close()
      },
    })
    const seen = await landed(context, 303, { method: 'POST', body, duplex: 'half' })
    expect([seen.method, seen.body]).toEqual(['GET', ''])
  },
})

/** Redirects `/start/here` by these bytes, and says where that led. */
async function follow(context: Context, location: string): Promise<[string, string]> {
  const origin = await context.raw((socket, head) => {
    const path = /^GET (\S+)/.exec(head)![1]!
    const [status, line] = path === '/start/here' ? ['302 Found', `location: ${location}\r\n`] : ['200 OK', '']
    const reply = `HTTP/1.1 ${status}\r\n${line}connection: close\r\ncontent-length: ${path.length}\r\n\r\n${path}`
    socket.end(Buffer.from(reply, 'latin1'))
  })
  const response = await context.fetch(`${origin}/start/here`)
  return [response.url.slice(origin.length), await response.text()]
}

const locationCases: [title: string, location: string, expected: string][] = [
  ['a relative location', 'next', '/start/next'],
  ['an absolute path', '/next', '/next'],
  ['a query alone', '?q=1', '/start/here?q=1'],
  ['dot segments', '../../next/./x', '/next/x'],
  ['blanks around it', ' \t/next \t', '/next'],
  ['a blank inside', '/a b', '/a%20b'],
  ['an escape stays', '/%C3%A9', '/%C3%A9'],
  ['characters of a path that need no escape', "/!$&'()*+,;=:@~[]|", "/!$&'()*+,;=:@~[]|"],
  ['UTF-8 bytes are escaped', '/caf\u00c3\u00a9', '/caf%C3%A9'],
]
for (const [title, location, expected] of locationCases) {
  wpt('fetch/api/redirect/redirect-location-escape.tentative.any.js', {
    [title]: async (context) => {
      expect(await follow(context, location)).toEqual([expected, expected])
    },
  })
}

wpt('fetch/api/redirect/redirect-location.any.js', {
  'a redirect without a location is the response': async (context) => {
    const origin = await context.serve((_request, response) => response.writeHead(302).end('here'))
    for (const redirect of ['follow', 'manual']) {
      const response = await context.fetch(origin, { redirect })
      expect([response.status, response.redirected, await response.text()]).toEqual([302, false, 'here'])
    }
  },
  'a location that is no URL is a network error': async (context) => {
    const origin = await startRedirect(context, 'http://')
    expect(await rejection(context.fetch(`${origin}/302`))).toBeInstanceOf(TypeError)
  },
  'a fragment of the request is inherited, and not shown': async (context) => {
    const origin = await startRedirect(context)
    expect((await context.fetch(`${origin}/302#here`)).url).toBe(`${origin}/end`)
  },
  'a fragment of the location is not sent, and not shown': async (context) => {
    const origin = await startRedirect(context, '/end#there')
    const response = await context.fetch(`${origin}/302`)
    expect([response.url, ((await response.json()) as Seen).url]).toEqual([`${origin}/end`, '/end'])
  },
})

wpt('fetch/api/redirect/redirect-empty-location.any.js', {
  'an empty location leads to the URL itself': async (context) => {
    let asked = 0
    const origin = await context.serve((_request, response) => {
      if (asked++ === 0) response.writeHead(302, { location: '' }).end()
      else response.end('again')
    })
    const response = await context.fetch(`${origin}/a?b`)
    expect([response.redirected, response.url, await response.text()]).toEqual([true, `${origin}/a?b`, 'again'])
  },
  'an empty location with manual is not followed': async (context) => {
    const origin = await context.serve((_request, response) => response.writeHead(302, { location: '' }).end())
    expect((await context.fetch(origin, { redirect: 'manual' })).redirected).toBe(false)
  },
})

for (const location of [
  'data:text/plain,hello',
  'blob:http://a.test/1',
  'about:blank',
  'mailto:a@b.test',
  'file:///etc/hosts',
  'javascript:1',
]) {
  wpt('fetch/api/redirect/redirect-schemes.any.js', {
    [`a redirect to ${location} is a network error`]: async (context) => {
      const origin = await startRedirect(context, location)
      expect(await rejection(context.fetch(`${origin}/302`))).toBeInstanceOf(TypeError)
    },
  })
}

wpt('fetch/api/redirect/redirect-back-to-original-origin.any.js', {
  'authorization does not cross origins, and does not come back': async (context) => {
    const seen: unknown[] = []
    const home = await context.serve((request, response) => {
      seen.push(request.headers.authorization)
      if (request.url === '/') response.writeHead(302, { location: away }).end()
      else response.end('home')
    })
    const away = await context.serve((request, response) => {
      seen.push(request.headers.authorization)
      response.writeHead(302, { location: `${home}/end` }).end()
    })
    const headers = { authorization: 'Basic x' }
    expect(await (await context.fetch(home, { headers })).text()).toBe('home')
    expect(seen).toEqual(['Basic x', undefined, undefined])
  },
  'authorization stays within the origin, as other headers do across': async (context) => {
    const away = await context.serve(echo)
    const home = await context.serve((request, response) => {
      response.writeHead(302, { location: request.url === '/' ? `/${request.headers.authorization}` : away }).end()
    })
    const response = await context.fetch(home, { headers: { authorization: 'x', 'x-a': '1', accept: 'a/b' } })
    const { headers } = (await response.json()) as Seen
    expect([headers['x-a'], headers['accept'], headers['authorization']]).toEqual(['1', 'a/b', undefined])
  },
  'cookie and proxy-authorization do not cross origins': async (context) => {
    const away = await context.serve(echo)
    const home = await context.serve((_request, response) => response.writeHead(302, { location: away }).end())
    const response = await context.fetch(home, { headers: { cookie: 'a=1', 'proxy-authorization': 'x' } })
    const { headers } = (await response.json()) as Seen
    expect([headers['cookie'], headers['proxy-authorization']]).toEqual([undefined, undefined])
  },
  'host is that of each hop': async (context) => {
    const away = await context.serve(echo)
    const home = await context.serve((_request, response) => response.writeHead(307, { location: away }).end())
    const { headers } = (await (await context.fetch(home)).json()) as Seen
    expect(headers['host']).toBe(new URL(away).host)
  },
})

wpt('fetch/api/redirect/redirect-keepalive.any.js', {
  'the body of a redirect need not end': async (context) => {
    const origin = await context.serve((request, response) => {
      if (request.url === '/end') response.end('there')
      else response.writeHead(302, { location: '/end' }).write('endless')
    })
    expect(await (await context.fetch(origin)).text()).toBe('there')
  },
})

wpt('fetch/api/redirect/redirect-to-url-with-credentials.https.html', {
  'a location with credentials is a network error, as no origin is the own of a program': async (context) => {
    const origin = await context.serve((request, response) => {
      if (request.url === '/end') response.end('there')
      else response.writeHead(302, { location: `http://user:pass@${request.headers.host}/end` }).end()
    })
    expect(await rejection(context.fetch(origin))).toBeInstanceOf(TypeError)
  },
  'a location with a blocked port is a network error': async (context) => {
    const origin = await startRedirect(context, 'http://127.0.0.1:25/')
    expect(await rejection(context.fetch(`${origin}/302`))).toBeInstanceOf(TypeError)
  },
})
