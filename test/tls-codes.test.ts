/** What goes wrong with TLS has the code that Node's own `tls.connect` has for it, against the same server. */
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:tls'
import type { ConnectionOptions, TlsOptions } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import type { AgentOptions } from '../lib/index.ts'
import { certificate, certificateAuthority } from './support/certificates.ts'
import { startTcpServer } from './support/servers.ts'

type Connect = NonNullable<AgentOptions['connect']>

const ca = certificateAuthority
const other = certificate('self-signed').cert
const signed = certificate('signed')
const withRoot = { cert: signed.cert + ca, key: signed.key }
const chained = certificate('chained')
const chainedAlone = { cert: chained.cert.slice(0, chained.cert.indexOf('-----END') + 26), key: chained.key }
const mutual = { ...signed, requestCert: true, rejectUnauthorized: true }
const REFUSED = 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE'

async function startTls(options: TlsOptions): Promise<{ port: number } & AsyncDisposable> {
  const server = createServer(options, (_request, response) => response.end('x'))
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Node's: the code, or `ok` when the server has answered. */
function nodes(port: number, options: ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: 'localhost', port, ...options }, () =>
      socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'),
    )
    socket.once('data', () => {
      socket.destroy()
      resolve('ok')
    })
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code!))
  }).then((code) => (code as string).replace('SSL/TLS_ALERT', 'SSLV3_ALERT'))
  // OpenSSL 3.2 has renamed that alert.
}

async function ours(port: number, options: Connect, transport: 'wire' | 'reqwest'): Promise<string> {
  await using agent = new Agent({ transport, connect: options })
  try {
    await (await fetch(`https://localhost:${port}`, { dispatcher: agent })).text()
    return 'ok'
  } catch (error) {
    return (error as { cause: { code: string } }).cause.code
  }
}

const rows: [string, string, TlsOptions, Connect][] = [
  ['a trusted certificate', 'ok', signed, { ca }],
  ['a trusted certificate by an intermediate', 'ok', chained, { ca }],
  ['a self-signed certificate that is trusted', 'ok', certificate('self-signed'), { ca: other }],
  ['an expired certificate', 'CERT_HAS_EXPIRED', certificate('expired'), { ca }],
  ['an expired certificate by nobody known', 'CERT_HAS_EXPIRED', certificate('expired'), {}],
  ['a certificate of the future', 'CERT_NOT_YET_VALID', certificate('future'), { ca }],
  ['a certificate of the future by nobody known', 'CERT_NOT_YET_VALID', certificate('future'), {}],
  ['another name', 'ERR_TLS_CERT_ALTNAME_INVALID', certificate('wrong-host'), { ca }],
  ['another name by nobody known', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', certificate('wrong-host'), {}],
  ['another servername', 'ERR_TLS_CERT_ALTNAME_INVALID', signed, { ca, servername: 'other.test' }],
  ['a self-signed certificate', 'DEPTH_ZERO_SELF_SIGNED_CERT', certificate('self-signed'), {}],
  ['a self-signed certificate, others trusted', 'DEPTH_ZERO_SELF_SIGNED_CERT', certificate('self-signed'), { ca }],
  ['a chain with its root', 'SELF_SIGNED_CERT_IN_CHAIN', withRoot, {}],
  ['a chain with its root, others trusted', 'SELF_SIGNED_CERT_IN_CHAIN', withRoot, { ca: other }],
  ['a leaf by nobody known', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', signed, {}],
  ['a leaf by nobody known, others trusted', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', signed, { ca: other }],
  ['a leaf without its intermediate', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', chainedAlone, { ca }],
  ['a chain without its root', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', chained, {}],
  ['a chain without its root, others trusted', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', chained, { ca: other }],
  ['a server that wants a certificate', 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', mutual, { ca }],
  ['the same over TLS 1.2', REFUSED, { ...mutual, maxVersion: 'TLSv1.2' }, { ca }],
  [
    'a server that is older',
    'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
    { ...signed, maxVersion: 'TLSv1.2' },
    { ca, minVersion: 'TLSv1.3' },
  ],
  [
    'a server that is newer',
    'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
    { ...signed, minVersion: 'TLSv1.3' },
    { ca, maxVersion: 'TLSv1.2' },
  ],
]

const engines = ['wire', 'reqwest'] as const

describe.each(rows)('%s is %s', (_name, code, server, options) => {
  // reqwest has no servername of the caller's.
  test.each(options.servername === undefined ? engines : ['wire' as const])('over %s', async (transport) => {
    await using running = await startTls(server)
    expect(await nodes(running.port, { ...options, timeout: 0 } as ConnectionOptions)).toBe(code)
    expect(await ours(running.port, options, transport)).toBe(code)
  })
})

test('no protocol in common', async () => {
  await using server = await startTls({ ...signed, ALPNProtocols: ['spdy/3'] })
  const options = { ca, ALPNProtocols: ['http/1.1'] }
  expect(await nodes(server.port, options)).toBe('ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL')
  expect(await ours(server.port, options, 'wire')).toBe('ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL')
})

test.each([
  ['HTTP', 'ERR_SSL_WRONG_VERSION_NUMBER', 'HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n'],
  ['SSH', 'ERR_SSL_WRONG_VERSION_NUMBER', 'SSH-2.0-OpenSSH_9.6\r\n'],
  ['nothing', 'ECONNRESET', ''],
])('a server that speaks %s', async (_name, code, words) => {
  await using server = await startTcpServer((socket) => socket.once('data', () => socket.end(words)))
  expect(await nodes(server.port, {})).toBe(code)
  for (const transport of engines) expect(await ours(server.port, {}, transport)).toBe(code)
})
