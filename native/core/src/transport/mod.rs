//! The seam between sluice's own logic and the engine that speaks HTTP.

mod body;
mod engine;
mod failure;
mod http2_windows;
mod reqwest;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

pub use self::engine::{Engine, EngineKind};
pub(crate) use self::failure::system_error;
pub(crate) use self::failure::upload_error;
pub use self::reqwest::ReqwestTransport;
pub use self::wire::{ConnectionSlot, KeepAlive, SocketOptions, TunnelStream, WireTransport};
use crate::connection::{ConnectionInfo, ConnectionObserver};
use crate::credit::ByteGauge;
use crate::direct::Direct;
use crate::error::CoreError;
use crate::header_list::HeaderList;
use crate::origin::Origin;
use crate::proxy::ProxyRules;
use crate::resolve::DnsOptions;
use crate::response::ResponseStart;
use crate::tls::TlsOptions;
use crate::upload::UploadBody;

/// Where a request goes. Requests of one route share connections.
#[derive(Debug, Clone)]
pub struct Route {
    pub origin: Origin,
    /// The name for SNI and for the certificate; the origin's host by default.
    pub servername: Option<String>,
    pub http1_only: bool,
    /// A proxy is asked for a tunnel where it could pass the request on: what follows a switch of protocols is not
    /// HTTP, and no proxy's to understand (RFC 6455 §4.1).
    pub tunnels: bool,
    /// `None` is the agent's, `Duration::MAX` no limit.
    pub connect_timeout: Option<Duration>,
}

/// How the end of a request body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    Length(u64),
    Chunked,
}

/// One request as an engine takes it.
#[derive(Debug)]
pub struct WireRequest {
    pub method: Method,
    /// Each character stands for one byte.
    pub target: String,
    /// The origin's authority by default.
    pub host: Option<String>,
    /// Without the fields that follow from the rest.
    pub headers: HeaderList,
    pub framing: Framing,
    pub body: Option<UploadBody>,
    /// Sends `connection: close`.
    pub closes: bool,
    /// Does not use the connection again.
    pub is_last: bool,
    pub upgrade: Option<String>,
    /// See `DispatchOptions`.
    pub expects_continue: bool,
    /// Where an engine that can leaves the connection it took.
    pub slot: ConnectionSlot,
}

/// The head of a response, with a body that reads the socket only when polled.
#[derive(Debug)]
pub struct WireResponse<B> {
    pub start: ResponseStart,
    pub body: B,
    /// The connection is no longer HTTP's.
    pub upgrade: Option<TunnelStream>,
}

impl<B> WireResponse<B> {
    fn map<C>(self, wrap: impl FnOnce(B) -> C) -> WireResponse<C> {
        WireResponse {
            start: self.start,
            body: wrap(self.body),
            upgrade: self.upgrade,
        }
    }
}

/// What an engine is built from.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// DNS, TCP and TLS together; `None` is no limit.
    pub connect_timeout: Option<Duration>,
    pub keep_alive: KeepAlive,
    pub tls: TlsOptions,
    /// Offers HTTP/2 by ALPN on TLS connections.
    pub allow_http2: bool,
    /// Names it before HTTP/1.1; undici does not.
    pub prefer_http2: bool,
    /// HTTP/2 without TLS or negotiation.
    pub http2_prior_knowledge: bool,
    /// Bytes that one HTTP/2 stream may send ahead: what 20 MB/s are in a round trip of 40 ms.
    pub http2_stream_window: u32,
    /// Bytes that all streams of a connection may send ahead; `None` is what they need, within the budget.
    pub http2_connection_window: Option<u32>,
    /// Requests at once on one HTTP/2 connection.
    pub http2_max_streams: usize,
    pub http2_ping_interval: Option<Duration>,
    /// What a TLS handshake offers, where the caller has said so.
    pub alpn: Option<Vec<&'static [u8]>>,
    pub dns: DnsOptions,
    pub socket: SocketOptions,
    /// Needs engine wire, which an agent with proxies has.
    pub proxies: Option<ProxyRules>,
    /// Per origin; `None` is no limit. Engine wire only, as what follows.
    pub connections: Option<usize>,
    pub max_requests_per_connection: Option<u64>,
    pub connection_ttl: Option<Duration>,
    pub observer: Option<Arc<dyn ConnectionObserver>>,
    /// Counts what the engine itself holds of response bodies, where it can tell.
    pub gauge: Arc<ByteGauge>,
}

impl TransportConfig {
    /// What a TLS handshake offers.
    fn alpn(&self) -> Vec<&'static [u8]> {
        if let Some(alpn) = &self.alpn {
            return alpn.clone();
        }
        match (self.http2_prior_knowledge, self.allow_http2) {
            (true, _) => vec![b"h2"],
            (false, true) if self.prefer_http2 => vec![b"h2", b"http/1.1"],
            (false, true) => vec![b"http/1.1", b"h2"],
            (false, false) => vec![b"http/1.1"],
        }
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Some(Duration::from_secs(10)),
            keep_alive: KeepAlive::default(),
            tls: TlsOptions::default(),
            allow_http2: true,
            prefer_http2: true,
            http2_prior_knowledge: false,
            http2_stream_window: 800 * 1024,
            http2_connection_window: None,
            http2_max_streams: 100,
            http2_ping_interval: None,
            alpn: None,
            dns: DnsOptions::default(),
            socket: SocketOptions::default(),
            proxies: None,
            connections: None,
            max_requests_per_connection: None,
            connection_ttl: None,
            observer: None,
            gauge: Arc::default(),
        }
    }
}

/// An engine: gives connections.
pub trait Transport: Send + Sync + 'static {
    type Lease: TransportLease;

    /// A connection that can take a request now. An engine that keeps its connections to itself gives one at once.
    fn checkout(&self, route: Route) -> impl Future<Output = Result<Self::Lease, CoreError>> + Send;

    /// Closes every connection.
    fn destroy(&self) {}
}

/// A response's body.
pub trait TransportBody: http_body::Body<Data = Bytes, Error = CoreError> + Send + Unpin {
    /// The part of it that whoever holds this may read instead, in turn with whoever polls the body.
    fn direct(&self) -> Option<Arc<dyn Direct>> {
        None
    }
}

/// A connection for one request. Dropped unused it goes back.
pub trait TransportLease: Send {
    type Body: TransportBody;

    /// `None` where the engine does not say.
    fn info(&self) -> Option<&Arc<ConnectionInfo>>;

    /// Sends one request and gives back the head. Dropping the future or the body drops the connection (HTTP/2: resets
    /// the stream), but for a body whose rest is already buffered whole, whose connection an engine may keep. Takes of
    /// `request` what it needs.
    fn send(
        self,
        request: &mut WireRequest,
        on_informational: &mut (dyn FnMut(ResponseStart) + Send),
    ) -> impl Future<Output = Result<WireResponse<Self::Body>, CoreError>> + Send;
}
