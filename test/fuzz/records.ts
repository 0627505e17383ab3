/**
 * What crosses the boundary, both ways: requests that JavaScript encodes are read by Rust, and completions that Rust
 * encodes are read by JavaScript. Whatever one record holds, all the others of its batch arrive, in order.
 */
import assert from 'node:assert/strict'
import { inspect, isDeepStrictEqual } from 'node:util'
import { binding } from '../../native/binding.ts'
import type { ConnectionEvent, CoreErrorInfo, CoreQuestion, NativeAgent } from '../../native/binding.ts'
import {
  answerAgent,
  openEnvironment,
  RequestFlag,
  SubmissionBatch,
  unwatch,
  unwatchAgent,
  watch,
  watchAgent,
} from '../../streams/exchange.ts'
import type { Receiver, ResponseHead, Submission, WireRequest } from '../../streams/exchange.ts'
import { within } from '../support/deadline.ts'
import { headSpec, nativeEnds } from '../support/native-ends.ts'
import type { CompletionSpec } from '../support/native-ends.ts'
import { Random } from '../support/random.ts'

export const name = 'records'
/** Cases of a long run. */
export const longCases = 20_000

const CAPACITY = 1024 * 1024
/** UTF-16 units of one text in an error. */
const MOST_UNITS = 4096
const METHODS = ['GET', 'POST', 'QUERY', 'CONNECT', 'X-A'] as const
const TOKEN = [0x61, 0x7a] as const

/** Runs `cases` batches each way. @throws Error that names the seed of the batch which failed */
export async function run(seed: number, cases: number): Promise<void> {
  openEnvironment()
  for (let index = 0; index < cases; index++) {
    const own = (seed + index) >>> 0
    try {
      await crossing(new Random(own))
      await delivery(new Random(own))
    } catch (cause) {
      throw new Error(`${name}: seed ${own}: ${(cause as Error).message}`, { cause })
    }
  }
}

/** JavaScript to Rust. */
async function crossing(random: Random): Promise<void> {
  const ends = nativeEnds()
  const crossed: { batch: Uint8Array; bodies: Uint8Array[] }[] = []
  const { agentDispatch } = binding
  binding.agentDispatch = (_agent, batch, length, bodies) => {
    crossed.push({ batch: new Uint8Array(batch.subarray(0, length)), bodies })
  }
  const requests: { id: number; request: WireRequest }[] = []
  const unsent: unknown[] = []
  let failing = 0
  try {
    const batch = new SubmissionBatch(0 as NativeAgent)
    for (let count = random.below(20) + 1; count > 0; count--) {
      const request = randomRequest(random)
      const fails = random.isOneIn(10)
      if (fails) failing++
      const submission: Submission = {
        receiver: silent(() => {}),
        begin: (id) => {
          if (fails) throw new Error('not this one')
          requests.push({ id, request })
          return request
        },
        onUnsent: (error) => unsent.push(error),
      }
      batch.add(submission)
    }
    await Promise.resolve()
  } finally {
    binding.agentDispatch = agentDispatch
  }
  for (const { id } of requests) unwatch(id)
  assert.equal(unsent.length, failing, 'requests that could not cross')
  assert.equal(crossed.length, requests.length === 0 ? 0 : 1, 'crossings')
  if (crossed.length === 0) return
  const read = ends.testSubmissions(crossed[0]!.batch)
  assertSame(
    read,
    requests.map(({ id, request }) => expectedFields(id, request)),
  )
  const apart = requests.filter(({ request: { body } }) => body !== null && body.byteLength > 16 * 1024)
  assertSame(
    crossed[0]!.bodies,
    apart.map(({ request }) => request.body),
  )
}

function randomRequest(random: Random): WireRequest {
  const limit = (): number | null => random.pick([null, 0, 1, 1500, 2 ** 31, 2 ** 40])
  const large = (): number | null => random.pick([null, -1, 0, 77, 2 ** 40])
  const headers: string[] = []
  for (let count = random.below(6); count > 0; count--) {
    headers.push(
      Buffer.from(random.bytes(random.below(20) + 1, ...TOKEN)).toString(),
      random.latin1(random.length(3000)),
    )
  }
  const flags = [RequestFlag.close, RequestFlag.noReuse, RequestFlag.http1, RequestFlag.expectContinue]
  const redirect = random.pick([0, RequestFlag.follow, RequestFlag.noRedirect])
  const fetches = random.pick([0, RequestFlag.decode | redirect])
  return {
    origin: `${random.pick(['http', 'https'])}://${random.pick(['a.test', '[::1]', '127.0.0.1'])}${random.pick(['', ':81'])}`,
    method: random.pick(METHODS),
    target: `/${random.latin1(random.length(100_000))}`,
    flags: flags.reduce((all, flag) => all | random.pick([0, flag]), fetches),
    servername: random.pick(['', 'b.test']),
    upgrade: random.pick(['', 'websocket']),
    host: random.pick(['', 'c.test', random.latin1(8)]),
    headers,
    body: random.pick([null, random.bytes(random.length(40_000))]),
    isKept: false,
    upload: null,
    file: null,
    connectTimeout: limit(),
    headersTimeout: limit(),
    bodyTimeout: limit(),
    timeout: limit(),
    windowBytes: null,
    maxHeaderSize: random.pick([null, 1, 65_536]),
    maxResponseSize: large(),
    maxDecodedSize: large(),
    maxCompressionRatio: random.pick([null, 0, 12.5]),
  }
}

/** As `describe` in `native/addon/src/submission.rs` says them. */
function expectedFields(id: number, request: WireRequest): string[] {
  const word = (value: number): number => Math.min(value, 2 ** 32 - 2)
  const limit = (value: number | null, own: number): string =>
    String(value === null ? own : value === 0 ? -1 : word(value))
  const isFetch = (request.flags & RequestFlag.decode) !== 0
  const off = 0x7fff_ffff * 2 ** 32
  // Two words, of which the bits above 2^53 say "off": told as the number that they are.
  const large = (value: number | null | undefined): string =>
    value === null || value === undefined ? '-1' : value < 0 ? String(BigInt(off)) : String(value)
  const { connectTimeout, maxCompressionRatio } = request
  const isSet = (flag: number): string => ((request.flags & flag) === 0 ? '0' : '1')
  const isInline = request.body !== null && request.body.byteLength <= 16 * 1024
  return [
    String(id),
    request.origin,
    request.method,
    request.target,
    request.servername,
    request.upgrade,
    request.host,
    isInline ? Buffer.from(request.body!).toString('latin1') : '',
    [RequestFlag.close, RequestFlag.noReuse, RequestFlag.http1, RequestFlag.expectContinue].map(isSet).join(''),
    connectTimeout === null ? '-1' : connectTimeout === 0 ? 'off' : String(word(connectTimeout)),
    limit(request.headersTimeout, 300_000),
    limit(request.bodyTimeout, 300_000),
    limit(request.timeout, -1),
    large(request.maxResponseSize),
    String(request.maxHeaderSize ?? 16 * 1024),
    isFetch
      ? isSet(RequestFlag.follow) === '1'
        ? 'Follow'
        : isSet(RequestFlag.noRedirect) === '1'
          ? 'Error'
          : 'Manual'
      : '',
    isFetch ? large(request.maxDecodedSize) : '-1',
    isFetch && maxCompressionRatio ? String(maxCompressionRatio) : '-1',
    ...request.headers,
  ]
}

/** What a receiver or a listener was told. */
interface Told {
  id: number
  what: string
  value: unknown
}

/** Rust to JavaScript. */
async function delivery(random: Random): Promise<void> {
  const ends = nativeEnds()
  const told: Told[] = []
  const expected: Told[] = []
  const specs: CompletionSpec[] = []
  const held: object[] = []
  const first = 0x4000_0000 + random.below(0x1000_0000)
  const count = random.below(30) + 1
  let refused = 0
  for (let id = first; id < first + count; id++) {
    const { spec, value, isTooLarge } = randomCompletion(random, id)
    specs.push(spec)
    if (spec.kind === 'connection' || spec.kind === 'question') {
      held.push(listen(spec, told))
      expected.push({ id, what: spec.kind, value })
    } else if (isTooLarge) {
      refused++
      watch(
        id,
        silent((what, value) => told.push({ id, what, value })),
      )
    } else {
      const throws = random.isOneIn(10)
      watch(
        id,
        silent((what, value) => {
          told.push({ id, what, value })
          if (throws && what !== 'undelivered') throw new Error('thrown by a receiver')
        }),
      )
      expected.push({ id, what: spec.kind, value })
      if (throws) expected.push({ id, what: 'undelivered', value: 'Internal error: thrown by a receiver' })
    }
  }
  const last = Promise.withResolvers<void>()
  watch(
    first + count,
    silent(() => last.resolve()),
  )
  specs.push({ kind: 'ready', id: first + count })
  try {
    assert.equal(ends.testCompletions(specs), refused, 'records that do not fit')
    if (random.isOneIn(2)) ends.testHandOver()
    await within(last.promise, { what: 'the last record' })
    assertSame(told, expected)
  } finally {
    for (const { id } of specs) {
      unwatch(id)
      unwatchAgent(id as NativeAgent)
    }
    held.length = 0
  }
}

/** Names the first difference, shortened: what is compared may be megabytes. */
function assertSame(actual: readonly unknown[], expected: readonly unknown[]): void {
  const shown = (value: unknown): string => inspect(value, { maxStringLength: 100, maxArrayLength: 20, depth: 4 })
  for (let index = 0; index < Math.max(actual.length, expected.length); index++) {
    if (isDeepStrictEqual(actual[index], expected[index])) continue
    throw new Error(`record ${index}: ${shown(actual[index])} instead of ${shown(expected[index])}`)
  }
}

function silent(tell: (what: string, value: unknown) => void): Receiver {
  return {
    onHead: (head) => tell('head', headOf(head, head.isComplete ? 'complete' : 'open')),
    onInformational: (head) => tell('head', headOf(head, 'informational')),
    onUpgrade: (head) => tell('head', headOf(head, 'upgrade')),
    onReady: () => tell('ready', null),
    onReadable: () => tell('readable', null),
    onUploadReady: () => tell('uploadReady', null),
    onError: (info) => tell('error', infoOf(info)),
    onPiped: (written, isStopped, info) => tell('piped', [written, isStopped, info === null ? null : infoOf(info)]),
    onUndelivered: ({ message }) => {
      tell('undelivered', message)
      return true
    },
  }
}

function headOf(head: ResponseHead, part: string): unknown {
  return { ...head, part, body: Buffer.from(head.body).toString('latin1') }
}

function infoOf({ name: kind, code, message, host, address, errors }: CoreErrorInfo): unknown {
  return { kind, code, message, host, address, errors: errors?.length }
}

function listen({ kind, id }: CompletionSpec, told: Told[]): object {
  if (kind === 'connection') {
    const listener = {
      onConnection: ({ origin, maxStreams, error }: ConnectionEvent) => {
        told.push({ id, what: kind, value: [origin, maxStreams, infoOf(error!)] })
      },
    }
    watchAgent(id as NativeAgent, new WeakRef(listener))
    return listener
  }
  const listener = {
    onQuestion: ({ ask, host }: CoreQuestion, answer: (text: string) => void) => {
      told.push({ id, what: kind, value: [ask, host] })
      answer('')
    },
  }
  answerAgent(id as NativeAgent, listener)
  return listener
}

interface RandomCompletion {
  spec: CompletionSpec
  value: unknown
  isTooLarge?: boolean
}

function randomCompletion(random: Random, id: number): RandomCompletion {
  const kind = random.pick([
    'head',
    'head',
    'head',
    'readable',
    'ready',
    'uploadReady',
    'error',
    'piped',
    'connection',
    'question',
  ])
  switch (kind) {
    case 'head':
      return randomHead(random, id)
    case 'error': {
      const host = random.text(random.length(6000))
      const { parts, value } = randomError(random, host)
      return { spec: { kind, id, host, ...parts }, value }
    }
    case 'piped': {
      const { parts, value } = randomError(random, '')
      const [written, isStopped, fails] = [random.pick([0, 1, 2 ** 40]), random.isOneIn(2), random.isOneIn(2)]
      return {
        spec: { kind, id, written, isStopped, fails, ...parts },
        value: [written, isStopped, fails ? value : null],
      }
    }
    case 'connection': {
      const { parts, value } = randomError(random, '')
      const origin = `http://${'a'.repeat(random.length(60_000) + 1)}.test`
      const streams = random.below(1000)
      return { spec: { kind, id, origin, streams, ...parts }, value: [origin, streams, value] }
    }
    case 'question': {
      const host = random.text(random.length(60_000))
      return { spec: { kind, id, host }, value: ['lookup', host] }
    }
    default:
      return { spec: { kind, id }, value: null }
  }
}

function randomHead(random: Random, id: number): RandomCompletion {
  const part = random.pick(['open', 'complete', 'informational', 'upgrade'])
  const names: string[] = []
  // What lies about the size of a record is now and then as large as one may be, and larger.
  const size = random.isOneIn(12) ? CAPACITY - 100 + random.below(200) : random.length(250_000)
  for (let left = size; left > 0; left -= 20_002) names.push('x-a', 'v'.repeat(Math.max(Math.min(left, 20_002) - 5, 0)))
  if (random.isOneIn(2)) names.push('x-b', random.latin1(random.length(300)))
  const headers = Buffer.from(names.join('\0'), 'latin1')
  const isComplete = part === 'complete'
  const body = random.bytes(random.length(16 * 1024))
  const trailerText = random.pick(['', `x-t\0${random.latin1(20).trim()}`])
  const reason = random.bytes(random.length(500))
  const redirectedTo = random.pick(['', '', `http://a.test/${'p'.repeat(random.length(60_000))}`])
  const isCrossOrigin = random.isOneIn(2)
  const contentLength = random.pick([-1, 0, 5, 2 ** 40])
  const [status, isHttp2] = [100 + random.below(500), random.isOneIn(2)]
  const spec = headSpec(id, {
    part,
    status,
    reason,
    headers,
    body,
    trailers: Buffer.from(trailerText, 'latin1'),
    contentLength,
    isHttp2,
    redirectedTo,
    isCrossOrigin,
  })
  const rest = isComplete ? body.byteLength + trailerText.length : 0
  const bytes = 40 + reason.byteLength + headers.byteLength + rest + redirectedTo.length
  return {
    spec,
    isTooLarge: bytes > CAPACITY,
    value: {
      part,
      status,
      statusText: Buffer.from(reason).toString('utf8'),
      headerText: names.join('\0'),
      isHttp2,
      isComplete,
      contentLength: contentLength < 0 ? null : contentLength,
      body: isComplete ? Buffer.from(body).toString('latin1') : '',
      trailerText: isComplete ? trailerText : '',
      redirectedTo: redirectedTo === '' ? null : redirectedTo,
      isCrossOrigin: redirectedTo !== '' && isCrossOrigin,
    },
  }
}

/** `error` chooses a variant, as in `native/addon/src/testing.rs`. */
function randomError(random: Random, host: string): { parts: { error: number; message: string }; value: unknown } {
  const error = random.below(4)
  const message = random.text(random.length(random.pick([300, 300_000])))
  const said = { host: host === '' ? undefined : cut(host), address: undefined, errors: undefined }
  switch (error) {
    case 0:
      return {
        parts: { error, message },
        value: { ...said, kind: 'Error', code: 'SLUICE_ERR_REDIRECT', message: cut(message) },
      }
    case 1:
      return { parts: { error, message }, value: { ...said, kind: 'Error', code: 'EX', message: cut(message) } }
    case 2: {
      const text = cut(`connect ECONNREFUSED ${message}:1`)
      const value = { ...said, kind: 'Error', code: 'ECONNREFUSED', message: text, address: cut(message) }
      return { parts: { error, message }, value }
    }
    default:
      return {
        parts: { error, message },
        value: { ...said, kind: 'AggregateError', code: 'ETIMEDOUT', message: '', errors: 3 },
      }
  }
}

function cut(text: string): string {
  if (text.length <= MOST_UNITS) return text
  const splits = (text.charCodeAt(MOST_UNITS) & 0xfc00) === 0xdc00
  return `${text.slice(0, splits ? MOST_UNITS - 1 : MOST_UNITS)}…`
}
