/**
 * The addon's typed surface and its one loader. Every native function must be called on the JavaScript thread that
 * loaded this module; none blocks. `streams/` and `lib/` import the addon from here only.
 */
import { createRequire } from 'node:module'

/** The ends of a connection and the bytes it moved, as far as they are known. */
export interface SocketInfo {
  localAddress?: string
  localPort?: number
  remoteAddress?: string
  remotePort?: number
  remoteFamily?: string
  bytesWritten?: number
  bytesRead?: number
}

/** What happened to a connection of an agent. Engine `wire` alone tells. */
export interface ConnectionEvent {
  event: 'connect' | 'disconnect' | 'connectionError'
  /** `http://host:port`, a default port left out. */
  origin: string
  /** It is one of the connections that requests without HTTP/2 have to themselves. */
  http1Only: boolean
  isHttp2: boolean
  /** Streams that may be open at once (HTTP/2). */
  maxStreams?: number
  socket?: SocketInfo
  /** Of `disconnect` and `connectionError`. */
  error?: CoreErrorInfo
}

/** What the core asks for an agent; answered by {@link NativeBinding.questionAnswer}. */
export interface CoreQuestion {
  ask: 'lookup' | 'allow' | 'extraRoots' | 'roots'
  host: string
  /** Of `allow`. */
  addresses: string[]
}

/** What the core says of a failure; `createUndiciError` builds the JavaScript error from it. */
export interface CoreErrorInfo {
  /** Class name: an undici class (`SocketError`) or `Error` for a raw Node system or TLS error. */
  name: string
  /** `UND_ERR_*`, a Node system code (`ECONNREFUSED`), an OpenSSL-style code (`CERT_HAS_EXPIRED`) or `HPE_*`. */
  code: string
  message: string
  statusCode?: number
  /** libuv's number: negative on POSIX (`-111`). */
  errno?: number
  syscall?: string
  address?: string
  port?: number
  hostname?: string
  /** Where it failed: `connect`, `request`, `headers` or `body`. */
  phase?: string
  /** `host:port` of the origin. */
  host?: string
  /** The connection it happened on. */
  socket?: SocketInfo
  /** Of a failed `connect.lookup`: by what its own error is found. */
  ticket?: number
  /** Of an `AggregateError`: the failure of each address that was tried. */
  errors?: CoreErrorInfo[]
}

/** An agent on the native side, by its id: its engine, pool and limits. Lives until it is closed or destroyed. */
export type NativeAgent = number & { readonly __nativeAgent: unique symbol }

/** What an agent is made from; `undefined` is the core's default. Times are milliseconds (0: no limit), sizes bytes. */
export interface NativeAgentConfig {
  windowBytes?: number | undefined
  uploadWindowBytes?: number | undefined
  maxBufferedBytes?: number | undefined
  headersTimeout?: number | undefined
  bodyTimeout?: number | undefined
  timeout?: number | undefined
  connectTimeout?: number | undefined
  /** 0 keeps no idle connection. */
  keepAliveTimeout?: number | undefined
  maxHeaderSize?: number | undefined
  /** -1: no limit. */
  maxResponseSize?: number | undefined
  maxDecodedSize?: number | undefined
  /** 0: no limit. */
  maxCompressionRatio?: number | undefined
  transport?: 'reqwest' | 'wire' | undefined
  allowH2?: boolean | undefined
  /** HTTP/2 without negotiation. */
  http2PriorKnowledge?: boolean | undefined
  /** PEM; replaces the platform's roots. */
  ca?: string | undefined
  /** PEM of `extraRoots` is added to the platform's roots. */
  asksExtraCa?: boolean | undefined
  /** PEM: a chain, its key, the next chain, … */
  identities?: string[] | undefined
  rejectUnauthorized?: boolean | undefined
  /** Within what the core speaks: TLS 1.2 and 1.3. */
  minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined
  maxVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined
  /** What a TLS handshake offers, of `h2` and `http/1.1`. */
  alpn?: string[] | undefined
  /**
   * Proxies for all, for `http:`, for `https:`, each as the name of the setting and its value, and what is reached
   * without.
   */
  proxies?: string[] | undefined
  /** The system's settings stand in where `proxies` are empty. */
  proxyOfSystem?: boolean | undefined
  proxyAuthorization?: string | undefined
  /** Flat names and values. */
  proxyHeaders?: string[] | undefined
  /** An answer of the resolver is used again for so long. */
  dnsCacheTimeout?: number | undefined
  /** `host address address …` */
  resolve?: string[] | undefined
  /** Names are looked up by asking `lookup`. */
  asksLookup?: boolean | undefined
  allowNetworks?: string[] | undefined
  denyNetworks?: string[] | undefined
  /** Every address is asked about by `allow`. */
  asksAddress?: boolean | undefined
  /** Connections per origin; 0 is no limit. */
  connections?: number | undefined
  /** `false`: every connection serves one request. */
  keepAlive?: boolean | undefined
  /** The most that a server's `keep-alive: timeout=` may ask for. */
  keepAliveMaxTimeout?: number | undefined
  /** Taken off what the server asks for. */
  keepAliveTimeoutThreshold?: number | undefined
  /** Requests a connection serves; 0 is no limit. */
  maxRequestsPerClient?: number | undefined
  /** Age at which a connection is not used again. */
  clientTtl?: number | undefined
  maxConcurrentStreams?: number | undefined
  http2StreamWindow?: number | undefined
  http2ConnectionWindow?: number | undefined
  http2PingInterval?: number | undefined
  localAddress?: string | undefined
  socketPath?: string | undefined
  /** TLS server name of every connection. */
  servername?: string | undefined
  /** ALPN offers HTTP/2 first. */
  preferH2?: boolean | undefined
  autoSelectFamily?: boolean | undefined
  autoSelectFamilyAttemptTimeout?: number | undefined
  tcpKeepAlive?: boolean | undefined
  tcpKeepAliveInitialDelay?: number | undefined
}

/** Shared words that both sides write further results into (`Int32Array`). */
export const Word = {
  /** After a body read: one of {@link ReadState}. */
  readState: 0,
  /** Of a delivery of completions: where the record that is being delivered begins, in words. */
  reached: 1,
} as const

export const ReadState = {
  /** More bytes are queued. */
  more: 0,
  /** Nothing is queued now; a `readable` completion is armed if the call returned no byte. */
  empty: 1,
  /** Everything was read and the body ended; `bodyEnd` has the trailers. */
  ended: 2,
  /** Everything was read and the body failed; `bodyEnd` has the error. */
  failed: 3,
  /** Nothing is queued, and `bodyReadInto` may find something all the same. */
  direct: 4,
  /** Nothing is there, in the queue or in the socket; `bodyWait` arms a `readable` completion. */
  drained: 5,
} as const

export interface NativeCounters {
  /** Body bytes copied into JavaScript memory by this copy of the package. */
  bodyBytesCrossed: number
  /** Requests in the native table of this copy. */
  handles: number
  /** JavaScript values of this copy that the native side keeps from being collected: none, unless a request is awaited. */
  roots: number
  /** Requests that keep the process alive now. */
  awaited: number
  /** Bytes that V8 takes for held outside of JavaScript by this environment. */
  externalMemory: number
  /** Requests running on the runtime, all environments. */
  tasks: number
  /** Times the runtime gave its free memory back to the system, all environments. */
  givenBack: number
}

/** What the addon exports. Copies of this package in one JavaScript environment may share it. */
export interface NativeAddon {
  /** The addon's name and version. */
  hello(): string
  /** The functions of one copy, whose agents and requests are its own. */
  create(): NativeBinding
}

/** The native side of one copy of the package. It lets go of everything when it is collected. */
export interface NativeBinding {
  /**
   * Opens this copy, once. `onCompletions(from, end)` is called with the records between those words of the scratch
   * buffer; it writes {@link Word.reached}, behind which the delivery goes on after an exception. `hasLibuv`: this is Node,
   * with its own event loop.
   */
  open(
    scratch: Uint8Array,
    words: Int32Array,
    onCompletions: (from: number, end: number) => void,
    hasLibuv: boolean,
  ): void
  /** @throws Error whose message is JSON of {@link CoreErrorInfo}. */
  agentCreate(config: NativeAgentConfig): NativeAgent
  /** Starts a batch of encoded requests (`streams/exchange.ts`); `bodies` holds the large ones, in order. */
  agentDispatch(agent: NativeAgent, batch: Uint8Array, length: number, bodies: Uint8Array[]): void
  /** No further request; idle connections close when the running requests have ended. */
  agentClose(agent: NativeAgent): void
  /** Drops every connection now; running requests are aborted. */
  agentDestroy(agent: NativeAgent): void
  /** Bytes that all bodies of the agent hold now, and its running requests. */
  agentStats(agent: NativeAgent): { bufferedBytes: number; running: number }
  /** Drops the connection (HTTP/2: RST_STREAM) at once and forgets the request. */
  requestHandleAbort(id: number): void
  /** The go-ahead after a `ready` completion. Harmless for an unknown id. */
  requestHandleProceed(id: number): void
  requestHandlePause(id: number): void
  requestHandleResume(id: number): void
  /** Drops a response nobody reads: the connection survives only if the whole rest is already buffered. */
  requestHandleCancel(id: number): void
  /**
   * At most `max` bytes of what is queued, in fresh memory; `undefined` when nothing is. Sets {@link Word.readState},
   * to `direct` only for who `readsOn`.
   */
  bodyRead(id: number, max: number, readsOn: boolean): Uint8Array | undefined
  /** Fills `view` from what is queued or in the socket; returns the bytes written. Sets {@link Word.readState}. */
  bodyReadInto(id: number, view: ArrayBufferView): number
  /**
   * Arms a `readable` completion for a read that found the body drained. A patient wait is at the socket itself, until
   * much is there, or all the rest; where that cannot be, and for an impatient one, the runtime reads again. Sets
   * {@link Word.readState}: `drained` at the socket, `empty` in the queue; anything else is there now.
   */
  bodyWait(id: number, isPatient: boolean): void
  /**
   * Trailers (NUL-separated names and values) or the error's JSON, after `ended` or `failed`; forgets the request. Of a
   * request that became a socket only when both directions are over.
   */
  bodyEnd(id: number): string
  /** Moves the rest of the body into the open file `fd` without entering JavaScript; ends in a `piped` completion. */
  bodyPipeToFile(id: number, fd: number): void
  /** Stops a pipe: the file descriptor is not used after the `piped` completion. */
  bodyPipeStop(id: number): void
  /**
   * Appends one chunk of a streamed upload, or none; returns the bytes of credit left (≤ 0: wait for `uploadReady`), and
   * NaN where nobody takes more.
   */
  uploadWrite(id: number, chunk: Uint8Array): number
  /**
   * Copies what follows in a body that crosses in pieces, as far as there is credit; whether there is more to take, and
   * `undefined` for a body that is not as long as it was. `uploadReady` says when to call again: also after the last
   * piece, where the body is to be sent once more.
   */
  uploadFrom(id: number, body: Uint8Array): boolean | undefined
  /** `trailers` of a body without a length: names and values separated by NUL, latin1; empty for none. */
  uploadEnd(id: number, trailers: string): void
  /** The responses on the connections of `pool` that nobody has read since the last look, and nobody waits to read. */
  unreadResponses(pool: number): number
  /** V8 takes so many bytes for held outside, beside what it is told of responses; 0 takes it back. */
  externalMemoryPress(bytes: number): void
  /** Answers a question, which nobody need wait for any more. */
  questionAnswer(question: number, answer: string): void
  counters(): NativeCounters
}

const require = createRequire(import.meta.url)

function load(): NativeAddon {
  // The addon lies beside this file; what is published is one file, `dist/lib/index.js`.
  const here = import.meta.url.endsWith('/native/binding.ts') ? './sluice.node' : '../../native/sluice.node'
  return require(here) as NativeAddon
}

export const binding: NativeBinding = load().create()
