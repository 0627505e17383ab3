/**
 * multipart/form-data with WHATWG's escapes (HTML §4.10.21.8), from any implementation's FormData. The entries are
 * read at once, so later changes to the form do not reach the request; files are read when they are sent.
 */
import { InvalidArgumentError } from './errors.ts'
import { isHeaderValue } from './request-headers.ts'
import type { BlobLike, FormDataLike } from './types.ts'

/** A form as a request body: `parts` in order, and their `content-type`. */
export interface EncodedForm {
  parts: (Uint8Array | BlobLike)[]
  contentType: string
  /** Bytes; `null` when a file does not know its size. */
  length: number | null
}

/** Duck-typed: each copy of undici and Node itself has a FormData class of its own (undici-contract.md §8.27). */
export function isFormDataLike(value: object): value is FormDataLike {
  const form = value as Partial<FormDataLike>
  return (
    form[Symbol.toStringTag] === 'FormData' &&
    typeof form.append === 'function' &&
    typeof form.delete === 'function' &&
    typeof form.get === 'function' &&
    typeof form.getAll === 'function' &&
    typeof form.has === 'function' &&
    typeof form.set === 'function' &&
    typeof form[Symbol.iterator] === 'function'
  )
}

/** Any implementation's Blob or File. */
export function isBlobLike(value: object): value is BlobLike {
  const blob = value as Partial<BlobLike> & { [Symbol.toStringTag]?: unknown }
  const tag = blob[Symbol.toStringTag]
  return (tag === 'Blob' || tag === 'File') && typeof blob.stream === 'function' && typeof blob.size === 'number'
}

function escapeName(text: string): string {
  return text.replaceAll('\n', '%0A').replaceAll('\r', '%0D').replaceAll('"', '%22')
}

function toCrlf(text: string): string {
  return text.replaceAll(/\r?\n|\r/g, '\r\n')
}

function createBoundary(): string {
  // From the system's random source: whoever can guess a boundary can forge parts (CVE-2025-22150). Not imported at
  // the top, since few programs send forms and loading crypto delays the first request of all.
  const { randomBytes } = process.getBuiltinModule('node:crypto')
  return `----formdata-sluice-${randomBytes(16).toString('hex')}`
}

/** Encodes a form's entries. @throws InvalidArgumentError for a file whose type cannot be a header value */
export function encodeFormData(form: FormDataLike): EncodedForm {
  const boundary = createBoundary()
  const prefix = `--${boundary}\r\nContent-Disposition: form-data; name="`
  const parts: (Uint8Array | BlobLike)[] = []
  let length: number | null = 0
  // Text gathers here, so that a form without files becomes one chunk.
  let text = ''

  for (const [name, value] of form) {
    text += `${prefix}${escapeName(toCrlf(name))}"`
    if (typeof value === 'object' && value !== null) {
      const file = value as BlobLike & { name?: string }
      const type = file.type || 'application/octet-stream'
      if (!isHeaderValue(type)) throw new InvalidArgumentError('invalid content-type header')
      if (file.name) text += `; filename="${escapeName(file.name)}"`
      text += `\r\nContent-Type: ${type}\r\n\r\n`
      const head = Buffer.from(text)
      parts.push(head, file)
      length = length === null || typeof file.size !== 'number' ? null : length + head.byteLength + file.size
      text = '\r\n'
    } else {
      text += `\r\n\r\n${toCrlf(String(value))}\r\n`
    }
  }

  const tail = Buffer.from(`${text}--${boundary}--\r\n`)
  parts.push(tail)
  return {
    parts,
    contentType: `multipart/form-data; boundary=${boundary}`,
    length: length === null ? null : length + tail.byteLength,
  }
}

/** The bytes of an encoded form; the one pass reads each file once. */
export async function* readForm(parts: readonly (Uint8Array | BlobLike)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (part instanceof Uint8Array) yield part
    else yield* part.stream()
  }
}
