//! One open connection, and the place where a request finds it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::time::Instant;

use hyper::client::conn::http2;

use super::begun_upload::BegunUpload;
use super::h1::{Course, Line};
use super::http2_meter::Http2Meter;
use super::outgoing::OutgoingBody;
use super::pool::{Pool, PoolEvents};
use super::switch::Switch;
use crate::connection::{ConnectionEventKind, ConnectionInfo};
use crate::error::CoreError;

/// Shared by the connection's pool, the requests that it serves and, on HTTP/2, its driver.
#[derive(Debug)]
pub struct Connection {
    pub id: u64,
    pub info: Arc<ConnectionInfo>,
    pub switch: Arc<Switch>,
    /// On HTTP/2.
    pub meter: Option<Arc<Http2Meter>>,
    /// On HTTP/2.
    pub begun: Arc<BegunUpload>,
    /// On HTTP/1.
    pub course: Course,
    pool: Weak<Pool>,
    pub opened: Instant,
    /// A proxy is at the other end, which is sent whole URLs, and these lines with every request.
    pub forward: Option<Arc<str>>,
    events: Arc<PoolEvents>,
    served: AtomicU64,
    end: Mutex<End>,
}

/// A connection that ends under a request is reported when that request is over.
#[derive(Debug, Default)]
struct End {
    requests: usize,
    error: Option<CoreError>,
}

impl Connection {
    pub fn new(
        id: u64,
        info: Arc<ConnectionInfo>,
        forward: Option<Arc<str>>,
        pool: &Arc<Pool>,
        meter: Option<Arc<Http2Meter>>,
    ) -> Self {
        Self {
            id,
            info,
            switch: Arc::default(),
            meter,
            begun: Arc::default(),
            course: Course::default(),
            pool: Arc::downgrade(pool),
            opened: Instant::now(),
            forward,
            events: Arc::clone(pool.events()),
            served: AtomicU64::new(0),
            end: Mutex::default(),
        }
    }

    /// A request is on the connection until [`Connection::release`].
    pub fn hold(&self) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).requests += 1;
    }

    pub fn release(&self) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.requests -= 1;
        self.report(end);
    }

    /// The socket is closed; `error` says why unless somebody has said so before.
    pub fn ended(&self, error: CoreError) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.error = Some(error);
        self.report(end);
    }

    fn report(&self, mut end: MutexGuard<'_, End>) {
        if end.requests > 0 {
            return;
        }
        let Some(error) = end.error.take() else { return };
        drop(end);
        let error = self.switch.cause().unwrap_or(error);
        self.events
            .notify(ConnectionEventKind::Disconnect, Some(self), Some(&error));
    }

    /// Closes the connection now, whoever has it. Not with the pool locked.
    fn kill(&self, cause: CoreError) {
        self.switch.kill(cause);
        if let Some(pool) = self.pool.upgrade() {
            pool.drop_idle(self.id);
        }
    }

    /// Counts a request; returns its number, from 1.
    pub fn serve(&self) -> u64 {
        self.served.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

/// The right to send on a connection.
#[derive(Debug)]
pub enum Sender {
    Http1(Line),
    Http2(http2::SendRequest<OutgoingBody>),
}

/// Holds the HTTP/1 connection of a request, once there is one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ConnectionSlot(Arc<OnceLock<(Arc<Connection>, u64)>>);

impl ConnectionSlot {
    pub(super) fn set(&self, connection: Arc<Connection>, request: u64) {
        // A request that went out again on another connection was not written to the first.
        let _ = self.0.set((connection, request));
    }

    /// Closes the connection also if the rest of this response is buffered already and the pool has it back, but not
    /// once it serves a further request.
    pub fn close(&self) {
        if let Some((connection, request)) = self.0.get()
            && connection.served() == *request
        {
            connection.kill(CoreError::Informational("aborted".into()));
        }
    }
}
