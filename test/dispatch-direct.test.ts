/** Long bodies whose handler is slower than the server: it is handed what lies in the socket, past the queue. */
import type { Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Agent } from '../lib/index.ts'
import { floodBytes, floodHash, sha256 } from './support/bodies.ts'
import { until } from './support/deadline.ts'
import { Recorder, send } from './support/recorder.ts'
import type { Hooks } from './support/recorder.ts'
import { startFlood, startTcpServer } from './support/servers.ts'
import type { Flood } from './support/servers.ts'
import { untilStopped } from './support/standstill.ts'
import { found, spyOnViews } from './support/views.ts'

const MiB = 1024 * 1024
/** More than the sockets of both ends hold, so that the server goes on while it is read. */
const LENGTH = 32 * MiB

const agent = new Agent()
let flood: Flood
/** Whose body is read, and when its server has sent what it can. */
let whole: { origin: string; isFull: () => Promise<unknown> }

beforeEach(async () => {
  flood = await startFlood({ length: LENGTH })
  whole = { origin: flood.origin, isFull: () => untilStopped(() => flood.sent) }
})

afterEach(async () => {
  vi.restoreAllMocks()
  await flood.close()
})

describe.each(['current', 'legacy'] as const)('a handler of the %s generation', (generation) => {
  /** The handler pauses with the first chunk, until the sockets are full. */
  async function opened(hooks: Hooks = {}, { origin, isFull } = whole): Promise<Recorder> {
    let isFirst = true
    const recorder = new Recorder(generation, {
      ...hooks,
      data: (gate, chunk) => {
        if (isFirst) gate.pause()
        isFirst = false
        hooks.data?.(gate, chunk)
      },
    })
    send(agent, origin, recorder)
    await until(() => !isFirst)
    await isFull()
    recorder.gate.resume()
    return recorder
  }

  test('has all of it, in Buffers', async () => {
    const views = spyOnViews()
    const recorder = await opened()
    await recorder.ended
    expect(recorder.order).toEqual(['start', 'head', 'data', 'end'])
    expect(sha256(recorder.body)).toBe(floodHash(LENGTH))
    expect(recorder.chunks.every((chunk) => Buffer.isBuffer(chunk))).toBe(true)
    expect(found(views)).toBeGreaterThan(10)
  })

  test('lets the event loop run meanwhile', async () => {
    let [bytes, most, isOver] = [0, 0, false]
    const turn = (): void => {
      most = Math.max(most, bytes)
      bytes = 0
      if (!isOver) setImmediate(turn)
    }
    turn()
    const recorder = await opened({ data: (_gate, chunk) => void (bytes += chunk.byteLength) })
    await recorder.ended
    isOver = true
    expect(recorder.bytes).toBe(LENGTH)
    expect(most).toBeLessThanOrEqual(2 * MiB + 256 * 1024)
  })

  test('that pauses gets no more, and the server stops; then the rest', async () => {
    const recorder = await opened({ data: (gate) => gate.pause() })
    await untilStopped(() => flood.sent)
    const { bytes } = recorder
    const { sent } = flood
    expect(sent).toBeLessThan(LENGTH)
    for (let index = 0; index < 100; index++) await new Promise((resolve) => setImmediate(resolve))
    expect([recorder.bytes, flood.sent]).toEqual([bytes, sent])
    const resuming = setInterval(() => recorder.gate.resume())
    await recorder.ended
    clearInterval(resuming)
    expect(sha256(recorder.body)).toBe(floodHash(LENGTH))
  })

  test('that aborts gets its error and nothing else', async () => {
    const reason = new Error('enough')
    let bytes = 0
    const recorder = await opened({
      data: (gate, chunk) => {
        bytes += chunk.byteLength
        if (bytes > 8 * MiB) gate.abort(reason)
      },
    })
    await recorder.ended
    expect(recorder.error).toBe(reason)
    expect(recorder.order).toEqual(['start', 'head', 'data', 'error'])
    const calls = recorder.calls.length
    await until(() => agent.stats.bufferedBytes === 0)
    expect(recorder.calls).toHaveLength(calls)
  })

  test('is told of a reset once, with the code of Node', async () => {
    let connection: Socket
    await using server = await startTcpServer((socket) => {
      connection = socket
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${LENGTH}\r\n\r\n`)
        socket.write(floodBytes(0, 4 * MiB))
      })
    })
    const isFull = (): Promise<unknown> => untilStopped(() => connection.bytesWritten)
    const recorder = await opened({}, { origin: server.origin, isFull })
    await until(() => recorder.bytes > MiB)
    connection!.resetAndDestroy()
    await recorder.ended
    expect(recorder.order).toEqual(['start', 'head', 'data', 'error'])
    expect(recorder.error).toMatchObject({ code: 'ECONNRESET' })
    expect(recorder.body.equals(floodBytes(0, recorder.bytes))).toBe(true)
  })

  test('leaves a connection that serves on', async () => {
    const connections = new Set<Socket>()
    const bytes = floodBytes(0, 8 * MiB)
    await using server = await startTcpServer((socket) => {
      connections.add(socket)
      socket.on('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${bytes.length}\r\n\r\n`)
        socket.write(bytes)
      })
    })
    for (let turn = 0; turn < 5; turn++) {
      const isFull = (): Promise<unknown> => untilStopped(() => bytes.length)
      const recorder = await opened({}, { origin: server.origin, isFull })
      await recorder.ended
      expect(recorder.body.equals(bytes)).toBe(true)
    }
    expect(connections.size).toBe(1)
  })
})
