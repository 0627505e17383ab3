import { describe, expect, test, vi } from 'vitest'
import { ReadableStream as PolyfilledStream } from 'web-streams-polyfill'
import { dispatchStream, DispatchController } from '../lib/index.ts'
import type { StreamedResponse } from '../lib/index.ts'
import { until } from './support/deadline.ts'
import { Recorder } from './support/recorder.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

describe.each([
  ["the platform's streams", ReadableStream],
  ["the polyfill's streams", PolyfilledStream as unknown as typeof ReadableStream],
])('dispatchStream over %s', (_name, Stream) => {
  const streamOf = (...chunks: unknown[]): ReadableStream =>
    new Stream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(chunk)
        controller.close()
      },
    })
  const responseOf = (body: ReadableStream | null, rest: Partial<StreamedResponse> = {}): StreamedResponse => ({
    status: 200,
    headers: {},
    body,
    ...rest,
  })

  test('calls back later than its own call, in order, with views and buffers as Buffers', async () => {
    const recorder = new Recorder()
    const chunks = [bytes('a'), bytes('xbx').subarray(1, 2), new DataView(bytes('c').buffer), bytes('d').buffer]
    const controller = dispatchStream(responseOf(streamOf(...chunks)), recorder.handler)
    expect(recorder.calls).toEqual([])
    await recorder.ended
    expect(recorder.calls).toEqual(['start', 'head', 'data', 'data', 'data', 'data', 'end'])
    expect(recorder.body.toString()).toBe('abcd')
    expect(recorder.controller).toBe(controller)
  })

  test('empty chunks are not delivered', async () => {
    const recorder = new Recorder()
    dispatchStream(responseOf(streamOf(bytes(''), bytes('a'), bytes(''))), recorder.handler)
    await recorder.ended
    expect(recorder.calls).toEqual(['start', 'head', 'data', 'end'])
  })

  test('pulls no more than one chunk ahead of a paused handler', async () => {
    let pulled = 0
    const body = new Stream(
      {
        pull(controller) {
          pulled++
          controller.enqueue(bytes(`${pulled}`))
        },
      },
      { highWaterMark: 0 },
    )
    const recorder = new Recorder('current', { data: (gate) => gate.pause() })
    dispatchStream(responseOf(body), recorder.handler)
    await until(() => recorder.chunks.length === 1)
    for (let count = 0; count < 10; count++) await turn()
    expect([recorder.chunks.length, pulled]).toEqual([1, 1])
    recorder.gate.resume()
    await until(() => recorder.chunks.length === 2)
    for (let count = 0; count < 10; count++) await turn()
    expect([recorder.chunks.length, pulled]).toEqual([2, 2])
    recorder.gate.abort()
  })

  test('abort cancels the stream with its reason', async () => {
    const cancel = vi.fn()
    const reason = new Error('enough')
    const recorder = new Recorder('current', { head: (gate) => gate.abort(reason) })
    dispatchStream(responseOf(new Stream({ cancel })), recorder.handler)
    await recorder.ended
    expect(recorder.calls).toEqual(['start', 'head', 'error'])
    expect(cancel.mock.calls).toEqual([[reason]])
  })

  test('abort while a read is under way ends it', async () => {
    const cancel = vi.fn()
    const recorder = new Recorder()
    dispatchStream(responseOf(new Stream({ cancel })), recorder.handler)
    await until(() => recorder.calls.includes('head'))
    await turn()
    recorder.gate.abort(new Error('enough'))
    expect(recorder.calls).toEqual(['start', 'head', 'error'])
    expect(cancel).toHaveBeenCalledOnce()
  })

  test('the failure of the stream is the error, as it is', async () => {
    const failure = new Error('broken')
    const body = new Stream({
      start: (controller) => controller.enqueue(bytes('a')),
      pull: (controller) => controller.error(failure),
    })
    const recorder = new Recorder()
    dispatchStream(responseOf(body), recorder.handler)
    await recorder.ended
    expect(recorder.calls).toEqual(['start', 'head', 'data', 'error'])
    expect(recorder.error).toBe(failure)
  })

  test('a chunk that is no bytes is an error, and the rest of the stream is cancelled', async () => {
    const cancel = vi.fn()
    const body = new Stream({ start: (controller) => controller.enqueue('text'), cancel })
    const recorder = new Recorder()
    dispatchStream(responseOf(body), recorder.handler)
    await recorder.ended
    expect(recorder.calls).toEqual(['start', 'head', 'error'])
    expect(recorder.error).toBeInstanceOf(TypeError)
    expect(cancel).toHaveBeenCalledOnce()
  })

  test('trailers that fail are the error, trailers that come are the end', async () => {
    const failure = new Error('no trailers')
    const failing = new Recorder()
    dispatchStream(responseOf(streamOf(), { trailers: Promise.reject(failure) }), failing.handler)
    await failing.ended
    expect(failing.calls).toEqual(['start', 'head', 'error'])
    expect(failing.error).toBe(failure)

    const trailing = new Recorder()
    dispatchStream(responseOf(streamOf(), { trailers: Promise.resolve({ 'X-Sum': '1' }) }), trailing.handler)
    await trailing.ended
    expect(trailing.trailers).toEqual({ 'x-sum': '1' })
  })

  test('a controller of the caller, aborted before, never starts', async () => {
    const cancel = vi.fn()
    const controller = new DispatchController()
    const reason = new Error('early')
    controller.abort(reason)
    const recorder = new Recorder()
    expect(dispatchStream(responseOf(new Stream({ cancel })), recorder.handler, controller)).toBe(controller)
    await turn()
    expect(recorder.calls).toEqual(['error'])
    expect(recorder.error).toBe(reason)
    expect(cancel.mock.calls).toEqual([[reason]])
  })
})

test('headers come from Headers, pairs or records', async () => {
  const shapes: StreamedResponse['headers'][] = [
    new Headers([
      ['X-A', '1'],
      ['set-cookie', 'a'],
      ['set-cookie', 'b'],
    ]),
    [
      ['X-A', '1'],
      ['set-cookie', 'a'],
      ['set-cookie', 'b'],
    ],
    { 'X-A': '1', 'set-cookie': ['a', 'b'], absent: undefined },
  ]
  for (const headers of shapes) {
    const recorder = new Recorder()
    dispatchStream({ status: 204, headers, body: null }, recorder.handler)
    await recorder.ended
    expect(recorder.headers).toEqual({ 'x-a': '1', 'set-cookie': ['a', 'b'] })
    expect(recorder.calls).toEqual(['start', 'head', 'end'])
  }
})

test("the built-in fetch's response passes", async () => {
  const recorder = new Recorder('legacy')
  dispatchStream(new Response('hello', { status: 201, statusText: 'Made', headers: { 'x-a': '1' } }), recorder.handler)
  await recorder.ended
  expect([recorder.status, recorder.statusText, recorder.body.toString()]).toEqual([201, 'Made', 'hello'])
  expect(recorder.headers).toMatchObject({ 'x-a': '1' })
})

test('what is no handler or no response is refused', () => {
  expect(() => dispatchStream({ status: 200, headers: {}, body: null }, null as never)).toThrow(
    'handler must be an object',
  )
  expect(() => dispatchStream({} as never, {})).toThrow('response must have a status')
})
