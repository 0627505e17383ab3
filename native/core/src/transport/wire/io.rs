//! The bytes of one connection, with or without TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::begun_upload::BegunUpload;
use super::http2_meter::Http2Meter;
use super::switch::Switch;
use super::tap::Tap;
use crate::connection::ConnectionInfo;
use crate::credit::{ByteGauge, FRAME};

/// Bytes that are read at once of a body that nobody has asked for.
const AHEAD: usize = 4096;

/// The socket, whichever kind it is.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    Tls(Box<TlsStream<Stream>>),
}

macro_rules! with_stream {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($inner) => $call,
            #[cfg(unix)]
            Stream::Unix($inner) => $call,
            Stream::Tls($inner) => $call,
        }
    };
}

impl Stream {
    /// What TLS negotiated.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            _ => None,
        }
    }

    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Tls(stream) => stream.get_ref().0.tcp(),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        with_stream!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        with_stream!(self.get_mut(), inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_stream!(self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_stream!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        with_stream!(self, inner => inner.is_write_vectored())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with_stream!(self.get_mut(), inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }
}

/// A stream that counts, that can be closed from outside, and whose heads pass through the tap.
#[derive(Debug)]
pub struct WireIo {
    stream: Stream,
    info: Arc<ConnectionInfo>,
    switch: Arc<Switch>,
    tap: Arc<Tap>,
    meter: Option<Arc<Http2Meter>>,
    begun: Arc<BegunUpload>,
    gauge: Arc<ByteGauge>,
}

impl WireIo {
    pub fn new(
        stream: Stream,
        info: Arc<ConnectionInfo>,
        switch: Arc<Switch>,
        tap: Arc<Tap>,
        meter: Option<Arc<Http2Meter>>,
        begun: Arc<BegunUpload>,
        gauge: Arc<ByteGauge>,
    ) -> Self {
        Self {
            stream,
            info,
            switch,
            tap,
            meter,
            begun,
            gauge,
        }
    }

    /// With the budget spent a body takes little at once: those that begin then may all take one frame more. hyper reads
    /// one frame ahead of its reader, which is a page until there is one.
    fn read_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = Pin::new(&mut self.stream);
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
        if buf.remaining() <= most {
            return stream.poll_read(cx, buf);
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(stream.poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for WireIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.switch.is_killed(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        ready!(this.read_stream(cx, buf))?;
        let read = &mut buf.filled_mut()[before..];
        this.info.count_read(read.len());
        this.tap.read(read);
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
        let Self {
            stream,
            info,
            tap,
            switch,
            meter,
            begun,
            ..
        } = self.get_mut();
        // hyper goes on writing a body after its read side has failed, and a peer that reads nothing would hold it there.
        if switch.is_off() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        tap.write_through(bufs, |bufs| {
            let written = match bufs {
                [single] => Pin::new(&mut *stream).poll_write(cx, single),
                several => Pin::new(&mut *stream).poll_write_vectored(cx, several),
            };
            if let Poll::Ready(Ok(bytes)) = &written {
                info.count_written(*bytes);
                if meter.is_none() {
                    begun.written(*bytes);
                }
            }
            written
        })
    }
}
