/** Options of sockets, each seen from outside. */
import { createServer, type RequestListener } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Server } from 'node:net'
import { describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import type { AgentOptions } from '../lib/index.ts'
import { rejection } from './support/bodies.ts'
import { certificate, certificateAuthority } from './support/certificates.ts'
import { Recorder, send } from './support/recorder.ts'
import { startServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'
import { startSilentAddress } from './support/silent-address.ts'

const ca = certificateAuthority

async function ask(url: string, options: AgentOptions): Promise<string> {
  await using agent = new Agent(options)
  const text = await (await fetch(url, { dispatcher: agent })).text()
  const recorder = new Recorder()
  await send(agent, url, recorder).ended
  // Both ways lead over the same sockets.
  expect([recorder.error, recorder.body.toString()]).toEqual([null, text])
  return text
}

async function listenAt(server: Server): Promise<{ path: string } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-'))
  const path = join(folder, 'socket')
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return {
    path,
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve))
      await rm(folder, { recursive: true, force: true })
    },
  }
}

describe('socketPath', () => {
  const answer: RequestListener = (request, response) => response.end(`${request.httpVersion} ${request.headers.host}`)

  test.each(['agent', 'connect', 'tls'])('of %s is where requests go', async (place) => {
    await using server = await listenAt(createServer(answer))
    const given = { socketPath: server.path }
    expect(await ask('http://over.test:81', place === 'agent' ? given : { [place]: given })).toBe('1.1 over.test:81')
  })

  test('TLS runs over it, with the name of the URL', async () => {
    await using server = await listenAt(createHttpsServer(certificate('signed'), answer))
    const options = { socketPath: server.path }
    expect(await ask('https://localhost', { ...options, connect: { ca } })).toBe('1.1 localhost')
    const wrong = await rejection(ask('https://over.test', { ...options, connect: { ca } }))
    expect(wrong.cause.code).toBe('ERR_TLS_CERT_ALTNAME_INVALID')
    expect(await ask('https://over.test', { ...options, connect: { ca, servername: 'localhost' } })).toBe(
      '1.1 over.test',
    )
  })

  test('names are not looked up', async () => {
    await using server = await listenAt(createServer(answer))
    const lookup = (): void => expect.unreachable()
    expect(await ask('http://nowhere.test', { socketPath: server.path, connect: { lookup } })).toBe('1.1 nowhere.test')
  })

  test('that is not there is ENOENT, one that nobody listens at ECONNREFUSED, with the path as address', async () => {
    const missing = await rejection(ask('http://over.test', { socketPath: '/nonexistent/socket' }))
    expect(missing.cause).toMatchObject({ code: 'ENOENT', syscall: 'connect', address: '/nonexistent/socket' })
    const file = new URL(import.meta.url).pathname
    const refused = await rejection(ask('http://over.test', { socketPath: file }))
    expect(refused.cause).toMatchObject({ code: 'ECONNREFUSED', address: file })
  })
})

describe('localAddress', () => {
  const startMirror = (host: string): Promise<RunningServer> =>
    startServer((request, response) => response.end(request.socket.remoteAddress), { host })

  test.each(['agent', 'connect'])('of %s is where connections come from', async (place) => {
    await using server = await startMirror('127.0.0.1')
    const options = (localAddress: string): AgentOptions =>
      place === 'agent' ? { localAddress } : { connect: { localAddress } }
    expect(await ask(server.origin, options('127.0.0.7'))).toBe('127.0.0.7')
    expect(await ask(server.origin, {})).toBe('127.0.0.1')
    const { cause } = await rejection(ask(server.origin, options('192.0.2.1')))
    expect(cause).toMatchObject({ code: 'EADDRNOTAVAIL', syscall: 'bind', address: '192.0.2.1' })
  })

  test('of IPv6 connects to addresses of IPv6', async () => {
    await using server = await startMirror('::1')
    expect(await ask(server.origin, { localAddress: '::1' })).toBe('::1')
  })
})

/** Linux's word on a connection: which timer runs, and its time in ticks of 10 ms (proc_pid_net(5)). */
async function timerTo(port: number): Promise<[kind: number, ticks: number]> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const lines = (await readFile('/proc/net/tcp', 'latin1')).split('\n').map((line) => line.trim().split(/\s+/))
  // An earlier server's connections may wait out their time under the same port.
  const line = lines.find(([, , remote, state]) => remote === `0100007F:${hex}` && state === ESTABLISHED)
  const [kind, ticks] = line![5]!.split(':').map((part) => Number.parseInt(part, 16))
  return [kind!, ticks!]
}

const ESTABLISHED = '01'
const KEEP_ALIVE = 2

describe.skipIf(process.platform !== 'linux')('TCP keep-alive', () => {
  test.each<[AgentOptions, number]>([
    [{}, 60_000],
    [{ connect: { keepAlive: true } }, 60_000],
    [{ connect: { keepAliveInitialDelay: 7000 } }, 7000],
    [{ tls: { keepAliveInitialDelay: 1_000_000 } }, 1_000_000],
  ])('with %o probes after %i ms', async (options, delay) => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using agent = new Agent(options)
    await (await fetch(server.origin, { dispatcher: agent })).text()
    const [kind, ticks] = await timerTo(server.port)
    expect(kind).toBe(KEEP_ALIVE)
    expect(ticks * 10).toBeLessThanOrEqual(delay)
    expect(ticks * 10).toBeGreaterThan(delay - 5000)
  })

  test('that is off leaves no timer', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using agent = new Agent({ connect: { keepAlive: false, keepAliveInitialDelay: 7000 } })
    await (await fetch(server.origin, { dispatcher: agent })).text()
    // What was sent has been acknowledged: nothing else is timed.
    await expect.poll(async () => (await timerTo(server.port))[0]).toBe(0)
  })
})

describe('the addresses of a host', () => {
  const resolve = { 'two.test': ['127.0.0.2', '127.0.0.1'] }
  const start = (): Promise<RunningServer> => startServer((_request, response) => response.end('second'))

  test.each(['agent', 'connect'])('autoSelectFamily: false of %s tries the first alone', async (place) => {
    await using server = await start()
    const given = (autoSelectFamily: boolean): AgentOptions =>
      place === 'agent' ? { resolve, autoSelectFamily } : { resolve, connect: { autoSelectFamily } }
    const url = `http://two.test:${server.port}`
    expect(await ask(url, given(true))).toBe('second')
    const { cause } = await rejection(ask(url, given(false)))
    expect(cause).toMatchObject({ code: 'ECONNREFUSED', address: '127.0.0.2' })
  })

  test.skipIf(process.platform !== 'linux').each(['agent', 'connect'])(
    'autoSelectFamilyAttemptTimeout of %s is when a silent one is overtaken',
    async (place) => {
      await using server = await start()
      await using _silent = await startSilentAddress('127.0.0.2', server.port)
      const given = (autoSelectFamilyAttemptTimeout: number, connectTimeout: number): AgentOptions => ({
        resolve,
        connectTimeout,
        ...(place === 'agent' ? { autoSelectFamilyAttemptTimeout } : { connect: { autoSelectFamilyAttemptTimeout } }),
      })
      const url = `http://two.test:${server.port}`
      expect(await ask(url, given(10, 10_000))).toBe('second')
      const accepted = server.accepted
      expect((await rejection(ask(url, given(60_000, 200)))).cause.code).toBe('UND_ERR_CONNECT_TIMEOUT')
      expect(server.accepted).toBe(accepted)
    },
  )
})

describe('an idle connection', () => {
  const closed = (agent: Agent): Promise<Error> =>
    new Promise((resolve) => agent.once('disconnect', (_origin, _targets, error) => resolve(error)))

  test.each<[string, string, AgentOptions, string]>([
    [
      'the least of the hint and keepAliveMaxTimeout',
      'timeout=600',
      { keepAliveMaxTimeout: 30 },
      'socket idle timeout',
    ],
    ['the hint less keepAliveTimeoutThreshold', 'timeout=1', { keepAliveTimeoutThreshold: 970 }, 'socket idle timeout'],
    ['not at all where the threshold leaves nothing', 'timeout=1', { keepAliveTimeoutThreshold: 1000 }, 'reset'],
    ['keepAliveTimeout without a hint', '', { keepAliveTimeout: 30 }, 'socket idle timeout'],
  ])('is kept %s', async (_name, hint, options, reason) => {
    await using server = await startServer((_request, response) => {
      if (hint !== '') response.setHeader('keep-alive', hint)
      response.end('x')
    })
    // An hour, were the hint not heeded.
    await using agent = new Agent({ keepAliveTimeout: 3_600_000, ...options })
    const gone = closed(agent)
    await (await fetch(server.origin, { dispatcher: agent })).text()
    expect((await gone).message).toBe(reason)
    expect(server.accepted).toBe(1)
  })
})
