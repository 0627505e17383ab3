//! A connection that is no longer HTTP's.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::wire::connection::Connection;
use crate::transport::wire::socket::Socket;

/// Both directions of it; closes when it is dropped.
#[derive(Debug)]
pub struct TunnelStream {
    socket: Arc<Socket>,
    connection: Arc<Connection>,
    /// Came with the head.
    ahead: BytesMut,
}

impl TunnelStream {
    pub fn new(socket: Arc<Socket>, connection: Arc<Connection>, ahead: BytesMut) -> Self {
        Self {
            socket,
            connection,
            ahead,
        }
    }
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        self.socket.close();
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.connection.switch.is_killed(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if !this.ahead.is_empty() {
            let here = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..here]);
            this.ahead.advance(here);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(this.socket.with(|stream| stream.poll_read(cx, buf)))?;
        this.connection.info.count_read(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.with(|stream| stream.poll_flush(cx))
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
        if self.connection.switch.is_off() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let written = ready!(self.socket.with(|stream| match bufs {
            [single] => stream.poll_write(cx, single),
            several => stream.poll_write_vectored(cx, several),
        }))?;
        self.connection.info.count_written(written);
        Poll::Ready(Ok(written))
    }
}
