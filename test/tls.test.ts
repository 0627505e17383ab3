import { createPrivateKey } from 'node:crypto'
import { createServer as createHttpsServer } from 'node:https'
import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import type { TLSSocket, TlsOptions } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { Agent, errors, fetch } from '../lib/index.ts'
import type { AgentOptions } from '../lib/index.ts'
import { rejection } from './support/bodies.ts'
import { certificate, certificateAuthority } from './support/certificates.ts'
import { errorOf } from './support/dispatch.ts'
import { runProgram } from './support/programs.ts'
import { startServer, startTlsServer } from './support/servers.ts'

const client = certificate('client')

/** Asks for a client's certificate and answers with its name, the TLS version and the server name it was asked for. */
async function startMutual(options: TlsOptions = {}): Promise<{ origin: string } & AsyncDisposable> {
  const server = createHttpsServer(
    { ...certificate('signed'), ca: client.cert, requestCert: true, rejectUnauthorized: true, ...options },
    (request, response) => {
      const socket = request.socket as TLSSocket
      const name = socket.getPeerCertificate().subject?.CN ?? null
      response.end(JSON.stringify({ name, version: socket.getProtocol(), servername: socket.servername }))
    },
  )
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `https://localhost:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function ask(options: AgentOptions, origin: string): Promise<Record<string, unknown>> {
  await using agent = new Agent(options)
  return (await (await fetch(origin, { dispatcher: agent })).json()) as Record<string, unknown>
}

const encrypt = (type: 'pkcs8' | 'sec1'): string =>
  createPrivateKey(client.key).export({ type, format: 'pem', cipher: 'aes-256-cbc', passphrase: 'open' }) as string

describe.each(['wire', 'reqwest'] as const)('over %s', (transport) => {
  const ca = certificateAuthority

  test.each([
    ['a certificate and its key', client],
    ['Buffers', { cert: Buffer.from(client.cert), key: Buffer.from(client.key) }],
    ['lists', { cert: [client.cert], key: [client.key] }],
    ['an encrypted PKCS#8 key', { cert: client.cert, key: encrypt('pkcs8'), passphrase: 'open' }],
    ['an encrypted SEC1 key', { cert: client.cert, key: encrypt('sec1'), passphrase: 'open' }],
    ['a key with a passphrase of its own', { cert: client.cert, key: { pem: encrypt('pkcs8'), passphrase: 'open' } }],
    [
      'several, in any order',
      {
        cert: [certificate('self-signed').cert, client.cert].toReversed(),
        key: [client.key, certificate('self-signed').key],
      },
    ],
  ])('a server that asks is shown %s', async (_name, identity) => {
    await using server = await startMutual()
    expect(await ask({ transport, connect: { ca, ...identity } }, server.origin)).toMatchObject({
      name: 'sluice client',
    })
  })

  test.each([
    ['TLSv1.3', 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'],
    ['TLSv1.2', 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE'],
  ] as const)('a server that must be shown a certificate, and is not, over %s', async (maxVersion, code) => {
    await using server = await startMutual({ maxVersion })
    const error = await rejection(ask({ transport, connect: { ca } }, server.origin))
    expect(error.cause).toMatchObject({ name: 'Error', code })
  })

  test('minVersion and maxVersion say what is spoken', async () => {
    await using server = await startMutual({ rejectUnauthorized: false })
    const spoken = async (connect: AgentOptions['connect']): Promise<unknown> =>
      (await ask({ transport, connect: { ca, ...connect } }, server.origin)).version
    expect(await spoken({})).toBe('TLSv1.3')
    expect(await spoken({ maxVersion: 'TLSv1.2' })).toBe('TLSv1.2')
    expect(await spoken({ minVersion: 'TLSv1' })).toBe('TLSv1.3')
    await using old = await startMutual({ rejectUnauthorized: false, maxVersion: 'TLSv1.2' })
    const error = await rejection(ask({ transport, connect: { ca, minVersion: 'TLSv1.3' } }, old.origin))
    expect(error.cause.code).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION')
  })

  test.each([
    ['expired', 'CERT_HAS_EXPIRED'],
    ['wrong-host', 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['self-signed', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  ] as const)('a certificate that is %s has the code %s', async (name, code) => {
    await using server = await startTlsServer((_request, response) => response.end('{}'), { certificate: name })
    const error = await rejection(ask({ transport, connect: { ca } }, server.origin))
    expect(error.cause).toMatchObject({ name: 'Error', code, phase: 'connect' })
    await ask({ transport, connect: { rejectUnauthorized: false } }, server.origin)
  })

  test('ca replaces the roots, those of the platform among them', async () => {
    await using server = await startTlsServer((_request, response) => response.end('{}'))
    await ask({ transport, connect: { ca } }, server.origin)
    const error = await rejection(ask({ transport, connect: { ca: certificate('self-signed').cert } }, server.origin))
    expect(error.cause.code).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
  })
})

test('servername is asked for, and must be in the certificate', async () => {
  await using server = await startMutual({ rejectUnauthorized: false })
  const address = server.origin.replace('localhost', '127.0.0.1')
  const connect = { ca: certificateAuthority, servername: 'localhost' }
  expect((await ask({ connect }, address)).servername).toBe('localhost')
  const error = await rejection(ask({ connect: { ...connect, servername: 'other.test' } }, address))
  expect(error.cause.code).toBe('ERR_TLS_CERT_ALTNAME_INVALID')
})

test('ALPNProtocols are what is offered', async () => {
  const offered: string[][] = []
  await using server = await startMutual({
    rejectUnauthorized: false,
    ALPNCallback: ({ protocols }) => {
      offered.push(protocols)
      return 'http/1.1'
    },
  })
  for (const ALPNProtocols of [['http/1.1'], ['h2', Buffer.from('http/1.1')]]) {
    await ask({ connect: { ca: certificateAuthority, ALPNProtocols } }, server.origin)
  }
  expect(offered).toEqual([['http/1.1'], ['h2', 'http/1.1']])
})

test.each([
  [
    'a wrong passphrase',
    { cert: client.cert, key: encrypt('pkcs8'), passphrase: 'shut' },
    /passphrase does not decrypt/,
  ],
  ['no passphrase', { cert: client.cert, key: encrypt('pkcs8') }, /there is no connect.passphrase/],
  ['another key', { cert: client.cert, key: certificate('expired').key }, /connect.key is not the key/],
  ['no key in it', { cert: client.cert, key: 'nonsense' }, /invalid connect.key/],
  ['a key alone', { key: client.key }, /connect.key needs connect.cert/],
  ['a certificate alone', { cert: client.cert }, /connect.cert needs connect.key/],
  ['no certificate in it', { cert: 'nonsense', key: client.key }, /invalid connect.cert/],
  ['no version', { minVersion: 'SSLv3' }, /invalid connect.minVersion/],
  ['versions the wrong way round', { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.2' }, /above connect.maxVersion/],
  ['no protocols', { ALPNProtocols: [] }, /invalid connect.ALPNProtocols/],
])('%s is refused when the agent is made', (_name, connect, message) => {
  const error = errorOf(() => new Agent({ connect } as AgentOptions))
  expect(error).toBeInstanceOf(errors.InvalidArgumentError)
  expect(error.message).toMatch(message)
})

test.each([
  ['maxVersion', { maxVersion: 'TLSv1.1' }],
  ['ALPNProtocols', { ALPNProtocols: ['spdy/3'] }],
])('a %s that is not spoken is refused by name', (name, connect) => {
  const error = errorOf(() => new Agent({ connect } as AgentOptions))
  expect(error).toBeInstanceOf(errors.NotSupportedError)
  expect(error.message).toContain(`connect.${name}`)
})

describe.concurrent('the environment', () => {
  const program = (origin: string, options = '{}'): string => `
    const agent = new Agent(${options})
    await fetch(${JSON.stringify(origin)}, { dispatcher: agent }).then(
      async (response) => console.log(await response.text()),
      ({ cause }) => console.log(cause.code),
    )`

  const caFile = new URL('fixtures/tls/ca.crt', import.meta.url).pathname
  const nothing = { SSL_CERT_FILE: '/nonexistent', SSL_CERT_DIR: '/nonexistent' }

  /** Puts what an expression yields in the place of Node's own roots. */
  const withRoots = (expression: string): string => `
    import { createRequire } from 'node:module'
    const require = createRequire(import.meta.url)
    const builtin = process.getBuiltinModule
    process.getBuiltinModule = (name) =>
      name === 'node:tls' ? { get rootCertificates() { return ${expression} } } : builtin(name)\n`

  test.each(['wire', 'reqwest'])('NODE_EXTRA_CA_CERTS are added to the roots, over %s', async (transport) => {
    await using server = await startTlsServer((_request, response) => response.end('safe'))
    const code = program(server.origin, `{ transport: '${transport}' }`)
    expect(await runProgram(code, {})).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    expect(await runProgram(code, { NODE_EXTRA_CA_CERTS: caFile })).toBe('safe')
    expect(await runProgram(code, { ...nothing, NODE_EXTRA_CA_CERTS: caFile })).toBe('safe')
  })

  /** Node's TLS is not to be had. */
  const refusing = `
    const builtin = process.getBuiltinModule
    process.getBuiltinModule = (name) => {
      if (name === 'node:tls') throw new Error('asked for')
      return builtin(name)
    }\n`

  test('NODE_EXTRA_CA_CERTS that cannot be had leave no connection waiting, and nobody trusted', async () => {
    await using server = await startTlsServer((_request, response) => response.end('safe'))
    const surviving = `process.on('uncaughtException', ({ message }) => console.log(message))\n`
    const code = surviving + refusing + program(server.origin)
    const output = await runProgram(code, { NODE_EXTRA_CA_CERTS: caFile })
    expect(output.split('\n')).toEqual(['asked for', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'])
  })

  test('NODE_EXTRA_CA_CERTS are not read for what is not encrypted', async () => {
    await using server = await startServer((_request, response) => response.end('plain'))
    const code = refusing + program(server.origin, '{}')
    expect(await runProgram(code, { NODE_EXTRA_CA_CERTS: caFile })).toBe('plain')
  })

  test.each(['wire', 'reqwest'])('a machine without roots has those of Node, over %s', async (transport) => {
    await using server = await startTlsServer((_request, response) => response.end('safe'))
    const code = program(server.origin, `{ transport: '${transport}' }`)
    // A verdict on the certificate: with nothing to trust there would be none.
    expect(await runProgram(code, nothing)).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    const trusting = withRoots(`[require('node:fs').readFileSync(${JSON.stringify(caFile)}, 'utf8')]`) + code
    expect(await runProgram(trusting, nothing)).toBe('safe')
    expect(await runProgram(trusting, {})).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
  })

  test('rejectUnauthorized: false needs no roots', async () => {
    await using server = await startTlsServer((_request, response) => response.end('any'))
    const trap = withRoots(`console.log('asked')`)
    const code = trap + program(server.origin, '{ connect: { rejectUnauthorized: false } }')
    expect(await runProgram(code, nothing)).toBe('any')
  })

  test('NODE_TLS_REJECT_UNAUTHORIZED=0 accepts any certificate, unless the agent says otherwise', async () => {
    await using server = await startTlsServer((_request, response) => response.end('any'))
    const lax = { NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' }
    expect(await runProgram(program(server.origin), lax)).toBe('any')
    const strict = program(server.origin, '{ connect: { rejectUnauthorized: true } }')
    expect(await runProgram(strict, lax)).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
  })

  test('SSLKEYLOGFILE gets the keys of each session', async () => {
    await using server = await startTlsServer((_request, response) => response.end('safe'))
    const SSLKEYLOGFILE = join(await mkdtemp(join(tmpdir(), 'sluice-')), 'keys')
    const env = { SSLKEYLOGFILE, NODE_EXTRA_CA_CERTS: caFile }
    expect(await runProgram(program(server.origin), env)).toBe('safe')
    expect(await readFile(SSLKEYLOGFILE, 'latin1')).toMatch(/^CLIENT_TRAFFIC_SECRET_0 [0-9a-f]{64} [0-9a-f]+$/m)
  })
})
