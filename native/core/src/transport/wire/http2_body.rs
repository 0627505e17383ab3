//! A response's body on HTTP/2, and what becomes of its stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Connection;
use super::pool::{Lease, Pool};
use super::starvation::HeldByBody;
use crate::error::CoreError;
use crate::transport::failure::{Peer, Phase, classify, cut_stream};

/// A request on its stream, from before it is sent until its response has ended.
#[derive(Debug)]
pub struct Http2Exchange {
    pool: Arc<Pool>,
    connection: Arc<Connection>,
    is_over: bool,
    /// There from the response's head until its stream has ended.
    held: Option<HeldByBody>,
}

impl Http2Exchange {
    pub fn new(lease: &Lease) -> Self {
        lease.connection.hold();
        if let Some(meter) = &lease.connection.meter {
            meter.begin_stream();
        }
        Self {
            pool: Arc::clone(&lease.pool),
            connection: Arc::clone(&lease.connection),
            is_over: false,
            held: None,
        }
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub fn peer(&self) -> Peer<'_> {
        Peer {
            origin: &self.pool.route().origin,
            address: self.connection.info.remote.map(|address| address.ip()),
            connect_timeout: None,
        }
    }

    /// The stream has ended, well or not.
    fn end(&mut self) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.held = None;
        if let Some(meter) = &self.connection.meter {
            meter.end_stream();
        }
        self.pool.end_stream(self.connection.id);
    }
}

impl Drop for Http2Exchange {
    fn drop(&mut self) {
        self.end();
        self.connection.release();
    }
}

/// The frames of a response, trailers among them, with errors under their own names.
#[derive(Debug)]
pub struct Http2Body {
    inner: Incoming,
    exchange: Http2Exchange,
}

impl Http2Body {
    pub fn new(inner: Incoming, mut exchange: Http2Exchange) -> Self {
        exchange.held = Some(exchange.pool.bodies().begin());
        Self { inner, exchange }
    }
}

impl Body for Http2Body {
    type Data = Bytes;
    type Error = CoreError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(meter), Some(data)) = (&self.exchange.connection.meter, frame.data_ref()) {
                    meter.take(data.len());
                }
                if self.inner.is_end_stream() {
                    self.exchange.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = classify(&error, Phase::Body, &self.exchange.peer());
                self.exchange.end();
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                self.exchange.end();
                let is_whole = self.inner.is_end_stream();
                Poll::Ready((!is_whole).then(|| Err(cut_stream())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
