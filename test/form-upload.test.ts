/** Forms with files on their way: no part is read before its turn, nor further than the server takes it. */
import { mkdtempSync, openAsBlob, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Agent, fetch, fromFile } from '../lib/index.ts'
import type { FetchInit } from '../lib/index.ts'
import { rejection } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { bytesInKernel, tellsQueues } from './support/kernel.ts'
import { Recorder, send } from './support/recorder.ts'
import { select } from './support/selection.ts'
import { countingBlock, startServer, startTcpServer } from './support/servers.ts'
import { untilStopped } from './support/standstill.ts'

const CHUNK = 64 * 1024
const WINDOW = 256 * 1024
const SIZE = 512 * 1024 * 1024
const folder = mkdtempSync(join(tmpdir(), 'sluice-form-upload-'))
const path = join(folder, 'file.bin')
const content = Buffer.from(countingBlock(300_000))

beforeAll(() => writeFileSync(path, content))
afterAll(() => rmSync(folder, { recursive: true }))

/** A file of `SIZE` bytes that counts what is read of it. */
class CountedFile {
  readonly type = ''
  readonly size = SIZE
  readonly name = 'counted'
  readonly [Symbol.toStringTag] = 'File'
  opened = 0
  read = 0
  isCancelled = false

  stream(): ReadableStream<Uint8Array> {
    this.opened++
    return new ReadableStream(
      {
        pull: (controller) => {
          this.read += CHUNK
          controller.enqueue(new Uint8Array(CHUNK))
        },
        cancel: () => {
          this.isCancelled = true
        },
      },
      { highWaterMark: 0 },
    )
  }
}

/** A FormData that takes files of any class. */
function formOf(entries: [string, unknown][]): FormData {
  const form = Object.assign(new Map(entries), { append: () => {}, getAll: () => [] })
  return Object.defineProperty(form, Symbol.toStringTag, { value: 'FormData' }) as never
}

const rows = (['wire', 'reqwest'] as const).flatMap((transport) =>
  (['fetch', 'dispatch'] as const).map((way) => ({ transport, way })),
)

describe.each(select(rows))('$way on $transport', ({ transport, way }) => {
  const post = async (agent: Agent, origin: string, body: FormData, signal: AbortSignal): Promise<string> => {
    if (way === 'fetch') {
      const init: FetchInit = { method: 'POST', body, signal, dispatcher: agent }
      return (await fetch(origin, init)).text()
    }
    const recorder = send(agent, origin, new Recorder(), { method: 'POST', body })
    signal.addEventListener('abort', () => recorder.gate.abort(signal.reason as Error))
    await recorder.ended
    if (recorder.error !== null) throw recorder.error
    return recorder.body.toString()
  }

  test.runIf(tellsQueues)('a part is read as far as the server takes it, and the next one not at all', async () => {
    await using server = await startTcpServer((socket) => void socket.pause())
    await using agent = new Agent({ transport, uploadWindowBytes: WINDOW })
    const [first, second] = [new CountedFile(), new CountedFile()]
    const abort = new AbortController()
    const form = formOf([
      ['a', first],
      ['b', second],
    ])
    const failing = rejection(post(agent, server.origin, form, abort.signal))
    const read = await untilStopped(() => first.read)
    const [socket] = server.sockets
    const taken = socket!.bytesRead + bytesInKernel(socket!)
    // reqwest does not show what hyper gathers before it writes.
    const hidden = transport === 'wire' ? 0 : 408 * 1024 + CHUNK
    expect(read).toBeLessThanOrEqual(taken + WINDOW + CHUNK + hidden)
    expect(agent.stats.bufferedBytes).toBeLessThanOrEqual(WINDOW + CHUNK)
    expect([first.opened, second.opened]).toEqual([1, 0])
    const reason = new Error('enough')
    abort.abort(reason)
    expect(await failing).toBe(reason)
    await until(() => first.isCancelled)
    expect([first.read, second.opened]).toEqual([read, 0])
  })

  test('files arrive whole, under the length that was announced', async () => {
    await using server = await startServer(async (request, response) => {
      const body = await buffer(request)
      const { 'content-length': length, 'content-type': type } = request.headers
      const form = await new Response(body, { headers: { 'content-type': type! } }).formData()
      const parts = await Promise.all([...form].map(async ([, file]) => (await new Response(file).bytes()).length))
      const isWhole = content.equals(await new Response(form.get('whole')!).bytes())
      response.end(
        JSON.stringify([Number(length) === body.length, request.headers['transfer-encoding'], parts, isWhole]),
      )
    })
    await using agent = new Agent({ transport })
    const form = new FormData()
    form.append('whole', await openAsBlob(path), 'w')
    form.append('part', await fromFile(path, { start: 10, end: 19 }).file())
    form.append('text', 'four')
    const answer = await post(agent, server.origin, form, new AbortController().signal)
    expect(JSON.parse(answer)).toEqual([true, null, [content.length, 10, 4], true])
  })
})
