/** undici's `interceptors.decompress` over the agent. */
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { ask, behaviour, composed, failureOf, OVER_8 } from './support/behaviour.ts'
import type { Stage } from './support/behaviour.ts'

const decoding = (stage: Stage, options?: object) =>
  composed(stage, stage.contestant.undici.interceptors.decompress(options as never))

const startEncoded = (stage: Stage, encoding: string, body: Buffer, status = 200) =>
  stage.http((_request, response) => {
    response.writeHead(status, { 'content-encoding': encoding, 'content-length': body.length }).end(body)
  })

for (const [encoding, body] of [
  ['gzip', gzipSync('hello')],
  ['x-gzip', gzipSync('hello')],
  ['GZIP', gzipSync('hello')],
  ['deflate', deflateSync('hello')],
  ['br', brotliCompressSync('hello')],
  ['zstd', zstdCompressSync('hello')],
  ['gzip, br', brotliCompressSync(gzipSync('hello'))],
] as const) {
  behaviour(`${encoding} is decoded, and its headers are gone`, {
    run: async (stage) => {
      const server = await startEncoded(stage, encoding, body)
      const answer = await stage.contestant.undici.request(server.origin, { dispatcher: decoding(stage) as never })
      const { 'content-encoding': coding, 'content-length': length } = answer.headers
      return [await answer.body.text(), coding, length]
    },
    expected: ['hello', undefined, undefined],
  })
}

behaviour('codings that are not known pass as they are', {
  run: async (stage) => {
    const server = await startEncoded(stage, 'identity-of-mine', Buffer.from('as it is'))
    return ask(stage, decoding(stage), server.origin)
  },
  expected: [200, 'as it is'],
})

behaviour('errors are left alone, unless told', {
  run: async (stage) => {
    const server = await startEncoded(stage, 'gzip', gzipSync('hello'), 500)
    const [, left] = await ask(stage, decoding(stage), server.origin)
    return [left === 'hello', await ask(stage, decoding(stage, { skipErrorResponses: false }), server.origin)]
  },
  expected: [false, [500, 'hello']],
})

behaviour('HEAD has nothing to decode', {
  // 7 decodes the nothing, and fails.
  on: OVER_8,
  run: async (stage) => {
    const server = await startEncoded(stage, 'gzip', gzipSync('hello'))
    return ask(stage, decoding(stage), server.origin, { method: 'HEAD' })
  },
  expected: [200, ''],
})

behaviour('what is no gzip fails the body', {
  run: async (stage) => {
    const server = await startEncoded(stage, 'gzip', Buffer.from('no gzip at all'))
    return (await failureOf(() => ask(stage, decoding(stage), server.origin))).split(':')[0]
  },
  expected: 'Z_DATA_ERROR',
})

behaviour('16 MB of a small body arrive whole, read slowly', {
  run: async (stage) => {
    const server = await startEncoded(stage, 'gzip', gzipSync(Buffer.alloc(16_000_000, 'x')))
    const { body } = await stage.contestant.undici.request(server.origin, { dispatcher: decoding(stage) as never })
    let bytes = 0
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length
      await new Promise((resolve) => setImmediate(resolve))
    }
    return bytes
  },
  expected: 16_000_000,
})
