import { describe, expect, test } from 'vitest'
import * as undici8 from 'undici'
import * as undici7 from 'undici7'
import { Agent, fetch } from '../lib/index.ts'
import type { DispatcherLike, FetchInit } from '../lib/index.ts'
import { startServer } from './support/servers.ts'

/** `/status/302?to=…` redirects there; everything else says what it was sent. */
const startRedirects = () =>
  startServer(async (request, response) => {
    const url = new URL(request.url!, 'http://a.test')
    let body = ''
    for await (const chunk of request) body += String(chunk)
    if (url.pathname.startsWith('/status/')) {
      response.writeHead(Number(url.pathname.slice(8)), { location: url.searchParams.get('to')! }).end('moved')
      return
    }
    const { method, headers } = request
    response.end(JSON.stringify({ method, url: request.url, headers, body }))
  })

interface Echo {
  method: string
  url: string
  headers: Record<string, string>
  body: string
}

describe.each([
  { name: 'wire', dispatcher: new Agent({ transport: 'wire' }) },
  { name: 'reqwest', dispatcher: new Agent({ transport: 'reqwest' }) },
  { name: "undici 8's agent", dispatcher: new undici8.Agent() as unknown as DispatcherLike },
  { name: "undici 7's agent", dispatcher: new undici7.Agent() as unknown as DispatcherLike },
  { name: 'a composed agent', dispatcher: new Agent().compose((dispatch) => dispatch) },
])('redirects over $name', ({ dispatcher }) => {
  const get = (url: string, init: FetchInit = {}) => fetch(url, { dispatcher, ...init })

  test('are followed, and the response says so', async () => {
    await using server = await startRedirects()
    const response = await get(`${server.origin}/status/302?to=/end%23part`)
    expect([response.status, response.redirected, response.type]).toEqual([200, true, 'basic'])
    expect(response.url).toBe(`${server.origin}/end`)
    const clone = response.clone()
    expect([clone.url, clone.redirected]).toEqual([response.url, true])
    expect(((await response.json()) as Echo).url).toBe('/end')
  })

  test.each([307, 308])('of a %i send a Blob and a form with files again', async (status) => {
    await using server = await startRedirects()
    await using other = await startRedirects()
    const form = new FormData()
    form.append('file', new File(['content'], 'a.txt'))
    const to = `${server.origin}/status/${status}?to=${encodeURIComponent(`${other.origin}/status/307?to=/end`)}`
    const blob = await get(to, { method: 'POST', body: new Blob(['bytes'], { type: 'text/x' }) })
    expect([blob.redirected, blob.type, blob.url]).toEqual([true, 'cors', `${other.origin}/end`])
    const echo = (await blob.json()) as Echo
    expect(echo).toMatchObject({ method: 'POST', url: '/end', body: 'bytes' })
    expect(echo.headers).toMatchObject({ 'content-type': 'text/x', 'content-length': '5' })
    const files = (await (await get(to, { method: 'POST', body: form })).json()) as Echo
    expect(files.body).toContain('filename="a.txt"')
    expect(files.body).toContain('\r\n\r\ncontent\r\n')
  })

  test('to another origin strip what is not for it', async () => {
    await using server = await startRedirects()
    await using other = await startRedirects()
    const headers = { authorization: 'secret', cookie: 'a=b', 'x-kept': '1' }
    const response = await get(`${server.origin}/status/307?to=${other.origin}/end`, { headers })
    expect([response.url, response.type]).toEqual([`${other.origin}/end`, 'cors'])
    const echo = (await response.json()) as Echo
    expect(echo.headers).not.toHaveProperty('authorization')
    expect(echo.headers).not.toHaveProperty('cookie')
    expect(echo.headers['x-kept']).toBe('1')
    expect(echo.headers['host']).toBe(new URL(other.origin).host)
  })

  test.each([
    [301, 'GET', ''],
    [303, 'GET', ''],
    [307, 'POST', 'data'],
    [308, 'POST', 'data'],
  ])('after %i make a POST a %s', async (status, method, body) => {
    await using server = await startRedirects()
    const response = await get(`${server.origin}/status/${status}?to=/end`, { method: 'POST', body: 'data' })
    const echo = (await response.json()) as Echo
    expect([echo.method, echo.body, 'content-type' in echo.headers]).toEqual([method, body, method === 'POST'])
  })

  test('that need a stream again are errors that say so', async () => {
    await using server = await startRedirects()
    const body = ReadableStream.from([Buffer.from('data')])
    const error = (await get(`${server.origin}/status/307?to=/`, { method: 'POST', body }).catch(
      (thrown: unknown) => thrown,
    )) as Error
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toBe('fetch failed')
    expect(String(error.cause)).toContain('whose stream was read')
  })

  test('name the host that failed, not the one that was asked for', async () => {
    await using server = await startRedirects()
    const closed = await startServer(() => {})
    const { origin } = closed
    await closed[Symbol.asyncDispose]()
    const error = (await get(`${server.origin}/status/302?to=${origin}/`).catch((thrown: unknown) => thrown)) as Error
    expect(error.cause).toMatchObject({ code: 'ECONNREFUSED' })
    expect((error.cause as Error).message).toContain(new URL(origin).host)
  })

  test("'manual' gives the redirect itself, as Node's fetch does", async () => {
    await using server = await startRedirects()
    const response = await get(`${server.origin}/status/302?to=/end`, { redirect: 'manual' })
    expect([response.status, response.redirected, response.type]).toEqual([302, false, 'basic'])
    expect([response.headers.get('location'), await response.text()]).toEqual(['/end', 'moved'])
  })

  test("'error' refuses it", async () => {
    await using server = await startRedirects()
    const error = (await get(`${server.origin}/status/302?to=/end`, { redirect: 'error' }).catch(
      (thrown: unknown) => thrown,
    )) as Error
    expect([error.message, (error.cause as Error).message]).toEqual([
      'fetch failed',
      expect.stringContaining('unexpected redirect (302'),
    ])
  })

  test('stop after twenty', async () => {
    await using server = await startServer((_request, response) => response.writeHead(302, { location: '/' }).end())
    const error = (await get(server.origin).catch((thrown: unknown) => thrown)) as Error
    expect(String(error.cause)).toContain('redirect count exceeded')
  })

  test('end when their signal aborts', async () => {
    const abort = new AbortController()
    await using server = await startServer((request, response) => {
      if (request.url === '/') response.writeHead(302, { location: '/end' }).end()
      else abort.abort(new Error('enough'))
    })
    await expect(get(server.origin, { signal: abort.signal })).rejects.toThrow('enough')
  })
})
