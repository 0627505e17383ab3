/** Bodies of HTTP/1.1 whose length is wrong, missing, or said twice. */
import type { Kind } from '../kind.ts'
import type { Bytes, Wire } from '../server/wire.ts'

const answer = (fields: string, ...body: Bytes[]) => {
  return (wire: Wire): Promise<void> => wire.send(`HTTP/1.1 200 OK\r\n${fields}\r\n`, ...body)
}
/** The end of the connection behind it ends a body that is framed by nothing else. */
const last = (fields: string, ...body: Bytes[]) => {
  return async (wire: Wire): Promise<void> => {
    await answer(fields, ...body)(wire)
    wire.end()
  }
}
const chunked = (body: string): ((wire: Wire) => Promise<void>) => answer('transfer-encoding: chunked\r\n', body)
/** What two lengths come to, as undici has it; its parser finds some of them first. */
const CONTRADICTION = ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'HPE_UNEXPECTED_CONTENT_LENGTH']
const short = { bodyTimeout: 300 }

export const framing: Kind[] = [
  { name: 'a body beyond its length', h1: answer('content-length: 5\r\n', 'helloEXTRA'), expect: '200 hello' },
  { name: 'an empty line behind the body', h1: answer('content-length: 2\r\n', 'ok\r\n'), expect: '200 ok' },
  {
    name: 'a chunk size that is none',
    h1: chunked('zz\r\nhello\r\n0\r\n\r\n'),
    expect: '200 then HPE_INVALID_CHUNK_SIZE',
  },
  { name: 'a negative chunk size', h1: chunked('-5\r\nhello\r\n0\r\n\r\n'), expect: '200 then HPE_INVALID_CHUNK_SIZE' },
  { name: 'a chunk size of 0x5', h1: chunked('0x5\r\nhello\r\n0\r\n\r\n'), expect: '200 then HPE_INVALID_CHUNK_SIZE' },
  { name: 'an empty chunk size', h1: chunked('\r\nhello\r\n0\r\n\r\n'), expect: '200 then HPE_INVALID_CHUNK_SIZE' },
  {
    name: 'a chunk size with a blank',
    h1: chunked('5 \r\nhello\r\n0\r\n\r\n'),
    expect: '200 then HPE_INVALID_CHUNK_SIZE',
  },
  {
    name: 'a chunk size beyond 64 bits',
    h1: chunked('ffffffffffffffffff\r\nhello\r\n0\r\n\r\n'),
    expect: '200 then HPE_INVALID_CHUNK_SIZE',
  },
  {
    name: 'a chunk size of 2^64-1',
    h1: chunked('ffffffffffffffff\r\nhello\r\n0\r\n\r\n'),
    options: short,
    expect: ['200 then UND_ERR_BODY_TIMEOUT', '200 then HPE_INVALID_CHUNK_SIZE'],
  },
  {
    name: 'chunks with bare LF',
    h1: chunked('5\nhello\n0\n\n'),
    expect: ['200 then HPE_CR_EXPECTED', '200 then HPE_INVALID_CHUNK_SIZE'],
  },
  {
    name: 'a chunk beyond its size',
    h1: chunked('5\r\nhelloXX\r\n0\r\n\r\n'),
    expect: ['200 then HPE_STRICT', '200 then HPE_INVALID_CHUNK_SIZE'],
  },
  {
    name: 'an endless chunk extension',
    h1: async (wire) => {
      await wire.send('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=')
      await wire.flood('b'.repeat(16_384))
    },
    expect: ['200 then HPE_CHUNK_EXTENSIONS_OVERFLOW', '200 then HPE_INVALID_CHUNK_SIZE'],
  },
  { name: 'chunk extensions', h1: chunked('2;a=b;c="d"\r\nok\r\n0\r\n\r\n'), expect: '200 ok' },
  {
    name: 'endless trailers',
    h1: async (wire) => {
      await wire.send('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n')
      await wire.flood((turn) => `t${turn}: ${'b'.repeat(8000)}\r\n`)
    },
    expect: '200 then UND_ERR_HEADERS_OVERFLOW',
  },
  {
    name: 'a trailer without a colon',
    h1: chunked('2\r\nok\r\n0\r\nbad trailer\r\n\r\n'),
    expect: '200 then HPE_INVALID_HEADER_TOKEN',
  },
  {
    name: 'trailers that frame',
    h1: chunked('2\r\nok\r\n0\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n'),
    expect: '200 then HPE_UNEXPECTED_CONTENT_LENGTH',
  },
  {
    name: 'content-length and chunked',
    h1: answer('content-length: 5\r\ntransfer-encoding: chunked\r\n', '2\r\nok\r\n0\r\n\r\n'),
    expect: CONTRADICTION,
  },
  {
    name: 'chunked and content-length',
    h1: answer('transfer-encoding: chunked\r\ncontent-length: 5\r\n', '2\r\nok\r\n0\r\n\r\n'),
    expect: CONTRADICTION,
  },
  {
    name: 'two content-lengths',
    h1: answer('content-length: 2\r\ncontent-length: 7\r\n', 'ok'),
    expect: CONTRADICTION,
  },
  {
    name: 'the same content-length twice',
    h1: answer('content-length: 2\r\ncontent-length: 2\r\n', 'ok'),
    expect: CONTRADICTION,
  },
  ...['+2', '-2', '0x2', '2, 2', '2, 7', '2 2', 'x', ''].map((length): Kind => ({
    name: length === '' ? 'an empty content-length' : `content-length: ${length}`,
    h1: answer(`content-length: ${length}\r\n`, 'ok'),
    expect: ['HPE_INVALID_CONTENT_LENGTH', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'],
  })),
  {
    name: 'a content-length beyond 64 bits',
    h1: answer('content-length: 99999999999999999999999\r\n', 'ok'),
    expect: ['HPE_INVALID_CONTENT_LENGTH', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'],
  },
  {
    name: 'a content-length of 2^64-1',
    h1: answer('content-length: 18446744073709551615\r\n', 'ok'),
    options: short,
    expect: ['200 then UND_ERR_BODY_TIMEOUT', 'HPE_INVALID_CONTENT_LENGTH'],
  },
  {
    name: 'a content-length of 2^53+1',
    h1: answer('content-length: 9007199254740993\r\n', 'ok'),
    options: short,
    expect: '200 then UND_ERR_BODY_TIMEOUT',
  },
  {
    name: 'transfer-encoding: chunked, gzip',
    h1: last('transfer-encoding: chunked, gzip\r\n', '2\r\nok\r\n0\r\n\r\n'),
    // Without chunks at the end the connection frames it (RFC 9112 §6.3).
    expect: ['200 12 bytes', 'HPE_INVALID_TRANSFER_ENCODING'],
  },
  {
    name: 'transfer-encoding: xchunked',
    h1: last('transfer-encoding: xchunked\r\n', 'ok'),
    expect: ['200 ok', 'HPE_INVALID_TRANSFER_ENCODING'],
  },
  {
    name: 'chunked twice',
    h1: answer('transfer-encoding: chunked, chunked\r\n', '2\r\nok\r\n0\r\n\r\n'),
    expect: ['200 ok', 'HPE_INVALID_TRANSFER_ENCODING'],
  },
  {
    name: 'an empty transfer-encoding',
    h1: last('transfer-encoding: \r\n', 'ok'),
    expect: ['200 ok', 'HPE_INVALID_TRANSFER_ENCODING'],
  },
  {
    name: 'HTTP/1.0 until the end of the connection',
    h1: async (wire) => {
      await wire.send('HTTP/1.0 200 OK\r\n\r\nok')
      wire.end()
    },
    expect: '200 ok',
  },
  {
    name: 'HTTP/1.0 that is kept alive',
    h1: (wire) => wire.send('HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok'),
    expect: '200 ok',
  },
  {
    name: 'HTTP/1.0 that goes on',
    h1: (wire) => wire.send('HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok'),
    expect: '200 ok',
  },
  {
    name: 'HTTP/1.0 in chunks',
    h1: async (wire) => {
      await wire.send('HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n')
      wire.end()
    },
    expect: ['HPE_INVALID_TRANSFER_ENCODING'],
  },
]
