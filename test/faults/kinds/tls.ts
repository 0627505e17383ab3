/** TLS that is refused, that breaks off, and certificates nobody should trust. */
import { data, headers } from '../server/frames.ts'
import type { Http1Script, Http2Script, Kind, Protocol } from '../kind.ts'
import type { Wire } from '../server/wire.ts'

const over: readonly Protocol[] = ['h1s', 'h2']
const HEAD = 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n'
/** A fatal alert in plain text (RFC 8446 §6). */
const alert = (description: number): Uint8Array => Uint8Array.of(21, 3, 3, 0, 2, 2, description)
/** An answer to a ClientHello. */
const shake =
  (bytes: string | Uint8Array) =>
  async (wire: Wire): Promise<void> => {
    await wire.heard()
    await wire.send(bytes)
    wire.end()
  }

/** Half a body, and then what `then` does. */
const inBody = (then: (wire: Wire) => unknown): { h1: Http1Script; h2: Http2Script } => ({
  h1: async (wire) => {
    await wire.send(HEAD, 'abc')
    await wire.pause()
    await then(wire)
  },
  h2: async (wire, id) => {
    await wire.send(headers(id), data(id, 'abc'))
    await wire.pause()
    await then(wire)
  },
})

export const tls: Kind[] = [
  { name: 'an expired certificate', certificate: 'expired', expect: 'CERT_HAS_EXPIRED' },
  { name: 'a certificate of the future', certificate: 'future', expect: 'CERT_NOT_YET_VALID' },
  { name: 'a self-signed certificate', certificate: 'self-signed', expect: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
  { name: 'a certificate of another host', certificate: 'wrong-host', expect: 'ERR_TLS_CERT_ALTNAME_INVALID' },
  {
    name: 'no TLS but HTTP',
    accept: shake('HTTP/1.1 400 Bad Request\r\n\r\n'),
    over,
    expect: 'ERR_SSL_WRONG_VERSION_NUMBER',
  },
  {
    name: 'a handshake that is refused',
    accept: shake(alert(40)),
    over,
    expect: 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE',
  },
  {
    name: 'a handshake that fails inside the server',
    accept: shake(alert(80)),
    over,
    expect: 'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR',
  },
  { name: 'a close in place of a handshake', accept: (wire) => wire.cut(), over, expect: 'ECONNRESET' },
  {
    name: 'a reset in place of a handshake',
    accept: async (wire) => {
      await wire.heard()
      await wire.reset()
    },
    over,
    expect: 'ECONNRESET',
  },
  {
    name: 'garbage inside the handshake',
    accept: shake(Uint8Array.of(22, 3, 3, 0, 4, 2, 0, 0, 0)),
    over,
    expect: ['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_SSL_HANDSHAKE_FAILURE'],
  },
  {
    name: 'a fatal alert before the head',
    h1: (wire) => wire.alert(),
    h2: (wire) => wire.alert(),
    over,
    expect: 'ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC',
    awaits: 'engine',
  },
  {
    name: 'a fatal alert inside the body',
    ...inBody((wire) => wire.alert()),
    over,
    expect: '200 then ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC',
    awaits: 'engine',
  },
  {
    name: 'an alert in plain text inside the body',
    ...inBody((wire) => wire.garble(alert(80))),
    over,
    expect: '200 then ERR_SSL_WRONG_VERSION_NUMBER',
    awaits: 'engine',
  },
  {
    name: 'garbage beneath TLS inside the body',
    ...inBody((wire) => wire.garble('garbage'.repeat(10))),
    over,
    expect: '200 then ERR_SSL_WRONG_VERSION_NUMBER',
    awaits: 'engine',
    awaitsOver: ['h2'],
  },
  {
    name: 'a record that cannot be decrypted inside the body',
    ...inBody((wire) => wire.garble(Buffer.concat([Buffer.from([23, 3, 3, 0, 64]), Buffer.alloc(64, 7)]))),
    over,
    expect: '200 then ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC',
    awaits: 'engine',
  },
  { name: 'no close_notify inside the body', ...inBody((wire) => wire.cut()), over, expect: '200 then UND_ERR_SOCKET' },
  {
    name: 'no close_notify behind a body without length',
    h1: async (wire) => {
      await wire.send('HTTP/1.1 200 OK\r\n\r\nhello')
      wire.cut()
    },
    over: ['h1s'],
    expect: '200 then UND_ERR_SOCKET',
  },
  {
    name: 'no close_notify behind the body',
    h1: async (wire) => {
      await wire.send('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok')
      wire.cut()
    },
    over: ['h1s'],
    expect: '200 ok',
  },
]
