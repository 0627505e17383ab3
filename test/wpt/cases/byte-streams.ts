/** streams/readable-byte-streams: a response body is a byte stream, read into the caller's own views. */
import { expect } from 'vitest'
import { decode, encode, rejection } from '../context.ts'
import { wptStreams } from '../registry.ts'

const openByob = (response: Response) => response.body!.getReader({ mode: 'byob' })

/** Reads with views of this size until the end. */
async function readByViews(reader: ReadableStreamBYOBReader, size: number): Promise<string> {
  let text = ''
  for (;;) {
    const { done, value } = await reader.read(new Uint8Array(size))
    if (done) return text
    expect(value.byteLength).toBeGreaterThan(0)
    expect(value.byteLength).toBeLessThanOrEqual(size)
    text += decode(value)
  }
}

const LONG = 'abcdefghijklmnopqrstuvwxyz'.repeat(20_000)

wptStreams('streams/readable-byte-streams/general.any.js', {
  'a response body gives a BYOB reader': async (context) => {
    const reader = openByob(await context.respond('hello'))
    expect(await readByViews(reader, 64)).toBe('hello')
    await reader.closed
  },
  'views smaller than a chunk take it apart': async (context) => {
    const { response, write, end } = await context.stream()
    await write('0123456789')
    const reader = openByob(response)
    end()
    expect(await readByViews(reader, 3)).toBe('0123456789')
  },
  'a body of many chunks is read by views as it was sent': async (context) => {
    expect(await readByViews(openByob(await context.respond(LONG)), 1000)).toBe(LONG)
  },
  'a view reads its part of a buffer and leaves the rest': async (context) => {
    const { response, write, end } = await context.stream()
    await write('abcdef')
    end()
    const reader = openByob(response)
    const buffer = new ArrayBuffer(10)
    new Uint8Array(buffer).fill(0x2e)
    const { value } = await reader.read(new Uint8Array(buffer, 2, 4))
    expect([value!.byteOffset, value!.byteLength, value!.buffer.byteLength]).toEqual([2, 4, 10])
    expect(decode(new Uint8Array(value!.buffer))).toBe('..abcd....')
    expect(await readByViews(reader, 10)).toBe('ef')
  },
  'the buffer of a view that is read is detached at once': async (context) => {
    const { response, write, end } = await context.stream()
    const reader = openByob(response)
    const view = new Uint8Array(8)
    const reading = reader.read(view)
    expect([view.byteLength, view.buffer.byteLength]).toEqual([0, 0])
    await write('x')
    expect(decode((await reading).value)).toBe('x')
    end()
  },
  'a view that was detached is refused': async (context) => {
    const { response, end } = await context.stream()
    const reader = openByob(response)
    const view = new Uint8Array(8)
    structuredClone(view.buffer, { transfer: [view.buffer] })
    expect(await rejection(reader.read(view))).toBeInstanceOf(TypeError)
    end()
    expect((await reader.read(new Uint8Array(1))).done).toBe(true)
  },
  'an empty view is refused': async (context) => {
    const reader = openByob(await context.respond('hello'))
    expect(await rejection(reader.read(new Uint8Array(0)))).toBeInstanceOf(TypeError)
    expect(await readByViews(reader, 8)).toBe('hello')
  },
  'a read without a view is refused': async (context) => {
    const reader = openByob(await context.respond('hello'))
    expect(await rejection(reader.read(undefined as never))).toBeInstanceOf(TypeError)
    expect(await readByViews(reader, 8)).toBe('hello')
  },
  'a view of another kind comes back as that kind': async (context) => {
    const { response, write, end } = await context.stream()
    await write('abcdefgh')
    end()
    const reader = openByob(response)
    const words = await reader.read(new Uint16Array(2))
    expect(words.value).toBeInstanceOf(Uint16Array)
    expect([words.value!.length, words.value![0]]).toEqual([2, 0x6261])
    const data = await reader.read(new DataView(new ArrayBuffer(4)))
    expect(data.value).toBeInstanceOf(DataView)
    expect(data.value!.getUint8(0)).toBe(0x65)
  },
  'an element that comes in two chunks is given whole': async (context) => {
    const { response, write, end } = await context.stream()
    const reader = openByob(response)
    const reading = reader.read(new Uint32Array(1))
    await write('abc')
    await write('d')
    expect((await reading).value![0]).toBe(0x64636261)
    end()
  },
  'an element that is not whole at the end errors the body': async (context) => {
    const { response, write, end } = await context.stream()
    const reader = openByob(response)
    const reading = reader.read(new Uint16Array(1))
    await write('a')
    end()
    expect(await rejection(reading)).toBeInstanceOf(TypeError)
  },
  'the end gives the view back, empty': async (context) => {
    const { response, end } = await context.stream()
    const reader = openByob(response)
    const reading = reader.read(new Uint8Array(new ArrayBuffer(8), 2, 4))
    end()
    const { done, value } = await reading
    expect([done, value!.byteLength, value!.byteOffset, value!.buffer.byteLength]).toEqual([true, 0, 2, 8])
  },
  'reads that wait are served in order': async (context) => {
    const { response, write, end } = await context.stream()
    const reader = openByob(response)
    const reads = [2, 2, 2].map(async (size) => decode((await reader.read(new Uint8Array(size))).value))
    await write('abcdef')
    expect(await Promise.all(reads)).toEqual(['ab', 'cd', 'ef'])
    end()
  },
  'a default read after views goes on where they ended': async (context) => {
    const { response, write, end } = await context.stream()
    await write('abcdef')
    end()
    const byob = openByob(response)
    expect(decode((await byob.read(new Uint8Array(2))).value)).toBe('ab')
    byob.releaseLock()
    let text = ''
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) text += decode(chunk)
    expect(text).toBe('cdef')
  },
  'views after a default read go on where it ended': async (context) => {
    const { response, write, end } = await context.stream()
    await write('abc')
    const reader = response.body!.getReader()
    expect(decode((await reader.read()).value as Uint8Array)).toBe('abc')
    reader.releaseLock()
    await write('def')
    end()
    expect(await readByViews(openByob(response), 2)).toBe('def')
  },
  'cancel settles a read that waits as done without a view': async (context) => {
    const { response, closed } = await context.stream()
    const reader = openByob(response)
    const reading = reader.read(new Uint8Array(4))
    await reader.cancel()
    expect(await reading).toEqual({ done: true, value: undefined })
    await reader.closed
    await closed
  },
  'releasing the lock rejects a read that waits': async (context) => {
    const { response, write, end } = await context.stream()
    const reader = openByob(response)
    const reading = reader.read(new Uint8Array(4))
    reader.releaseLock()
    expect(await rejection(reading)).toBeInstanceOf(TypeError)
    expect(await rejection(reader.closed)).toBeInstanceOf(TypeError)
    await write('kept')
    end()
    expect(await response.text().catch(() => readByViews(openByob(response), 9))).toBe('kept')
  },
  'a connection that breaks rejects a read that waits': async (context) => {
    const { response, write, fail } = await context.stream()
    await write('a')
    const reader = openByob(response)
    expect(decode((await reader.read(new Uint8Array(4))).value)).toBe('a')
    const reading = reader.read(new Uint8Array(4))
    fail()
    const failure = await rejection(reading)
    expect(failure).toBeInstanceOf(TypeError)
    expect(await rejection(reader.closed)).toBe(failure)
    expect(await rejection(reader.read(new Uint8Array(4)))).toBe(failure)
  },
  'an empty body ends the first read into a view': async (context) => {
    const reader = openByob(await context.respond(''))
    const { done, value } = await reader.read(new Uint8Array(4))
    expect([done, value!.byteLength]).toEqual([true, 0])
  },
  'a chunk of a default read is a Uint8Array of memory of its own': async (context) => {
    const reader = (await context.respond('hello')).body!.getReader()
    const chunk = (await reader.read()).value as Uint8Array
    expect(Object.prototype.toString.call(chunk)).toBe('[object Uint8Array]')
    const moved = structuredClone(chunk.buffer, { transfer: [chunk.buffer as ArrayBuffer] })
    expect([chunk.byteLength, moved.byteLength]).toEqual([0, 5])
    expect((await reader.read()).done).toBe(true)
  },
})

wptStreams('streams/readable-byte-streams/read-min.any.js', {
  'min waits for as many elements': async (context) => {
    const { response, write, end } = await context.stream()
    const reader = openByob(response)
    const reading = reader.read(new Uint8Array(8), { min: 4 })
    await write('ab')
    await write('cd')
    expect(decode((await reading).value).startsWith('abcd')).toBe(true)
    end()
  },
  'min of 0 and min beyond the view are refused': async (context) => {
    const reader = openByob(await context.respond('hello'))
    expect(await rejection(reader.read(new Uint8Array(2), { min: 0 }))).toBeInstanceOf(TypeError)
    expect(await rejection(reader.read(new Uint8Array(2), { min: 3 }))).toBeInstanceOf(RangeError)
    expect(await readByViews(reader, 8)).toBe('hello')
  },
  'min at the end gives what there is': async (context) => {
    const { response, write, end } = await context.stream()
    const reader = openByob(response)
    const reading = reader.read(new Uint8Array(8), { min: 6 })
    await write('abc')
    end()
    expect(decode((await reading).value)).toBe('abc')
    expect((await reader.read(new Uint8Array(1))).done).toBe(true)
  },
})

wptStreams('streams/readable-byte-streams/tee.any.js', {
  'both branches are byte streams with the whole body': async (context) => {
    const { response, write, end } = await context.stream()
    const [one, two] = response.body!.tee()
    const texts = [one, two].map((branch) => readByViews(branch.getReader({ mode: 'byob' }), 4))
    await write('hello ')
    await write('there')
    end()
    expect(await Promise.all(texts)).toEqual(['hello there', 'hello there'])
  },
  'chunks of the branches are memory of their own': async (context) => {
    const [one, two] = (await context.respond('hello')).body!.tee()
    const mine = (await one.getReader().read()).value as Uint8Array
    mine.fill(0)
    expect(decode((await two.getReader().read()).value as Uint8Array)).toBe('hello')
  },
  'one branch cancelled leaves the other': async (context) => {
    const { response, write, end } = await context.stream()
    const [one, two] = response.body!.tee()
    void one.cancel('enough')
    await write('hello')
    end()
    expect(await readByViews(two.getReader({ mode: 'byob' }), 4)).toBe('hello')
  },
  'both branches cancelled cancel the body': async (context) => {
    const { response, closed } = await context.stream()
    const [one, two] = response.body!.tee()
    await Promise.all([one.cancel('a'), two.cancel('b')])
    await closed
  },
  'a failure errors both branches alike': async (context) => {
    const { response, fail } = await context.stream()
    const readers = response.body!.tee().map((branch) => branch.getReader())
    const reads = readers.map((reader) => rejection(reader.read()))
    fail()
    const [one, two] = await Promise.all(reads)
    expect(one).toBeInstanceOf(TypeError)
    expect(two).toBe(one)
  },
})

wptStreams('streams/readable-byte-streams/non-transferable-buffers.any.js', {
  'a view of WebAssembly memory is refused': async (context) => {
    const reader = openByob(await context.respond(encode('hello')))
    // TypeScript knows it only with the library of the DOM.
    const { WebAssembly } = globalThis as unknown as { WebAssembly: { Memory: new (size: object) => DataView } }
    const { buffer } = new WebAssembly.Memory({ initial: 1 })
    expect(await rejection(reader.read(new Uint8Array(buffer, 0, 8)))).toBeInstanceOf(TypeError)
  },
})
