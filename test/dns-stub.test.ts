/** The system's resolver against a name server that says what a test tells it to; skipped, and counted, without root. */
import { describe, expect, test } from 'vitest'
import { canRunDnsStub, startDnsStub } from './support/dns-stub.ts'
import type { DnsAnswer } from './support/dns-stub.ts'
import { runProgram } from './support/programs.ts'
import { startServer } from './support/servers.ts'

/** Prints what Node's `dns.lookup` and `fetch` over `options` make of a name, one line each. */
const compare = (url: string, options: string): string => `
  import { lookup } from 'node:dns/promises'
  const tell = ({ code, errno, syscall, hostname }) => console.log(code, errno, syscall, hostname)
  const agent = new Agent(${options})
  // Both at once, for a resolver may wait; Node's is told first.
  const nodes = lookup(new URL('${url}').hostname).then(() => console.log('found'), tell)
  const ours = fetch('${url}', { dispatcher: agent })
  ours.catch(() => {})
  await nodes
  await ours.then(
    async (response) => console.log(await response.text()),
    ({ cause }) => {
      tell(cause)
      console.log(cause.name, cause.phase, cause.message)
    },
  )`

const rows: [string, DnsAnswer, string][] = [
  ['that does not exist', 'NXDOMAIN', 'ENOTFOUND -3008'],
  ['that has no address', 'nothing', 'ENOTFOUND -3007'],
  ['whose server has failed', 'SERVFAIL', 'EAI_AGAIN -3001'],
  ['whose server refuses', 'REFUSED', 'EAI_AGAIN -3001'],
  ['whose server is silent', 'silence', 'EAI_AGAIN -3001'],
]

describe.skipIf(!canRunDnsStub)('a name server', { concurrent: true }, () => {
  describe.each(['wire', 'reqwest'])('over %s', (transport) => {
    test.each(rows)('a name %s (%j) is %s, as in Node', async (_name, answer, failure) => {
      await using dns = await startDnsStub({ 'name.test': answer })
      const printed = await runProgram(
        compare('http://name.test', `{ transport: '${transport}' }`),
        {},
        {},
        dns.launcher,
      )
      const [nodes, ours, told] = printed.split('\n')
      expect(nodes).toBe(`${failure} getaddrinfo name.test`)
      expect(ours).toBe(nodes)
      expect(told).toContain('Error connect')
      expect(told).toContain(`getaddrinfo ${failure.split(' ')[0]} name.test`)
      expect(dns.asked).toContain('name.test')
    })

    test('a name that is there is connected to, one address after the other', async () => {
      await using server = await startServer((request, response) => response.end(request.headers.host))
      await using dns = await startDnsStub({ 'name.test': { addresses: ['127.0.0.2', '127.0.0.1'] } })
      const url = `http://name.test:${server.port}`
      const printed = await runProgram(compare(url, `{ transport: '${transport}' }`), {}, {}, dns.launcher)
      expect(printed.split('\n')).toEqual(['found', `name.test:${server.port}`])
    })
  })

  test('while it is silent other requests go on, and the timeout of the connection holds', async () => {
    await using server = await startServer((_request, response) => response.end('served'))
    // Longer than a test may take: nothing here waits for the resolver to give up.
    await using dns = await startDnsStub({ 'name.test': 'silence' }, 30)
    const code = `
      const dispatcher = new Agent({ connectTimeout: 500 })
      const hanging = fetch('http://name.test', { dispatcher }).catch(({ cause }) => cause.code)
      console.log(await (await fetch('${server.origin}', { dispatcher })).text())
      console.log(await hanging)`
    expect(await runProgram(code, {}, {}, dns.launcher)).toBe('served\nUND_ERR_CONNECT_TIMEOUT')
  })

  test('its failure is not kept, its answer for as long as dnsCacheTimeout says', async () => {
    await using server = await startServer((_request, response) => {
      response.setHeader('connection', 'close')
      response.end('served')
    })
    const zone: Record<string, DnsAnswer> = { 'name.test': 'SERVFAIL' }
    await using dns = await startDnsStub(zone)
    await using switching = await startServer((_request, response) => {
      zone['name.test'] = { addresses: ['127.0.0.1'] }
      dns.asked.length = 0
      response.end()
    })
    const code = `
      const ask = (dispatcher) => fetch('http://name.test:${server.port}', { dispatcher }).then(
        async (response) => console.log(await response.text()),
        ({ cause }) => console.log(cause.code),
      )
      const dispatcher = new Agent({ dnsCacheTimeout: 60_000 })
      await ask(dispatcher)
      await fetch('${switching.origin}')
      for (let count = 0; count < 3; count++) await ask(dispatcher)`
    expect(await runProgram(code, {}, {}, dns.launcher)).toBe('EAI_AGAIN\nserved\nserved\nserved')
    // IPv4 and IPv6, once.
    expect(dns.asked.length).toBeLessThanOrEqual(2)
  })
})
