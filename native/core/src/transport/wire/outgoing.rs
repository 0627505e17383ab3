//! A request body as hyper takes it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

use super::begun_upload::BegunUpload;
use crate::piece::Piece;
use crate::upload::{UploadBody, UploadError};

/// A request body, or none, which hyper tells apart by its size.
///
/// Boxed, because each connection has room for 32 requests that wait for it, used or not.
#[derive(Debug)]
pub struct OutgoingBody(Option<Box<Outgoing>>);

#[derive(Debug)]
struct Outgoing {
    upload: Option<UploadBody>,
    /// Told when it is begun.
    begun: Arc<BegunUpload>,
    is_begun: bool,
}

impl OutgoingBody {
    pub fn new(upload: Option<UploadBody>, begun: &Arc<BegunUpload>) -> Self {
        Self(upload.map(|upload| {
            Box::new(Outgoing {
                upload: Some(upload),
                begun: Arc::clone(begun),
                is_begun: false,
            })
        }))
    }

    /// Of a request that was not sent.
    pub fn into_upload(self) -> Option<UploadBody> {
        self.0.and_then(|mut outgoing| outgoing.upload.take())
    }

    fn upload(&self) -> Option<&UploadBody> {
        self.0.as_ref().and_then(|outgoing| outgoing.upload.as_ref())
    }
}

impl Body for OutgoingBody {
    type Data = Piece;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, UploadError>>> {
        let Some(outgoing) = &mut self.get_mut().0 else {
            return Poll::Ready(None);
        };
        let Some(upload) = &mut outgoing.upload else {
            return Poll::Ready(None);
        };
        if !outgoing.is_begun {
            outgoing.is_begun = true;
            outgoing.begun.set(upload.progress());
        }
        upload.poll_piece(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.upload().is_none_or(UploadBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.upload().map_or(SizeHint::with_exact(0), UploadBody::size_hint)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            self.begun.clear(upload.progress());
        }
    }
}
