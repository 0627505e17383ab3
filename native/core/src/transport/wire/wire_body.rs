//! A response's body, whichever protocol brings it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::h1::H1Body;
use super::http2_body::Http2Body;
use crate::direct::Direct;
use crate::error::CoreError;
use crate::transport::TransportBody;

/// The frames of a response, trailers among them.
#[derive(Debug)]
pub enum WireBody {
    Http1(H1Body),
    Http2(Http2Body),
}

impl Body for WireBody {
    type Data = Bytes;
    type Error = CoreError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

impl TransportBody for WireBody {
    fn direct(&self) -> Option<Arc<dyn Direct>> {
        match self {
            Self::Http1(body) => body.direct(),
            Self::Http2(_) => None,
        }
    }
}
