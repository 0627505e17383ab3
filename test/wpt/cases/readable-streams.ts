/** streams/readable-streams: default readers, iteration, cancelling and tee of a response body. */
import { expect } from 'vitest'
import { decode, rejection } from '../context.ts'
import { wptStreams } from '../registry.ts'

/** A body as what `for await` takes. */
const chunksOf = (response: Response) => response.body as unknown as AsyncIterable<Uint8Array>

wptStreams('streams/readable-streams/default-reader.any.js', {
  'a body is locked by a reader, and free when it is released': async (context) => {
    const { body } = await context.respond('hello')
    expect(body!.locked).toBe(false)
    const reader = body!.getReader()
    expect(body!.locked).toBe(true)
    expect(() => body!.getReader()).toThrow(TypeError)
    reader.releaseLock()
    expect(body!.locked).toBe(false)
  },
  'closed resolves when the end was read': async (context) => {
    const reader = (await context.respond('hello')).body!.getReader()
    expect(decode((await reader.read()).value as Uint8Array)).toBe('hello')
    expect(await reader.read()).toEqual({ done: true, value: undefined })
    expect(await reader.closed).toBe(undefined)
  },
  'a body of no bytes is closed without a read': async (context) => {
    const response = await context.respond('', { 'content-length': '0' })
    expect(await response.body!.getReader().closed).toBe(undefined)
    expect(response.bodyUsed).toBe(false)
  },
  'reads that wait are served in order, and ended together': async (context) => {
    const { response, write, end } = await context.stream()
    const reader = response.body!.getReader()
    const [first, second, third] = [reader.read(), reader.read(), reader.read()]
    await write('a')
    expect(decode((await first).value as Uint8Array)).toBe('a')
    end()
    expect([(await second).done, (await third).done]).toEqual([true, true])
  },
  'a reader that was released reads no more': async (context) => {
    const { response, end } = await context.stream()
    const reader = response.body!.getReader()
    const reading = reader.read()
    reader.releaseLock()
    expect(await rejection(reading)).toBeInstanceOf(TypeError)
    expect(await rejection(reader.read())).toBeInstanceOf(TypeError)
    expect(await rejection(reader.cancel())).toBeInstanceOf(TypeError)
    end()
  },
  'what came for a reader that was released is kept for the next': async (context) => {
    const { response, write, end } = await context.stream()
    const reader = response.body!.getReader()
    const reading = reader.read()
    reader.releaseLock()
    await rejection(reading)
    await write('kept')
    end()
    let text = ''
    for await (const chunk of chunksOf(response)) text += decode(chunk)
    expect(text).toBe('kept')
  },
  'a failure rejects closed and every read with one error': async (context) => {
    const { response, fail } = await context.stream()
    const reader = response.body!.getReader()
    const reads = [rejection(reader.read()), rejection(reader.read())]
    fail()
    const [one, two] = await Promise.all(reads)
    expect(one).toBeInstanceOf(TypeError)
    expect([two, await rejection(reader.closed), await rejection(reader.read())]).toEqual([one, one, one])
  },
})

wptStreams('streams/readable-streams/general.any.js', {
  'the body is the same object each time, of the implementation': async (context) => {
    const response = await context.respond('hello')
    expect(response.body).toBe(response.body)
    expect(response.body).toBeInstanceOf(context.streams.ReadableStream)
  },
  'a reader of a mode that is none is refused': async (context) => {
    const { body } = await context.respond('hello')
    expect(() => body!.getReader({ mode: 'other' } as never)).toThrow(TypeError)
    expect(body!.locked).toBe(false)
  },
})

wptStreams('streams/readable-streams/cancel.any.js', {
  'cancel closes the body and the connection': async (context) => {
    const { response, closed } = await context.stream()
    expect(await response.body!.cancel('enough')).toBe(undefined)
    expect(await response.body!.getReader().read()).toEqual({ done: true, value: undefined })
    await closed
  },
  'cancel by a reader ends the reads that wait': async (context) => {
    const { response, closed } = await context.stream()
    const reader = response.body!.getReader()
    const reading = reader.read()
    await reader.cancel()
    expect(await reading).toEqual({ done: true, value: undefined })
    expect(response.body!.locked).toBe(true)
    await closed
  },
  'cancel of a locked body is refused': async (context) => {
    const { body } = await context.respond('hello')
    const reader = body!.getReader()
    expect(await rejection(body!.cancel())).toBeInstanceOf(TypeError)
    expect(decode((await reader.read()).value as Uint8Array)).toBe('hello')
  },
  'cancel twice is no error': async (context) => {
    const { body } = await context.respond('hello')
    await body!.cancel()
    expect(await body!.cancel()).toBe(undefined)
  },
  'cancel of a body that failed rejects with its error': async (context) => {
    const { response, fail } = await context.stream()
    const reader = response.body!.getReader()
    const reading = rejection(reader.read())
    fail()
    const failure = await reading
    expect(await rejection(reader.cancel())).toBe(failure)
  },
})

wptStreams('streams/readable-streams/async-iterator.any.js', {
  'iterating gives the whole body, and frees it': async (context) => {
    const { response, write, end } = await context.stream()
    await write('hello ')
    let text = ''
    for await (const chunk of chunksOf(response)) {
      if (text === '') {
        expect(response.body!.locked).toBe(true)
        await write('there')
        end()
      }
      text += decode(chunk)
    }
    expect([text, response.body!.locked]).toEqual(['hello there', false])
  },
  'leaving the loop cancels the body': async (context) => {
    const { response, write, closed } = await context.stream()
    await write('hello')
    for await (const chunk of chunksOf(response)) {
      expect(decode(chunk)).toBe('hello')
      break
    }
    expect(response.body!.locked).toBe(false)
    await closed
  },
  'preventCancel keeps the body for another reader': async (context) => {
    const { response, write, end } = await context.stream()
    await write('one')
    const body = response.body as unknown as ReadableStream<Uint8Array>
    for await (const chunk of body.values({ preventCancel: true })) {
      expect(decode(chunk)).toBe('one')
      break
    }
    await write('two')
    end()
    expect(decode((await body.getReader().read()).value)).toBe('two')
  },
  'a failure leaves the loop': async (context) => {
    const { response, write, fail } = await context.stream()
    await write('hello')
    const seen: string[] = []
    const iterating = (async () => {
      for await (const chunk of chunksOf(response)) {
        seen.push(decode(chunk))
        fail()
      }
    })()
    expect(await rejection(iterating)).toBeInstanceOf(TypeError)
    expect([seen, response.body!.locked]).toEqual([['hello'], false])
  },
})

wptStreams('streams/readable-streams/tee.any.js', {
  'tee locks the body and gives it twice': async (context) => {
    const response = await context.respond('hello')
    const [one, two] = response.body!.tee()
    expect(response.body!.locked).toBe(true)
    const texts = [one, two].map(async (branch) => {
      let text = ''
      for await (const chunk of branch as unknown as AsyncIterable<Uint8Array>) text += decode(chunk)
      return text
    })
    expect(await Promise.all(texts)).toEqual(['hello', 'hello'])
  },
  'tee of a locked body is refused': async (context) => {
    const { body } = await context.respond('hello')
    body!.getReader()
    expect(() => body!.tee()).toThrow(TypeError)
  },
  'a branch that is read ahead keeps the chunks for the other': async (context) => {
    const { response, write, end } = await context.stream()
    const [one, two] = response.body!.tee()
    const reader = one.getReader()
    for (const text of ['a', 'b']) {
      await write(text)
      expect(decode((await reader.read()).value as Uint8Array)).toBe(text)
    }
    end()
    expect((await reader.read()).done).toBe(true)
    let text = ''
    for await (const chunk of two as unknown as AsyncIterable<Uint8Array>) text += decode(chunk)
    expect(text).toBe('ab')
  },
})
