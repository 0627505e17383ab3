/** A server that stops reading stops the source: what was taken of it is what the wire took, and a window more. */
import type { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { Agent, fetch } from '../lib/index.ts'
import type { AgentOptions, FetchInit } from '../lib/index.ts'
import { implementations } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { startH2c } from './support/http2-servers.ts'
import { bytesInKernel, tellsQueues } from './support/kernel.ts'
import { Recorder, send } from './support/recorder.ts'
import { select } from './support/selection.ts'
import { startTcpServer } from './support/servers.ts'
import { untilStopped } from './support/standstill.ts'

const GIB = 1024 * 1024 * 1024
const WINDOW = 256 * 1024
const CHUNK = 64 * 1024
/** What the two kernels take at most, where they do not say. */
const SOCKETS = 64 * 1024 * 1024

/** A source of 1 GiB that counts. */
interface Counted {
  body: FetchInit['body']
  pulls: number
  isEnded: boolean
}

const chunk = Buffer.alloc(CHUNK, 7)

function generator(): Counted {
  function* generate(): Generator<Uint8Array> {
    try {
      while (counted.pulls < GIB / CHUNK) {
        counted.pulls++
        yield chunk
      }
    } finally {
      counted.isEnded = true
    }
  }
  const counted: Counted = { body: generate() as never, pulls: 0, isEnded: false }
  return counted
}

function asyncGenerator(): Counted {
  const counted = generator()
  const inner = counted.body as unknown as Generator<Uint8Array>
  async function* generate(): AsyncGenerator<Uint8Array> {
    yield* inner
  }
  counted.body = generate()
  return counted
}

function stream(Implementation: typeof ReadableStream, type?: 'bytes'): Counted {
  const source = {
    type,
    pull(controller: { enqueue(chunk: Uint8Array): void; close(): void }): void {
      counted.pulls++
      controller.enqueue(type === 'bytes' ? new Uint8Array(CHUNK) : chunk)
      if (counted.pulls === GIB / CHUNK) controller.close()
    },
    cancel(): void {
      counted.isEnded = true
    },
  }
  const body = new Implementation(source as never, { highWaterMark: 0 })
  const counted: Counted = { body: body as never, pulls: 0, isEnded: false }
  return counted
}

const sources: [string, () => Counted][] = [
  ['an async generator', asyncGenerator],
  ['a generator', generator],
  ...implementations.map(({ name, streams }): [string, () => Counted] => [
    `a ReadableStream of ${name}`,
    () => stream(streams.ReadableStream),
  ]),
  ['a byte stream', () => stream(ReadableStream, 'bytes')],
]

/** Both ways in: the error of the request that `abort` ends. */
const ways = {
  fetch: (agent: Agent, origin: string, body: Counted['body'], signal: AbortSignal): Promise<unknown> =>
    fetch(origin, { method: 'POST', body, signal, dispatcher: agent }).catch((error: unknown) => error),
  dispatch: async (agent: Agent, origin: string, body: Counted['body'], signal: AbortSignal): Promise<unknown> => {
    const recorder = send(agent, origin, new Recorder(), { method: 'POST', body: body as never })
    signal.addEventListener('abort', () => recorder.gate.abort(signal.reason as Error))
    await recorder.ended
    return recorder.error
  },
}

/** A server that reads nothing of a body; what the wire has taken of it. */
interface Stalled extends AsyncDisposable {
  origin: string
  taken(): number
}

const servers: Record<'HTTP/1.1' | 'HTTP/2', () => Promise<Stalled>> = {
  'HTTP/1.1': async () => {
    const server = await startTcpServer((socket) => void socket.pause())
    const takenBy = (socket: Socket): number => socket.bytesRead + (tellsQueues ? bytesInKernel(socket) : SOCKETS)
    const taken = (): number => [...server.sockets].reduce((sum, socket) => sum + takenBy(socket), 0)
    return Object.assign(server, { taken })
  },
  'HTTP/2': async () => {
    const server = await startH2c((opened) => void opened.pause())
    // RFC 9113 §6.9.2: the window of a stream that nobody reads.
    return Object.assign(server, { taken: () => 65_535 })
  },
}

const rows = (['HTTP/1.1', 'HTTP/2'] as const).flatMap((version) =>
  (['wire', 'reqwest'] as const).flatMap((transport) =>
    (['fetch', 'dispatch'] as const).flatMap((way) =>
      sources.map(([source, open]) => ({ version, transport, way, source, open })),
    ),
  ),
)

test.each(select(rows, { source: sources[0]![0] }))(
  '$way over $version on $transport: a stalled server stops $source of 1 GiB',
  async ({ version, transport, way, open }) => {
    await using server = await servers[version]()
    const options: AgentOptions = { transport, uploadWindowBytes: WINDOW, useH2c: version === 'HTTP/2' }
    await using agent = new Agent(options)
    const counted = open()
    const abort = new AbortController()
    const failing = ways[way](agent, server.origin, counted.body, abort.signal)
    const pulls = await untilStopped(() => counted.pulls)
    expect(pulls * CHUNK).toBeLessThanOrEqual(server.taken() + WINDOW + CHUNK)
    expect(agent.stats.bufferedBytes).toBeLessThanOrEqual(WINDOW + CHUNK)
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(counted.pulls).toBe(pulls)
    const reason = new Error('enough')
    abort.abort(reason)
    expect(await failing).toBe(reason)
    await until(() => counted.isEnded)
    expect(counted.pulls).toBe(pulls)
    await until(() => agent.stats.bufferedBytes === 0)
  },
)
