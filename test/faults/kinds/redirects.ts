/** Redirects that lead nowhere. `dispatch` does not follow them. */
import { data, END_STREAM, headers, block } from '../server/frames.ts'
import type { Http1Script, Http2Script, Kind } from '../kind.ts'

type Scripts = { h1: Http1Script; h2: Http2Script }

const to = (location: string): Scripts => ({
  h1: (wire) => wire.send(`HTTP/1.1 302 Found\r\nlocation: ${location}\r\ncontent-length: 0\r\n\r\n`),
  h2: (wire, id) => wire.send(headers(id, END_STREAM, block(302, ['location', location]))),
})

/** Each hop's URL is twice as long as the one before. */
function growing(): Scripts {
  let length = 1
  const next = (): string => {
    length = length > 8000 ? 1 : length * 2
    return `/${'a'.repeat(length)}`
  }
  return {
    h1: (wire) => to(next()).h1(wire),
    h2: (wire, id) => to(next()).h2(wire, id),
  }
}

export const redirects: Kind[] = [
  {
    name: 'a redirect in a circle',
    ...to('/again'),
    isLasting: true,
    expect: { dispatch: '302', fetch: 'SLUICE_ERR_REDIRECT' },
  },
  {
    name: 'a redirect that grows',
    ...growing(),
    isLasting: true,
    expect: { dispatch: '302', fetch: 'SLUICE_ERR_REDIRECT' },
  },
  {
    name: 'a redirect beyond the largest head',
    ...to(`/${'a'.repeat(20_000)}`),
    expect: 'UND_ERR_HEADERS_OVERFLOW',
    awaits: 'engine',
    awaitsOver: ['h2'],
  },
  { name: 'a redirect to no URL', ...to('http://[bad'), expect: { dispatch: '302', fetch: 'SLUICE_ERR_REDIRECT' } },
  {
    name: 'a redirect to a file',
    ...to('file:///etc/passwd'),
    expect: { dispatch: '302', fetch: 'SLUICE_ERR_REDIRECT' },
  },
  {
    name: 'a redirect to a script',
    ...to('javascript:alert(1)'),
    expect: { dispatch: '302', fetch: 'SLUICE_ERR_REDIRECT' },
  },
  {
    name: 'a redirect to data',
    ...to('data:text/plain,hi'),
    expect: { dispatch: '302', fetch: 'SLUICE_ERR_REDIRECT' },
  },
  {
    name: 'a redirect to a port that refuses',
    ...to('http://127.0.0.1:2/'),
    expect: { dispatch: '302', fetch: 'ECONNREFUSED' },
  },
  {
    name: 'a redirect to a port that is blocked',
    ...to('http://127.0.0.1:25/'),
    expect: { dispatch: '302', fetch: 'SLUICE_ERR_REDIRECT' },
  },
  {
    name: 'a redirect without a location',
    h1: (wire) => wire.send('HTTP/1.1 302 Found\r\ncontent-length: 2\r\n\r\nok'),
    h2: (wire, id) => wire.send(headers(id, 0, block(302)), data(id, 'ok', END_STREAM)),
    expect: '302 ok',
  },
  {
    name: 'a redirect with a body without an end',
    h1: async (wire) => {
      await wire.send('HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n')
      await wire.flood('x'.repeat(65_536))
    },
    h2: async (wire, id) => {
      await wire.send(headers(id, 0, block(302, ['location', '/'])))
      await wire.flood(data(id, 'x'.repeat(16_384)))
    },
    // Over HTTP/2 it heeds no window, which is an error of its own.
    options: { maxResponseSize: 1_000_000 },
    expect: {
      dispatch: ['302 then UND_ERR_RES_EXCEEDED_MAX_SIZE', '302 then ERR_HTTP2_STREAM_ERROR'],
      fetch: '200 ok',
    },
  },
]
