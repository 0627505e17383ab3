/** What `proxy` and the variables of the environment may be; whatever cannot be a proxy is an error and no direct request. */
import { afterEach, describe, expect, test } from 'vitest'
import { Agent, errors, fetch } from '../lib/index.ts'
import type { ProxyOption } from '../lib/index.ts'
import { rejection } from './support/bodies.ts'
import { errorOf } from './support/dispatch.ts'
import { runProgram } from './support/programs.ts'
import { startProxy, startSocksProxy } from './support/proxies.ts'
import { startServer, startTcpServer } from './support/servers.ts'

const NAMES = ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'].flatMap((name) => [name, name.toUpperCase()])

afterEach(() => {
  for (const name of NAMES) delete process.env[name]
})

const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`

const FAULTY = [
  ['a scheme without slashes', 'http:HOST'],
  ['a scheme with one slash', 'http:/HOST'],
  ['a scheme without its colon', 'http//HOST'],
  ['a misspelt scheme', 'htttp://HOST'],
  ['a scheme of no proxy', 'ftp://HOST'],
  ['a scheme alone', 'http://'],
  ['colons', '::::'],
  ['a word', 'nonsense'],
  ['blanks', '  '],
  ['a port out of range', 'http://127.0.0.1:99999'],
  ['port 0', 'http://127.0.0.1:0'],
  ['a host that is none', 'http://my{proxy}:1'],
  ['a blank in the host', 'http://my proxy:1'],
  ['a slash in the password', 'http://me:Tr/ub@HOST'],
  ['a number sign in the password', 'http://me:Tr#ub@HOST'],
  ['a backslash in the user', 'http://domain\\me:Trub@HOST'],
  ['a line break', 'http://HOST\n'],
  ['an encoded line break in the password', 'http://me:Tr%0d%0aub@HOST'],
  ['a password that is no UTF-8', 'http://me:%ff@HOST'],
  ['a user of SOCKS5 without a password', 'socks5://me@HOST'],
] as const

describe.each(FAULTY)('%s', (_what, value) => {
  test.each(['proxy', 'proxy.url', 'http_proxy', 'ALL_PROXY'])('is an error that names %s', async (name) => {
    await using proxy = await startProxy()
    const text = value.replace('HOST', `127.0.0.1:${proxy.port}`)
    let option: ProxyOption = 'env'
    if (name === 'proxy') option = text
    else if (name.startsWith('proxy.')) option = { [name.slice('proxy.'.length)]: text }
    else process.env[name] = text
    const error = errorOf(() => new Agent({ proxy: option }))
    expect(error).toBeInstanceOf(errors.InvalidArgumentError)
    expect(error).toMatchObject({ code: 'UND_ERR_INVALID_ARG' })
    expect(error.message).toMatch(new RegExp(`^invalid ${name}: `))
    expect(error.message).not.toMatch(/Tr.*ub/)
  })
})

test('an empty option is an error, and an empty variable is none', async () => {
  expect(() => new Agent({ proxy: '' })).toThrow('invalid proxy: it is empty')
  expect(() => new Agent({ proxy: { uri: '' } })).toThrow('invalid proxy.uri: it is empty')
  await using server = await startServer((_request, response) => response.end('direct'))
  process.env['http_proxy'] = ''
  await using agent = new Agent({ proxy: 'env' })
  expect(await (await fetch(server.origin, { dispatcher: agent })).text()).toBe('direct')
})

test.each<[string, string]>([
  ['me:p@ss', 'me:p@ss'],
  ['me:p ss', 'me:p ss'],
  ['me:p"ss', 'me:p"ss'],
  ['me:pä', 'me:pä'],
  ['me:p:s:s', 'me:p:s:s'],
  ['m%40e:p%2fs%3f%23', 'm@e:p/s?#'],
  ['me:100%', 'me:100%'],
  ['me', 'me:'],
])('the proxy is told %s, from the option and from the environment', async (userinfo, told) => {
  await using server = await startServer((_request, response) => response.end('ok'))
  await using proxy = await startProxy({ authorization: basic(told) })
  for (const value of [proxy.url.replace('//', `//${userinfo}@`), `${userinfo}@127.0.0.1:${proxy.port}`]) {
    process.env['HTTP_PROXY'] = value
    for (const option of [value, { uri: value }, 'env'] satisfies ProxyOption[]) {
      await using agent = new Agent({ proxy: option })
      expect(await (await fetch(server.origin, { dispatcher: agent })).text()).toBe('ok')
    }
  }
  expect(proxy.requests).toHaveLength(6)
})

test('socks: and passwords of SOCKS work from the environment as from the option', async () => {
  await using server = await startServer((_request, response) => response.end('ok'))
  await using proxy = await startSocksProxy({ user: 'me', password: 'pä@s:s' })
  const value = `socks://me:pä@s:s@127.0.0.1:${proxy.port}`
  process.env['ALL_PROXY'] = value
  for (const option of [value, 'env', 'system']) {
    await using agent = new Agent({ proxy: option })
    expect(await (await fetch(server.origin, { dispatcher: agent })).text()).toBe('ok')
  }
  expect(proxy.requests).toHaveLength(3)
})

test.each(['http://a{b}.test', 'http://a*b.test', 'http://a~b.test', 'https://a{b}.test'])(
  'an origin of %s is asked for at the proxy',
  async (origin) => {
    const heard: string[] = []
    await using proxy = await startTcpServer((socket) =>
      socket.once('data', (chunk) => {
        heard.push(chunk.toString('latin1').split(' ')[1]!)
        socket.destroy()
      }),
    )
    const names: string[] = []
    const lookup = (host: string, _options: unknown, callback: (error: Error) => void): void => {
      names.push(host)
      callback(new Error('looked up'))
    }
    await using agent = new Agent({ proxy: proxy.origin, connect: { lookup: lookup as never } })
    await fetch(origin, { dispatcher: agent }).catch(() => {})
    expect(names).toEqual([])
    expect(heard[0]).toContain(new URL(origin).hostname)
  },
)

test.each([
  ['shop.test.', 'shop.test', true],
  ['shop.test', 'www.shop.test.', true],
  ['bücher.test', 'bücher.test', true],
  ['bücher.test', 'www.xn--bcher-kva.test.', true],
  ['xn--bcher-kva.test.', 'bücher.test', true],
  ['*.BÜCHER.test', 'www.bücher.test', true],
  ['bücher.test', 'cher.test', false],
  ['127.0.0.1', '0x7f.1', true],
])('NO_PROXY=%s for %s: left out is %s', async (list, host, isLeftOut) => {
  await using server = await startServer((_request, response) => response.end('ok'))
  await using proxy = await startProxy({ authorization: 'x' })
  const lookup = (_host: string, _options: unknown, callback: (error: null, address: string) => void): void =>
    callback(null, '127.0.0.1')
  process.env['http_proxy'] = proxy.url
  process.env['no_proxy'] = list
  await using agent = new Agent({ proxy: 'env', connect: { lookup: lookup as never } })
  const { status } = await fetch(`http://${host}:${server.port}`, { dispatcher: agent })
  expect(status).toBe(isLeftOut ? 200 : 407)
})

test('fetch without a dispatcher rejects for a faulty variable, and sends nothing', async () => {
  await using server = await startServer((_request, response) => response.end('direct'))
  const code = `
    const failed = await fetch('${server.origin}').then((response) => response.text(), (error) => error)
    console.log(failed instanceof TypeError, failed.message, failed.cause.code, failed.cause.message)
    delete process.env.https_proxy
    console.log(await (await fetch('${server.origin}')).text())`
  const printed = await runProgram(code, { https_proxy: 'http//me:secret@proxy.test:3128' })
  const [first, second] = printed.split('\n')
  expect(first).toMatch(/^true fetch failed UND_ERR_INVALID_ARG invalid https_proxy: /)
  expect(first).not.toContain('secret')
  expect(second).toBe('direct')
  expect(server.accepted).toBe(1)
})

test('an agent that is told of no proxy does not look at the environment', async () => {
  process.env['http_proxy'] = 'http//nonsense'
  await using server = await startServer((_request, response) => response.end('direct'))
  await using agent = new Agent()
  expect(await (await fetch(server.origin, { dispatcher: agent })).text()).toBe('direct')
  const { cause } = await rejection(fetch(server.origin))
  expect(cause.message).toMatch(/^invalid http_proxy: /)
})
