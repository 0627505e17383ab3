/** Content codings that are broken, nested, or much larger than they look. `dispatch` does not undo them. */
import { brotliCompressSync, constants, deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { block, data, END_STREAM, headers } from '../server/frames.ts'
import type { Bytes } from '../server/wire.ts'
import type { Expectation, Http1Script, Http2Script, Kind } from '../kind.ts'

type Scripts = { h1: Http1Script; h2: Http2Script }

function coded(coding: string, body: Bytes): Scripts & { length: string } {
  const fields = [
    ['content-encoding', coding],
    ['content-length', String(body.length)],
  ] as const
  return {
    h1: (wire) =>
      wire.send('HTTP/1.1 200 OK\r\n', ...fields.map(([name, value]) => `${name}: ${value}\r\n`), '\r\n', body),
    h2: async (wire, id) => {
      await wire.send(headers(id, 0, block(200, ...fields)))
      for (let at = 0; at < body.length; at += 16_000) await wire.send(data(id, body.slice(at, at + 16_000)))
      await wire.send(data(id, '', END_STREAM))
    },
    length: `200 ${body.length} bytes`,
  }
}

function kind(name: string, coding: string, body: Bytes, fetch: Expectation, more: Partial<Kind> = {}): Kind {
  const { length, ...scripts } = coded(coding, body)
  const isShort = body.length <= 24 && typeof body === 'string'
  const dispatch = body.length === 0 ? '200' : isShort ? `200 ${body}` : length
  return { name, ...scripts, expect: { dispatch, fetch }, ...more }
}

const text = 'hello world '.repeat(5000)
const gzip = gzipSync(text)
const corrupt = Buffer.from(gzip).fill(0xaa, 30, 60)
const badSum = Buffer.from(gzip)
badSum.writeUInt32LE(0xdead_beef, badSum.length - 8)
const zeros = Buffer.alloc(50 * 2 ** 20)
const bomb = gzipSync(zeros)
const nested = gzipSync(gzipSync(bomb))
const decoded = `200 ${text.length} bytes`
const most = { maxDecodedSize: 2 ** 20 }

export const codings: Kind[] = [
  kind('gzip', 'gzip', gzip, decoded),
  kind('gzip that is corrupt', 'gzip', corrupt, ['200 then Z_DATA_ERROR', '200 then Z_BUF_ERROR']),
  kind('gzip with a wrong checksum', 'gzip', badSum, '200 then Z_DATA_ERROR'),
  kind('gzip that is cut short', 'gzip', gzip.subarray(0, -12), '200 then Z_BUF_ERROR'),
  kind('gzip that is none', 'gzip', 'plain text', '200 then Z_DATA_ERROR'),
  kind('gzip of nothing', 'gzip', '', '200'),
  kind('bytes behind gzip', 'gzip', Buffer.concat([gzip, Buffer.from('garbage after')]), '200 then Z_DATA_ERROR', {
    awaits: 'decoding',
  }),
  kind('deflate that is none', 'deflate', 'not deflate at all', '200 then Z_DATA_ERROR'),
  kind('deflate without a header', 'deflate', deflateRawSync(text), decoded),
  kind('br that is none', 'br', 'not brotli at all', ['200 then ERR_BROTLI_DECODER_ERROR', '200 then Z_DATA_ERROR']),
  kind('br that is cut short', 'br', brotliCompressSync(text).subarray(0, -3), '200 then Z_BUF_ERROR'),
  kind('zstd that is none', 'zstd', 'not zstd at all', ['200 then ZSTD_error_prefix_unknown', '200 then Z_DATA_ERROR']),
  kind('zstd that is cut short', 'zstd', zstdCompressSync(text).subarray(0, -3), '200 then Z_BUF_ERROR'),
  kind('a coding that nobody knows', 'foo', 'plain', '200 plain'),
  kind('five codings', 'gzip, gzip, gzip, gzip, gzip', gzipSync(gzipSync(gzipSync(gzipSync(gzip)))), decoded),
  kind('six codings', 'gzip, gzip, gzip, gzip, gzip, gzip', gzip, 'Z_DATA_ERROR'),
  kind('a bomb', 'gzip', bomb, `200 ${zeros.length} bytes`),
  kind('a bomb beyond the limit', 'gzip', bomb, '200 then SLUICE_ERR_DECODED_SIZE', { options: most }),
  kind('a bomb beyond the ratio', 'gzip', bomb, '200 then SLUICE_ERR_COMPRESSION_RATIO', {
    options: { maxCompressionRatio: 100 },
  }),
  kind('a nested bomb beyond the limit', 'gzip, gzip, gzip', nested, '200 then SLUICE_ERR_DECODED_SIZE', {
    options: most,
  }),
  kind(
    'a bomb of br beyond the limit',
    'br',
    brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
    '200 then SLUICE_ERR_DECODED_SIZE',
    { options: most },
  ),
  kind('a bomb of zstd beyond the limit', 'zstd', zstdCompressSync(zeros), '200 then SLUICE_ERR_DECODED_SIZE', {
    options: most,
  }),
]
