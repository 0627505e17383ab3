/** The options of `Agent`, as its callers write them. */
import type { AddressOption, HostTable } from './network-options.ts'
import type { ProxyOption } from './proxy-options.ts'
import type { LookupFunction } from './questions.ts'
import type { TlsConnectOptions } from './tls-options.ts'
import type { StreamsImplementation } from './types.ts'

/** TLS and connect options; a subset of undici's `connect`. */
export interface ConnectOptions extends TlsConnectOptions {
  /** Milliseconds for DNS, TCP and TLS together; 0 is off. The same as `connectTimeout`. */
  timeout?: number | null | undefined
  /** Looks names up in place of the system's resolver, as Node's `dns.lookup` does. */
  lookup?: LookupFunction | null | undefined
  /** A Unix domain socket that every connection goes to. */
  socketPath?: string | null | undefined
  /** The IP address to connect from. */
  localAddress?: string | null | undefined
  /** TCP keep-alive. Default true. */
  keepAlive?: boolean | null | undefined
  /** Milliseconds of silence before the first TCP keep-alive probe. Default 60 s. */
  keepAliveInitialDelay?: number | null | undefined
  autoSelectFamily?: boolean | undefined
  autoSelectFamilyAttemptTimeout?: number | undefined
  /** Offers HTTP/2 by ALPN. Default true. */
  allowH2?: boolean | undefined
  /** Offers it before HTTP/1.1. Default false. */
  preferH2?: boolean | undefined
  /** Connections never wait to fill a segment. */
  noDelay?: true | undefined
}

/** undici's HTTP/2 options, where they are given together. */
export interface Http2Options {
  /** HTTP/2 without TLS or negotiation. */
  useH2c?: boolean | undefined
  /** Streams a connection may have open. */
  maxConcurrentStreams?: number | undefined
  /** Bytes of the connection's flow-control window. */
  connectionWindowSize?: number | undefined
  /** Milliseconds between PING frames; 0 is off. */
  pingInterval?: number | undefined
  /** `initialWindowSize`: bytes of a stream's flow-control window. */
  settings?: { initialWindowSize?: number | undefined } | undefined
}

/** Options of `Agent`. An unknown one is an `InvalidArgumentError` that names it. */
export interface AgentOptions {
  /** Bytes one response may hold ahead of its reader. Default 512 KiB. */
  windowBytes?: number | undefined
  /** Bytes taken from an upload's source ahead of the socket. Default 512 KiB. */
  uploadWindowBytes?: number | undefined
  /**
   * Bytes that all bodies of the agent may hold, responses and uploads. Default 64 MiB. A body that holds nothing may
   * always take one frame more, so that paused bodies do not starve the others. `agent.stats.bufferedBytes` tells.
   */
  maxBufferedBytes?: number | undefined
  /** Milliseconds for DNS, TCP and TLS together; 0 is off. Default 10 s. */
  connectTimeout?: number | null | undefined
  /**
   * Milliseconds in which the server takes nothing of the request, or has all of it and sends no response head; 0 is off.
   * Default 300 s.
   */
  headersTimeout?: number | null | undefined
  /** Milliseconds the server may be silent inside a body, and take nothing of the request; 0 is off. Default 300 s. */
  bodyTimeout?: number | null | undefined
  /** Milliseconds from the request to the last byte of its response; 0 is off, the default. */
  timeout?: number | undefined
  /** Connections to one origin; 0 or `null`, the default, is no limit. */
  connections?: number | null | undefined
  /** 0 sends one request per connection. More than 1 is accepted and is 1: answers are never waited for in a row. */
  pipelining?: number | null | undefined
  /** Origins with a connection or a request at one time. Default no limit. */
  maxOrigins?: number | undefined
  /** Milliseconds an idle connection is kept. Default 4 s. */
  keepAliveTimeout?: number | null | undefined
  /** The most milliseconds that a server's `keep-alive: timeout=` may ask for. Default 600 s. */
  keepAliveMaxTimeout?: number | null | undefined
  /** Milliseconds taken off what it asks for. Default 2 s. */
  keepAliveTimeoutThreshold?: number | null | undefined
  /** Requests that a connection serves; 0 or `null`, the default, is no limit. */
  maxRequestsPerClient?: number | null | undefined
  /** Milliseconds after which a connection takes no further request. */
  clientTtl?: number | null | undefined
  /** Bytes of response header names and values. Default 16 KiB. */
  maxHeaderSize?: number | null | undefined
  /** Bytes of a response body; -1, the default, is no limit. */
  maxResponseSize?: number | null | undefined
  /** Of `fetch`: bytes of a response body after decoding; -1, the default, is no limit. */
  maxDecodedSize?: number | undefined
  /** Of `fetch`: bytes after decoding for each byte on the wire; 0, the default, is no limit. */
  maxCompressionRatio?: number | undefined
  /** The engine that speaks HTTP: `'wire'`, the default, sends targets and headers as given; or `'reqwest'`. */
  transport?: 'reqwest' | 'wire' | undefined
  /** Offers HTTP/2 by ALPN. Default true. */
  allowH2?: boolean | null | undefined
  /** HTTP/2 without TLS or negotiation, for `http:` origins. Default false. */
  useH2c?: boolean | null | undefined
  /** Streams an HTTP/2 connection may have open, as far as their windows have room. Default 100. */
  maxConcurrentStreams?: number | null | undefined
  /**
   * Bytes of the flow-control window of an HTTP/2 stream, default 800 KiB, and of the connection, default what its
   * streams need; at most `maxBufferedBytes`.
   */
  initialWindowSize?: number | null | undefined
  connectionWindowSize?: number | null | undefined
  /** Milliseconds between HTTP/2 PING frames; 0 is off. Default 60 s. */
  pingInterval?: number | null | undefined
  h2Options?: Http2Options | null | undefined
  /** The IP address to connect from. */
  localAddress?: string | null | undefined
  /** A Unix domain socket that every connection goes to. */
  socketPath?: string | null | undefined
  /** Tries a host's addresses side by side (RFC 8305). */
  autoSelectFamily?: boolean | undefined
  /** Milliseconds until the next address is tried. */
  autoSelectFamilyAttemptTimeout?: number | undefined
  /** `false` turns a wrong `content-length` header into a warning. Default true. */
  strictContentLength?: boolean | null | undefined
  /** Sends requests through a proxy. Default `false`; the global agent's is `'env'`. */
  proxy?: ProxyOption | null | undefined
  /** Milliseconds for which an answer of the resolver is used again; 0, the default, asks for each connection. */
  dnsCacheTimeout?: number | undefined
  /** Addresses of hosts that are not looked up. */
  resolve?: HostTable | null | undefined
  /** Which addresses may be connected to; asked before every connection. Default any. */
  allowAddress?: AddressOption | null | undefined
  connect?: ConnectOptions | null | undefined
  /** The same as `connect`, which stands before it. */
  tls?: ConnectOptions | null | undefined
  /** Limits of undici's `WebSocket` over this agent. */
  webSocket?: { maxFragments?: number; maxPayloadSize?: number } | undefined
  /** Limits of undici's `EventSource` over this agent. */
  eventSource?: { maxEventSize?: number } | undefined
  /** The streams implementation of response bodies; the platform's by default. */
  streams?: Partial<StreamsImplementation> | undefined
}
