//! The body of a response, whichever engine reads it.

use std::error::Error;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::failure::{Peer, Phase, classify};
use crate::error::CoreError;
use crate::origin::Origin;

/// The frames of a response, trailers among them, with errors under their own names.
#[derive(Debug)]
pub struct ResponseBody<B> {
    inner: B,
    origin: Origin,
    address: Option<IpAddr>,
    /// The server announced a length and that it would close.
    closes_after_length: bool,
}

impl<B> ResponseBody<B> {
    pub(super) fn new(inner: B, origin: Origin, address: Option<IpAddr>, closes_after_length: bool) -> Self {
        Self {
            inner,
            origin,
            address,
            closes_after_length,
        }
    }
}

impl<B: Body<Data = Bytes, Error: Error + 'static> + Unpin> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = CoreError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        Pin::new(&mut self.inner).poll_frame(cx).map_err(|error| {
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
