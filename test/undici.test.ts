import { createHash } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { PassThrough, Readable, Writable } from 'node:stream'
import { pipeline as pipe } from 'node:stream/promises'
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import * as undici8 from 'undici'
import * as undici7 from 'undici7'
import { Agent } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { countingBlock, isAsked, startFlood, startServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'

const GLOBALS = ['undici.globalDispatcher.1', 'undici.globalDispatcher.2'].map((key) => Symbol.for(key))
const globals = globalThis as unknown as Record<symbol, unknown>
const before = GLOBALS.map((key) => globals[key])

afterEach(() => {
  for (const [index, key] of GLOBALS.entries()) if (globals[key] !== before[index]) globals[key] = before[index]
})

/** Says what it was sent: method, path and body; `/gzip` compressed, `/slow` never to its end. */
function startEcho(): Promise<RunningServer> {
  return startServer(async (request, response) => {
    if (request.url === '/slow') {
      response.write('first')
      return
    }
    const said = `${request.method} ${request.url} ${await text(request)}`
    response.setHeader('x-echo', 'yes')
    if (request.url === '/gzip') {
      response.setHeader('content-encoding', 'gzip')
      response.end(gzipSync(said))
    } else {
      response.end(said)
    }
  })
}

async function* pieces(): AsyncGenerator<Uint8Array> {
  for (const piece of ['one ', 'two ', 'three']) {
    yield Buffer.from(piece)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe.each([
  ['undici 8', undici8 as unknown as typeof undici7],
  ['undici 7', undici7],
])('%s', (_name, undici) => {
  test('request, with its body methods, headers and trailers', async () => {
    await using server = await startEcho()
    await using agent = new Agent()
    const { statusCode, headers, body, trailers } = await undici.request(`${server.origin}/a?b=c`, {
      dispatcher: agent,
      method: 'POST',
      body: 'hello',
    })
    expect(statusCode).toBe(200)
    expect(headers['x-echo']).toBe('yes')
    expect(await body.text()).toBe('POST /a?b=c hello')
    expect(trailers).toEqual({})
  })

  test.each([
    ['a Readable', () => Readable.from(pieces())],
    ['an async generator', () => pieces()],
    ['a web stream', () => ReadableStream.from(pieces())],
  ])('request streams %s to the server', async (_kind, makeBody) => {
    await using server = await startEcho()
    await using agent = new Agent()
    const options = { dispatcher: agent, method: 'PUT', body: makeBody() as Readable } as const
    const { body } = await undici.request(server.origin, options)
    expect(await body.text()).toBe('PUT / one two three')
  })

  test('request gives a large body whole to a slow reader', async () => {
    const length = 16 * 1024 * 1024
    await using server = await startFlood({ length })
    await using agent = new Agent()
    const { body } = await undici.request(server.origin, { dispatcher: agent })
    const hash = createHash('sha256')
    for await (const chunk of body) {
      hash.update(chunk as Buffer)
      await new Promise((resolve) => setImmediate(resolve))
    }
    const block = countingBlock()
    const expected = createHash('sha256')
    for (let at = 0; at < length; at += block.length) expected.update(block)
    expect(hash.digest('hex')).toBe(expected.digest('hex'))
  })

  test('a body that nobody reads to its end drops its connection when destroyed', async () => {
    await using server = await startFlood({ length: 64 * 1024 * 1024 })
    await using agent = new Agent()
    const { body } = await undici.request(server.origin, { dispatcher: agent })
    body.on('error', () => {})
    body.destroy()
    await until(() => server.sockets.size === 0)
  })

  test('request is aborted by its signal before the head and inside the body', async () => {
    await using silent = await startServer(() => {})
    await using server = await startEcho()
    await using agent = new Agent()
    const first = new AbortController()
    const waiting = undici.request(silent.origin, { dispatcher: agent, signal: first.signal })
    await until(() => isAsked(silent))
    first.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    await until(() => silent.sockets.size === 0)

    const second = new AbortController()
    const { body } = await undici.request(`${server.origin}/slow`, { dispatcher: agent, signal: second.signal })
    const reading = body.text()
    second.abort(new Error('enough'))
    await expect(reading).rejects.toThrow()
    await until(() => server.sockets.size === 0)
  })

  test('stream writes the body into a writable', async () => {
    await using server = await startEcho()
    await using agent = new Agent()
    const chunks: Buffer[] = []
    await undici.stream(`${server.origin}/s`, { dispatcher: agent, method: 'GET' }, ({ statusCode }) => {
      expect(statusCode).toBe(200)
      return new Writable({
        write(chunk: Buffer, _encoding, done) {
          chunks.push(chunk)
          setImmediate(done)
        },
      })
    })
    expect(Buffer.concat(chunks).toString()).toBe('GET /s ')
  })

  test('pipeline sends what is written and reads what is answered', async () => {
    await using server = await startEcho()
    await using agent = new Agent()
    const duplex = undici.pipeline(
      `${server.origin}/p`,
      { dispatcher: agent, method: 'POST' },
      ({ body }) => body as Readable,
    )
    const out = new PassThrough()
    const [said] = await Promise.all([text(out), pipe(Readable.from(['a', 'b', 'c']), duplex, out)])
    expect(said).toBe('POST /p abc')
  })

  test('fetch with a dispatcher: bodies, gzip, abort', async () => {
    await using server = await startEcho()
    await using agent = new Agent()
    const posted = await undici.fetch(`${server.origin}/f`, { dispatcher: agent, method: 'POST', body: 'hello' })
    expect(await posted.text()).toBe('POST /f hello')
    const streamed = await undici.fetch(server.origin, {
      dispatcher: agent,
      method: 'POST',
      body: ReadableStream.from(pieces()) as never,
      duplex: 'half',
    })
    expect(await streamed.text()).toBe('POST / one two three')
    expect(await (await undici.fetch(`${server.origin}/gzip`, { dispatcher: agent })).text()).toBe('GET /gzip ')
    const controller = new AbortController()
    const slow = await undici.fetch(`${server.origin}/slow`, { dispatcher: agent, signal: controller.signal })
    const reading = slow.text()
    controller.abort()
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' })
  })

  test('fetch says why it failed', async () => {
    await using server = await startServer((request) => request.socket.destroy())
    await using agent = new Agent()
    const failed = undici.fetch(server.origin, { dispatcher: agent })
    await expect(failed).rejects.toMatchObject({
      message: 'fetch failed',
      cause: { code: expect.stringMatching(/^(UND_ERR_SOCKET|ECONNRESET)$/) as string },
    })
  })

  test('setGlobalDispatcher serves the package and the built-in fetch', async () => {
    await using server = await startEcho()
    await using agent = new Agent()
    undici.setGlobalDispatcher(agent)
    expect(await (await undici.request(`${server.origin}/r`)).body.text()).toBe('GET /r ')
    expect(await (await undici.fetch(`${server.origin}/f`)).text()).toBe('GET /f ')
    const builtIn = await globalThis.fetch(`${server.origin}/g`, { method: 'POST', body: 'hello' })
    expect(await builtIn.text()).toBe('POST /g hello')
    // Nobody else's connections: all of them went when the agent did.
    expect(server.sockets.size).toBeGreaterThan(0)
    await agent.destroy()
    await until(() => server.sockets.size === 0)
  })

  test('a thousand requests at once are all answered, each with its own body', async () => {
    await using server = await startEcho()
    await using agent = new Agent()
    const said = await Promise.all(
      Array.from({ length: 1000 }, async (_, index) => {
        const { body } = await undici.request(`${server.origin}/${index}`, {
          dispatcher: agent,
          method: 'POST',
          body: `body ${index}`,
        })
        return body.text()
      }),
    )
    expect(said).toEqual(said.map((_, index) => `POST /${index} body ${index}`))
    expect(agent.stats.running).toBe(0)
  })
})

test('the built-in fetch takes the agent as its dispatcher: bodies, gzip, redirects, abort', async () => {
  await using server = await startServer(async (request, response) => {
    if (request.url === '/redirect') {
      response.writeHead(302, { location: '/gzip' }).end('elsewhere')
    } else if (request.url === '/slow') {
      response.write('first')
    } else {
      response.setHeader('content-encoding', 'gzip')
      response.end(gzipSync(`${request.method} ${await text(request)}`))
    }
  })
  await using agent = new Agent()
  const init = { dispatcher: agent as never }
  expect(await (await globalThis.fetch(`${server.origin}/redirect`, init)).text()).toBe('GET ')
  const posted = { ...init, method: 'POST', body: ReadableStream.from(pieces()), duplex: 'half' as const }
  expect(await (await globalThis.fetch(server.origin, posted)).text()).toBe('POST one two three')
  const controller = new AbortController()
  const slow = await globalThis.fetch(`${server.origin}/slow`, { ...init, signal: controller.signal })
  const reading = slow.text()
  controller.abort(new Error('enough'))
  await expect(reading).rejects.toThrow('enough')
})
