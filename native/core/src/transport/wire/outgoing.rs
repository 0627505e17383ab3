//! A request body as hyper takes it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::begun_upload::BegunUpload;
use crate::upload::{UploadBody, UploadError};

/// A request body, or none, which hyper tells apart by its size.
#[derive(Debug)]
pub struct OutgoingBody {
    upload: Option<UploadBody>,
    /// Told when it is begun.
    begun: Arc<BegunUpload>,
    is_begun: bool,
}

impl OutgoingBody {
    pub fn new(upload: Option<UploadBody>, begun: Arc<BegunUpload>) -> Self {
        Self {
            upload,
            begun,
            is_begun: false,
        }
    }

    /// Of a request that was not sent.
    pub fn into_upload(mut self) -> Option<UploadBody> {
        self.upload.take()
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = self.get_mut();
        let Some(upload) = &mut this.upload else {
            return Poll::Ready(None);
        };
        if !this.is_begun {
            this.is_begun = true;
            this.begun.set(upload.progress());
        }
        Pin::new(upload).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.upload.as_ref().is_none_or(UploadBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.upload
            .as_ref()
            .map_or(SizeHint::with_exact(0), UploadBody::size_hint)
    }
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            self.begun.clear(upload.progress());
        }
    }
}
