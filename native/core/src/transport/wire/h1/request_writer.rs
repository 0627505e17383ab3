//! A request on its way to the socket: its head, and its body in the framing that the head announces.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;

use super::segments::Segments;
use crate::connection::ConnectionInfo;
use crate::header_list::HeaderList;
use crate::piece::Piece;
use crate::transport::Framing;
use crate::transport::wire::socket::Socket;
use crate::upload::{UploadBody, UploadError};
use crate::upload_progress::UploadProgress;

/// Bytes that are taken of the body ahead of the socket, but for one frame more.
const AHEAD: usize = 256 * 1024;

/// Fields that must not stand in a trailer section (RFC 9110 §6.5.1): they frame a message, or route it, or say how it is
/// read.
const NO_TRAILERS: [&str; 12] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "host",
    "max-forwards",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
];

/// One request that is being written.
#[derive(Debug)]
pub struct RequestWriter {
    segments: Segments,
    body: Option<UploadBody>,
    progress: Option<Arc<UploadProgress>>,
    is_chunked: bool,
    /// The names that the `trailer` header announces, in their case.
    announced: Vec<Vec<u8>>,
    is_flushed: bool,
}

/// Why a request could not be written.
#[derive(Debug)]
pub enum WriteFault {
    Body(UploadError),
    Socket(io::Error),
}

impl RequestWriter {
    pub fn new(head: Vec<u8>, framing: Framing, headers: &HeaderList, body: Option<UploadBody>) -> Self {
        let mut segments = Segments::default();
        segments.push(head);
        let is_chunked = framing == Framing::Chunked;
        let progress = body.as_ref().map(|body| Arc::clone(body.progress()));
        if is_chunked && body.is_none() {
            segments.push("0\r\n\r\n");
        }
        Self {
            segments,
            announced: if is_chunked { announced(headers) } else { Vec::new() },
            body,
            progress,
            is_chunked,
            is_flushed: false,
        }
    }

    pub fn progress(&self) -> Option<&Arc<UploadProgress>> {
        self.progress.as_ref()
    }

    /// Writes what there is to write. Ready once the socket has the whole request.
    ///
    /// # Errors
    /// The body's, or the socket's. Nothing more is to be written then.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Socket,
        info: &ConnectionInfo,
    ) -> Poll<Result<(), WriteFault>> {
        loop {
            let fed = self.feed(cx).map_err(WriteFault::Body)?;
            if self.segments.is_empty() {
                if !self.is_flushed {
                    ready!(socket.with(|stream| stream.poll_flush(cx))).map_err(WriteFault::Socket)?;
                    self.is_flushed = true;
                }
                ready!(fed);
                return Poll::Ready(Ok(()));
            }
            self.is_flushed = false;
            let written = ready!(self.segments.poll_write(cx, socket)).map_err(WriteFault::Socket)?;
            info.count_written(written);
        }
    }

    /// Takes of the body what goes out next. Ready once that is all of it.
    fn feed(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, UploadError> {
        while let Some(body) = &mut self.body {
            if self.segments.length() >= AHEAD || self.segments.is_full() {
                return Ok(Poll::Pending);
            }
            let frame = match body.poll_piece(cx) {
                // It has all that it announced: its source need not say that it has no more.
                Poll::Pending if body.size_hint().exact() == Some(0) => {
                    self.body = None;
                    continue;
                }
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(None) => {
                    self.end(&HeaderMap::new());
                    continue;
                }
                Poll::Ready(Some(frame)) => frame?,
            };
            match frame.into_data() {
                Ok(data) => {
                    let is_last = body.is_end_stream();
                    self.push(data);
                    if is_last {
                        self.end(&HeaderMap::new());
                    }
                }
                Err(frame) => self.end(&frame.into_trailers().unwrap_or_default()),
            }
        }
        Ok(Poll::Ready(()))
    }

    fn push(&mut self, data: Piece) {
        if !self.is_chunked {
            self.segments.push_data(data);
        } else if data.has_remaining() {
            self.segments.push(format!("{:x}\r\n", data.remaining()));
            self.segments.push_data(data);
            self.segments.push("\r\n");
        }
    }

    fn end(&mut self, trailers: &HeaderMap) {
        self.body = None;
        if !self.is_chunked {
            return;
        }
        let mut last = b"0\r\n".to_vec();
        for name in &self.announced {
            let Ok(lower) = std::str::from_utf8(name).map(str::to_ascii_lowercase) else {
                continue;
            };
            if NO_TRAILERS.contains(&lower.as_str()) {
                continue;
            }
            for value in trailers.get_all(lower.as_str()) {
                last.extend_from_slice(name);
                last.extend_from_slice(b": ");
                last.extend_from_slice(value.as_bytes());
                last.extend_from_slice(b"\r\n");
            }
        }
        last.extend_from_slice(b"\r\n");
        self.segments.push(last);
    }
}

fn announced(headers: &HeaderList) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    for value in headers.get_all("trailer") {
        for name in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if !name.is_empty() && !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.to_vec());
            }
        }
    }
    names
}
