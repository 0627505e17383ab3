//! The seam between sluice's own logic and the engine that speaks HTTP.

mod body;
mod connection;
mod connector;
mod engine;
mod failure;
mod reqwest;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};

pub use self::connection::ConnectionSlot;
pub use self::engine::{Engine, EngineKind};
pub use self::reqwest::ReqwestTransport;
pub use self::wire::WireTransport;
use crate::error::CoreError;
use crate::origin::Origin;
use crate::tls::TlsOptions;
use crate::upload::UploadBody;

/// One request as an engine takes it.
#[derive(Debug)]
pub struct WireRequest {
    pub origin: Origin,
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Option<UploadBody>,
    /// Where an engine that can leaves the connection it took.
    pub connection: ConnectionSlot,
}

/// What an engine is built from.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// DNS, TCP and TLS together; `None` is no limit.
    pub connect_timeout: Option<Duration>,
    /// How long an idle connection is kept; `None` keeps none.
    pub keep_alive_timeout: Option<Duration>,
    pub tls: TlsOptions,
    /// Offers HTTP/2 by ALPN on TLS connections.
    pub allow_http2: bool,
    /// HTTP/2 without TLS or negotiation.
    pub http2_prior_knowledge: bool,
    /// Bytes that one HTTP/2 stream may send ahead.
    pub http2_stream_window: u32,
    /// Bytes that all streams of a connection may send ahead: far above one stream's, or a few unread responses
    /// stall every other.
    pub http2_connection_window: u32,
    pub local_address: Option<std::net::IpAddr>,
}

impl TransportConfig {
    /// What a TLS handshake offers.
    fn alpn(&self) -> &'static [&'static [u8]] {
        match (self.http2_prior_knowledge, self.allow_http2) {
            (true, _) => &[b"h2"],
            (false, true) => &[b"h2", b"http/1.1"],
            (false, false) => &[b"http/1.1"],
        }
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Some(Duration::from_secs(10)),
            keep_alive_timeout: Some(Duration::from_secs(4)),
            tls: TlsOptions::default(),
            allow_http2: true,
            http2_prior_knowledge: false,
            http2_stream_window: 512 * 1024,
            http2_connection_window: 64 * 1024 * 1024,
            local_address: None,
        }
    }
}

/// An engine: sends one request and gives back the head, with a body that reads the socket only when polled.
///
/// Dropping the future or the body drops the connection (HTTP/2: resets the stream), but for a body whose rest is
/// already buffered whole, whose connection an engine may keep.
pub trait Transport: Send + Sync + 'static {
    type Body: http_body::Body<Data = Bytes, Error = CoreError> + Send + Unpin;

    fn send(&self, request: WireRequest) -> impl Future<Output = Result<http::Response<Self::Body>, CoreError>> + Send;
}
