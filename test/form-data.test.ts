import { expect, test } from 'vitest'
import { Agent as UndiciAgent, FormData as UndiciFormData } from 'undici'
import { FormData as Undici7FormData } from 'undici7'
import type { DispatchRequest } from '../lib/dispatch-request.ts'
import { collect, fullHandler, noop, request, wireHead } from './support/dispatch.ts'
import { startTcpServer } from './support/servers.ts'

const contentTypeOf = (result: DispatchRequest): string => result.headers[result.headers.indexOf('content-type') + 1]!

const forms: [string, () => FormData][] = [
  ['Node', () => new FormData()],
  ['undici 8', () => new UndiciFormData() as unknown as FormData],
  ['undici 7', () => new Undici7FormData() as unknown as FormData],
]

test.each(forms)('a FormData of %s arrives entry by entry, with its length known', async (_what, create) => {
  const form = create()
  form.append('plain', 'v\u00e4lue')
  form.append('twice', '1')
  form.append('twice', 'two\nlines\rand\r\nmore')
  form.append('quo"te\nname', 'x')
  form.append('file', new File(['file-bytes'], 'na"me.txt', { type: 'text/x' }))
  form.append('blob', new Blob(['untyped']))
  form.append('empty', new File([], 'empty.bin'))
  const result = request({ method: 'POST', body: form })
  const body = await collect(result.body)
  expect(result.contentLength).toBe(body.byteLength)
  expect(body.toString()).toContain('filename="na%22me.txt"\r\nContent-Type: text/x\r\n\r\nfile-bytes\r\n')
  expect(body.toString()).toContain('name="quo%22te%0D%0Aname"')

  const read = await new Response(body, { headers: { 'content-type': contentTypeOf(result) } }).formData()
  const entries: [string, string][] = []
  for (const [name, value] of read) entries.push([name, typeof value === 'string' ? value : await value.text()])
  expect(entries).toEqual([
    ['plain', 'v\u00e4lue'],
    ['twice', '1'],
    ['twice', 'two\r\nlines\r\nand\r\nmore'],
    ['quo"te\r\nname', 'x'],
    ['file', 'file-bytes'],
    ['blob', 'untyped'],
    ['empty', ''],
  ])
  const file = read.get('file') as File
  expect([file.name, file.type]).toEqual(['na"me.txt', 'text/x'])
})

test('a FormData without files is sized bytes; an empty one is its closing boundary', async () => {
  const form = new FormData()
  const empty = request({ method: 'POST', body: form })
  const boundary = contentTypeOf(empty).slice('multipart/form-data; boundary='.length)
  expect((await collect(empty.body)).toString()).toBe(`--${boundary}--\r\n`)
  form.append('a', 'b')
  const result = request({ method: 'POST', body: form })
  expect(result.body.kind).toBe('bytes')
  expect(result.contentLength).toBe((await collect(result.body)).byteLength)
})

test('FormData writes the same multipart bytes as undici, but for the boundary', async () => {
  const form = new UndiciFormData()
  form.append('a', 'b\nc')
  form.append('"f"', new File(['data'], 'f\n".txt', { type: 'a/b' }))
  let wire = ''
  const complete = Promise.withResolvers<void>()
  await using server = await startTcpServer((socket) => {
    socket.on('data', (chunk) => {
      wire += chunk.toString('latin1')
      if (wire.endsWith('--\r\n')) {
        complete.resolve()
        socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
      }
    })
  })
  const agent = new UndiciAgent()
  agent.dispatch({ origin: server.origin, path: '/', method: 'POST', body: form }, fullHandler)
  await complete.promise
  await agent.destroy()
  const theirBoundary = /boundary=(.*)\r\n/.exec(wire)![1]!
  const result = request({ method: 'POST', body: form })
  const ourBoundary = contentTypeOf(result).split('boundary=')[1]!
  const theirs = wire.slice(wire.indexOf('\r\n\r\n') + 4).replaceAll(theirBoundary, 'B')
  expect((await collect(result.body)).toString('latin1').replaceAll(ourBoundary, 'B')).toBe(theirs)
})

test('boundaries differ, and a content-type the caller gave is kept', () => {
  const form = new FormData()
  const seen = new Set<string>()
  for (let i = 0; i < 100; i++) seen.add(contentTypeOf(request({ method: 'POST', body: form })))
  expect(seen.size).toBe(100)
  expect(request({ method: 'POST', body: form, headers: { 'Content-Type': 'x/y' } }).headers).toEqual([
    'Content-Type',
    'x/y',
  ])
})

test('a form reaches the request as it was when it was dispatched', async () => {
  const form = new FormData()
  form.append('a', new Blob(['1']))
  const { body } = request({ method: 'POST', body: form })
  form.append('late', '2')
  expect((await collect(body)).toString()).not.toContain('late')
})

test('a Blob type or a file type that is no header value is refused', () => {
  const forged = { size: 1, type: 'a\r\nx: y', stream: noop, [Symbol.toStringTag]: 'Blob' }
  expect(() => request({ method: 'POST', body: forged })).toThrow('invalid content-type header')
  const form = Object.assign(new Map([['a', forged]]), { append: noop, getAll: noop })
  Object.defineProperty(form, Symbol.toStringTag, { value: 'FormData' })
  expect(() => request({ method: 'POST', body: form })).toThrow('invalid content-type header')
})

test('a form with a file of unknown size is chunked', () => {
  const file = { type: '', stream: noop }
  const form = Object.assign(new Map([['a', file]]), { append: noop, getAll: noop })
  Object.defineProperty(form, Symbol.toStringTag, { value: 'FormData' })
  expect(wireHead(request({ method: 'POST', body: form })).at(-1)).toBe('transfer-encoding: chunked')
})
