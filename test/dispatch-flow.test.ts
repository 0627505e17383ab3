import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { DispatcherLike } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { dispatchPaths, dispatchRows } from './support/dispatch-paths.ts'
import { Recorder, send } from './support/recorder.ts'
import type { Gate } from './support/recorder.ts'
import { select } from './support/selection.ts'
import { countingBlock, startFlood, startServer } from './support/servers.ts'

const LENGTH = 8 * 1024 * 1024

/** What `startFlood` sends. */
function floodHash(length: number): string {
  const block = countingBlock()
  const hash = createHash('sha256')
  for (let at = 0; at < length; at += block.length) hash.update(block.subarray(0, Math.min(block.length, length - at)))
  return hash.digest('hex')
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** A whole exchange of its own: whatever was on its way to a handler before has arrived after it. */
async function roundTrip(dispatcher: DispatcherLike): Promise<void> {
  await using server = await startServer((_request, response) => response.end('round trip'))
  for (let turn = 0; turn < 3; turn++) await send(dispatcher, server.origin, new Recorder()).ended
}

describe.each(select(dispatchRows))('$path, $generation handler', ({ open, generation }) => {
  test.each([
    ['a small body that came with its head', 5],
    ['a body of its own', 200_000],
    ['no body', 0],
  ])('a pause at the head holds back data and end: %s', async (_name, length) => {
    await using server = await startServer((_request, response) => response.end(Buffer.alloc(length, 'x')))
    await using dispatcher = open()
    const recorder = new Recorder(generation, { head: (gate) => gate.pause() })
    send(dispatcher, server.origin, recorder)
    await until(() => recorder.calls.includes('head'))
    await roundTrip(dispatcher)
    expect(recorder.calls).toEqual(['start', 'head'])
    recorder.gate.resume()
    await recorder.ended
    expect(recorder.order).toEqual(length === 0 ? ['start', 'head', 'end'] : ['start', 'head', 'data', 'end'])
    expect(recorder.bytes).toBe(length)
  })

  test('after a pause inside onResponseData no byte comes until resume', async () => {
    await using server = await startFlood({ length: LENGTH })
    await using dispatcher = open({ windowBytes: 128 * 1024 })
    const recorder: Recorder = new Recorder(generation, {
      data: (gate) => {
        if (recorder.chunks.length === 2) gate.pause()
      },
    })
    send(dispatcher, server.origin, recorder)
    await until(() => recorder.chunks.length === 2)
    const { bytes } = recorder
    await roundTrip(dispatcher)
    expect(recorder.bytes).toBe(bytes)
    expect(bytes).toBeLessThan(LENGTH)
    recorder.gate.resume()
    await recorder.ended
    expect(hashOf(recorder.body)).toBe(floodHash(LENGTH))
  })

  test('a handler that pauses at every chunk gets the body whole and its end last', async () => {
    await using server = await startFlood({ length: LENGTH })
    await using dispatcher = open()
    let isPaused = false
    const early: string[] = []
    const recorder: Recorder = new Recorder(generation, {
      head: pauseForATurn,
      data: pauseForATurn,
      end: () => {
        if (isPaused) early.push('end')
      },
    })
    function pauseForATurn(gate: Gate): void {
      if (isPaused) early.push('data')
      isPaused = true
      gate.pause()
      setImmediate(() => {
        isPaused = false
        gate.resume()
      })
    }
    await send(dispatcher, server.origin, recorder).ended
    expect(early).toEqual([])
    expect(recorder.order).toEqual(['start', 'head', 'data', 'end'])
    expect(hashOf(recorder.body)).toBe(floodHash(LENGTH))
  })

  test('resume inside the callback that paused goes on', async () => {
    await using server = await startFlood({ length: LENGTH })
    await using dispatcher = open()
    const flip = (gate: Gate): void => {
      gate.pause()
      gate.resume()
    }
    const recorder = new Recorder(generation, { head: flip, data: flip })
    await send(dispatcher, server.origin, recorder).ended
    expect(recorder.order).toEqual(['start', 'head', 'data', 'end'])
    expect(hashOf(recorder.body)).toBe(floodHash(LENGTH))
  })

  test('resume without a pause, repeatedly and after the end is harmless', async () => {
    await using server = await startServer((_request, response) => response.end(Buffer.alloc(200_000)))
    await using dispatcher = open()
    const resumes = (gate: Gate): void => {
      gate.resume()
      gate.resume()
    }
    const recorder = new Recorder(generation, { head: resumes, data: resumes, end: resumes })
    await send(dispatcher, server.origin, recorder).ended
    recorder.gate.pause()
    recorder.gate.resume()
    resumes(recorder.gate)
    await roundTrip(dispatcher)
    expect(recorder.order).toEqual(['start', 'head', 'data', 'end'])
    expect(recorder.bytes).toBe(200_000)
  })

  test('a paused handler holds the server back, and a slow one loses nothing', async () => {
    const length = 64 * 1024 * 1024
    await using server = await startFlood({ length })
    await using dispatcher = open({ windowBytes: 128 * 1024 })
    const recorder = new Recorder(generation, { head: (gate) => gate.pause() })
    send(dispatcher, server.origin, recorder)
    await until(() => recorder.calls.includes('head'))
    await roundTrip(dispatcher)
    // What the kernels of both ends hold; loopback buffers grow to a few MiB.
    expect(server.sent).toBeLessThan(length / 2)
    recorder.gate.resume()
    await recorder.ended
    expect(server.sent).toBe(length)
    expect(hashOf(recorder.body)).toBe(floodHash(length))
  })

  test('many paused responses do not keep others from coming', async () => {
    await using flood = await startFlood({ length: LENGTH })
    await using dispatcher = open()
    const paused = Array.from({ length: 20 }, () =>
      send(dispatcher, flood.origin, new Recorder(generation, { head: (gate) => gate.pause() })),
    )
    await until(() => paused.every(({ calls }) => calls.includes('head')))
    await roundTrip(dispatcher)
    expect(paused.every(({ bytes }) => bytes === 0)).toBe(true)
    for (const recorder of paused) recorder.gate.resume()
    for (const recorder of paused) await recorder.ended
    expect(paused.map(({ bytes }) => bytes)).toEqual(paused.map(() => LENGTH))
  })
})

describe.each(dispatchPaths)('$path', ({ open }) => {
  test('the controller says whether it is paused', async () => {
    await using server = await startServer((_request, response) => response.end('x'))
    await using dispatcher = open()
    const seen: boolean[] = []
    const recorder: Recorder = new Recorder('current', {
      head: (gate) => {
        seen.push(recorder.controller!.paused)
        gate.pause()
        seen.push(recorder.controller!.paused)
        gate.resume()
        seen.push(recorder.controller!.paused)
      },
    })
    await send(dispatcher, server.origin, recorder).ended
    expect(seen).toEqual([false, true, false])
  })

  test('a pause in onRequestStart lets the head through and holds the rest', async () => {
    await using server = await startServer((_request, response) => response.end('hello'))
    await using dispatcher = open()
    const recorder = new Recorder('current', { start: (gate) => gate.pause() })
    send(dispatcher, server.origin, recorder)
    await until(() => recorder.calls.includes('head'))
    await roundTrip(dispatcher)
    expect(recorder.calls).toEqual(['start', 'head'])
    recorder.gate.resume()
    await recorder.ended
    expect(recorder.body.toString()).toBe('hello')
  })

  test('a pause between two callbacks holds back the next', async () => {
    const more = Promise.withResolvers<void>()
    await using server = await startServer(async (_request, response) => {
      response.write('first')
      await more.promise
      response.end('second')
    })
    await using dispatcher = open()
    const recorder = send(dispatcher, server.origin, new Recorder())
    await until(() => recorder.bytes === 5)
    recorder.gate.pause()
    more.resolve()
    await roundTrip(dispatcher)
    expect(recorder.calls).toEqual(['start', 'head', 'data'])
    recorder.gate.resume()
    await recorder.ended
    expect(recorder.body.toString()).toBe('firstsecond')
  })
})
