import { describe, expect, test } from 'vitest'
import { ReadableStream as PolyfilledStream } from 'web-streams-polyfill'
import { Agent, fetch } from '../lib/index.ts'
import type { FetchInit, SluiceResponse } from '../lib/index.ts'
import { startServer, startTcpServer } from './support/servers.ts'

const LARGE = 1_000_000

/** `/small` rides with its head, `/large` and `/chunked` do not. */
const startBodies = (type = 'text/plain;charset=utf-8') =>
  startServer(async (request, response) => {
    response.setHeader('content-type', type)
    if (request.url === '/small') response.end('small')
    else if (request.url === '/large') response.end(Buffer.alloc(LARGE, 'l'))
    else if (request.url === '/chunked') {
      for (let at = 0; at < LARGE; at += 100_000) response.write(Buffer.alloc(100_000, 'l'))
      response.end()
    } else response.end()
  })

const raw = (answer: string | Buffer) =>
  startTcpServer((socket) => {
    socket.on('data', () => socket.write(answer))
  })

const expectedText = (path: string): string =>
  path === '/empty' ? '' : path === '/small' ? 'small' : 'l'.repeat(LARGE)

describe('the head', () => {
  test('is a platform Response with url, status, type and headers that do not change', async () => {
    await using server = await startBodies()
    await using agent = new Agent()
    const response = await fetch(`${server.origin}/small?q#hash`, { dispatcher: agent })
    expect(response).toBeInstanceOf(Response)
    expect(Object.prototype.toString.call(response)).toBe('[object Response]')
    expect(response).toMatchObject({ status: 200, statusText: 'OK', ok: true, type: 'basic', redirected: false })
    expect(response.url).toBe(`${server.origin}/small?q`)
    expect(response.headers).toBeInstanceOf(Headers)
    expect(response.headers.get('Content-Type')).toBe('text/plain;charset=utf-8')
    expect(response.headers).toBe(response.headers)
    expect(() => response.headers.set('x', '1')).toThrow(TypeError)
    expect(() => response.headers.append('x', '1')).toThrow(TypeError)
    expect(() => response.headers.delete('content-type')).toThrow(TypeError)
    expect(response.headers.has('x')).toBe(false)
  })

  test('repeated headers are joined, set-cookie kept apart', async () => {
    await using server = await raw(
      'HTTP/1.1 200 OK\r\nx-a: 1\r\nset-cookie: a\r\nX-A: 2\r\nset-cookie: b\r\ncontent-length: 0\r\n\r\n',
    )
    await using agent = new Agent()
    const { headers } = await fetch(server.origin, { dispatcher: agent })
    expect(headers.get('x-a')).toBe('1, 2')
    expect(headers.getSetCookie()).toEqual(['a', 'b'])
  })

  test.each([
    [299, true],
    [404, false],
    [600, false],
    [999, false],
  ])('status %i is kept', async (status, ok) => {
    await using server = await raw(`HTTP/1.1 ${status} Some Phrase\r\ncontent-length: 4\r\n\r\nbody`)
    await using agent = new Agent()
    const response = await fetch(server.origin, { dispatcher: agent })
    expect([response.status, response.statusText, response.ok]).toEqual([status, 'Some Phrase', ok])
    expect(response.clone().status).toBe(status)
    expect(await response.text()).toBe('body')
  })

  test.each([
    [204, 'GET'],
    [205, 'GET'],
    [304, 'GET'],
    [200, 'HEAD'],
  ])('status %i of %s has a null body, which can be read as nothing', async (status, method) => {
    await using server = await raw(`HTTP/1.1 ${status} X\r\ncontent-length: 0\r\n\r\n`)
    await using agent = new Agent()
    const response = await fetch(server.origin, { method, dispatcher: agent })
    expect([response.status, response.body, response.bodyUsed]).toEqual([status, null, false])
    expect(await response.text()).toBe('')
    expect(await response.text()).toBe('')
    expect(response.bodyUsed).toBe(false)
  })

  test('is printed as a Response', async () => {
    await using server = await startBodies()
    await using agent = new Agent()
    const response = await fetch(`${server.origin}/small`, { dispatcher: agent })
    const { inspect } = await import('node:util')
    expect(inspect(response)).toMatch(/^Response \{[\s\S]*status: 200[\s\S]*bodyUsed: false/)
  })
})

describe.each([
  ["the platform's streams", undefined],
  ["the polyfill's streams", { ReadableStream: PolyfilledStream } as unknown as FetchInit['streams']],
])('bodies over %s', (_name, streams) => {
  describe.each(['/empty', '/small', '/large', '/chunked'])('%s', (path) => {
    const get = async (act: (response: SluiceResponse) => Promise<void>, type?: string): Promise<void> => {
      await using server = await startBodies(type)
      await using agent = new Agent()
      await act(await fetch(`${server.origin}${path}`, { dispatcher: agent, streams }))
    }

    test.each([
      ['text', (response: Response) => response.text()],
      ['bytes', async (response: Response) => new TextDecoder().decode(await response.bytes())],
      ['arrayBuffer', async (response: Response) => new TextDecoder().decode(await response.arrayBuffer())],
      ['blob', async (response: Response) => (await response.blob()).text()],
      [
        'the stream',
        async (response: Response) => {
          let text = ''
          for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
            text += Buffer.from(chunk).toString()
          }
          return text
        },
      ],
    ])('%s has all of it, once', async (_method, read) => {
      await get(async (response) => {
        expect(response.bodyUsed).toBe(false)
        expect(await read(response)).toBe(expectedText(path))
        expect(response.bodyUsed).toBe(true)
        await expect(response.text()).rejects.toThrow(TypeError)
        await expect(response.bytes()).rejects.toThrow(TypeError)
        expect(() => response.clone()).toThrow(TypeError)
      })
    })

    test('looking at the stream does not use it, a reader locks it', async () => {
      await get(async (response) => {
        const { body } = response
        expect(response.body).toBe(body)
        expect([response.bodyUsed, body!.locked]).toEqual([false, false])
        const reader = body!.getReader()
        expect([response.bodyUsed, body!.locked]).toEqual([false, true])
        await expect(response.text()).rejects.toThrow(TypeError)
        expect(() => response.clone()).toThrow(TypeError)
        reader.releaseLock()
        expect(await response.text()).toBe(expectedText(path))
        expect([response.bodyUsed, response.body!.locked]).toEqual([true, true])
      })
    })

    test('a cancelled body is used', async () => {
      await get(async (response) => {
        await response.body!.cancel()
        expect(response.bodyUsed).toBe(true)
        await expect(response.text()).rejects.toThrow(TypeError)
      })
    })

    test('a clone has the same body and head', async () => {
      await get(async (response) => {
        const first = response.clone()
        const second = response.clone()
        expect(first).toBeInstanceOf(Response)
        expect([first.status, first.url]).toEqual([response.status, response.url])
        const texts = await Promise.all([response.text(), first.text(), second.text()])
        expect(texts.every((text) => text === expectedText(path))).toBe(true)
        expect([response.bodyUsed, first.bodyUsed, second.bodyUsed]).toEqual([true, true, true])
      })
    })

    test('a clone after the stream was looked at has it all too', async () => {
      await get(async (response) => {
        expect(response.body).not.toBeNull()
        const clone = response.clone()
        expect(await clone.text()).toBe(expectedText(path))
        expect(response.bodyUsed).toBe(false)
        expect(await response.text()).toBe(expectedText(path))
      })
    })

    test('a blob has the type of the content', async () => {
      await get(async (response) => {
        const blob = await response.blob()
        expect([blob.type, blob.size]).toEqual(['image/x', expectedText(path).length])
      }, 'image/x')
    })
  })
})

test('a new Response takes the body and the head of one of these', async () => {
  await using server = await startBodies()
  await using agent = new Agent()
  for (const path of ['/small', '/large']) {
    const response = await fetch(`${server.origin}${path}`, { dispatcher: agent })
    const copy = new Response(response.body, response)
    expect([copy.status, copy.headers.get('content-type')]).toEqual([200, 'text/plain;charset=utf-8'])
    expect(await copy.text()).toBe(expectedText(path))
    expect(response.bodyUsed).toBe(true)
  }
})

test.each(['/small', '/large'])('json parses, and says what is wrong (%s)', async (path) => {
  const value = { a: path === '/small' ? 'b' : 'b'.repeat(LARGE) }
  await using server = await startServer((request, response) => {
    response.end(request.url === path ? JSON.stringify(value) : `${'{'.repeat(10)}`)
  })
  await using agent = new Agent()
  expect(await (await fetch(`${server.origin}${path}`, { dispatcher: agent })).json()).toEqual(value)
  await expect((await fetch(`${server.origin}/bad`, { dispatcher: agent })).json()).rejects.toThrow(SyntaxError)
})

test('text drops a byte order mark and replaces what is no UTF-8', async () => {
  await using server = await startServer((_request, response) => {
    response.end(Buffer.concat([Buffer.from('\ufeff{"a":1}'), Buffer.from(' \xff', 'latin1')]))
  })
  await using agent = new Agent()
  expect(await (await fetch(server.origin, { dispatcher: agent })).text()).toBe('{"a":1} \ufffd')
})

test('formData reads multipart and urlencoded bodies, and refuses others', async () => {
  const multipart = '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n'
  await using server = await startServer((request, response) => {
    const kinds: Record<string, [string, string]> = {
      '/multipart': ['multipart/form-data; boundary=b', multipart],
      '/urlencoded': ['application/x-www-form-urlencoded', 'a=1'],
      '/text': ['text/plain', 'a=1'],
    }
    const [type, body] = kinds[request.url!]!
    response.writeHead(200, { 'content-type': type }).end(body)
  })
  await using agent = new Agent()
  for (const path of ['/multipart', '/urlencoded']) {
    const data = await (await fetch(`${server.origin}${path}`, { dispatcher: agent })).formData()
    expect([...data]).toEqual([['a', '1']])
  }
  await expect((await fetch(`${server.origin}/text`, { dispatcher: agent })).formData()).rejects.toThrow(TypeError)
})

describe('trailers', () => {
  const head = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n'

  test('come when the body has been read', async () => {
    await using server = await raw(`${head}3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n`)
    await using agent = new Agent()
    const response = await fetch(server.origin, { dispatcher: agent })
    const { trailers } = response
    expect(response.trailers).toBe(trailers)
    expect(await response.text()).toBe('abc')
    expect((await trailers).get('x-sum')).toBe('1')
  })

  test('come after a body that was read by its stream, from its clone as well', async () => {
    await using server = await raw(`${head}186a0\r\n${'x'.repeat(100_000)}\r\n0\r\nx-sum: 2\r\n\r\n`)
    await using agent = new Agent()
    const response = await fetch(server.origin, { dispatcher: agent })
    const clone = response.clone()
    await Promise.all([response.bytes(), clone.bytes()])
    expect([(await response.trailers).get('x-sum'), (await (clone as SluiceResponse).trailers).get('x-sum')]).toEqual([
      '2',
      '2',
    ])
  })

  test('are empty without any, and fail with the body', async () => {
    await using server = await startBodies()
    await using agent = new Agent()
    for (const path of ['/small', '/large']) {
      const response = await fetch(`${server.origin}${path}`, { dispatcher: agent })
      await response.text()
      expect([...(await response.trailers)]).toEqual([])
    }
    await using broken = await startTcpServer((socket) => socket.once('data', () => socket.end(`${head}3\r\nabc\r\n`)))
    const response = await fetch(broken.origin, { dispatcher: agent })
    const outcomes = await Promise.allSettled([response.text(), response.trailers])
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  })
})
