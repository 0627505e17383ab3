//! The request body on its way to the socket.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::file_body::FileReader;
use crate::piece::Piece;
use crate::request::RequestBody;
use crate::upload_progress::UploadProgress;
use crate::upload_queue::UploadQueue;

/// A sized body goes out in slices of this many bytes, so that progress can be seen: hyper asks for the next one
/// only as the socket drains.
const SLICE: usize = 64 * 1024;

/// Why a request body stopped; travels through the engine's error chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    #[error("the request body is not as long as its content-length")]
    LengthMismatch,
    #[error("the source of the request body failed")]
    Source,
    /// A file could not be read; the number is the operating system's.
    #[error("the file of the request body cannot be read (os error {0})")]
    File(i32),
    #[error("the response ended before the upload")]
    ResponseEnded,
}

/// The body handed to the engine: counts against the announced length, which hyper does not.
#[derive(Debug)]
pub struct UploadBody {
    source: Source,
    left: Option<u64>,
    progress: Arc<UploadProgress>,
    attempt: u32,
}

#[derive(Debug)]
enum Source {
    Bytes(Bytes),
    /// With what [`UploadQueue::open`] said.
    Queue(Arc<UploadQueue>, u32),
    File(FileReader),
}

/// What is needed to send a body once more, to a server that has not looked at it.
#[derive(Debug)]
pub struct UploadReplay {
    body: RequestBody,
    progress: Arc<UploadProgress>,
}

impl UploadReplay {
    /// The body from its beginning.
    pub fn body(self) -> Option<UploadBody> {
        UploadBody::begin(self.body, &self.progress)
    }
}

impl UploadBody {
    /// `None` for an empty body, which needs no polling.
    pub fn new(body: RequestBody) -> (Option<Self>, Arc<UploadProgress>) {
        let queue = match &body {
            RequestBody::Stream { queue, .. } => Some(Arc::clone(queue)),
            RequestBody::Empty | RequestBody::Bytes(_) | RequestBody::File(_) => None,
        };
        let progress = Arc::new(UploadProgress::new(queue));
        (Self::begin(body, &progress), progress)
    }

    fn begin(body: RequestBody, progress: &Arc<UploadProgress>) -> Option<Self> {
        let attempt = progress.begin();
        let (source, left) = match body {
            RequestBody::Bytes(bytes) if !bytes.is_empty() => {
                let length = bytes.len() as u64;
                (Source::Bytes(bytes), Some(length))
            }
            RequestBody::Stream { queue, length } => {
                let round = queue.open();
                queue.set_metered(true);
                (Source::Queue(queue, round), length)
            }
            RequestBody::File(file) if file.length > 0 => {
                let length = file.length;
                (Source::File(FileReader::new(file)), Some(length))
            }
            RequestBody::Empty | RequestBody::Bytes(_) | RequestBody::File(_) => {
                progress.finish(attempt);
                return None;
            }
        };
        Some(Self {
            source,
            left,
            progress: Arc::clone(progress),
            attempt,
        })
    }

    /// For the same body once more, before any of it was sent; `None` for a source that is read once.
    pub fn replay(&self) -> Option<UploadReplay> {
        let body = match &self.source {
            Source::Bytes(bytes) => RequestBody::Bytes(bytes.clone()),
            Source::Queue(queue, _) if queue.is_kept() => RequestBody::Stream {
                queue: Arc::clone(queue),
                length: self.left,
            },
            Source::Queue(..) => return None,
            Source::File(reader) => RequestBody::File(reader.body().clone()),
        };
        Some(UploadReplay {
            body,
            progress: Arc::clone(&self.progress),
        })
    }

    pub fn progress(&self) -> &Arc<UploadProgress> {
        &self.progress
    }

    fn count(&mut self, frame: Bytes) -> Result<Bytes, UploadError> {
        if let Some(left) = &mut self.left {
            *left = left
                .checked_sub(frame.len() as u64)
                .ok_or(UploadError::LengthMismatch)?;
        }
        Ok(frame)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, UploadError>>> {
        if self.progress.is_stopped() {
            return Poll::Ready(Some(Err(UploadError::ResponseEnded)));
        }
        if self.progress.poll_held(cx) {
            self.progress.await_source(self.attempt);
            return Poll::Pending;
        }
        let next = match &mut self.source {
            Source::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Bytes(bytes) => Poll::Ready(Some(Ok(bytes.split_to(bytes.len().min(SLICE))))),
            Source::Queue(queue, round) => queue.poll_next(*round, cx),
            Source::File(reader) => reader.poll_next(cx),
        };
        match next {
            Poll::Ready(Some(Ok(frame))) => {
                let counted = self.count(frame);
                let piece = counted.map(|frame| Piece::new(frame, &self.progress, self.attempt));
                if self.is_end_stream() {
                    self.progress.finish(self.attempt);
                }
                Poll::Ready(Some(piece.map(Frame::data)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) if self.left.is_some_and(|left| left > 0) => {
                Poll::Ready(Some(Err(UploadError::LengthMismatch)))
            }
            Poll::Ready(None) => {
                let trailers = match &self.source {
                    Source::Queue(queue, _) => queue.take_trailers(),
                    _ => None,
                };
                self.progress.finish(self.attempt);
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Poll::Pending => {
                if self.progress.poll_stopped(cx) {
                    return Poll::Ready(Some(Err(UploadError::ResponseEnded)));
                }
                self.progress.await_source(self.attempt);
                Poll::Pending
            }
        }
    }

    /// The next piece, for an engine that advances it by what its socket takes.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, UploadError>>> {
        let polled = self.poll(cx);
        if let Poll::Ready(Some(Err(error))) = &polled
            && *error != UploadError::ResponseEnded
        {
            self.progress.fail(*error);
        }
        polled
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let polled = self.get_mut().poll_piece(cx);
        polled.map(|next| next.map(|frame| frame.map(|frame| frame.map_data(Piece::into_bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Bytes(bytes) => bytes.is_empty(),
            // With a length announced, one more poll tells a source that yields too much.
            Source::Queue(queue, _) => self.left.is_none_or(|left| left == 0) && queue.is_drained(),
            Source::File(reader) => reader.is_drained(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Drop for UploadBody {
    fn drop(&mut self) {
        if let Source::Queue(queue, round) = &self.source {
            // An engine that has all that was announced does not wait for the source to say so.
            if self.left == Some(0) {
                queue.complete_round(*round);
            } else {
                queue.abandon_round(*round);
            }
        }
        // An engine that dropped the body reads the response now, whatever became of the upload.
        self.progress.finish(self.attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credit::ByteGauge;
    use http::HeaderMap;
    use http_body_util::BodyExt;

    fn stream(length: Option<u64>) -> (UploadBody, Arc<UploadQueue>) {
        let queue = Arc::new(UploadQueue::new(100, Arc::default(), Box::new(|| {})));
        let (body, _) = UploadBody::new(RequestBody::Stream {
            queue: Arc::clone(&queue),
            length,
        });
        (body.unwrap(), queue)
    }

    #[tokio::test]
    async fn a_short_and_a_long_source_are_length_mismatches() {
        let (mut body, queue) = stream(Some(4));
        queue.push(Bytes::from_static(b"abc"));
        queue.finish();
        body.frame().await.unwrap().unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap_err(), UploadError::LengthMismatch);

        let (mut body, queue) = stream(Some(4));
        queue.push(Bytes::from_static(b"abcde"));
        assert_eq!(body.frame().await.unwrap().unwrap_err(), UploadError::LengthMismatch);
    }

    #[tokio::test]
    async fn a_sized_body_goes_out_in_slices_and_then_is_finished() {
        let (body, progress) = UploadBody::new(RequestBody::Bytes(Bytes::from(vec![1; SLICE + 1])));
        let mut body = body.unwrap();
        assert_eq!(body.size_hint().exact(), Some(SLICE as u64 + 1));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), SLICE);
        assert!(!progress.is_finished());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 1);
        assert!(progress.is_finished());
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn trailers_follow_the_last_chunk_and_are_content_by_themselves() {
        let (mut body, queue) = stream(None);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("7"));
        queue.finish_with(trailers.clone());
        assert!(queue.has_content().await);
        assert!(!body.is_end_stream());
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_trailers().unwrap(), trailers);
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn stop_gives_back_what_an_engine_in_a_write_does_not_ask_for() {
        let gauge: Arc<ByteGauge> = Arc::default();
        let queue = Arc::new(UploadQueue::new(10, Arc::clone(&gauge), Box::new(|| {})));
        let body = RequestBody::Stream {
            queue: Arc::clone(&queue),
            length: None,
        };
        let (_body, progress) = UploadBody::new(body);
        queue.push(Bytes::from_static(b"0123456789"));
        assert_eq!(gauge.held(), 10);
        progress.stop();
        assert_eq!(gauge.held(), 0);
        assert_eq!(queue.push(Bytes::from_static(b"0")), 0);
        assert_eq!(gauge.held(), 0);
    }

    #[tokio::test]
    async fn stop_ends_an_upload_that_waits_for_its_source() {
        let (body, progress) = {
            let queue = Arc::new(UploadQueue::new(10, Arc::default(), Box::new(|| {})));
            UploadBody::new(RequestBody::Stream { queue, length: None })
        };
        let mut body = body.unwrap();
        let waiting = tokio::spawn(async move { body.frame().await.unwrap().unwrap_err() });
        tokio::task::yield_now().await;
        progress.stop();
        assert_eq!(waiting.await.unwrap(), UploadError::ResponseEnded);
    }
}
