import { describe, expect, test } from 'vitest'
import { Agent, errors, fetch } from '../lib/index.ts'
import type { AddressOption, AgentOptions } from '../lib/index.ts'
import { rejection } from './support/bodies.ts'
import { errorOf } from './support/dispatch.ts'
import { startProxy, startSocksProxy } from './support/proxies.ts'
import { Recorder, send } from './support/recorder.ts'
import { startServer } from './support/servers.ts'
import type { RunningServer } from './support/servers.ts'

const startPlain = (host?: string): Promise<RunningServer> =>
  startServer((_request, response) => response.end('in'), host === undefined ? {} : { host })

const denying = (...deny: string[]): AddressOption => ({ deny })

describe.each(['wire', 'reqwest'] as const)('over %s', (transport) => {
  async function enter(url: string, allowAddress: AddressOption, more: AgentOptions = {}): Promise<string> {
    await using agent = new Agent({ transport, allowAddress, ...more })
    return await (await fetch(url, { dispatcher: agent })).text()
  }

  test.each([
    ['an address written out', '127.0.0.1', denying('127.0.0.0/8')],
    ['a name', 'localhost', denying('127.0.0.0/8', '::1')],
    ['an address of one number', '2130706433', denying('127.0.0.0/8')],
    ['an address of hexadecimal digits', '0x7f.1', denying('127.0.0.0/8')],
    ['IPv4 within IPv6', '[::ffff:127.0.0.1]', denying('127.0.0.0/8')],
    ['what is not among the allowed', '127.0.0.1', ['10.0.0.0/8', '::/0']],
    ['what is among both', '127.0.0.1', { allow: ['127.0.0.0/8'], deny: ['127.0.0.1'] }],
    ['what a function refuses', '127.0.0.1', () => false],
    ['what a function is not sure of', '127.0.0.1', (() => 1) as never],
    ['what a function promises', '127.0.0.1', (async () => true) as never],
    [
      'what a function cannot decide',
      '127.0.0.1',
      () => {
        throw new Error('undecided')
      },
    ],
  ])('%s is refused, and nothing is sent', async (_name, host, allowAddress) => {
    await using server = await startPlain()
    const { cause } = await rejection(enter(`http://${host}:${server.port}`, allowAddress as AddressOption))
    expect(cause).toMatchObject({ name: 'Error', code: 'ERR_ADDRESS_NOT_ALLOWED', phase: 'connect' })
    expect(['127.0.0.1', '::1']).toContain(cause.address)
    expect(cause.message).toContain(`address ${cause.address} of ${cause.hostname} is not allowed`)
    expect(server.accepted).toBe(0)
  })

  test('::1 is refused', async () => {
    await using server = await startPlain('::1')
    const { cause } = await rejection(enter(`http://[::1]:${server.port}`, denying('::1/128')))
    expect(cause).toMatchObject({ code: 'ERR_ADDRESS_NOT_ALLOWED', address: '::1', hostname: '::1' })
    expect(await enter(`http://[::1]:${server.port}`, ['::1'])).toBe('in')
    expect(server.accepted).toBe(1)
  })

  test('a name that stands for an address inside is refused, wherever it comes from', async () => {
    await using server = await startPlain()
    const url = `http://outside.test:${server.port}`
    const guard = denying('127.0.0.0/8')
    const table = await rejection(enter(url, guard, { resolve: { 'outside.test': '127.0.0.1' } }))
    expect(table.cause.message).toContain('address 127.0.0.1 of outside.test is not allowed')
    const lookup = (_host: string, _options: unknown, callback: (error: null, address: string) => void): void =>
      callback(null, '127.0.0.1')
    const answered = await rejection(enter(url, guard, { connect: { lookup } }))
    expect(answered.cause.code).toBe('ERR_ADDRESS_NOT_ALLOWED')
    expect(server.accepted).toBe(0)
  })

  test('a name that stands for another address the second time is asked about again', async () => {
    await using server = await startServer((_request, response) => {
      response.setHeader('connection', 'close')
      response.end('in')
    })
    await using inside = await startServer((_request, response) => response.end('secret'), { host: '127.0.0.2' })
    let lookups = 0
    const lookup = (_host: string, _options: unknown, callback: (error: null, address: string) => void): void =>
      callback(null, lookups++ === 0 ? '127.0.0.1' : '127.0.0.2')
    await using agent = new Agent({ transport, allowAddress: ['127.0.0.1'], connect: { lookup } })
    const url = `http://rebound.test:${server.port}`
    expect(await (await fetch(url, { dispatcher: agent })).text()).toBe('in')
    const { cause } = await rejection(fetch(url, { dispatcher: agent }))
    expect(cause).toMatchObject({ code: 'ERR_ADDRESS_NOT_ALLOWED', address: '127.0.0.2' })
    expect(inside.accepted).toBe(0)
  })

  test('of several addresses those that are allowed are tried', async () => {
    await using server = await startPlain()
    const url = `http://two.test:${server.port}`
    const resolve = { 'two.test': ['127.0.0.2', '127.0.0.1'] }
    expect(await enter(url, denying('127.0.0.2'), { resolve })).toBe('in')
    const { cause } = await rejection(enter(url, denying('127.0.0.1'), { resolve }))
    expect(cause.code).toBe('ECONNREFUSED')
  })

  test('a function is given the plain address and the host', async () => {
    await using server = await startPlain()
    const asked: string[][] = []
    const allowAddress = (ip: string, host: string): boolean => asked.push([ip, host]) > 0
    const resolve = { 'a.test': '127.0.0.1' }
    expect(await enter(`http://a.test:${server.port}`, allowAddress, { resolve })).toBe('in')
    expect(asked).toEqual([['127.0.0.1', 'a.test']])
  })

  test('a redirect inside is refused, and the address that it leads to is not connected to', async () => {
    await using inside = await startPlain('127.0.0.2')
    let location = ''
    await using server = await startServer((_request, response) => response.writeHead(302, { location }).end())
    const resolve = { 'inside.test': '127.0.0.2' }
    for (const host of ['127.0.0.2', '[::ffff:7f00:2]', 'inside.test']) {
      location = `http://${host}:${inside.port}/secret`
      const { cause } = await rejection(enter(server.origin, ['127.0.0.1'], { resolve }))
      expect(cause).toMatchObject({ code: 'ERR_ADDRESS_NOT_ALLOWED', address: '127.0.0.2' })
      expect(await enter(server.origin, ['127.0.0.0/8'], { resolve })).toBe('in')
    }
    expect(inside.accepted).toBe(3)
  })

  test('dispatch is guarded too', async () => {
    await using server = await startPlain()
    await using agent = new Agent({ transport, allowAddress: denying('127.0.0.0/8') })
    const recorder = new Recorder()
    await send(agent, server.origin, recorder).ended
    expect(recorder.error).toMatchObject({ code: 'ERR_ADDRESS_NOT_ALLOWED', address: '127.0.0.1' })
  })
})

test('under a proxy it is the address of the proxy that counts', async () => {
  await using server = await startPlain('127.0.0.2')
  await using proxy = await startProxy()
  const url = `http://127.0.0.2:${server.port}`
  await using through = new Agent({ proxy: proxy.url, allowAddress: ['127.0.0.1'] })
  expect(await (await fetch(url, { dispatcher: through })).text()).toBe('in')
  await using refused = new Agent({ proxy: proxy.url, allowAddress: ['127.0.0.2'] })
  const { cause } = await rejection(fetch(url, { dispatcher: refused }))
  expect(cause).toMatchObject({ code: 'ERR_ADDRESS_NOT_ALLOWED', address: '127.0.0.1' })
})

test('under SOCKS it is the address of the origin too, where that is looked up here or written out', async () => {
  await using server = await startPlain('127.0.0.2')
  await using proxy = await startSocksProxy()
  const enter = async (scheme: string, host: string, allowAddress: AddressOption): Promise<string> => {
    const resolve = { 'inside.test': '127.0.0.2' }
    await using agent = new Agent({ proxy: proxy.url.replace('socks5h', scheme), resolve, allowAddress })
    return await (await fetch(`http://${host}:${server.port}`, { dispatcher: agent })).text()
  }
  for (const [scheme, host] of [
    ['socks5', 'inside.test'],
    ['socks5', '127.0.0.2'],
    ['socks5h', '127.0.0.2'],
    ['socks4', 'inside.test'],
  ] as const) {
    const { cause } = await rejection(enter(scheme, host, ['127.0.0.1']))
    expect(cause).toMatchObject({ code: 'ERR_ADDRESS_NOT_ALLOWED', address: '127.0.0.2' })
  }
  expect(proxy.requests).toEqual([])
  expect(await enter('socks5', 'inside.test', ['127.0.0.1', '127.0.0.2'])).toBe('in')
  const { cause } = await rejection(enter('socks5h', 'inside.test', ['127.0.0.2']))
  expect(cause).toMatchObject({ code: 'ERR_ADDRESS_NOT_ALLOWED', address: '127.0.0.1' })
})

test('an upgrade and a CONNECT are no way round', async () => {
  await using server = await startPlain()
  await using agent = new Agent({ allowAddress: ['10.0.0.0/8'] })
  const refused = { code: 'ERR_ADDRESS_NOT_ALLOWED', address: '127.0.0.1' }
  expect(await rejection(agent.upgrade({ origin: server.origin, path: '/' } as never) as never)).toMatchObject(refused)
  expect(await rejection(agent.connect({ origin: server.origin, path: 'a.test:80' }))).toMatchObject(refused)
  expect(server.accepted).toBe(0)
})

test.each([
  [5, 'invalid allowAddress'],
  [{}, 'invalid allowAddress: it is empty'],
  [[], 'invalid allowAddress.allow: it is empty'],
  [{ allow: 'x' }, 'invalid allowAddress.allow'],
  [{ permit: [] }, 'unknown option allowAddress.permit'],
  [['10.0.0.0/33'], 'allowAddress.allow: 10.0.0.0/33 is no address and no network'],
  [{ deny: ['localhost'] }, 'allowAddress.deny: localhost is no address and no network'],
])('an allowAddress of %o is refused when the agent is made', (allowAddress, message) => {
  const error = errorOf(() => new Agent({ allowAddress } as AgentOptions))
  expect(error).toBeInstanceOf(errors.InvalidArgumentError)
  expect(error.message).toBe(message)
})

test('a unix socket has no address to ask about', () => {
  expect(() => new Agent({ socketPath: '/x', allowAddress: ['::1'] })).toThrow(
    'socketPath and allowAddress exclude each other',
  )
})
