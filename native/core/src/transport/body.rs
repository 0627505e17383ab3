//! The body of a response, whichever engine reads it.

use std::error::Error;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::failure::{Peer, Phase, classify, cut_stream};
use crate::error::CoreError;
use crate::origin::Origin;
use crate::response::ResponseStart;

/// The frames of a response, trailers among them, with errors under their own names.
#[derive(Debug)]
pub struct ResponseBody<B> {
    inner: B,
    origin: Origin,
    address: Option<IpAddr>,
    /// The server announced a length and that it would close.
    closes_after_length: bool,
    is_http2: bool,
}

impl<B> ResponseBody<B> {
    pub(super) fn new(inner: B, origin: Origin, address: Option<IpAddr>, start: &ResponseStart) -> Self {
        let headers = &start.headers;
        Self {
            inner,
            origin,
            address,
            closes_after_length: headers.get("connection") == Some(b"close") && headers.get("content-length").is_some(),
            is_http2: start.version == http::Version::HTTP_2,
        }
    }
}

impl<B: Body<Data = Bytes, Error: Error + 'static> + Unpin> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = CoreError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if self.is_http2 && matches!(polled, Poll::Ready(None)) && !self.inner.is_end_stream() {
            return Poll::Ready(Some(Err(cut_stream())));
        }
        polled.map_err(|error| {
            let peer = Peer {
                origin: &self.origin,
                address: self.address,
                connect_timeout: None,
            };
            match classify(&error, Phase::Body, &peer) {
                // undici's verdict where the server said that it would close.
                CoreError::Socket(_) if self.closes_after_length => CoreError::ResponseContentLengthMismatch,
                error => error,
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
