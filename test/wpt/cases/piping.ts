/** streams/piping: a response body into a writable, and through a transform. */
import { expect } from 'vitest'
import { decode, encode, rejection } from '../context.ts'
import type { Context, Streams } from '../context.ts'
import { wptStreams } from '../registry.ts'

/** What happened to a writable. */
interface Sink {
  writable: WritableStream<Uint8Array>
  events: unknown[]
  /** Resolves when there was a first write. */
  written: Promise<void>
}

function startSink({ WritableStream }: Streams, onWrite: () => unknown = () => {}, highWaterMark = 1): Sink {
  const events: unknown[] = []
  const written = Promise.withResolvers<void>()
  const writable = new WritableStream<Uint8Array>(
    {
      write(chunk) {
        events.push(decode(chunk))
        written.resolve()
        return onWrite() as Promise<void>
      },
      close: () => void events.push('closed'),
      abort: (reason) => void events.push(['aborted', reason]),
    },
    { highWaterMark },
  )
  return { writable, events, written: written.promise }
}

const pipe = (response: Response, sink: Sink, options?: object): Promise<void> =>
  (response.body as unknown as ReadableStream<Uint8Array>).pipeTo(sink.writable, options)

/** A body that breaks when its first chunk has arrived, and the failure of the pipe. */
async function breakPipe(context: Context, options?: object): Promise<{ sink: Sink; failure: unknown }> {
  const { response, write, fail } = await context.stream()
  const sink = startSink(context.streams)
  await write('a')
  const failing = rejection(pipe(response, sink, options))
  await sink.written
  fail()
  return { sink, failure: await failing }
}

wptStreams('streams/piping/general.any.js', {
  'pipeTo writes the whole body and closes the writable': async (context) => {
    const sink = startSink(context.streams)
    const response = await context.respond('hello')
    expect(await pipe(response, sink)).toBe(undefined)
    expect(sink.events).toEqual(['hello', 'closed'])
    expect([response.body!.locked, sink.writable.locked, response.bodyUsed]).toEqual([false, false, true])
  },
  'pipeTo locks both ends until it is over': async (context) => {
    const { response, end } = await context.stream()
    const sink = startSink(context.streams)
    const piping = pipe(response, sink)
    expect([response.body!.locked, sink.writable.locked]).toEqual([true, true])
    end()
    await piping
    expect([response.body!.locked, sink.writable.locked]).toEqual([false, false])
  },
  'pipeTo of a locked body is refused': async (context) => {
    const response = await context.respond('hello')
    response.body!.getReader()
    expect(await rejection(pipe(response, startSink(context.streams)))).toBeInstanceOf(TypeError)
  },
  'pipeTo into a locked writable is refused': async (context) => {
    const response = await context.respond('hello')
    const sink = startSink(context.streams)
    sink.writable.getWriter()
    expect(await rejection(pipe(response, sink))).toBeInstanceOf(TypeError)
    expect(await response.text()).toBe('hello')
  },
  'pipeTo into what is no writable is refused': async (context) => {
    const response = await context.respond('hello')
    expect(await rejection(pipe(response, { ...startSink(context.streams), writable: {} as never }))).toBeInstanceOf(
      TypeError,
    )
    expect(await response.text()).toBe('hello')
  },
})

wptStreams('streams/piping/close-propagation-forward.any.js', {
  'an empty body closes the writable': async (context) => {
    const sink = startSink(context.streams)
    await pipe(await context.respond(''), sink)
    expect(sink.events).toEqual(['closed'])
  },
  'preventClose leaves the writable open': async (context) => {
    const sink = startSink(context.streams)
    await pipe(await context.respond('one'), sink, { preventClose: true })
    await pipe(await context.respond('two'), sink)
    expect(sink.events).toEqual(['one', 'two', 'closed'])
  },
})

wptStreams('streams/piping/error-propagation-forward.any.js', {
  'a body that fails aborts the writable with its error': async (context) => {
    const { sink, failure } = await breakPipe(context)
    expect(failure).toBeInstanceOf(TypeError)
    expect(sink.events).toEqual(['a', ['aborted', failure]])
  },
  'preventAbort leaves the writable as it is': async (context) => {
    const { sink, failure } = await breakPipe(context, { preventAbort: true })
    expect(failure).toBeInstanceOf(TypeError)
    expect(sink.events).toEqual(['a'])
    await sink.writable.getWriter().close()
    expect(sink.events).toEqual(['a', 'closed'])
  },
})

const BROKEN = new Error('the sink broke')

wptStreams('streams/piping/error-propagation-backward.any.js', {
  'a writable that fails cancels the body': async (context) => {
    const { response, write, closed } = await context.stream()
    const sink = startSink(context.streams, () => Promise.reject(BROKEN))
    const failing = rejection(pipe(response, sink))
    await write('a')
    expect(await failing).toBe(BROKEN)
    await closed
    expect((await response.body!.getReader().read()).done).toBe(true)
  },
  'preventCancel leaves the body to another reader': async (context) => {
    const { response, write, end } = await context.stream()
    const sink = startSink(context.streams, () => Promise.reject(BROKEN))
    const failing = rejection(pipe(response, sink, { preventCancel: true }))
    await write('a')
    expect(await failing).toBe(BROKEN)
    await write('b')
    end()
    expect(response.body!.locked).toBe(false)
    expect(decode((await response.body!.getReader().read()).value as Uint8Array)).toBe('b')
  },
})

wptStreams('streams/piping/close-propagation-backward.any.js', {
  'a writable that is closed cancels the body': async (context) => {
    const { response, closed } = await context.stream()
    const sink = startSink(context.streams)
    await sink.writable.close()
    expect(await rejection(pipe(response, sink))).toBeInstanceOf(TypeError)
    await closed
  },
})

wptStreams('streams/piping/abort.any.js', {
  'a signal that is aborted already cancels the body and aborts the writable': async (context) => {
    const { response, closed } = await context.stream()
    const sink = startSink(context.streams)
    const reason = new Error('mine')
    expect(await rejection(pipe(response, sink, { signal: AbortSignal.abort(reason) }))).toBe(reason)
    expect(sink.events).toEqual([['aborted', reason]])
    await closed
  },
  'a signal ends a pipe that waits for the server': async (context) => {
    const { response, write, closed } = await context.stream()
    const sink = startSink(context.streams)
    const controller = new AbortController()
    const failing = rejection(pipe(response, sink, { signal: controller.signal }))
    await write('a')
    await sink.written
    const reason = new Error('mine')
    controller.abort(reason)
    expect(await failing).toBe(reason)
    expect(sink.events).toEqual(['a', ['aborted', reason]])
    await closed
  },
  'preventCancel and preventAbort keep both ends from a signal': async (context) => {
    const { response, write, end } = await context.stream()
    const sink = startSink(context.streams)
    const signal = AbortSignal.abort()
    const failing = rejection(pipe(response, sink, { signal, preventCancel: true, preventAbort: true }))
    expect(await failing).toBe(signal.reason)
    await write('kept')
    end()
    await pipe(response, sink)
    expect(sink.events).toEqual(['kept', 'closed'])
  },
  'a signal that is none is refused': async (context) => {
    const response = await context.respond('hello')
    expect(await rejection(pipe(response, startSink(context.streams), { signal: {} }))).toBeInstanceOf(TypeError)
  },
  'the signal of the fetch errors the pipe and its writable': async (context) => {
    const controller = new AbortController()
    const { response, write, closed } = await context.stream({ signal: controller.signal })
    const sink = startSink(context.streams)
    await write('a')
    const failing = rejection(pipe(response, sink))
    await sink.written
    const reason = new Error('mine')
    controller.abort(reason)
    expect(await failing).toBe(reason)
    expect(sink.events).toEqual(['a', ['aborted', reason]])
    await closed
  },
})

wptStreams('streams/piping/flow-control.any.js', {
  'a write that waits keeps the next chunk from being written': async (context) => {
    const { response, write, end } = await context.stream()
    const gate = Promise.withResolvers<void>()
    const sink = startSink(context.streams, () => gate.promise)
    const piping = pipe(response, sink)
    await write('a')
    await sink.written
    await write('b')
    end()
    expect(sink.events).toEqual(['a'])
    gate.resolve()
    await piping
    expect(sink.events.join('')).toBe('abclosed')
  },
  'a writable that never drains stops the server': async (context) => {
    const total = 64 * 1024 * 1024
    const chunk = encode('x'.repeat(64 * 1024))
    const full = Promise.withResolvers<void>()
    let sent = 0
    const origin = await context.serve((_request, response) => {
      const fill = () => {
        while (sent < total) {
          sent += chunk.byteLength
          if (!response.write(chunk)) break
        }
        full.resolve()
      }
      response.on('drain', fill)
      fill()
    })
    const response = await context.fetch(origin)
    const sink = startSink(context.streams, () => new Promise(() => {}))
    const controller = new AbortController()
    const failing = rejection(pipe(response, sink, { signal: controller.signal }))
    await Promise.all([sink.written, full.promise])
    expect(sink.events).toHaveLength(1)
    expect(sent).toBeLessThan(total)
    controller.abort()
    void failing
  },
})

wptStreams('streams/piping/pipe-through.any.js', {
  'pipeThrough gives what the transform makes of the body': async (context) => {
    const { response, write, end } = await context.stream()
    const upper = new context.streams.TransformStream<Uint8Array, string>({
      transform: (chunk, controller) => controller.enqueue(decode(chunk).toUpperCase()),
    })
    const readable = (response.body as unknown as ReadableStream<Uint8Array>).pipeThrough(upper)
    await write('hello ')
    await write('there')
    end()
    let text = ''
    for await (const chunk of readable as unknown as AsyncIterable<string>) text += chunk
    expect(text).toBe('HELLO THERE')
  },
  'a body that fails errors the readable': async (context) => {
    const { response, fail } = await context.stream()
    const through = (response.body as unknown as ReadableStream).pipeThrough(new context.streams.TransformStream())
    const failing = rejection(through.getReader().read())
    fail()
    expect(await failing).toBeInstanceOf(TypeError)
  },
  'the readable cancelled cancels the body': async (context) => {
    const { response, closed } = await context.stream()
    const through = (response.body as unknown as ReadableStream).pipeThrough(new context.streams.TransformStream())
    await through.cancel('enough')
    await closed
  },
  'pipeThrough of a locked body throws': async (context) => {
    const { body } = await context.respond('hello')
    body!.getReader()
    expect(() => body!.pipeThrough(new context.streams.TransformStream() as never)).toThrow(TypeError)
  },
})
