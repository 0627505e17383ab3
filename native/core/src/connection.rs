//! Connections, as those outside the engine see them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::CoreError;
use crate::origin::Origin;

/// What is known of one connection. The counters are of bytes on the socket, inside TLS.
#[derive(Debug, Default)]
pub struct ConnectionInfo {
    pub local: Option<SocketAddr>,
    pub remote: Option<SocketAddr>,
    pub is_http2: bool,
    /// Streams that it may have open at once (HTTP/2).
    pub max_streams: Option<usize>,
    /// The number of the pool that it is of; 0 is none.
    pub pool: u32,
    read: AtomicU64,
    written: AtomicU64,
}

impl ConnectionInfo {
    pub fn new(local: Option<SocketAddr>, remote: Option<SocketAddr>, max_streams: Option<usize>) -> Self {
        Self {
            local,
            remote,
            is_http2: max_streams.is_some(),
            max_streams,
            ..Self::default()
        }
    }

    #[must_use]
    pub fn of_pool(mut self, pool: u32) -> Self {
        self.pool = pool;
        self
    }

    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub fn bytes_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn count_read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Something happened to a connection, idle or not.
#[derive(Debug)]
pub struct ConnectionEvent<'a> {
    pub kind: ConnectionEventKind,
    pub origin: &'a Origin,
    /// The connection may not speak HTTP/2, because its requests asked for that.
    pub http1_only: bool,
    /// Absent for a connect that failed.
    pub info: Option<&'a ConnectionInfo>,
    /// Absent for a connect that succeeded.
    pub error: Option<&'a CoreError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEventKind {
    Connect,
    /// Exactly one for every `Connect`.
    Disconnect,
    ConnectionError,
}

/// Requests wait for a connection, and responses that are not over hold every one that there may be. Or, with nobody
/// waiting, that this has ended.
#[derive(Debug)]
pub struct Starvation<'a> {
    pub origin: &'a Origin,
    /// As in [`ConnectionInfo::pool`].
    pub pool: u32,
    /// Another one once a request that waited has got a connection.
    pub round: u32,
    pub waiting: usize,
    /// Responses that hold the connections, or all streams of them.
    pub held: usize,
}

/// Told of an agent's connections, on the runtime's thread. Must not block.
pub trait ConnectionObserver: std::fmt::Debug + Send + Sync {
    fn notify(&self, event: ConnectionEvent<'_>);

    /// Again and again while it lasts, and once when it has ended.
    fn starvation(&self, _starvation: Starvation<'_>) {}
}
