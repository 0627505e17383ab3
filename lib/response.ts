/**
 * The `Response` of `fetch`: a real subclass of the platform's, whose parts are made when they are asked for. The
 * class is made at the first fetch, because touching the global `Response` loads the built-in undici (20 ms).
 */
import type { ReadableStream } from 'node:stream/web'
import { inspect } from 'node:util'
import type { BodySource } from './body-source.ts'
import { parseForm, readBoundary } from './form-parser.ts'
import { toHeaders } from './header-list.ts'

/** As undici's: `cors` after a redirect to another origin. */
export type ResponseType = 'basic' | 'cors'

/** What a response is made from. */
export interface ResponseParts {
  status: number
  statusText: string
  headerText: string
  url: string
  isRedirected: boolean
  type: ResponseType
  body: BodySource
  /** Resolves with the header text of the trailers when the body has ended, rejects with its error. */
  trailers: () => Promise<string>
}

/** A platform `Response` that also has trailers. */
export interface SluiceResponse extends Response {
  /** The trailer section, when the body has been read to its end; rejects with the body's error. */
  readonly trailers: Promise<Headers>
}

type ResponseClass = new (parts: ResponseParts) => SluiceResponse

let Class: ResponseClass | null = null
const decoder = new TextDecoder()

/** Makes the response of a fetch. */
export function createResponse(parts: ResponseParts): SluiceResponse {
  return new (responseClass())(parts)
}

/** Makes the class while the first response is on its way: behind the crossing of its request, which was queued before. */
export function prepareResponse(): void {
  if (Class === null) queueMicrotask(responseClass)
}

function responseClass(): ResponseClass {
  return (Class ??= defineResponse())
}

/** A MIME type that is its own serialization. */
const PLAIN_TYPE = /^[a-z]+\/[a-z]+$/

const kParts = Symbol('sluice.parts')
const kHeaders = Symbol('sluice.headers')
const kTrailers = Symbol('sluice.trailers')

function defineResponse(): ResponseClass {
  const Platform = globalThis.Response
  const { markAsUncloneable } = process.getBuiltinModule('node:worker_threads')
  // A subclass by its prototype alone: what the platform's constructor would make, an empty response with headers of its
  // own, costs more than all the rest of this object, and nothing looks at it.
  class Response {
    private readonly [kParts]: ResponseParts
    private [kHeaders]: Headers | null = null
    private [kTrailers]: Promise<Headers> | null = null

    constructor(parts: ResponseParts) {
      this[kParts] = parts
      markAsUncloneable(this)
    }

    get status(): number {
      return this[kParts].status
    }

    get ok(): boolean {
      return this.status >= 200 && this.status <= 299
    }

    get statusText(): string {
      return this[kParts].statusText
    }

    get headers(): Headers {
      return (this[kHeaders] ??= toHeaders(this[kParts].headerText))
    }

    get url(): string {
      return this[kParts].url
    }

    get redirected(): boolean {
      return this[kParts].isRedirected
    }

    get type(): ResponseType {
      return this[kParts].type
    }

    get body(): ReadableStream | null {
      return this[kParts].body.body
    }

    get bodyUsed(): boolean {
      return this[kParts].body.isUsed
    }

    get trailers(): Promise<Headers> {
      return (this[kTrailers] ??= this[kParts].trailers().then(toHeaders))
    }

    text(): Promise<string> {
      return consume(this, toText)
    }

    json(): Promise<unknown> {
      return consume(this, toJson)
    }

    bytes(): Promise<Uint8Array<ArrayBuffer>> {
      return consume(this, toBytes)
    }

    arrayBuffer(): Promise<ArrayBuffer> {
      return consume(this, toArrayBuffer)
    }

    async blob(): Promise<Blob> {
      const bytes = await this[kParts].body.consume()
      return new Blob([bytes], { type: await this.mimeType() })
    }

    async formData(): Promise<FormData> {
      const bytes = await this[kParts].body.consume()
      const boundary = readBoundary(this.contentType())
      if (boundary !== null) return parseForm(bytes, boundary)
      const headers = { 'content-type': this.contentType() }
      return new globalThis.Response(bytes, { headers }).formData()
    }

    clone(): Response {
      const parts = this[kParts]
      return new Response({ ...parts, body: parts.body.clone() })
    }

    [inspect.custom](depth: number, options: Parameters<typeof inspect>[1]): string {
      const { status, statusText, ok, headers, body, bodyUsed, redirected, type, url } = this
      const parts = { status, statusText, headers, body, bodyUsed, ok, redirected, type, url }
      return `Response ${inspect(parts, { ...(options as object), depth })}`
    }

    private contentType(): string {
      return this.headers.get('content-type') ?? ''
    }

    /** Fetch, "extract a MIME type": an empty response of the platform's says what it makes of the header. */
    private async mimeType(): Promise<string> {
      const type = this.contentType()
      if (type === '' || PLAIN_TYPE.test(type)) return type
      const headers = { 'content-type': type }
      return (await new globalThis.Response('', { headers }).blob()).type
    }
  }
  Object.setPrototypeOf(Response, Platform)
  Object.setPrototypeOf(Response.prototype, Platform.prototype)
  return Response as unknown as ResponseClass
}

/** Rejects also where `response` is none (Web IDL §3.7.6, an operation that returns a promise). */
function consume<Result>(response: unknown, convert: (bytes: Bytes) => Result): Promise<Result> {
  try {
    const parts = (response as { [kParts]?: ResponseParts } | null | undefined)?.[kParts]
    if (parts === undefined) throw new TypeError('Illegal invocation: not a Response')
    const bytes = parts.body.consume()
    return bytes instanceof Promise ? bytes.then(convert) : Promise.resolve(convert(bytes))
  } catch (error) {
    return Promise.reject(error as Error)
  }
}

type Bytes = Uint8Array<ArrayBuffer>

const toBytes = (bytes: Bytes): Bytes => bytes
const toText = (bytes: Bytes): string => decoder.decode(bytes)
const toJson = (bytes: Bytes): unknown => JSON.parse(decoder.decode(bytes))
const toArrayBuffer = ({ buffer, byteOffset, byteLength }: Bytes): ArrayBuffer =>
  byteLength === buffer.byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength)
