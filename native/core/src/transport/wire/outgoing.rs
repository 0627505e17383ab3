//! A request body as hyper takes it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::upload::{UploadBody, UploadError};

/// A request body, or none, which hyper tells apart by its size.
///
/// Boxed, because each connection has room for 32 requests that wait for it, used or not.
#[derive(Debug)]
pub enum OutgoingBody {
    Empty,
    Upload(Box<UploadBody>),
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Upload(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Upload(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Upload(body) => body.size_hint(),
        }
    }
}
