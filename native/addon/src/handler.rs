//! The JavaScript side of a response, as core sees it. Runs on the runtime's thread.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sluice_core::{
    BodyQueue, ByteGauge, ConnectionInfo, CoreError, DispatchError, DispatchHandler, HeaderMap, Origin,
    RequestController, ResponseStart,
};
use tokio::sync::Notify;

use crate::completions::{CompletionQueue, HeadKind};

/// What a request's two sides share: the runtime pushes, JavaScript reads.
pub struct Exchange {
    pub id: u32,
    pub completions: Arc<CompletionQueue>,
    pub controller: RequestController,
    pub queue: BodyQueue,
    pub gauge: Arc<ByteGauge>,
    /// Whether the head was told; from then on an error is the body's end.
    pub has_head: AtomicBool,
    pub go_ahead: GoAhead,
    pub failed: Mutex<Option<Arc<ConnectionInfo>>>,
    /// Whose connection it has; see [`ConnectionInfo::pool`].
    pub pool: AtomicU32,
}

/// What a request with a connection may have to wait for: the handler can still refuse to have it sent.
pub struct GoAhead {
    is_asked: bool,
    given: Notify,
}

impl GoAhead {
    pub fn new(is_asked: bool) -> Self {
        Self {
            is_asked,
            given: Notify::new(),
        }
    }

    pub fn give(&self) {
        self.given.notify_one();
    }
}

impl Exchange {
    /// The connection whose end is the body's error.
    pub fn failed_connection(&self) -> Option<Arc<ConnectionInfo>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failed_on(&self, connection: Option<Arc<ConnectionInfo>>) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    fn tell_if(&self, is_reader_waiting: bool) {
        if is_reader_waiting {
            self.completions.readable(self.id);
        }
    }
}

/// Turns core's four callbacks into completions; body bytes go into the queue and wait there for JavaScript.
pub struct JsDispatchHandler {
    exchange: Arc<Exchange>,
    origin: Option<Origin>,
    connection: Option<Arc<ConnectionInfo>>,
}

impl JsDispatchHandler {
    /// `origin` is for errors.
    pub fn new(exchange: Arc<Exchange>, origin: Option<Origin>) -> Self {
        Self {
            exchange,
            origin,
            connection: None,
        }
    }

    /// False where the head is too large to be told: that is the end of this request, and of its connection.
    fn tell_head(&self, start: &ResponseStart, kind: HeadKind<'_>) -> bool {
        let is_told = self.exchange.completions.head(self.exchange.id, start, kind).is_ok();
        if !is_told && !self.exchange.controller.is_aborted() {
            self.exchange.controller.abort();
            self.tell_error(&CoreError::HeadersOverflow);
        }
        is_told
    }

    fn tell_error(&self, error: &DispatchError) {
        let host = self
            .origin
            .as_ref()
            .map(|origin| format!("{}:{}", origin.host(), origin.port()));
        self.exchange.completions.error(
            self.exchange.id,
            error,
            host.as_deref().unwrap_or_default(),
            self.connection.as_deref(),
        );
    }
}

impl DispatchHandler for JsDispatchHandler {
    async fn on_connection(&mut self, connection: Option<&Arc<ConnectionInfo>>) {
        self.connection = connection.cloned();
        let exchange = &self.exchange;
        let pool = connection.map_or(0, |connection| connection.pool);
        exchange.pool.store(pool, Ordering::Relaxed);
        if exchange.go_ahead.is_asked {
            exchange.completions.ready(exchange.id);
            exchange.go_ahead.given.notified().await;
        }
    }

    fn on_redirect(&mut self, origin: &Origin) {
        self.origin = Some(origin.clone());
        self.connection = None;
    }

    fn on_informational(&mut self, start: ResponseStart) {
        self.tell_head(&start, HeadKind::Informational);
    }

    async fn on_upgrade(&mut self, start: ResponseStart) {
        self.exchange.has_head.store(true, Ordering::Release);
        self.tell_head(&start, HeadKind::Upgrade);
    }

    async fn on_response_start(&mut self, start: ResponseStart) {
        self.exchange.has_head.store(true, Ordering::Release);
        self.tell_head(&start, HeadKind::Open);
    }

    async fn on_response_data(&mut self, frame: Bytes) {
        let exchange = &self.exchange;
        exchange.tell_if(exchange.queue.push(frame));
    }

    fn queue(&self) -> Option<&BodyQueue> {
        Some(&self.exchange.queue)
    }

    async fn on_response_end(&mut self, trailers: HeaderMap) {
        let exchange = &self.exchange;
        exchange.tell_if(exchange.queue.finish(Ok(trailers)));
    }

    async fn on_response_error(&mut self, error: DispatchError) {
        let exchange = &self.exchange;
        if exchange.has_head.load(Ordering::Acquire) {
            let connection = self.connection.take();
            exchange.failed_on(connection);
            exchange.tell_if(exchange.queue.finish(Err(error)));
        } else if !exchange.controller.is_aborted() {
            // An abort comes from JavaScript, which has settled the request already.
            self.tell_error(&error);
        }
    }

    async fn on_response_complete(&mut self, start: ResponseStart, body: Bytes, trailers: HeaderMap) {
        self.exchange.has_head.store(true, Ordering::Release);
        // Its bytes ride in the completion, and count until JavaScript has taken it.
        self.tell_head(&start, HeadKind::Complete(&body, &trailers, &self.exchange.gauge));
    }
}
