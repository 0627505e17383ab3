//! A response's body, and what becomes of its connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;

use super::connection::Connection;
use super::outgoing::OutgoingBody;
use super::pool::{Lease, Pool};
use super::rest::Http1Sender;
use super::socket::{Loan, ReadBuffer};
use super::starvation::HeldByBody;
use crate::direct::Direct;
use crate::error::CoreError;
use crate::transport::TransportBody;
use crate::transport::failure::{Peer, Phase, classify, cut_stream};
use crate::upload::UploadBody;
use crate::upload_progress::UploadProgress;

/// A request on its connection, from before it is sent until its response has ended.
#[derive(Debug)]
pub struct Exchange {
    pool: Arc<Pool>,
    connection: Arc<Connection>,
    /// Absent on HTTP/2.
    sender: Option<Http1Sender>,
    is_http2: bool,
    /// Of a request body on HTTP/1.
    upload: Option<Arc<UploadProgress>>,
    /// How long the connection may idle after this; `None`: it is not used again.
    keep: Option<Duration>,
    has_response: bool,
    /// There from the response's head until the connection is given up.
    held: Option<HeldByBody>,
    /// The rest of a long body. hyper takes the response for whole.
    loan: Option<Arc<Loan>>,
    /// The server announced a length and that it would close.
    closes_after_length: bool,
    is_over: bool,
}

impl Exchange {
    pub fn http1(lease: &Lease, sender: Http1Sender) -> Self {
        lease.connection.hold();
        Self {
            pool: Arc::clone(&lease.pool),
            connection: Arc::clone(&lease.connection),
            sender: Some(sender),
            is_http2: false,
            upload: None,
            keep: None,
            has_response: false,
            held: None,
            loan: None,
            closes_after_length: false,
            is_over: false,
        }
    }

    pub fn http2(lease: &Lease) -> Self {
        lease.connection.hold();
        if let Some(meter) = &lease.connection.meter {
            meter.begin_stream();
        }
        Self {
            pool: Arc::clone(&lease.pool),
            connection: Arc::clone(&lease.connection),
            sender: None,
            is_http2: true,
            upload: None,
            keep: None,
            has_response: false,
            held: None,
            loan: None,
            closes_after_length: false,
            is_over: false,
        }
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub fn sender(&mut self) -> Option<&mut http1::SendRequest<OutgoingBody>> {
        self.sender.as_mut().and_then(Http1Sender::hyper)
    }

    /// The request's body, before it is sent.
    pub fn carries(&mut self, body: Option<&UploadBody>) {
        self.upload = body.map(|body| Arc::clone(body.progress()));
    }

    /// The body is read from the socket once hyper has given what came with the head.
    pub fn borrow(&mut self, loan: Option<Loan>) {
        self.loan = loan.map(Arc::new);
    }

    /// hyper has given all that it has of a long body.
    fn rest(&mut self) {
        if let Some(sender) = self.sender.as_mut().filter(|_| self.loan.is_some()) {
            sender.rest(&self.connection);
        }
    }

    /// The socket goes back when the body has come whole, with the connection.
    fn pay_back(&mut self) {
        let Some(loan) = self.loan.take_if(|loan| loan.left() == 0) else {
            return;
        };
        if !loan.end() {
            self.keep = None;
        }
        self.finish();
    }

    /// The connection is in the middle of a request: nothing can follow it. hyper closes it only when it can write
    /// again, for which the server may never let it.
    fn is_uploading(&self) -> bool {
        let is_sent = |upload: &UploadProgress| upload.is_finished() && self.connection.rest.is_flushed();
        self.upload.as_ref().is_some_and(|upload| !is_sent(upload))
    }

    fn close(&self, reason: &str) {
        self.connection.switch.kill(CoreError::Informational(reason.into()));
    }

    pub fn keep(&mut self, keep: Option<Duration>) {
        self.has_response = true;
        self.keep = keep;
    }

    pub fn closes_after_length(&mut self, closes: bool) {
        self.closes_after_length = closes;
    }

    /// Why the connection will end.
    pub fn explain(&self, reason: &str) {
        self.connection.switch.explain(CoreError::Informational(reason.into()));
    }

    pub fn peer(&self) -> Peer<'_> {
        Peer {
            origin: &self.pool.route().origin,
            address: self.connection.info.remote.map(|address| address.ip()),
            connect_timeout: None,
        }
    }

    /// The response has ended as it should.
    fn finish(&mut self) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.held = None;
        if self.is_http2 {
            self.end_stream();
        } else if let Some(sender) = self.sender.take() {
            match self.keep {
                _ if self.is_uploading() => self.close("reset"),
                Some(keep) => self.pool.check_in(&self.connection, sender, Some(keep)),
                None => self.explain("reset"),
            }
        }
    }

    fn end_stream(&self) {
        if let Some(meter) = &self.connection.meter {
            meter.end_stream();
        }
        self.pool.end_stream(self.connection.id);
    }

    /// The request was dropped on the way.
    fn abandon(&mut self) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.held = None;
        if self.is_http2 {
            self.end_stream();
            return;
        }
        let Some(mut sender) = self.sender.take() else { return };
        if self.is_uploading() || self.loan.is_some() {
            self.close("aborted");
            return;
        }
        let keep = self.keep.filter(|_| self.has_response);
        let (Some(keep), Ok(runtime)) = (keep, tokio::runtime::Handle::try_current()) else {
            self.explain("aborted");
            return;
        };
        // hyper keeps the connection if the whole rest is there already, and closes it otherwise.
        let (pool, connection) = (Arc::clone(&self.pool), Arc::clone(&self.connection));
        connection.hold();
        runtime.spawn(async move {
            if sender.ready(&pool.limits().http2.gauge).await {
                pool.check_in(&connection, sender, Some(keep));
            } else {
                connection.switch.explain(CoreError::Informational("aborted".into()));
            }
            connection.release();
        });
    }

    /// The connection, or the stream, has failed.
    fn fail(&mut self) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.held = None;
        if self.loan.is_some() {
            self.close("other side closed");
        }
        self.sender = None;
        if self.is_http2 {
            self.end_stream();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.abandon();
        if let Some(loan) = &self.loan {
            loan.end();
        }
        self.connection.release();
    }
}

/// The frames of a response, trailers among them, with errors under their own names.
#[derive(Debug)]
pub struct WireBody {
    inner: Incoming,
    exchange: Exchange,
    buffer: ReadBuffer,
    has_begun: bool,
}

impl WireBody {
    pub fn new(inner: Incoming, mut exchange: Exchange) -> Self {
        exchange.held = Some(exchange.pool.bodies().begin());
        if inner.is_end_stream() {
            exchange.rest();
        }
        Self {
            inner,
            exchange,
            buffer: ReadBuffer::default(),
            has_begun: false,
        }
    }

    fn error(&self, error: &(dyn std::error::Error + 'static)) -> CoreError {
        let error = classify(error, Phase::Body, &self.exchange.peer());
        if self.exchange.loan.is_some() {
            self.exchange.connection.switch.explain(error.clone());
        }
        if self.exchange.closes_after_length && matches!(error, CoreError::Socket(_)) {
            // undici's verdict where the server said that it would close.
            return CoreError::ResponseContentLengthMismatch;
        }
        error
    }
}

impl WireBody {
    /// A piece of what hyper does not read; nothing when its reader has taken the last itself.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        let Some(loan) = &self.exchange.loan else {
            return Poll::Ready(None);
        };
        if loan.left() == 0 {
            self.exchange.pay_back();
            return Poll::Ready(None);
        }
        if let Some(cause) = self.exchange.connection.switch.cause_of_kill() {
            self.exchange.fail();
            return Poll::Ready(Some(Err(cause)));
        }
        let read = ready!(loan.poll_read(cx, &mut self.buffer, !self.has_begun));
        self.has_begun = true;
        self.exchange.pay_back();
        Poll::Ready(Some(read.map(Frame::data).map_err(|error| {
            let error = self.error(&error);
            self.exchange.fail();
            error
        })))
    }
}

impl TransportBody for WireBody {
    fn direct(&self) -> Option<Arc<dyn Direct>> {
        let loan = self.exchange.loan.as_ref().filter(|loan| loan.is_direct())?;
        Some(Arc::<Loan>::clone(loan))
    }
}

impl Body for WireBody {
    type Data = Bytes;
    type Error = CoreError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        if self.exchange.loan.is_some() && self.inner.is_end_stream() {
            return self.poll_rest(cx);
        }
        // What came with the head is taken whether or not the body is wanted.
        if self.has_begun {
            self.exchange.connection.tap.open();
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(meter), Some(data)) = (&self.exchange.connection.meter, frame.data_ref()) {
                    meter.take(data.len());
                }
                self.has_begun = true;
                if self.is_end_stream() {
                    self.exchange.finish();
                } else if self.inner.is_end_stream() {
                    self.exchange.rest();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = self.error(&error);
                self.exchange.fail();
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) if self.exchange.is_http2 && !self.inner.is_end_stream() => {
                self.exchange.fail();
                Poll::Ready(Some(Err(cut_stream())))
            }
            Poll::Ready(None) if self.exchange.loan.is_some() => self.poll_rest(cx),
            Poll::Ready(None) => {
                self.exchange.finish();
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream() && self.exchange.loan.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let Some(loan) = &self.exchange.loan else {
            return self.inner.size_hint();
        };
        SizeHint::with_exact(self.inner.size_hint().lower() + loan.left())
    }
}

impl Drop for WireBody {
    fn drop(&mut self) {
        self.exchange.pay_back();
        if self.is_end_stream() {
            self.exchange.finish();
        }
    }
}
