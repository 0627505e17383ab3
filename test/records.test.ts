/** What crosses the boundary: whatever one record holds, and whatever becomes of it, the others of its batch arrive. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import { binding } from '../native/binding.ts'
import type { NativeAgent } from '../native/binding.ts'
import {
  answerAgent,
  openEnvironment,
  SubmissionBatch,
  unwatch,
  unwatchAgent,
  watch,
  watchAgent,
} from '../streams/exchange.ts'
import type { Receiver } from '../streams/exchange.ts'
import { run } from './fuzz/records.ts'
import { uncaught } from './support/uncaught.ts'
import { until, within } from './support/deadline.ts'
import { headSpec, nativeEnds } from './support/native-ends.ts'
import { startServer, startTcpServer } from './support/servers.ts'

const MiB = 1024 * 1024
const OTHERS = 50

/** The first of these ids is of no request. */
let lastId = 0x2000_0000

interface Told {
  receiver: Receiver
  calls: string[]
}

/** Writes down what it is told; `throws` names the call that throws. */
function receiver(throws = ''): Told {
  const calls: string[] = []
  const tell = (call: string): void => {
    calls.push(call)
    if (call === throws) throw new Error(`${call} throws`)
  }
  return {
    calls,
    receiver: {
      onHead: () => tell('head'),
      onReady: () => tell('ready'),
      onReadable: () => tell('readable'),
      onError: () => tell('error'),
      onUploadReady: () => tell('uploadReady'),
      onPiped: () => tell('piped'),
      onUndelivered: (error) => {
        calls.push(`undelivered: ${(error as { code?: string }).code} ${error.message}`)
        return true
      },
    },
  }
}

/** Watches two ids more; the records between them are what a test is about. */
function neighbours(): { before: Told; after: Told; ids: [number, number, number] } {
  openEnvironment()
  const ids = [++lastId, ++lastId, ++lastId] as [number, number, number]
  const [before, after] = [receiver(), receiver()]
  watch(ids[0], before.receiver)
  watch(ids[2], after.receiver)
  return { before, after, ids }
}

afterEach(() => {
  vi.restoreAllMocks()
})

describe('a fetch ends with an error that names what happened, and every other one of its batch with its answer, after', () => {
  /** Answers everything that is not the first server's after all of it has come. */
  async function withOthers(attempt: () => Promise<unknown>): Promise<NodeJS.ErrnoException> {
    const waiting: (() => void)[] = []
    await using server = await startServer((_, response) => void waiting.push(() => response.end('ok')))
    await using agent = new Agent()
    const others = Array.from({ length: OTHERS }, () => fetch(server.origin, { dispatcher: agent }))
    await until(() => waiting.length === OTHERS)
    const failed = attempt().then(
      () => expect.unreachable('it must fail'),
      (error: Error) => error.cause as NodeJS.ErrnoException,
    )
    for (const answer of waiting) answer()
    // All that comes meanwhile comes in one batch.
    const end = performance.now() + 300
    while (performance.now() < end);
    const texts = others.map(async (other) => (await other).text())
    expect(await within(Promise.all(texts))).toEqual(Array(OTHERS).fill('ok'))
    return within(failed)
  }

  /** Redirects eight times to `location`. */
  async function redirecting(location: Buffer): ReturnType<typeof startTcpServer> {
    let hops = 0
    return startTcpServer((socket) => {
      socket.on('data', (request) => {
        if (!request.toString('latin1').endsWith('\r\n\r\n')) return
        if (hops++ === 8) {
          socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
          return
        }
        const head = 'HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: '
        socket.write(Buffer.concat([Buffer.from(head), location, Buffer.from('\r\n\r\n')]))
      })
    })
  }

  test('redirects whose URL grows without end', async () => {
    await using server = await redirecting(Buffer.concat([Buffer.alloc(15_500, 0xe9), Buffer.from('/')]))
    const error = await withOthers(() => fetch(server.origin))
    expect(error.code).toBe('SLUICE_ERR_REDIRECT')
    expect(error.message).toContain("the redirect's URL is longer than 65536 bytes: http://127.0.0.1:")
    expect(error.message.length).toBeLessThan(500)
  })

  test.each(['a scheme that is none', 'a URL that is none'])('a redirect to %s, of 200 KB', async (what) => {
    const prefix = what.startsWith('a scheme') ? 'about:' : 'http://[::'
    await using server = await redirecting(Buffer.concat([Buffer.from(prefix), Buffer.alloc(200_000, 0xe9)]))
    await using agent = new Agent({ maxHeaderSize: 256 * 1024 })
    const error = await withOthers(() => fetch(server.origin, { dispatcher: agent }))
    expect(error.code).toBe('SLUICE_ERR_REDIRECT')
    expect(error.message.length).toBeLessThan(1000)
  })

  test.each([
    ['nobody is asked', {}],
    ['connect.lookup is asked', { connect: { lookup: () => expect.unreachable('no such name is looked up') } }],
  ])('a host of 2 MB, where %s', async (_, options) => {
    await using agent = new Agent(options as object)
    const error = await withOthers(() => fetch(`http://${'a'.repeat(2 * MiB)}/`, { dispatcher: agent }))
    expect(error.code).toBe('UND_ERR_INVALID_ARG')
    expect(error.message).toContain('invalid origin')
  })

  test('a lookup that fails with a code and a message of 2 MB', async () => {
    const failure = Object.assign(new Error('m'.repeat(2 * MiB)), { code: 'c'.repeat(2 * MiB) })
    const lookup = (_name: string, _options: unknown, callback: (error: Error) => void): void => callback(failure)
    await using agent = new Agent({ connect: { lookup } as object })
    expect(await withOthers(() => fetch('http://a.test/', { dispatcher: agent }))).toBe(failure)
  })

  test('a lookup that finds 50 000 addresses, each of which is asked about', async () => {
    let asked = 0
    const addresses = Array.from({ length: 50_000 }, (_, index) => ({
      address: `fe80:1234:5678:9abc:def0:1234:${(index >> 8).toString(16)}:${(index & 255).toString(16)}`,
      family: 6,
    }))
    const lookup = (_name: string, _options: unknown, callback: (error: null, found: unknown) => void): void =>
      callback(null, addresses)
    const allowAddress = (): boolean => {
      asked++
      return false
    }
    await using agent = new Agent({ connect: { lookup } as object, allowAddress })
    const error = await withOthers(() => fetch('http://a.test/', { dispatcher: agent }))
    expect([error.code, asked]).toEqual(['ERR_ADDRESS_NOT_ALLOWED', addresses.length])
  })
})

describe('the records before and behind it are delivered, where one', () => {
  const text = (length: number): Buffer => Buffer.from(`x-a\0${'v'.repeat(length - 4)}`)

  test.each([
    ['an open head', { part: 'open', headers: text(MiB) }],
    ['an upgrade', { part: 'upgrade', headers: text(MiB) }],
    ['an informational head', { part: 'informational', headers: text(MiB) }],
    ['a body', { part: 'complete', body: Buffer.alloc(MiB) }],
    ['trailers', { part: 'complete', trailers: text(MiB) }],
    ['a URL', { part: 'open', redirectedTo: `http://a.test/${'a'.repeat(MiB)}` }],
    ['a reason', { part: 'open', reason: Buffer.alloc(MiB, 'a') }],
  ])('is %s larger than a record may be', async (_, parts) => {
    const { before, after, ids } = neighbours()
    const refused = nativeEnds().testCompletions([
      { kind: 'readable', id: ids[0] },
      headSpec(ids[1], parts),
      { kind: 'readable', id: ids[2] },
    ])
    expect(refused).toBe(1)
    await until(() => after.calls.length > 0)
    expect([before.calls, after.calls]).toEqual([['readable'], ['readable']])
    unwatch(ids[0])
    unwatch(ids[2])
  })

  test('is a question larger than a record may be, which is dropped', async () => {
    const { before, after, ids } = neighbours()
    const specs = [
      { kind: 'readable', id: ids[0] },
      { kind: 'question', id: ids[1], host: 'a'.repeat(MiB) },
      { kind: 'readable', id: ids[2] },
    ]
    expect(nativeEnds().testCompletions(specs)).toBe(1)
    await until(() => after.calls.length > 0)
    expect(before.calls).toEqual(['readable'])
    unwatch(ids[0])
    unwatch(ids[2])
  })

  test.each(['head', 'ready', 'readable', 'uploadReady', 'error', 'piped'])(
    'is a %s whose receiver throws, which fails with that alone',
    async (call) => {
      const { before, after, ids } = neighbours()
      const middle = receiver(call)
      watch(ids[1], middle.receiver)
      const rest = { host: '', error: 0, message: 'm', written: 0, isStopped: false, fails: false }
      const spec = call === 'head' ? headSpec(ids[1]) : { kind: call, id: ids[1], ...rest }
      nativeEnds().testCompletions([{ kind: 'readable', id: ids[0] }, spec, spec, { kind: 'readable', id: ids[2] }])
      await until(() => after.calls.length > 0)
      expect(before.calls).toEqual(['readable'])
      // Nothing is told after that.
      expect(middle.calls).toEqual([call, `undelivered: SLUICE_ERR_INTERNAL Internal error: ${call} throws`])
      unwatch(ids[0])
      unwatch(ids[2])
    },
  )

  test('cannot be read, which fails its receiver', async () => {
    const { after, ids } = neighbours()
    const middle = receiver()
    watch(ids[1], middle.receiver)
    vi.spyOn(JSON, 'parse').mockImplementationOnce(() => {
      throw new SyntaxError('no JSON')
    })
    nativeEnds().testCompletions([
      { kind: 'error', id: ids[1], host: '', error: 0, message: 'm' },
      { kind: 'readable', id: ids[2] },
    ])
    await until(() => after.calls.length > 0)
    expect(middle.calls).toEqual(['undelivered: SLUICE_ERR_INTERNAL Internal error: no JSON'])
    unwatch(ids[0])
    unwatch(ids[2])
  })

  test('is of a listener of connections that throws, which is an uncaught exception', async () => {
    const { after, ids } = neighbours()
    const listener = {
      onConnection(): void {
        throw new Error('a listener throws')
      },
    }
    watchAgent(ids[1] as NativeAgent, new WeakRef(listener))
    const errors = await uncaught(async () => {
      nativeEnds().testCompletions([
        { kind: 'connection', id: ids[1], origin: 'http://a.test', streams: 1, error: 0, message: '' },
        { kind: 'readable', id: ids[2] },
      ])
      await until(() => after.calls.length > 0)
    })
    expect(errors.map(({ message }) => message)).toEqual(['a listener throws'])
    unwatchAgent(ids[1] as NativeAgent)
    unwatch(ids[0])
    unwatch(ids[2])
  })

  test('is of a listener of questions that throws, which answers nothing and is an uncaught exception', async () => {
    const { after, ids } = neighbours()
    const listener = {
      onQuestion(): void {
        throw new Error('a listener throws')
      },
    }
    answerAgent(ids[1] as NativeAgent, listener)
    const answered = vi.spyOn(nativeEnds(), 'questionAnswer')
    const errors = await uncaught(async () => {
      nativeEnds().testCompletions([
        { kind: 'question', id: ids[1], host: 'a.test' },
        { kind: 'readable', id: ids[2] },
      ])
      await until(() => after.calls.length > 0)
    })
    expect(errors.map(({ message }) => message)).toEqual(['a listener throws'])
    expect(answered).toHaveBeenCalledExactlyOnceWith(expect.any(Number), '')
    unwatch(ids[0])
    unwatch(ids[2])
  })

  test('is of a receiver that runs the event loop', async () => {
    const { before, after, ids } = neighbours()
    const nested = receiver()
    watch(ids[1], {
      ...nested.receiver,
      onReadable() {
        nested.calls.push('readable')
        if (nested.calls.length > 1) return
        nativeEnds().testCompletions([headSpec(ids[0]), { kind: 'readable', id: ids[1] }])
        nativeEnds().testHandOver()
      },
    })
    nativeEnds().testCompletions([
      { kind: 'readable', id: ids[1] },
      { kind: 'readable', id: ids[2] },
    ])
    await until(() => nested.calls.length === 2)
    expect([before.calls, after.calls]).toEqual([['head'], ['readable']])
    for (const id of ids) unwatch(id)
  })

  test('ends in an exception that leaves the delivery, which is a rejection that nobody handles', async () => {
    const { before, after, ids } = neighbours()
    const middle = receiver('readable')
    watch(ids[1], { ...middle.receiver, onUndelivered: () => false })
    const { queueMicrotask: queue } = globalThis
    const specs = [ids[0], ...ids].map((id) => ({ kind: 'readable', id }))
    const errors = await uncaught(async () => {
      nativeEnds().testCompletions(specs)
      // What reports an exception fails itself.
      globalThis.queueMicrotask = () => {
        throw new Error('no microtask')
      }
      try {
        await until(() => after.calls.length > 0)
      } finally {
        globalThis.queueMicrotask = queue
      }
    }, 'unhandledRejection')
    const calls = [before.calls, middle.calls, after.calls]
    expect(calls).toEqual([['readable', 'readable'], ['readable'], ['readable']])
    expect(errors.map(({ cause }) => (cause as Error).message)).toEqual(['no microtask'])
    for (const id of ids) unwatch(id)
  })
})

test.each([
  ['open', {}],
  ['informational', {}],
  ['upgrade', {}],
  ['complete', { body: Buffer.alloc(5000) }],
])(
  'a request whose head (%s) is larger than a record may be fails with that, and loses its connection',
  async (part, parts) => {
    let asked = 0
    await using server = await startServer(() => void asked++)
    await using agent = new Agent()
    const crossing = vi.spyOn(binding, 'agentDispatch')
    const response = fetch(server.origin, { dispatcher: agent })
    await until(() => asked === 1)
    const [, batch] = crossing.mock.calls[0]!
    const id = new Uint32Array(batch.buffer)[1]!
    const { after, ids } = neighbours()
    nativeEnds().testCompletions([
      headSpec(id, { part, headers: Buffer.from(`x-a\0${'v'.repeat(MiB)}`), ...parts }),
      { kind: 'readable', id: ids[2] },
    ])
    await expect(within(response)).rejects.toMatchObject({ cause: { code: 'UND_ERR_HEADERS_OVERFLOW' } })
    expect(after.calls).toEqual(['readable'])
    await until(() => server.sockets.size === 0 && agent.stats.running === 0)
    expect(agent.stats.bufferedBytes).toBe(0)
    unwatch(ids[0])
    unwatch(ids[2])
  },
)

describe('the requests of a batch cross, but', () => {
  test('one that cannot be encoded, which is told', async () => {
    await using server = await startServer((_, response) => response.end('ok'))
    await using agent = new Agent()
    const get = (): Promise<Response> => fetch(server.origin, { dispatcher: agent })
    const first = get()
    const unencodable = fetch(server.origin, { dispatcher: agent, method: 'POST', body: 'a' })
    const last = get()
    const copy = vi.spyOn(Uint8Array.prototype, 'set').mockImplementationOnce(() => {
      throw new RangeError('no room')
    })
    await expect(within(unencodable)).rejects.toMatchObject({ cause: { message: 'no room' } })
    copy.mockRestore()
    expect(await within(Promise.all([first, last].map(async (response) => (await response).text())))).toEqual([
      'ok',
      'ok',
    ])
    expect(await (await within(get())).text()).toBe('ok')
  })

  test('none to an agent that is gone: each is told', async () => {
    openEnvironment()
    const unsent: unknown[] = []
    const batch = new SubmissionBatch(0x7fff_ffff as NativeAgent)
    const request = { headers: [], body: null, upload: null, file: null, flags: 0, origin: 'http://a.test' }
    for (let count = 0; count < 3; count++) {
      const { receiver: own } = receiver()
      batch.add({ receiver: own, begin: () => request as never, onUnsent: (error) => unsent.push(error) })
    }
    await until(() => unsent.length === 3)
  })
})

test('random records are read as they were written, both ways', { timeout: 60_000 }, async () => {
  const seed = Number(process.env.SLUICE_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 32))
  await run(seed, 300)
})
