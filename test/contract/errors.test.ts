/** undici-contract.md §4: which error, with which name, code and fields. */
import { lookup } from 'node:dns/promises'
import { errors as sluiceErrors } from '../../lib/index.ts'
import { startTcpServer, startTlsServer, closedPort } from '../support/servers.ts'
import { AGENTS, APIS, CURRENT, DISPATCHERS, WIRE } from './support/contestants.ts'
import { OK, response } from './support/raw-server.ts'
import { row } from './support/row.ts'
import type { Failure } from './support/observer.ts'
import type { Stage } from './support/stage.ts'

/** A server that answers the first request with these bytes and then closes or resets. */
async function failing(stage: Stage, bytes: string, end: 'close' | 'reset' | 'keep'): Promise<string> {
  const server = await stage.raw((_request, socket) => {
    if (end === 'keep') return bytes
    if (bytes === '') {
      if (end === 'close') socket.end()
      else socket.resetAndDestroy()
      return undefined
    }
    // A reset overtakes what has not been read.
    if (end === 'close') socket.end(bytes, 'latin1')
    else socket.write(bytes, 'latin1')
    return undefined
  })
  return server.origin
}

async function errorOf(
  stage: Stage,
  bytes: string,
  end: 'close' | 'reset' | 'keep',
  options: Record<string, unknown> = {},
): Promise<unknown> {
  const observer = await stage.fetch(await failing(stage, bytes, end), options)
  return [observer.response.filter((event) => event !== 'data'), stage.facts(observer.error)]
}

const SOCKET = { name: 'SocketError', code: 'UND_ERR_SOCKET', message: 'other side closed' }
const BEFORE = ['start', 'error']
const INSIDE = ['start', 'head 200', 'error']

row('§4 the connection closed before the response, in its head, in a body of known length, in a chunked one', {
  run: async (stage) => [
    await errorOf(stage, '', 'close'),
    await errorOf(stage, 'HTTP/1.1 200 OK\r\ncontent-le', 'close'),
    await errorOf(stage, 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello', 'close'),
    await errorOf(stage, 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n', 'close'),
  ],
  expected: [
    [BEFORE, SOCKET],
    [BEFORE, SOCKET],
    [INSIDE, SOCKET],
    [INSIDE, SOCKET],
  ],
})

row('§4 a short body of a connection: close response', {
  run: (stage) => errorOf(stage, 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 10\r\n\r\nhello', 'close'),
  expected: [
    INSIDE,
    {
      name: 'ResponseContentLengthMismatchError',
      code: 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
      message: 'Response body length does not match content-length header',
    },
  ] as unknown,
})

row('§4 SocketError has the socket', {
  on: WIRE,
  run: async (stage) => {
    const server = await stage.raw((_request, socket) => void socket.end())
    const { error } = await stage.fetch(server.origin)
    const socket = error!['socket'] as Record<string, unknown>
    return [
      Object.keys(socket),
      socket['remoteAddress'],
      socket['remotePort'] === server.port,
      socket['remoteFamily'],
      socket['localAddress'],
      typeof socket['localPort'],
      socket['bytesWritten'] === server.received[0]!.length,
      socket['bytesRead'],
    ]
  },
  expected: [
    [
      'localAddress',
      'localPort',
      'remoteAddress',
      'remotePort',
      'remoteFamily',
      'timeout',
      'bytesWritten',
      'bytesRead',
    ],
    '127.0.0.1',
    true,
    'IPv4',
    '127.0.0.1',
    'number',
    true,
    0,
  ],
})

row('§4 a reset connection is a system error', {
  run: async (stage) => {
    const { error } = await stage.fetch(await failing(stage, '', 'reset'))
    const { name, message, code, errno, syscall } = error!
    return { name, message, code, errno, syscall }
  },
  expected: { name: 'Error', message: 'read ECONNRESET', code: 'ECONNRESET', errno: -104, syscall: 'read' },
})

row('§4 a refused connection is a system error with its address', {
  run: async (stage) => {
    const port = await closedPort()
    const { error } = await stage.fetch(`http://127.0.0.1:${port}`)
    const { name, message, code, errno, syscall, address } = error!
    return {
      name,
      message: message.replace(`${port}`, 'PORT'),
      code,
      errno,
      syscall,
      address,
      port: error!['port'] === port,
    }
  },
  expected: {
    name: 'Error',
    message: 'connect ECONNREFUSED 127.0.0.1:PORT',
    code: 'ECONNREFUSED',
    errno: -111,
    syscall: 'connect',
    address: '127.0.0.1',
    port: true,
  },
})

row('§4 a name that is none is a system error with its hostname', {
  run: async (stage) => {
    const { error } = await stage.fetch('http://name.invalid')
    const { name, message, code, errno, syscall, hostname } = error!
    return { name, message, code, errno, syscall, hostname }
  },
  expected: {
    name: 'Error',
    message: 'getaddrinfo ENOTFOUND name.invalid',
    code: 'ENOTFOUND',
    errno: -3008,
    syscall: 'getaddrinfo',
    hostname: 'name.invalid',
  },
})

const byText = (one: string, two: string): number => one.localeCompare(two)
const addresses = await lookup('localhost', { all: true })

row('§4 several addresses refused: AggregateError with the code of the first', {
  on: WIRE,
  run: async (stage) => {
    const port = await closedPort()
    const { error } = await stage.fetch(`http://localhost:${port}`)
    const inner = (error as unknown as AggregateError).errors as Failure[] | undefined
    return [
      error!.name,
      error!.code,
      error instanceof AggregateError,
      inner?.map(({ code, syscall, address }) => `${code} ${String(syscall)} ${String(address)}`).toSorted(byText),
      inner?.every((each) => each['port'] === port),
    ]
  },
  // What `localhost` resolves to is the machine's business.
  expected:
    addresses.length === 1
      ? ['Error', 'ECONNREFUSED', false, undefined, undefined]
      : [
          'AggregateError',
          'ECONNREFUSED',
          true,
          addresses.map(({ address }) => `ECONNREFUSED connect ${address}`).toSorted(byText),
          true,
        ],
})

row('§4 TLS: certificates that do not hold', {
  run: async (stage) => {
    const seen = []
    for (const certificate of ['self-signed', 'wrong-host', 'expired'] as const) {
      const server = await stage.adopt(startTlsServer((_request, reply) => reply.end('ok'), { certificate }))
      const { error } = await stage.send(stage.openTrusting(), server.origin).ended
      seen.push([error!.name, error!.code])
    }
    return seen
  },
  expected: [
    ['Error', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ['Error', 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['Error', 'CERT_HAS_EXPIRED'],
  ],
})

row('§4 TLS: an authority nobody knows', {
  run: async (stage) => {
    const server = await stage.https((_request, reply) => reply.end('ok'))
    return (await stage.fetch(server.origin)).error!.code
  },
  expected: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
})

row('§4 TLS to a server that speaks none', {
  run: async (stage) => {
    const server = await stage.adopt(
      startTcpServer((socket) => socket.on('data', () => socket.end('HTTP/1.1 400 Bad\r\n\r\n'))),
    )
    const { error } = await stage.fetch(`https://127.0.0.1:${server.port}`)
    return [error!.code, error!['syscall'] ?? null]
  },
  expected: ['ERR_SSL_WRONG_VERSION_NUMBER', null],
})

row('§4 ConnectTimeoutError', {
  run: async (stage) => {
    // A server that takes the connection and never answers the handshake.
    const server = await stage.adopt(startTcpServer(() => {}))
    const { error } = await stage.send(stage.open({ connect: { timeout: 300 } }), `https://127.0.0.1:${server.port}`)
      .ended
    return stage.facts(error)
  },
  expected: {
    name: 'ConnectTimeoutError',
    code: 'UND_ERR_CONNECT_TIMEOUT',
    message: 'Connect Timeout Error (attempted address: 127.0.0.1:PORT, timeout: 300ms)',
  },
})

row('§4 HeadersTimeoutError', {
  run: async (stage) => {
    const server = await stage.raw(() => {})
    const observer = await stage.fetch(server.origin, { headersTimeout: 100 })
    return [observer.response, stage.facts(observer.error)]
  },
  expected: [
    BEFORE,
    { name: 'HeadersTimeoutError', code: 'UND_ERR_HEADERS_TIMEOUT', message: 'Headers Timeout Error' },
  ],
})

row('§4 BodyTimeoutError', {
  run: async (stage) => {
    const server = await stage.raw('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello')
    const observer = await stage.fetch(server.origin, { bodyTimeout: 100 })
    return [observer.response, stage.facts(observer.error)]
  },
  expected: [
    ['start', 'head 200', 'data', 'error'],
    { name: 'BodyTimeoutError', code: 'UND_ERR_BODY_TIMEOUT', message: 'Body Timeout Error' },
  ],
})

row('§4 HeadersOverflowError', {
  run: async (stage) => {
    const server = await stage.raw(response('200 OK', ['content-length: 0', `x-big: ${'a'.repeat(20_000)}`]))
    const byDefault = await stage.fetch(server.origin)
    const raised = await stage.send(stage.open({ maxHeaderSize: 64 * 1024 }), server.origin).ended
    const lowered = await stage.send(stage.open({ maxHeaderSize: 20 }), server.origin).ended
    return [stage.facts(byDefault.error), raised.head?.status, lowered.error?.name]
  },
  expected: [
    { name: 'HeadersOverflowError', code: 'UND_ERR_HEADERS_OVERFLOW', message: 'Headers Overflow Error' },
    200,
    'HeadersOverflowError',
  ],
})

row('§4 ResponseExceededMaxSizeError', {
  run: async (stage) => {
    const server = await stage.raw(OK)
    const exceeded = await stage.send(stage.open({ maxResponseSize: 1 }), server.origin).ended
    const fits = await stage.send(stage.open({ maxResponseSize: 2 }), server.origin).ended
    return [exceeded.response, stage.facts(exceeded.error), fits.body]
  },
  expected: [
    INSIDE,
    {
      name: 'ResponseExceededMaxSizeError',
      code: 'UND_ERR_RES_EXCEEDED_MAX_SIZE',
      message: 'Response content exceeded max size',
    },
    'ok',
  ],
})

const MALFORMED: readonly (readonly [string, string])[] = [
  ['no HTTP at all', 'SSH-2.0-OpenSSH\r\n\r\n'],
  ['a bad version', 'HTTP/9.1 200 OK\r\n\r\n'],
  ['a bad status', 'HTTP/1.1 2x0 OK\r\n\r\n'],
  ['a bad header name', 'HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n'],
  ['a bad content-length', 'HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n'],
]

const MALFORMED_CODES: unknown[] = [
  'HPE_INVALID_CONSTANT',
  'HPE_INVALID_VERSION',
  'HPE_INVALID_STATUS',
  'HPE_INVALID_HEADER_TOKEN',
  'HPE_INVALID_CONTENT_LENGTH',
]

/** hyper tells bad versions and lengths from other faults by less. */
const MALFORMED_CODES_OF_HYPER: unknown[] = [
  'HPE_INVALID_CONSTANT',
  'HPE_INVALID_CONSTANT',
  'HPE_INVALID_STATUS',
  'HPE_INVALID_HEADER_TOKEN',
  'HPE_UNEXPECTED_CONTENT_LENGTH',
]

for (const [what, bytes] of MALFORMED) {
  row(`§4 HTTPParserError: ${what}`, {
    run: async (stage) => {
      const observer = await stage.fetch(await failing(stage, bytes, 'keep'))
      return [observer.response, observer.error?.name, observer.error?.message.replace(/\(.*\)/, '(…)')]
    },
    expected: [BEFORE, 'HTTPParserError', 'Response does not match the HTTP/1.1 protocol (…)'] as unknown[],
  })
}

row('§4 lengths that contradict each other', {
  run: async (stage) => {
    const seen = []
    for (const lines of [
      ['content-length: 1', 'content-length: 2'],
      ['content-length: 1', 'transfer-encoding: chunked'],
    ]) {
      const observer = await stage.fetch(await failing(stage, response('200 OK', lines, '0\r\n\r\n'), 'keep'))
      seen.push([observer.response, observer.error?.name])
    }
    return seen
  },
  expected: Array.from({ length: 2 }, () => [BEFORE, 'ResponseContentLengthMismatchError']) as unknown[],
  differs: [
    {
      id: 'C6',
      when: ({ engine }) => engine === 'reqwest',
      observed: [
        [BEFORE, 'HTTPParserError'],
        [['start', 'head 200', 'end'], undefined],
      ],
    },
  ],
})

row('§4 HTTPParserError: a bad chunk', {
  run: async (stage) => {
    const observer = await stage.fetch(
      await failing(stage, 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n', 'keep'),
    )
    return [observer.response, observer.error?.name]
  },
  expected: [INSIDE, 'HTTPParserError'],
})

row('§4 HTTPParserError: the code', {
  run: async (stage) => {
    const codes = []
    for (const [, bytes] of MALFORMED) codes.push((await stage.fetch(await failing(stage, bytes, 'keep'))).error?.code)
    return codes
  },
  expected: MALFORMED.map(() => undefined) as unknown[],
  differs: [
    { id: 'C9', when: ({ engine }) => engine === 'reqwest', observed: MALFORMED_CODES_OF_HYPER },
    { id: 'C9', observed: MALFORMED_CODES },
  ],
})

row('§4 the same error class by instanceof, of either copy', {
  on: AGENTS,
  run: async (stage) => {
    const { errors } = stage.contestant.undici as unknown as { errors: Record<string, new () => Error> }
    const ours = sluiceErrors as unknown as typeof errors
    const server = await stage.raw((_request, socket) => void socket.end())
    const { error: socketError } = await stage.fetch(server.origin)
    const aborted = stage.observe({ start: (gate) => gate.abort() })
    stage.open().dispatch({ origin: server.origin, path: '/', method: 'GET' }, aborted.handler)
    await aborted.ended
    const invalid = stage.observe()
    stage.open().dispatch({ origin: '', path: '/', method: 'GET' }, invalid.handler)
    return [
      [socketError, 'SocketError'] as const,
      [aborted.error, 'RequestAbortedError'] as const,
      [aborted.error, 'AbortError'] as const,
      [invalid.error, 'InvalidArgumentError'] as const,
    ].map(([error, name]) => [
      error instanceof (errors[name] ?? errors['UndiciError']!),
      error instanceof ours[name]!,
      error instanceof errors['UndiciError']!,
      error instanceof errors['HeadersTimeoutError']!,
      error instanceof Error,
    ])
  },
  expected: Array.from({ length: 4 }, () => [true, true, true, false, true]),
})

row("§4 every error class of undici is one of sluice's `errors`", {
  on: DISPATCHERS.slice(0, 1),
  run: (stage) => {
    const { errors } = stage.contestant.undici as unknown as { errors: Record<string, unknown> }
    // What only undici's own proxies, pools, parser and WebSocket raise.
    const own = /^(?:BalancedPool|WebAssembly|SecureProxy|ProxyConnection|Socks5|MaxRedirects|MessageSize)/
    return Object.keys(errors).filter((name) => !own.test(name) && !(name in sluiceErrors))
  },
  expected: [],
})

row('§4 fetch: an error before the headers is the cause of `fetch failed`', {
  on: APIS,
  run: async (stage) => {
    const origin = await failing(stage, '', 'close')
    const failure = await stage.contestant.undici.fetch(origin, { dispatcher: stage.open() as never }).then(
      () => null,
      (error: Error) => error,
    )
    return [failure?.name, failure?.message, stage.facts(failure?.cause as Error)]
  },
  expected: ['TypeError', 'fetch failed', SOCKET],
})

row('§4 fetch: an error inside the body is the cause of `terminated`', {
  on: APIS,
  run: async (stage) => {
    const origin = await failing(stage, 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello', 'close')
    const answer = await stage.contestant.undici.fetch(origin, { dispatcher: stage.open() as never })
    const failure = await answer.text().then(
      () => null,
      (error: Error) => error,
    )
    return [failure?.name, failure?.message, stage.facts(failure?.cause as Error)]
  },
  expected: ['TypeError', 'terminated', SOCKET],
})

row('§4 errors are real: a stack, and own properties that console.log shows', {
  on: CURRENT,
  run: async (stage) => {
    const { error } = await stage.fetch(await failing(stage, '', 'close'))
    return [typeof error!.stack, Object.prototype.toString.call(error), Object.keys(error!).includes('code')]
  },
  expected: ['string', '[object Error]', true],
})
