/** The servers that other tests build on do what they say. */
import { get } from 'node:http'
import { connect as connectTcp } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { certificateAuthority, type CertificateName } from './support/certificates.ts'
import { until, within } from './support/deadline.ts'
import { untilCollected } from './support/gc.ts'
import { closedPort, countingBlock, startFlood, startServer, startTlsServer } from './support/servers.ts'

describe('certificates, to a client that trusts the test CA', () => {
  const outcomes: [CertificateName, string | undefined][] = [
    ['signed', undefined],
    ['expired', 'CERT_HAS_EXPIRED'],
    ['self-signed', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ['wrong-host', 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ]
  test.each(outcomes)('%s: %s', async (certificate, code) => {
    await using server = await startTlsServer(() => {}, { certificate })
    const outcome = await new Promise<TLSSocket | NodeJS.ErrnoException>((resolve) => {
      const socket = connect({ port: server.port, servername: 'localhost', ca: certificateAuthority }, () => {
        resolve(socket)
      })
      socket.on('error', resolve)
    })
    expect((outcome as NodeJS.ErrnoException).code).toBe(code)
    if (code === undefined) expect((outcome as TLSSocket).authorized).toBe(true)
  })
})

test('a flood stops where its client stops reading, and gives the rest intact', async () => {
  const length = 64 * 1024 * 1024
  await using server = await startFlood({ length })
  const response = await new Promise<NodeJS.ReadableStream>((resolve) => get(server.origin, resolve))
  let last = -1
  // Quiet when no byte was taken between two looks.
  await until(() => server.sent > 0 && last === (last = server.sent))
  expect(server.sent).toBeLessThan(length)
  const block = countingBlock()
  let offset = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; at += 4093) {
      if (chunk[at] !== block[(offset + at) % block.length]) throw new Error(`wrong byte at ${offset + at}`)
    }
    offset += chunk.length
  }
  expect([offset, server.sent]).toEqual([length, length])
})

test('a server closes although connections are open', async () => {
  const server = await startServer(() => {})
  const socket = connectTcp(server.port, '127.0.0.1')
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.on('close', resolve))
  await until(() => server.sockets.size === 1)
  await within(server.close(), { what: 'close' })
  await closed
  expect([server.sockets.size, server.accepted]).toEqual([0, 1])
})

test('nothing listens on a closed port', async () => {
  const port = await closedPort()
  const error = await new Promise((resolve) => connectTcp(port, '127.0.0.1').on('error', resolve))
  expect(error).toMatchObject({ code: 'ECONNREFUSED' })
})

test('a deadline that passes tells what was awaited', async () => {
  await expect(until(() => 0, { timeoutMs: 20, what: 'the impossible' })).rejects.toThrow(
    'not within 20 ms: the impossible (last result: 0)',
  )
  await expect(within(new Promise(() => {}), { timeoutMs: 20, what: 'an answer' })).rejects.toThrow('an answer did not')
  expect(await within(Promise.resolve(7))).toBe(7)
})

test('garbage is collected until a finalizer has run', async () => {
  let collected = false
  const registry = new FinalizationRegistry(() => {
    collected = true
  })
  const held = [{}]
  registry.register(held[0]!, 0)
  held.length = 0
  await untilCollected(() => collected)
  expect(collected).toBe(true)
})
