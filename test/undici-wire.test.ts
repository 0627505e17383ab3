/** What reaches the server, line by line; COMPATIBILITY.md has a row for each difference from undici. */
import { expect, test } from 'vitest'
import { Agent as UndiciAgent } from 'undici'
import { Agent, fetch } from '../lib/index.ts'
import type { DispatcherLike, DispatchOptions } from '../lib/index.ts'
import { Recorder, send } from './support/recorder.ts'
import { startTcpServer } from './support/servers.ts'

/** Whether the head and the body that it announces are there (RFC 9112 §6.3). */
function isWhole(message: string): boolean {
  const end = message.indexOf('\r\n\r\n')
  if (end < 0) return false
  const head = message.slice(0, end).toLowerCase()
  const body = message.slice(end + 4)
  if (head.includes('\r\ntransfer-encoding: chunked')) return body.endsWith('0\r\n\r\n')
  const length = /\r\ncontent-length: (\d+)/.exec(head)
  return body.length >= Number(length?.[1] ?? 0)
}

/** The lines of the request's head, and what came after it. */
async function wire(act: (origin: string) => Promise<unknown>): Promise<{ lines: string[]; body: string }> {
  let received = ''
  await using server = await startTcpServer((socket) => {
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
      if (isWhole(received)) socket.end('HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n')
    })
  })
  await act(server.origin)
  const end = received.indexOf('\r\n\r\n')
  const lines = received.slice(0, end).replaceAll(server.origin.slice('http://'.length), 'HOST').split('\r\n')
  return { lines, body: received.slice(end + 4) }
}

const over = (dispatcher: DispatcherLike, options: Partial<DispatchOptions>) =>
  wire(async (origin) => {
    const recorder = new Recorder()
    await send(dispatcher, origin, recorder, options).ended
    expect(recorder.error).toBeNull()
  })

const chunked = async function* (): AsyncGenerator<string> {
  yield 'hello'
}

const REQUESTS: [string, Partial<DispatchOptions>][] = [
  ['a GET', {}],
  ['a GET with headers', { headers: { 'X-Case': '1', 'x-many': ['a', 'b'], 'user-agent': 'me' } }],
  ['a POST without a body', { method: 'POST' }],
  ['a POST of a string', { method: 'POST', body: 'hello' }],
  ['a POST of unknown length', { method: 'POST', body: chunked() }],
  ['a DELETE', { method: 'DELETE' }],
  ['an unusual method and path', { method: 'PURGE', path: '/a%2fb?c=d&e', headers: { 'content-length': '0' } }],
  ['a host of its own', { headers: { Host: 'named.test' } }],
  ['a HEAD', { method: 'HEAD' }],
  ['a HEAD to keep its connection', { method: 'HEAD', reset: false }],
  ['a request to reset', { reset: true }],
  ['a connection to close', { headers: { Connection: 'close, X' } }],
  ['a GET with a body', { body: 'hello' }],
  ['a latin1 value', { headers: { 'x-name': 'caf\u00e9' } }],
]

/** What reqwest cannot do. */
const WIRE_REQUESTS: typeof REQUESTS = [
  ['an absolute target', { path: 'http://other.test/x' }],
  ['headers in many cases', { headers: ['X-A', '1', 'x-a', '2', 'COOKIE', 'a=b', 'aCCept', 'x'] }],
]

/** What reqwest adds, how it spells names, and where it puts them. */
function comparable(lines: string[]): string[] {
  const [first, ...headers] = lines
  return [
    first!,
    ...headers
      .map((line) => line.slice(0, line.indexOf(':')).toLowerCase() + line.slice(line.indexOf(':')))
      .filter((line) => line !== 'accept: */*' && line !== 'connection: keep-alive')
      .toSorted(),
  ]
}

test.each([...REQUESTS, ...WIRE_REQUESTS])("%s is undici's, line by line", async (name, options) => {
  await using agent = new Agent()
  const { mine, theirs } = await compare(agent, name, options)
  expect(mine.lines).toEqual(theirs.lines)
})

test.each(REQUESTS)("%s has undici's headers, and accept, over reqwest", async (name, options) => {
  await using agent = new Agent({ transport: 'reqwest' })
  const { mine, theirs } = await compare(agent, name, options)
  expect(comparable(mine.lines)).toEqual(comparable(theirs.lines))
  expect(mine.lines).toContain('accept: */*')
})

type Wire = Awaited<ReturnType<typeof wire>>

async function compare(
  agent: Agent,
  name: string,
  options: Partial<DispatchOptions>,
): Promise<{ mine: Wire; theirs: Wire }> {
  const undici = new UndiciAgent({ allowH2: false })
  // A generator is read once.
  const fresh = (): Partial<DispatchOptions> => (name.endsWith('length') ? { ...options, body: chunked() } : options)
  const mine = await over(agent, fresh())
  const theirs = await over(undici as DispatcherLike, fresh())
  await undici.close()
  expect(mine.body).toBe(theirs.body)
  return { mine, theirs }
}

test('an accept of the caller stands alone', async () => {
  await using agent = new Agent()
  const { lines } = await over(agent, { headers: { accept: 'text/html' } })
  expect(lines.filter((line) => line.startsWith('accept'))).toEqual(['accept: text/html'])
})

test('reset: true and connection: close ask the server to close', async () => {
  await using agent = new Agent()
  for (const options of [{ reset: true }, { headers: { connection: 'close' } }]) {
    const { lines } = await over(agent, options)
    expect(lines).toContain('connection: close')
  }
})

test.each(['/a/../b', '//a//b', '/%2e%2e/b', '/a\\b|c', "/?q='"])('the path %s is sent as it is', async (path) => {
  await using agent = new Agent()
  const { lines } = await over(agent, { path })
  expect(lines[0]).toBe(`GET ${path} HTTP/1.1`)
})

test('dot segments of a path are resolved by reqwest', async () => {
  await using agent = new Agent({ transport: 'reqwest' })
  const { lines } = await over(agent, { path: '/a/../b' })
  expect(lines[0]).toBe('GET /b HTTP/1.1')
})

test('fetch sends what WHATWG fetch does', async () => {
  await using agent = new Agent()
  const { lines, body } = await wire((origin) =>
    fetch(`${origin}/p?q#hash`, { method: 'post', body: 'hello', headers: { 'X-Case': '1' }, dispatcher: agent }),
  )
  expect(lines[0]).toBe('POST /p?q HTTP/1.1')
  expect(lines.slice(1).toSorted()).toEqual([
    'accept-encoding: gzip, deflate',
    'accept-language: *',
    'accept: */*',
    'connection: keep-alive',
    'content-length: 5',
    'content-type: text/plain;charset=UTF-8',
    'host: HOST',
    'sec-fetch-mode: cors',
    'user-agent: sluice',
    'x-case: 1',
  ])
  expect(body).toBe('hello')
})
