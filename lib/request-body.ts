/**
 * Request bodies: which kinds there are, and what each says about its length and type (undici-contract.md §2.2).
 * Recognising a body and opening it are separate steps, since a request that fails validation must not have touched it.
 */
import type { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { fileRangeOf, isSentFile, isUnreadFile } from '../streams/file-source.ts'
import type { FileRange } from '../streams/file-source.ts'
import { InvalidArgumentError } from './errors.ts'
import { encodeFormData, isBlobLike, isFormDataLike, readForm } from './form-data.ts'
import { isHeaderValue } from './request-headers.ts'
import type { BlobLike, BodyChunk, FormDataLike } from './types.ts'

/** What a streamed body is read from; a legacy stream has `pipe` and `on` but is not iterable. */
export type BodySource = Readable | ReadableStream | AsyncIterable<BodyChunk> | Iterable<BodyChunk>

/** A body ready to be sent. Its bytes must not change until the request was written. */
export type DispatchBody =
  | { kind: 'none' }
  | { kind: 'bytes'; bytes: Uint8Array }
  /** `length` in bytes, where the source knows it by itself; `reopen` gives the same bytes once more. */
  | { kind: 'stream'; source: BodySource; length: number | null; reopen?: () => BodySource }
  /** `stream` is locked when the request is sent. */
  | { kind: 'file'; stream: ReadableStream; range: FileRange; length: number }

/** A body that was recognised but not opened. */
export type RecognisedBody =
  | Extract<DispatchBody, { kind: 'none' | 'bytes' }>
  | { kind: 'source'; source: BodySource }
  /** `source` is what was given: the stream, or undici's wrapping of it. */
  | { kind: 'file-stream'; stream: ReadableStream; source: BodySource }
  | { kind: 'blob'; blob: BlobLike }
  | { kind: 'form'; form: FormDataLike }

const kNone: DispatchBody & RecognisedBody = Object.freeze({ kind: 'none' })

function fromBytes(bytes: Uint8Array): RecognisedBody {
  return bytes.byteLength === 0 ? kNone : { kind: 'bytes', bytes }
}

function isStream(value: object): value is Readable {
  const stream = value as Partial<Readable>
  return typeof stream.pipe === 'function' && typeof stream.on === 'function'
}

function isIterable(value: object): value is AsyncIterable<BodyChunk> | Iterable<BodyChunk> {
  const iterable = value as Partial<Iterable<BodyChunk> & AsyncIterable<BodyChunk>>
  return typeof iterable[Symbol.asyncIterator] === 'function' || typeof iterable[Symbol.iterator] === 'function'
}

/**
 * undici's retry and redirect handlers wrap a web stream in an iterable of their own and send that again, as long as
 * nobody has read it. A file beneath it is read from its path each time.
 */
function fileBeneath(wrapping: object): ReadableStream | null {
  for (const symbol of Object.getOwnPropertySymbols(wrapping)) {
    if (symbol.description !== 'abstracted request body') continue
    const stream: unknown = (wrapping as Record<symbol, unknown>)[symbol]
    if (typeof stream !== 'object' || stream === null) continue
    if (!isUnreadFile(stream) && !isSentFile(stream)) continue
    return stream as ReadableStream
  }
  return null
}

/** Tells what kind of body `opts.body` is, in undici's order, without touching it. @throws InvalidArgumentError */
export function recogniseBody(body: unknown): RecognisedBody {
  if (body === undefined || body === null) return kNone
  if (typeof body === 'string') return body === '' ? kNone : { kind: 'bytes', bytes: Buffer.from(body) }
  if (typeof body === 'object' || typeof body === 'function') {
    if (typeof body === 'object' && isStream(body)) return { kind: 'source', source: body }
    if (body instanceof Uint8Array) return fromBytes(body)
    if (ArrayBuffer.isView(body)) return fromBytes(new Uint8Array(body.buffer, body.byteOffset, body.byteLength))
    if (body instanceof ArrayBuffer) return fromBytes(new Uint8Array(body))
    if (isFormDataLike(body)) return { kind: 'form', form: body }
    if (isBlobLike(body)) return { kind: 'blob', blob: body }
    if (isUnreadFile(body)) {
      return { kind: 'file-stream', stream: body as ReadableStream, source: body as ReadableStream }
    }
    if (isIterable(body)) {
      const stream = fileBeneath(body)
      return stream === null ? { kind: 'source', source: body } : { kind: 'file-stream', stream, source: body }
    }
  }
  throw new InvalidArgumentError(
    'body must be a string, a Buffer, a Readable stream, an iterable, or an async iterable',
  )
}

/** The part of a Readable that undici looks into; legacy streams have none of it. */
interface BufferingStream {
  read?: (size: number) => unknown
  _readableState?: { objectMode: boolean; ended: boolean; length: number }
}

/** Bytes of a Readable that has ended with all of them buffered; `null` for every other source. */
function bufferedLength(source: BodySource): number | null {
  const stream = source as BufferingStream
  if (stream._readableState === undefined) return null
  // Asking for nothing lets a source that is at its end notice it, as undici does.
  if (typeof stream.read === 'function') stream.read(0)
  const { objectMode, ended, length } = stream._readableState
  return objectMode === false && ended === true && Number.isFinite(length) ? length : null
}

/** An opened body and the `content-type` it implies, for a request that has none. */
export interface OpenedBody {
  body: DispatchBody
  contentType: string | null
}

function openBlob(blob: BlobLike): OpenedBody {
  const contentType = blob.type ? `${blob.type}` : null
  if (contentType !== null && !isHeaderValue(contentType)) throw new InvalidArgumentError('invalid content-type header')
  if (blob.size === 0) return { body: kNone, contentType }
  return {
    body: { kind: 'stream', source: blob.stream(), length: blob.size, reopen: () => blob.stream() },
    contentType,
  }
}

function openForm(form: FormDataLike): OpenedBody {
  const { parts, contentType, length } = encodeFormData(form)
  const [first] = parts
  if (parts.length === 1 && first instanceof Uint8Array) {
    return { body: { kind: 'bytes', bytes: first }, contentType }
  }
  return { body: { kind: 'stream', source: readForm(parts), length, reopen: () => readForm(parts) }, contentType }
}

/** Opens a body that is neither absent nor bytes. @throws InvalidArgumentError for a type that is no header value */
export function openBody(body: Exclude<RecognisedBody, { kind: 'none' | 'bytes' }>): OpenedBody {
  switch (body.kind) {
    case 'blob':
      return openBlob(body.blob)
    case 'form':
      return openForm(body.form)
    case 'file-stream': {
      const { stream, source } = body
      const range = fileRangeOf(stream)
      if (range === null) return { body: { kind: 'stream', source, length: null }, contentType: null }
      return { body: { kind: 'file', stream, range, length: range.length }, contentType: null }
    }
    case 'source': {
      const length = bufferedLength(body.source)
      if (length === 0) return { body: kNone, contentType: null }
      return { body: { kind: 'stream', source: body.source, length }, contentType: null }
    }
  }
}
