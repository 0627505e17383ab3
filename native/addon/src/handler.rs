//! The JavaScript side of a response, as core sees it. Runs on the runtime's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use sluice_core::{BodyQueue, ByteGauge, DispatchError, DispatchHandler, HeaderMap, RequestController, ResponseStart};

use crate::completions::CompletionQueue;

/// What a request's two sides share: the runtime pushes, JavaScript reads.
pub struct Exchange {
    pub id: u32,
    pub completions: Arc<CompletionQueue>,
    pub controller: RequestController,
    pub queue: BodyQueue,
    pub gauge: Arc<ByteGauge>,
    /// Whether the head was told; from then on an error is the body's end.
    pub has_head: AtomicBool,
}

impl Exchange {
    fn tell_if(&self, is_reader_waiting: bool) {
        if is_reader_waiting {
            self.completions.readable(self.id);
        }
    }
}

/// Turns core's four callbacks into completions; body bytes go into the queue and wait there for JavaScript.
pub struct JsDispatchHandler {
    exchange: Arc<Exchange>,
    host: String,
}

impl JsDispatchHandler {
    /// `host` is `host:port`, for errors.
    pub fn new(exchange: Arc<Exchange>, host: String) -> Self {
        Self { exchange, host }
    }
}

impl DispatchHandler for JsDispatchHandler {
    async fn on_response_start(&mut self, start: ResponseStart) {
        self.exchange.has_head.store(true, Ordering::Release);
        self.exchange.completions.head(self.exchange.id, &start, None);
    }

    async fn on_response_data(&mut self, frame: Bytes) {
        let exchange = &self.exchange;
        exchange.tell_if(exchange.queue.push(frame));
    }

    async fn on_response_end(&mut self, trailers: HeaderMap) {
        let exchange = &self.exchange;
        exchange.tell_if(exchange.queue.finish(Ok(trailers)));
    }

    async fn on_response_error(&mut self, error: DispatchError) {
        let exchange = &self.exchange;
        if exchange.has_head.load(Ordering::Acquire) {
            exchange.tell_if(exchange.queue.finish(Err(error)));
        } else if !exchange.controller.is_aborted() {
            // An abort comes from JavaScript, which has settled the request already.
            exchange.completions.error(exchange.id, &error, &self.host);
        }
    }

    async fn on_response_complete(&mut self, start: ResponseStart, body: Bytes, trailers: HeaderMap) {
        // Its bytes ride in the completion and count until JavaScript has taken it.
        self.exchange.gauge.add(body.len());
        self.exchange.has_head.store(true, Ordering::Release);
        self.exchange
            .completions
            .head(self.exchange.id, &start, Some((&body, &trailers)));
    }
}
