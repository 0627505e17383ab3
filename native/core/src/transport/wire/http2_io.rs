//! The bytes of one HTTP/2 connection as hyper reads and writes them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Connection;
use super::http2_meter::Http2Meter;
use super::stream::Stream;
use super::switch::Switch;
use crate::connection::ConnectionInfo;
use crate::credit::{ByteGauge, FRAME};

/// A stream that counts, and that can be closed from outside.
#[derive(Debug)]
pub struct Http2Io {
    stream: Stream,
    info: Arc<ConnectionInfo>,
    switch: Arc<Switch>,
    meter: Arc<Http2Meter>,
    gauge: Arc<ByteGauge>,
}

impl Http2Io {
    pub fn new(stream: Stream, connection: &Connection, meter: Arc<Http2Meter>, gauge: &Arc<ByteGauge>) -> Self {
        Self {
            stream,
            info: Arc::clone(&connection.info),
            switch: Arc::clone(&connection.switch),
            meter,
            gauge: Arc::clone(gauge),
        }
    }

    /// With the budget spent little is taken at once.
    fn read_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = Pin::new(&mut self.stream);
        if !self.gauge.is_spent() || buf.remaining() <= FRAME {
            return stream.poll_read(cx, buf);
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(FRAME));
        ready!(stream.poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Http2Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.switch.is_killed(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        ready!(this.read_stream(cx, buf))?;
        let read = &buf.filled()[before..];
        this.info.count_read(read.len());
        this.meter.read(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // A peer that reads nothing would hold a connection that is to end.
        if this.switch.is_off() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let stream = Pin::new(&mut this.stream);
        let written = ready!(match bufs {
            [single] => stream.poll_write(cx, single),
            several => stream.poll_write_vectored(cx, several),
        })?;
        this.info.count_written(written);
        Poll::Ready(Ok(written))
    }
}
