/**
 * The crossing between JavaScript and the runtime, batched both ways: the requests of one tick cross in one call, and
 * the runtime's completions come back in one. The encodings mirror `native/addon/src/{submission,completions}.rs`.
 */
import { closeSync, openSync } from 'node:fs'
import { binding, Word } from '../native/binding.ts'
import type { ConnectionEvent, CoreErrorInfo, CoreQuestion, NativeAgent } from '../native/binding.ts'
import type { FileRange } from './file-source.ts'
import { ReceiverTable } from './receiver-table.ts'
import { onStarvation } from './starvation.ts'

/** The head of a response; with `isComplete` also its body and trailers. */
export interface ResponseHead {
  status: number
  /** The reason phrase as sent, read as UTF-8 as undici does; empty on HTTP/2. */
  statusText: string
  /** Header names and values in wire order and the server's case, latin1, separated by NUL; empty without any. */
  headerText: string
  isHttp2: boolean
  isComplete: boolean
  /** Body bytes announced; `null` when the framing does not say. */
  contentLength: number | null
  /** A complete response's body, in memory that is reused after the call: copy it. */
  body: Uint8Array
  trailerText: string
  /** Where redirects have led, without fragment; `null` without any. */
  redirectedTo: string | null
  /** A redirect changed the origin. */
  isCrossOrigin: boolean
}

/** What happened to one request; calls come on a later tick than its submission and are serial. */
export interface Receiver {
  onHead(head: ResponseHead): void
  /** A connection is there, and the request waits for `requestHandleProceed`. Only after {@link RequestFlag.ask}. */
  onReady?(): void
  /** A head with a status below 200: another follows. */
  onInformational?(head: ResponseHead): void
  /** The request has become a socket; its id is the receiver's to end. */
  onUpgrade?(head: ResponseHead): void
  /** A read that found nothing would find something now. */
  onReadable(): void
  /** The request failed before its head. */
  onError(info: CoreErrorInfo): void
  /** A streamed upload may go on. */
  onUploadReady?(): void
  /** A pipe to a file ended: bytes written, and the failure of the file if it was that. */
  onPiped?(written: number, isStopped: boolean, info: CoreErrorInfo | null): void
  /**
   * What was to be told could not be: the request is aborted, and no further call comes. False where it was over already,
   * and `error` is nobody's.
   */
  onUndelivered(error: Error): boolean
}

/** Bits of {@link WireRequest.flags}; those between are the encoding's own. */
export const RequestFlag = {
  /** Keeps the process alive until the request ends, not only until its head. */
  dispatched: 1,
  /** When a connection is there, `onReady` decides whether the request is sent. */
  ask: 32,
  /** `connection: close`. */
  close: 64,
  /** Drops the connection afterwards without saying so. */
  noReuse: 128,
  /** Never HTTP/2, on connections of its own. */
  http1: 256,
  /** HTTP/2: waits for 100 before the body (RFC 9110 §10.1.1). */
  expectContinue: 512,
  /** Upgrade or CONNECT: `uploadWrite` is the socket's writable side. */
  tunnel: 1024,
  /** Redirects are followed. */
  follow: 2048,
  /** A redirect is an error. */
  noRedirect: 4096,
  /** Content codings are announced and undone. */
  decode: 8192,
} as const

/** One request, validated. Text is latin1 without NUL. */
export interface WireRequest {
  origin: string
  method: string
  target: string
  /** Of {@link RequestFlag}. */
  flags: number
  /** TLS server name; empty for the origin's own. */
  servername: string
  /** The protocol asked for; empty for none. */
  upgrade: string
  /** The caller's Host; empty for the origin's own. */
  host: string
  /** Flat names and values, without `host`, `connection` and those that frame the message. */
  headers: string[]
  /** Copied as the request crosses, unless it {@link isKept}. */
  body: Uint8Array | null
  /** The body stays here, and crosses by `uploadFrom` against credit. */
  isKept: boolean
  /** The body comes through `uploadWrite`; its length in bytes, or `null` for chunked, which may have trailers. */
  upload: { length: number | null; trailers?: (() => string | Promise<string>) | null } | null
  /** The body is a file's; it is opened as it crosses. */
  file: FileRange | null
  /** Milliseconds, 0 is off; `null` is the agent's own. */
  connectTimeout: number | null
  headersTimeout: number | null
  bodyTimeout: number | null
  timeout: number | null
  /** Bytes; `null` is the agent's own. */
  windowBytes: number | null
  uploadWindowBytes?: number | null
  maxHeaderSize?: number | null
  /** -1 is off. */
  maxResponseSize: number | null
  /** With {@link RequestFlag.decode}: bytes (-1 is off), and decoded bytes for each on the wire (0 is off). */
  maxDecodedSize?: number | null
  maxCompressionRatio?: number | null
}

/** A request that waits for its tick's flush. */
export interface Submission {
  /** Called just before crossing; `null` sends nothing. */
  begin(id: number): WireRequest | null
  /** It could not cross; nothing else is told of it. */
  onUnsent(error: unknown): void
  receiver: Receiver
}

const RECORD_WORDS = 18
const INHERIT = 0xffff_ffff
const FLAG_BODY_INLINE = 2
const FLAG_BODY_APART = 4
const FLAG_BODY_STREAM = 8
const FLAG_BODY_LENGTH = 16
const FLAG_BODY_FILE = 1 << 14
const FLAG_BODY_KEPT = 1 << 15
/** A larger body is handed over by itself, which saves one copy of it. */
const INLINE_BODY = 16 * 1024
/** A larger body stays where it is, and crosses in pieces: as a whole it would be copied into fresh memory. */
const APART_BODY = 1024 * 1024

/** Whether a body is one that is to be kept. */
export function isLarge(body: Uint8Array): boolean {
  return body.byteLength > APART_BODY
}

const COMPLETION_HEAD = 1
const COMPLETION_READABLE = 2
const COMPLETION_ERROR = 3
const COMPLETION_UPLOAD_READY = 4
const COMPLETION_PIPED = 5
const COMPLETION_READY = 6
const COMPLETION_CONNECTION = 7
const COMPLETION_QUESTION = 8
const COMPLETION_STARVATION = 9
const FLAG_COMPLETE = 1 << 8
const FLAG_HTTP2 = 1 << 9
const FLAG_INFORMATIONAL = 1 << 10
const FLAG_UPGRADE = 1 << 11
const FLAG_REDIRECTED = 1 << 12
const FLAG_CROSS_ORIGIN = 1 << 13
const FLAG_STOPPED = 1 << 8

/**
 * The largest record: more than the largest head (512 KiB on the wire) with the largest body that rides along
 * (16 KiB). What is larger all the same fails its request on the native side.
 */
const SCRATCH_BYTES = 1024 * 1024

/** Node's own, missing from its types: `toString('latin1')` without the look-up of the encoding. */
interface Latin1Buffer extends Buffer<ArrayBuffer> {
  latin1Slice(start: number, end: number): string
  utf8Slice(start: number, end: number): string
  latin1Write(text: string, offset: number): number
}

const kEmpty = new Uint8Array(0)

const scratch = Buffer.from(new ArrayBuffer(SCRATCH_BYTES)) as Latin1Buffer
const scratchWords = new Uint32Array(scratch.buffer)
/** Second results of native calls; see `Word` in the binding. */
export const words = new Int32Array(2)

const receivers = new ReceiverTable<Receiver>()
let isOpen = false

/** Others have some of its names alone. */
const hasLibuv = process.versions['bun'] === undefined && process.versions['deno'] === undefined

/** Before the first agent is made. */
export function openEnvironment(): void {
  if (isOpen) return
  binding.open(scratch, words, onCompletions, hasLibuv)
  isOpen = true
}

/** Takes completions of `id` from now on; holds `receiver` strongly. */
export function watch(id: number, receiver: Receiver): void {
  receivers.set(id, receiver)
}

/** Forgets the receiver of `id`. */
export function unwatch(id: number): void {
  receivers.delete(id)
}

/** Is told of the connections of one agent. */
export interface ConnectionListener {
  onConnection(event: ConnectionEvent): void
}

const agents = new Map<number, WeakRef<ConnectionListener>>()

/** Answers what the core asks for one agent. */
export interface QuestionListener {
  onQuestion(question: CoreQuestion, answer: (text: string) => void): void
}

const questioned = new Map<number, WeakRef<QuestionListener>>()
const unquestioned = new FinalizationRegistry<number>((agent) => questioned.delete(agent))

/** Lets `listener` answer for the agent, for as long as somebody else holds it: the agent, or a request under way. */
export function answerAgent(agent: NativeAgent, listener: QuestionListener): void {
  questioned.set(agent, new WeakRef(listener))
  unquestioned.register(listener, agent)
}

/** Tells `listener` of the agent's connections, for as long as somebody else holds it. */
export function watchAgent(agent: NativeAgent, listener: WeakRef<ConnectionListener>): void {
  agents.set(agent, listener)
}

/** Forgets the listener of an agent that is gone. */
export function unwatchAgent(agent: NativeAgent): void {
  agents.delete(agent)
}

/** An error nobody can be handed: surfaces as an uncaught exception, as a throwing event listener's does. */
export function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}

/** What a listener throws is an uncaught exception, and nothing to the request in whose course it was called. */
export function callListeners(call: () => void): void {
  try {
    call()
  } catch (error) {
    throwLater(error)
  }
}

/** The requests of one agent and tick. */
export class SubmissionBatch {
  readonly agent: NativeAgent
  private waiting: { id: number; submission: Submission }[] = []
  private buffer = Buffer.allocUnsafeSlow(4096) as Latin1Buffer
  private words = new Uint32Array(this.buffer.buffer)
  private length = 0
  private bodies: Uint8Array[] = []
  private readonly descriptors: number[] = []
  private readonly flushBound = (): void => this.flush()

  constructor(agent: NativeAgent) {
    this.agent = agent
  }

  /** Queues a request for the end of this microtask turn; returns its id. */
  add(submission: Submission): number {
    const id = receivers.add(submission.receiver)
    if (this.waiting.push({ id, submission }) === 1) queueMicrotask(this.flushBound)
    return id
  }

  private flush(): void {
    // A request added by a callback of `begin` joins this crossing.
    for (let index = 0; index < this.waiting.length; index++) {
      const { id, submission } = this.waiting[index]!
      try {
        const request = submission.begin(id)
        if (request === null) receivers.delete(id)
        else this.cross(id, request)
      } catch (error) {
        unsend(id, submission, error)
      }
    }
    const { waiting, length, bodies } = this
    this.waiting = []
    if (length === 0) return
    this.length = 0
    if (bodies.length > 0) this.bodies = []
    try {
      binding.agentDispatch(this.agent, this.buffer, length, bodies)
    } catch (error) {
      // None has crossed.
      for (const { id, submission } of waiting) {
        if (receivers.get(id) === submission.receiver) unsend(id, submission, error)
      }
    } finally {
      if (this.descriptors.length > 0) for (const descriptor of this.descriptors.splice(0)) closeSync(descriptor)
    }
  }

  private cross(id: number, request: WireRequest): void {
    const { file } = request
    if (file === null) {
      this.encode(id, request, request.body)
      return
    }
    // The runtime has a descriptor of its own when this one is closed.
    const descriptor = openSync(file.path, 'r')
    this.descriptors.push(descriptor)
    const words = [descriptor, file.start >>> 0, Math.floor(file.start / 0x1_0000_0000)]
    this.encode(id, request, new Uint8Array(Uint32Array.from(words).buffer))
  }

  private encode(id: number, request: WireRequest, body: Uint8Array | null): void {
    const { headers, upload, file } = request
    const { servername, upgrade, host } = request
    let text = `${request.origin}\0${request.method}\0${request.target}\0${servername}\0${upgrade}\0${host}`
    for (let index = 0; index < headers.length; index++) text += `\0${headers[index]}`
    const isInline = body !== null && !request.isKept && body.byteLength <= INLINE_BODY
    const bytes = RECORD_WORDS * 4 + text.length + (isInline ? body.byteLength : 0)
    const size = (bytes + 3) & ~3
    this.reserve(size)
    let { flags } = request
    let length = 0
    if (upload !== null) {
      flags |= upload.length === null ? FLAG_BODY_STREAM : FLAG_BODY_STREAM | FLAG_BODY_LENGTH
      length = upload.length ?? 0
    } else if (file !== null) {
      flags |= FLAG_BODY_FILE
      length = file.length
    } else if (isInline) {
      flags |= FLAG_BODY_INLINE
      length = body.byteLength
    } else if (body !== null && request.isKept) {
      flags |= FLAG_BODY_KEPT
      length = body.byteLength
    } else if (body !== null) {
      flags |= FLAG_BODY_APART
    }
    const { buffer, words: out } = this
    const at = this.length >>> 2
    out[at] = size >>> 2
    out[at + 1] = id
    out[at + 2] = flags
    out[at + 3] = text.length
    out[at + 4] = length >>> 0
    out[at + 5] = Math.floor(length / 0x1_0000_0000)
    out[at + 6] = limit(request.headersTimeout)
    out[at + 7] = limit(request.bodyTimeout)
    out[at + 8] = limit(request.timeout)
    out[at + 9] = limit(request.windowBytes)
    out[at + 10] = limit(request.maxHeaderSize ?? null)
    out[at + 11] = limit(request.connectTimeout)
    writeLarge(out, at + 12, request.maxDecodedSize ?? null)
    out[at + 14] = limit((request.maxCompressionRatio ?? -1) * 1000)
    writeLarge(out, at + 15, request.maxResponseSize)
    out[at + 17] = limit(request.uploadWindowBytes ?? null)
    const start = this.length + RECORD_WORDS * 4
    buffer.latin1Write(text, start)
    if (isInline) buffer.set(body, start + text.length)
    // Last: a request that could not be encoded leaves nothing behind.
    if ((flags & FLAG_BODY_APART) !== 0) this.bodies.push(body!)
    this.length += size
  }

  private reserve(size: number): void {
    const needed = this.length + size
    if (needed <= this.buffer.byteLength) return
    const larger = Buffer.allocUnsafeSlow((Math.max(needed, 2 * this.buffer.byteLength) + 3) & ~3) as Latin1Buffer
    larger.set(this.buffer.subarray(0, this.length))
    this.buffer = larger
    this.words = new Uint32Array(larger.buffer)
  }
}

/** This request alone does not cross. */
function unsend(id: number, submission: Submission, error: unknown): void {
  receivers.delete(id)
  try {
    submission.onUnsent(error)
  } catch (thrown) {
    throwLater(thrown)
  }
}

function limit(value: number | null): number {
  if (value === null || value < 0) return INHERIT
  return Math.min(Math.ceil(value), INHERIT - 1)
}

/** Two words; all ones is the agent's own. */
function writeLarge(out: Uint32Array, at: number, value: number | null): void {
  const isOff = value !== null && value < 0
  out[at] = value === null ? INHERIT : isOff ? 0 : value >>> 0
  out[at + 1] = value === null ? INHERIT : isOff ? 0x7fff_ffff : Math.floor(value / 0x1_0000_0000)
}

let turn = 0

/** Grows with each delivery of completions: what is delivered together is delivered in one turn. */
export function currentTurn(): number {
  return turn
}

/** Whatever one record does, those behind it are delivered. */
function onCompletions(from: number, end: number): void {
  turn++
  for (let at = from; at < end; at += scratchWords[at + 1]!) {
    words[Word.reached] = at
    try {
      deliver(at)
    } catch (error) {
      throwLater(error)
    }
  }
}

function deliver(at: number): void {
  const kind = scratchWords[at]! & 0xff
  if (kind === COMPLETION_CONNECTION) {
    deliverConnection(at)
  } else if (kind === COMPLETION_QUESTION) {
    deliverQuestion(at)
  } else if (kind === COMPLETION_STARVATION) {
    deliverStarvation(at)
  } else {
    const receiver = receivers.get(scratchWords[at + 2]!)
    if (receiver !== undefined) deliverTo(receiver, at)
  }
}

function deliverConnection(at: number): void {
  const id = scratchWords[at + 2]!
  const listener = agents.get(id)?.deref()
  if (listener === undefined) agents.delete(id)
  else listener.onConnection(decodeJson(at + 4, scratchWords[at + 3]!) as ConnectionEvent)
}

/** The core waits for every answer: without one, the empty answer refuses. */
function deliverQuestion(at: number): void {
  const id = scratchWords[at + 2]!
  const number = scratchWords[at + 3]!
  const answer = (text: string): void => binding.questionAnswer(number, text)
  const listener = questioned.get(id)?.deref()
  if (listener === undefined) {
    answer('')
    return
  }
  try {
    listener.onQuestion(decodeJson(at + 5, scratchWords[at + 4]!) as CoreQuestion, answer)
  } catch (error) {
    answer('')
    throw error
  }
}

function deliverStarvation(at: number): void {
  const start = (at + 7) << 2
  onStarvation({
    pool: scratchWords[at + 2]!,
    round: scratchWords[at + 3]!,
    waiting: scratchWords[at + 4]!,
    held: scratchWords[at + 5]!,
    origin: scratch.latin1Slice(start, start + scratchWords[at + 6]!),
  })
}

/** A receiver that cannot take what was said ends with that. */
function deliverTo(receiver: Receiver, at: number): void {
  const id = scratchWords[at + 2]!
  try {
    tell(receiver, at)
  } catch (cause) {
    receivers.delete(id)
    binding.requestHandleAbort(id)
    const { message } = cause as Partial<Error>
    const error = new Error(`Internal error: ${message}`, { cause })
    if (!receiver.onUndelivered(Object.assign(error, { code: 'SLUICE_ERR_INTERNAL' }))) throw cause
  }
}

function tell(receiver: Receiver, at: number): void {
  const kind = scratchWords[at]!
  switch (kind & 0xff) {
    case COMPLETION_HEAD:
      if ((kind & FLAG_COMPLETE) !== 0) receivers.delete(scratchWords[at + 2]!)
      if ((kind & (FLAG_INFORMATIONAL | FLAG_UPGRADE)) === 0) receiver.onHead(decodeHead(kind, at))
      else if ((kind & FLAG_UPGRADE) === 0) receiver.onInformational?.(decodeHead(kind, at))
      else receiver.onUpgrade?.(decodeHead(kind, at))
      break
    case COMPLETION_READY:
      receiver.onReady?.()
      break
    case COMPLETION_READABLE:
      receiver.onReadable()
      break
    case COMPLETION_ERROR:
      receivers.delete(scratchWords[at + 2]!)
      receiver.onError(decodeError(at + 4, scratchWords[at + 3]!))
      break
    case COMPLETION_UPLOAD_READY:
      receiver.onUploadReady?.()
      break
    case COMPLETION_PIPED: {
      const written = number64(at + 3)
      const size = scratchWords[at + 5]!
      receiver.onPiped?.(written, (kind & FLAG_STOPPED) !== 0, size === 0 ? null : decodeError(at + 6, size))
      break
    }
  }
}

function number64(at: number): number {
  return scratchWords[at]! + scratchWords[at + 1]! * 0x1_0000_0000
}

function decodeJson(at: number, size: number): unknown {
  return JSON.parse(scratch.latin1Slice(at << 2, (at << 2) + size))
}

function decodeError(at: number, size: number): CoreErrorInfo {
  return decodeJson(at, size) as CoreErrorInfo
}

function decodeHead(kind: number, at: number): ResponseHead {
  const reason = (at + 10) << 2
  const headers = reason + scratchWords[at + 4]!
  const body = headers + scratchWords[at + 5]!
  const trailers = body + scratchWords[at + 6]!
  const end = trailers + scratchWords[at + 7]!
  const isLengthKnown = scratchWords[at + 9] !== INHERIT
  return {
    status: scratchWords[at + 3]!,
    statusText: scratch.utf8Slice(reason, headers),
    headerText: scratch.latin1Slice(headers, body),
    isHttp2: (kind & FLAG_HTTP2) !== 0,
    isComplete: (kind & FLAG_COMPLETE) !== 0,
    contentLength: isLengthKnown ? number64(at + 8) : null,
    body: body === trailers ? kEmpty : scratch.subarray(body, trailers),
    trailerText: end === trailers ? '' : scratch.latin1Slice(trailers, end),
    redirectedTo: (kind & FLAG_REDIRECTED) === 0 ? null : decodePadded(end, (at + scratchWords[at + 1]!) << 2),
    isCrossOrigin: (kind & FLAG_CROSS_ORIGIN) !== 0,
  }
}

/** Text that ends at the record's end or at NUL. */
function decodePadded(start: number, end: number): string {
  while (scratch[end - 1] === 0) end--
  return scratch.latin1Slice(start, end)
}

/** Header text as a flat array of names and values. */
export function splitHeaderText(text: string): string[] {
  return text === '' ? [] : text.split('\0')
}
