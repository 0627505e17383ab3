/** `data:` and `blob:` URLs (Fetch §4.2, "scheme fetch"): answered without a dispatcher. */
import { resolveObjectURL } from 'node:buffer'
import { MIMEType } from 'node:util'
import type { ReadableStreamConstructor } from '../streams/byte-stream.ts'
import { trimBlanks } from './blanks.ts'
import { BodySource } from './body-source.ts'
import { NetworkError } from './fetch-request.ts'
import type { FetchRequest } from './fetch-request.ts'
import type { FetchUrl } from './fetch-url.ts'
import { chunksOf, relayStream } from './relay-stream.ts'
import { createResponse } from './response.ts'
import type { SluiceResponse } from './response.ts'

type Bytes = Uint8Array<ArrayBuffer>

/** Whether the request's answer is in its URL, or in this process. */
export function isLocal({ protocol }: URL): boolean {
  return protocol === 'data:' || protocol === 'blob:'
}

/** @throws NetworkError */
export function fetchLocally(request: FetchRequest, Implementation: ReadableStreamConstructor): SluiceResponse {
  const { url } = request
  const answer = url.protocol === 'data:' ? readDataUrl(url) : readBlobUrl(request)
  const { status, headers, content } = answer
  // An empty body is one, but for HEAD (Fetch, "main fetch").
  const body = request.method === 'HEAD' ? null : openBody(content, Implementation, request.signal)
  return createResponse({
    status,
    statusText: status === 206 ? 'Partial Content' : 'OK',
    headerText: headers.join('\0'),
    url: url.text,
    isRedirected: false,
    type: 'basic',
    body: BodySource.checked(body, Implementation, request.integrity, request.signal),
    trailers: () => Promise.resolve(''),
  })
}

interface Answer {
  status: number
  headers: string[]
  content: Bytes | Blob
}

function openBody(content: Bytes | Blob, Implementation: ReadableStreamConstructor, signal: AbortSignal | null) {
  if (content instanceof Uint8Array) return content
  return relayStream(() => chunksOf(content.stream()), Implementation, { signal })
}

/** Fetch §6, "data: URL processor". */
function readDataUrl(url: FetchUrl): Answer {
  const input = url.text.slice('data:'.length)
  const comma = input.indexOf(',')
  if (comma < 0) throw new NetworkError('invalid data: URL: it has no comma')
  let type = trimBlanks(input.slice(0, comma), '\t\n\f\r ')
  let content = percentDecode(input.slice(comma + 1))
  const base64 = /; *base64$/i.exec(type)
  if (base64 !== null) {
    type = type.slice(0, base64.index)
    content = decodeBase64(content)
  }
  return {
    status: 200,
    headers: ['content-type', readType(type.startsWith(';') ? `text/plain${type}` : type)],
    content,
  }
}

function readType(type: string): string {
  try {
    return String(new MIMEType(type))
  } catch {
    return 'text/plain;charset=US-ASCII'
  }
}

function percentDecode(text: string): Bytes {
  const bytes = Buffer.from(text)
  const decoded = new Uint8Array(bytes.byteLength)
  let length = 0
  for (let at = 0; at < bytes.byteLength; at++) {
    const hex = bytes[at] === 0x25 ? bytes.toString('latin1', at + 1, at + 3) : ''
    const isEscape = /^[0-9a-fA-F]{2}$/.test(hex)
    decoded[length++] = isEscape ? Number.parseInt(hex, 16) : bytes[at]!
    if (isEscape) at += 2
  }
  return decoded.slice(0, length)
}

function decodeBase64(bytes: Bytes): Bytes {
  try {
    // `atob` is the forgiving decoder that the processor asks for (Infra §7).
    return Uint8Array.from(atob(Buffer.from(bytes).toString('latin1')), (byte) => byte.charCodeAt(0))
  } catch {
    throw new NetworkError('invalid data: URL: its base64 cannot be decoded')
  }
}

function readBlobUrl({ url, method, headers }: FetchRequest): Answer {
  const blob = resolveObjectURL(url.text)
  if (method !== 'GET') throw new NetworkError(`blob: URLs know only GET, not ${method}`)
  if (blob === undefined) throw new NetworkError('the blob: URL names no Blob')
  const range = headers.findIndex((text, index) => index % 2 === 0 && text === 'range')
  if (range < 0) return { status: 200, headers: headersOf(blob), content: blob }
  const [start, end] = readRange(headers[range + 1]!, blob.size)
  const part = blob.slice(start, end + 1, blob.type)
  return {
    status: 206,
    headers: [...headersOf(part), 'content-range', `bytes ${start}-${end}/${blob.size}`],
    content: part,
  }
}

function headersOf(blob: Blob): string[] {
  return ['content-length', String(blob.size), 'content-type', blob.type]
}

/** Fetch, "parse a single range header value": first and last byte. */
function readRange(value: string, size: number): [number, number] {
  const { first = '', last = '' } =
    /^bytes[\t ]*=[\t ]*(?<first>\d*)[\t ]*-[\t ]*(?<last>\d*)$/.exec(value)?.groups ?? {}
  const isSuffix = first === ''
  const start = isSuffix ? Math.max(size - Number(last), 0) : Number(first)
  const end = isSuffix || last === '' ? size - 1 : Math.min(Number(last), size - 1)
  if ((isSuffix && last === '') || start >= size || start > end) {
    throw new NetworkError(`the range ${value} is not in a Blob of ${size} bytes`)
  }
  return [start, end]
}
