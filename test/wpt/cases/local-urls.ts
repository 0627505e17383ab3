/** fetch/data-urls and FileAPI/url: URLs that have their answer in them, or in this process. */
import { expect } from 'vitest'
import { decode, rejection } from '../context.ts'
import type { Context } from '../context.ts'
import { wpt, wptStreams } from '../registry.ts'

/** [URL behind `data:`, type, body], after fetch/data-urls/resources/data-urls.json. */
const processing: [string, string, string][] = [
  [',X', 'text/plain;charset=US-ASCII', 'X'],
  [',', 'text/plain;charset=US-ASCII', ''],
  ['text/plain,X', 'text/plain', 'X'],
  ['text/plain;charset=utf-8,%C2%B1', 'text/plain;charset=utf-8', '\u00b1'],
  ['TEXT/HTML;CHARSET=UTF-8,X', 'text/html;charset=UTF-8', 'X'],
  ['text/html ,X', 'text/html', 'X'],
  [' text/html,X', 'text/html', 'X'],
  ['text/plain;a=",",X', 'text/plain;a=""', '",X'],
  ['text/plain;a=%2C,X', 'text/plain;a=%2C', 'X'],
  ['image/gif,%C2%B1', 'image/gif', '\u00b1'],
  [';charset=x,X', 'text/plain;charset=x', 'X'],
  [';,X', 'text/plain', 'X'],
  ['%,X', 'text/plain;charset=US-ASCII', 'X'],
  ['nothing,X', 'text/plain;charset=US-ASCII', 'X'],
  ['image/svg+xml,X', 'image/svg+xml', 'X'],
  [',%FF', 'text/plain;charset=US-ASCII', '\ufffd'],
  [',a%20b%zz%', 'text/plain;charset=US-ASCII', 'a b%zz%'],
  [',a?b=c', 'text/plain;charset=US-ASCII', 'a?b=c'],
  [',a#fragment', 'text/plain;charset=US-ASCII', 'a'],
  [',a%23b', 'text/plain;charset=US-ASCII', 'a#b'],
  [',a,b', 'text/plain;charset=US-ASCII', 'a,b'],
  ['text/plain;base64,WA==', 'text/plain', 'X'],
  ['text/plain;base64,WA', 'text/plain', 'X'],
  ['text/plain;base64,%57%41', 'text/plain', 'X'],
  ['text/plain;base64,W%20A', 'text/plain', 'X'],
  ['text/plain;base64,W%20A%3D%3D', 'text/plain', 'X'],
  [';base64,WA', 'text/plain;charset=US-ASCII', 'X'],
  ['text/plain;BASE64,WA', 'text/plain', 'X'],
  ['text/plain; base64,WA', 'text/plain', 'X'],
  ['text/plain;  base64  ,WA', 'text/plain', 'X'],
  ['text/plain;base64;,WA', 'text/plain', 'WA'],
  ['text/plain;base64;base64,WA', 'text/plain', 'X'],
  ['text/plain;charset=x;base64,WA', 'text/plain;charset=x', 'X'],
  ['base64,WA', 'text/plain;charset=US-ASCII', 'WA'],
  ['text/plain;xbase64,WA', 'text/plain', 'WA'],
  [';base64,', 'text/plain;charset=US-ASCII', ''],
]

wpt('fetch/data-urls/processing.any.js', {
  ...Object.fromEntries(
    processing.map(([url, type, body]) => [
      `data:${url}`,
      async (context: Context) => {
        const response = await context.fetch(`data:${url}`)
        expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
          200,
          type,
          body,
        ])
      },
    ]),
  ),
  'no comma is a network error': async (context) => {
    for (const url of ['data:', 'data:text/html', 'data:text/html;base64', 'data:#,X']) {
      expect(await rejection(context.fetch(url))).toBeInstanceOf(TypeError)
    }
  },
})

wpt('fetch/data-urls/base64.any.js', {
  'bad base64 is a network error': async (context) => {
    for (const data of ['W', 'W%3D', 'WA%3D', 'WA=A', '====', 'A===', '%FF%FF', 'AA-_', 'A!AA']) {
      expect(await rejection(context.fetch(`data:;base64,${data}`)), data).toBeInstanceOf(TypeError)
    }
  },
  'bytes of every value': async (context) => {
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
    const response = await context.fetch(`data:;base64,${Buffer.from(bytes).toString('base64')}`)
    expect(await response.bytes()).toEqual(bytes)
  },
})

wpt('fetch/api/basic/scheme-data.any.js', {
  'status, phrase, type and url of the response': async (context) => {
    const { status, statusText, type, ok, redirected, url } = await context.fetch('data:,a%20b')
    expect([status, statusText, type, ok, redirected, url]).toEqual([200, 'OK', 'basic', true, false, 'data:,a%20b'])
  },
  'the url has no fragment': async (context) => {
    expect((await context.fetch('data:,a#b')).url).toBe('data:,a')
  },
  'POST is as GET': async (context) => {
    expect(await (await context.fetch('data:,a', { method: 'POST', body: 'x' })).text()).toBe('a')
  },
  'HEAD has no body': async (context) => {
    const response = await context.fetch('data:,a', { method: 'HEAD' })
    expect([response.status, await response.text()]).toEqual([200, ''])
  },
  'an empty one has a body of no bytes': async (context) => {
    const response = await context.fetch('data:,')
    expect([response.body instanceof ReadableStream, await response.text()]).toEqual([true, ''])
  },
  'a blob of it has its type': async (context) => {
    expect((await (await context.fetch('data:image/png,a')).blob()).type).toBe('image/png')
  },
  'an aborted signal rejects': async (context) => {
    expect(await rejection(context.fetch('data:,a', { signal: AbortSignal.abort('mine') }))).toBe('mine')
  },
  'clone, and reading twice': async (context) => {
    const response = await context.fetch('data:,a')
    expect([await response.clone().text(), await response.text()]).toEqual(['a', 'a'])
    expect(await rejection(response.text())).toBeInstanceOf(TypeError)
  },
  'integrity is checked': async (context) => {
    const integrity = 'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='
    expect(await (await context.fetch('data:,abc', { integrity })).text()).toBe('abc')
    const read = (async () => (await context.fetch('data:,abd', { integrity })).text())()
    expect(await rejection(read)).toBeInstanceOf(TypeError)
  },
})

wptStreams('fetch/api/basic/scheme-data.any.js (streams)', {
  'its body can be read': async (context) => {
    const reader = (await context.fetch('data:,abc')).body!.getReader()
    expect(decode((await reader.read()).value)).toBe('abc')
    expect((await reader.read()).done).toBe(true)
  },
})

function urlOf(context: Context, blob: Blob): string {
  const url = URL.createObjectURL(blob)
  context.defer(() => URL.revokeObjectURL(url))
  return url
}

const letters = (context: Context, type = 'text/plain'): string => urlOf(context, new Blob(['abcdefghij'], { type }))

wpt('FileAPI/url/url-with-fetch.any.js', {
  'status, phrase, headers and body': async (context) => {
    const response = await context.fetch(letters(context))
    const { status, statusText, type, headers } = response
    expect([status, statusText, type, headers.get('content-type'), headers.get('content-length')]).toEqual([
      200,
      'OK',
      'basic',
      'text/plain',
      '10',
    ])
    expect(await response.text()).toBe('abcdefghij')
  },
  'the url is its own, without a fragment': async (context) => {
    const url = letters(context)
    expect((await context.fetch(`${url}#f`)).url).toBe(url)
  },
  'a blob without a type has an empty one': async (context) => {
    const response = await context.fetch(urlOf(context, new Blob(['a'])))
    expect([response.headers.get('content-type'), (await response.blob()).type]).toEqual(['', ''])
  },
  'an empty blob is an empty body': async (context) => {
    const response = await context.fetch(urlOf(context, new Blob([])))
    expect([response.headers.get('content-length'), await response.text()]).toEqual(['0', ''])
  },
  'a URL that was revoked is a network error': async (context) => {
    const url = URL.createObjectURL(new Blob(['a']))
    URL.revokeObjectURL(url)
    expect(await rejection(context.fetch(url))).toBeInstanceOf(TypeError)
  },
  'a URL revoked after fetch() was called is still read': async (context) => {
    const url = URL.createObjectURL(new Blob(['a']))
    const sent = context.fetch(url)
    URL.revokeObjectURL(url)
    expect(await (await sent).text()).toBe('a')
  },
  'a URL that names nothing is a network error': async (context) => {
    for (const url of ['blob:nodedata:none', 'blob:', 'blob:http://a.test/b']) {
      expect(await rejection(context.fetch(url))).toBeInstanceOf(TypeError)
    }
  },
  'methods other than GET are network errors': async (context) => {
    const url = letters(context)
    for (const method of ['HEAD', 'POST', 'DELETE', 'OPTIONS', 'PUT', 'CUSTOM']) {
      expect(await rejection(context.fetch(url, { method }))).toBeInstanceOf(TypeError)
    }
  },
  'a File is a Blob': async (context) => {
    const url = urlOf(context, new File(['a'], 'n', { type: 'a/b' }))
    const response = await context.fetch(url)
    expect([response.headers.get('content-type'), await response.text()]).toEqual(['a/b', 'a'])
  },
  'an aborted signal rejects': async (context) => {
    const signal = AbortSignal.abort('mine')
    expect(await rejection(context.fetch(letters(context), { signal }))).toBe('mine')
  },
})

const ranges: [string, string, string][] = [
  ['bytes=0-2', 'abc', 'bytes 0-2/10'],
  ['bytes=2-', 'cdefghij', 'bytes 2-9/10'],
  ['bytes=-3', 'hij', 'bytes 7-9/10'],
  ['bytes=9-9', 'j', 'bytes 9-9/10'],
  ['bytes=5-99', 'fghij', 'bytes 5-9/10'],
  ['bytes= \t2-4', 'cde', 'bytes 2-4/10'],
  ['bytes=5 - 10', 'fghij', 'bytes 5-9/10'],
  ['bytes=-\t 5', 'fghij', 'bytes 5-9/10'],
  ['bytes \t =\t 6-', 'ghij', 'bytes 6-9/10'],
]

wpt('fetch/range/blob.any.js', {
  ...Object.fromEntries(
    ranges.map(([range, body, contentRange]) => [
      range,
      async (context: Context) => {
        const response = await context.fetch(letters(context), { headers: { range } })
        const { status, statusText, headers } = response
        expect([status, statusText, headers.get('content-range'), headers.get('content-length')]).toEqual([
          206,
          'Partial Content',
          contentRange,
          `${body.length}`,
        ])
        expect([headers.get('content-type'), await response.text()]).toEqual(['text/plain', body])
      },
    ]),
  ),
  'ranges that are none, or not in the blob, are network errors': async (context) => {
    const url = letters(context)
    for (const range of ['bytes=', 'bytes=-', 'bytes=a-b', 'bytes=1-0', 'bytes=10-', 'byte=0-', '', 'bytes=0-1,3-4']) {
      expect(await rejection(context.fetch(url, { headers: { range } })), range).toBeInstanceOf(TypeError)
    }
  },
})
