//! The bytes of one connection as hyper reads and writes them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::begun_upload::BegunUpload;
use super::connection::Connection;
use super::http2_meter::Http2Meter;
use super::rest::Rest;
use super::socket::{AHEAD, Loan, Socket};
use super::switch::Switch;
use super::tap::Tap;
use crate::connection::ConnectionInfo;
use crate::credit::{ByteGauge, FRAME};

/// A stream that counts, that can be closed from outside, and whose heads pass through the tap.
#[derive(Debug)]
pub struct WireIo {
    socket: Arc<Socket>,
    info: Arc<ConnectionInfo>,
    switch: Arc<Switch>,
    tap: Arc<Tap>,
    meter: Option<Arc<Http2Meter>>,
    begun: Arc<BegunUpload>,
    rest: Arc<Rest>,
    gauge: Arc<ByteGauge>,
    /// Why the peer takes no more. What it said before is read all the same: a server that will not have a request
    /// answers, and closes with the rest of it unread (RFC 9112 §9.6).
    refusal: Option<io::Error>,
    /// There is nothing more to read, and so nothing to wait for where the peer takes no more.
    is_read: bool,
}

impl WireIo {
    pub fn new(socket: Arc<Socket>, connection: &Connection, gauge: &Arc<ByteGauge>) -> Self {
        Self {
            socket,
            info: Arc::clone(&connection.info),
            switch: Arc::clone(&connection.switch),
            tap: Arc::clone(&connection.tap),
            meter: connection.meter.clone(),
            begun: Arc::clone(&connection.begun),
            rest: Arc::clone(&connection.rest),
            gauge: Arc::clone(gauge),
            refusal: None,
            is_read: false,
        }
    }

    /// With the budget spent a body takes little at once: those that begin then may all take one frame more. hyper reads
    /// one frame ahead of its reader, which is a page until there is one.
    fn read_stream(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = if self.meter.is_none() && self.tap.is_ahead() {
            AHEAD
        } else if self.meter.is_none() && self.info.bytes_read() == 0 {
            // hyper doubles its buffer when a read fills it, before it knows whether anybody reads on.
            buf.remaining().saturating_sub(1).max(1)
        } else if self.gauge.is_spent() {
            FRAME
        } else {
            usize::MAX
        };
        self.socket.with(|stream| {
            if buf.remaining() <= most {
                return stream.poll_read(cx, buf);
            }
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            ready!(stream.poll_read(cx, &mut part))?;
            let read = part.filled().len();
            buf.advance(read);
            Poll::Ready(Ok(()))
        })
    }

    /// A write that was refused waits for what is still to read. On an HTTP/1 connection hyper reads whenever it writes,
    /// but for when it ends: who ends it before everything was written kills it.
    fn hold<T>(&mut self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let may_wait = self.meter.is_none() && !self.is_read && !self.tap.is_handed_over() && !self.switch.is_off();
        match outcome {
            Poll::Ready(Err(error)) if may_wait && is_refusal(&error) => {
                self.begun.refused();
                self.refusal = Some(error);
                Poll::Pending
            }
            outcome => outcome,
        }
    }
}

impl AsyncRead for WireIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.switch.is_killed(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if this.socket.is_lent(cx) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let outcome = ready!(this.read_stream(cx, buf));
        if outcome.is_err() || buf.filled().len() == before {
            this.is_read = true;
            if let Some(refusal) = this.refusal.take()
                && (outcome.is_err() || this.tap.is_awaiting_head() || !has_closed_before(&refusal))
            {
                return Poll::Ready(Err(refusal));
            }
        }
        outcome?;
        let read = &mut buf.filled_mut()[before..];
        this.info.count_read(read.len());
        if let Some(left) = this.tap.read(read) {
            let (socket, info, gauge) = (&this.socket, &this.info, &this.gauge);
            this.tap
                .lend(Loan::new(Arc::clone(socket), Arc::clone(info), Arc::clone(gauge), left));
        }
        if let Some(meter) = &this.meter {
            meter.read(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WireIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes what it has written to the end.
        let this = self.get_mut();
        if this.refusal.is_some() && !this.switch.is_off() {
            return Poll::Pending;
        }
        let flushed = this.socket.with(|stream| stream.poll_flush(cx));
        if let Poll::Ready(Ok(())) = flushed {
            this.rest.set_flushed(true);
        }
        this.hold(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.with(|stream| stream.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.rest.set_flushed(false);
        // hyper goes on writing a body after its read side has failed, and a peer that reads nothing would hold it there.
        if this.switch.is_off() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if this.refusal.is_some() {
            return Poll::Pending;
        }
        let written = this.socket.with(|mut stream| {
            this.tap.write_through(bufs, |bufs| {
                let written = match bufs {
                    [single] => stream.as_mut().poll_write(cx, single),
                    several => stream.as_mut().poll_write_vectored(cx, several),
                };
                if let Poll::Ready(Ok(bytes)) = &written {
                    this.info.count_written(*bytes);
                }
                written
            })
        });
        this.hold(written)
    }
}

/// The peer takes no more.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// The peer had said all it had to say when it took no more: an end without a length is one.
fn has_closed_before(refusal: &io::Error) -> bool {
    refusal.kind() == io::ErrorKind::BrokenPipe
}
