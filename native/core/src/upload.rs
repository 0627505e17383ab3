//! The request body on its way to the socket.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use crate::credit::{ByteCredit, ByteGauge};
use crate::file_body::FileReader;
use crate::request::RequestBody;
use crate::spare::Spare;

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

type CreditListener = Box<dyn Fn() + Send + Sync>;

/// Chunks of a streamed upload between their source and the socket; bounded by credit.
pub struct UploadQueue {
    state: Mutex<QueueState>,
    spare: Spare,
    gauge: Arc<ByteGauge>,
    /// Told once when a source that ran out of credit may go on. Any thread.
    on_credit: CreditListener,
}

struct QueueState {
    frames: VecDeque<Bytes>,
    credit: ByteCredit,
    /// Bytes that the engine has, which still count.
    handed: usize,
    /// The engine says what its socket has taken. Otherwise a frame is taken when the next one is asked for.
    is_metered: bool,
    end: Option<Result<(), UploadError>>,
    /// Sent behind the last chunk of a body without a length (RFC 9110 §6.5).
    trailers: Option<HeaderMap>,
    is_source_waiting: bool,
    is_closed: bool,
    reader: Option<Waker>,
}

impl std::fmt::Debug for UploadQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadQueue")
            .field("held", &self.lock().credit.held())
            .finish_non_exhaustive()
    }
}

impl UploadQueue {
    pub fn new(window: usize, gauge: Arc<ByteGauge>, on_credit: CreditListener) -> Self {
        Self {
            state: Mutex::new(QueueState {
                frames: VecDeque::new(),
                credit: ByteCredit::new(window),
                handed: 0,
                is_metered: false,
                end: None,
                trailers: None,
                is_source_waiting: false,
                is_closed: false,
                reader: None,
            }),
            spare: Spare::default(),
            gauge,
            on_credit,
        }
    }

    /// Takes a copy of a chunk, as [`UploadQueue::push`] does the chunk.
    pub fn push_copy(&self, chunk: &[u8]) -> i64 {
        self.push(self.spare.copy(chunk))
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a chunk and returns the credit left, in bytes. At zero or less the source waits for its listener.
    pub fn push(&self, chunk: Bytes) -> i64 {
        let mut state = self.lock();
        if state.is_closed || state.end.is_some() {
            return 0;
        }
        self.gauge.add(chunk.len());
        state.credit.take(chunk.len());
        state.frames.push_back(chunk);
        // With the agent's budget spent, one chunk at a time.
        let left = if self.gauge.is_spent() {
            state.credit.left().min(0)
        } else {
            state.credit.left()
        };
        state.is_source_waiting = left <= 0;
        wake(&mut state);
        left
    }

    pub fn finish(&self) {
        self.end(Ok(()));
    }

    /// As [`UploadQueue::finish`]. On HTTP/1.1 only fields go out that the `trailer` header has announced.
    pub fn finish_with(&self, trailers: HeaderMap) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(Ok(()));
            state.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
        }
        wake(&mut state);
    }

    fn take_trailers(&self) -> Option<HeaderMap> {
        self.lock().trailers.take()
    }

    /// Fails the upload; the connection is dropped.
    pub fn fail(&self, error: UploadError) {
        self.end(Err(error));
    }

    fn end(&self, end: Result<(), UploadError>) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        wake(&mut state);
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        let mut state = self.lock();
        if let Some(Err(error)) = state.end {
            return Poll::Ready(Some(Err(error)));
        }
        let taken = if state.is_metered { 0 } else { state.handed };
        let tell = self.give_back(&mut state, taken);
        let next = match state.frames.pop_front() {
            Some(frame) => {
                state.handed += frame.len();
                Poll::Ready(Some(Ok(frame)))
            }
            None if state.end.is_some() => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        };
        drop(state);
        if tell {
            (self.on_credit)();
        }
        next
    }

    /// Whether the source is to be told.
    fn give_back(&self, state: &mut QueueState, bytes: usize) -> bool {
        let bytes = bytes.min(state.handed);
        state.handed -= bytes;
        state.credit.give_back(bytes);
        self.gauge.subtract(bytes);
        let has_room = state.credit.held() == 0 || (state.credit.is_below_half() && !self.gauge.is_spent());
        bytes > 0 && has_room && std::mem::take(&mut state.is_source_waiting)
    }

    /// The engine's socket has taken so many bytes: of this body, and of what frames it.
    fn written(&self, bytes: usize) {
        let mut state = self.lock();
        let tell = self.give_back(&mut state, bytes);
        drop(state);
        if tell {
            (self.on_credit)();
        }
    }

    /// Waits for the first chunk, trailers or the end; whether there is anything to send. Cancel safe.
    pub async fn has_content(&self) -> bool {
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            if !state.frames.is_empty() || matches!(state.end, Some(Err(_))) {
                return Poll::Ready(true);
            }
            if state.end.is_some() {
                return Poll::Ready(state.trailers.is_some());
            }
            state.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The next chunk; `None` at the end. Cancel safe.
    pub async fn next(&self) -> Option<Result<Bytes, UploadError>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn is_drained(&self) -> bool {
        let state = self.lock();
        state.frames.is_empty() && state.end == Some(Ok(())) && state.trailers.is_none()
    }

    /// The socket takes no more.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.frames.clear();
        state.handed = 0;
        let held = state.credit.held();
        state.credit.give_back(held);
        self.gauge.subtract(held);
    }
}

impl Drop for UploadQueue {
    fn drop(&mut self) {
        self.close();
    }
}

fn wake(state: &mut QueueState) {
    if let Some(reader) = state.reader.take() {
        reader.wake();
    }
}

/// What the rest of a request knows of its upload.
#[derive(Debug, Default)]
pub struct UploadProgress {
    is_finished: AtomicBool,
    is_stopped: AtomicBool,
    /// The body is not to be sent yet.
    is_held: AtomicBool,
    failure: OnceLock<UploadError>,
    finished: Notify,
    body: Mutex<Option<Waker>>,
    /// Of a streamed body.
    queue: Option<Arc<UploadQueue>>,
}

impl UploadProgress {
    /// Resolves when the engine has taken the whole body. Cancel safe.
    pub async fn finished(&self) {
        while !self.is_finished() {
            let finished = self.finished.notified();
            tokio::pin!(finished);
            finished.as_mut().enable();
            if self.is_finished() {
                return;
            }
            finished.await;
        }
    }

    pub fn is_finished(&self) -> bool {
        self.is_finished.load(Ordering::Acquire)
    }

    fn finish(&self) {
        self.is_finished.store(true, Ordering::Release);
        self.finished.notify_waiters();
    }

    /// Resolves at [`UploadProgress::stop`]. For the task that polls the body, and no other. Cancel safe.
    pub async fn stopped(&self) {
        std::future::poll_fn(|cx| {
            if self.poll_stopped(cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Wakes the task when that changes.
    fn poll_stopped(&self, cx: &Context<'_>) -> bool {
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Why the body broke off. On HTTP/2 hyper tells of the reset that follows, and not of this.
    pub fn failure(&self) -> Option<UploadError> {
        self.failure.get().copied()
    }

    /// Whether the engine tells [`UploadProgress::written`] of the body.
    pub fn set_metered(&self, is_metered: bool) {
        if let Some(queue) = &self.queue {
            queue.lock().is_metered = is_metered;
        }
    }

    /// The socket has taken so many bytes.
    pub fn written(&self, bytes: usize) {
        if let Some(queue) = &self.queue {
            queue.written(bytes);
        }
    }

    /// The response is complete: an upload still under way ends here, and its connection with it.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        // An engine that waits for its socket does not ask the body, which may hold a window until then.
        if let Some(queue) = &self.queue {
            queue.close();
        }
        self.wake_body();
    }

    /// Keeps the body back until [`UploadProgress::release`].
    pub fn hold(&self) {
        self.is_held.store(true, Ordering::Release);
    }

    pub fn release(&self) {
        self.is_held.store(false, Ordering::Release);
        self.wake_body();
    }

    /// Wakes the task when that changes, and at [`UploadProgress::stop`].
    fn poll_held(&self, cx: &Context<'_>) -> bool {
        if !self.is_held.load(Ordering::Acquire) {
            return false;
        }
        self.poll_stopped(cx);
        self.is_held.load(Ordering::Acquire)
    }

    fn wake_body(&self) {
        if let Some(waker) = self.body.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }
}

/// The body handed to the engine: counts against the announced length, which hyper does not.
#[derive(Debug)]
pub struct UploadBody {
    source: Source,
    left: Option<u64>,
    progress: Arc<UploadProgress>,
}

#[derive(Debug)]
enum Source {
    Bytes(Bytes),
    Queue(Arc<UploadQueue>),
    File(FileReader),
}

impl UploadBody {
    /// `None` for an empty body, which needs no polling.
    pub fn new(body: RequestBody) -> (Option<Self>, Arc<UploadProgress>) {
        let progress = Arc::new(UploadProgress {
            queue: match &body {
                RequestBody::Stream { queue, .. } => Some(Arc::clone(queue)),
                _ => None,
            },
            ..UploadProgress::default()
        });
        let (source, left) = match body {
            RequestBody::Empty => {
                progress.finish();
                return (None, progress);
            }
            RequestBody::Bytes(bytes) if bytes.is_empty() => return Self::new(RequestBody::Empty),
            RequestBody::Bytes(bytes) => {
                let length = bytes.len() as u64;
                (Source::Bytes(bytes), Some(length))
            }
            RequestBody::Stream { queue, length } => (Source::Queue(queue), length),
            RequestBody::File(file) if file.length == 0 => return Self::new(RequestBody::Empty),
            RequestBody::File(file) => {
                let length = file.length;
                (Source::File(FileReader::new(file)), Some(length))
            }
        };
        (
            Some(Self {
                source,
                left,
                progress: Arc::clone(&progress),
            }),
            progress,
        )
    }

    /// The same body once more, for a request that nobody has looked at; `None` for a source that is read once.
    pub fn again(&self) -> Option<Self> {
        match &self.source {
            Source::Bytes(bytes) => Some(Self {
                source: Source::Bytes(bytes.clone()),
                left: self.left,
                progress: Arc::clone(&self.progress),
            }),
            Source::File(reader) => Some(Self {
                source: Source::File(reader.again()),
                left: self.left,
                progress: Arc::clone(&self.progress),
            }),
            Source::Queue(_) => None,
        }
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

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if self.progress.is_stopped.load(Ordering::Acquire) {
            return Poll::Ready(Some(Err(UploadError::ResponseEnded)));
        }
        if self.progress.poll_held(cx) {
            return Poll::Pending;
        }
        let next = match &mut self.source {
            Source::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Bytes(bytes) => Poll::Ready(Some(Ok(bytes.split_to(bytes.len().min(SLICE))))),
            Source::Queue(queue) => queue.poll_next(cx),
            Source::File(reader) => reader.poll_next(cx),
        };
        match next {
            Poll::Ready(Some(Ok(frame))) => {
                let counted = self.count(frame);
                if self.is_end_stream() {
                    self.progress.finish();
                }
                Poll::Ready(Some(counted.map(Frame::data)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) if self.left.is_some_and(|left| left > 0) => {
                Poll::Ready(Some(Err(UploadError::LengthMismatch)))
            }
            Poll::Ready(None) => {
                let trailers = match &self.source {
                    Source::Queue(queue) => queue.take_trailers(),
                    _ => None,
                };
                self.progress.finish();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Poll::Pending => {
                if self.progress.poll_stopped(cx) {
                    return Poll::Ready(Some(Err(UploadError::ResponseEnded)));
                }
                Poll::Pending
            }
        }
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = self.get_mut();
        let polled = this.poll(cx);
        if let Poll::Ready(Some(Err(error))) = &polled
            && *error != UploadError::ResponseEnded
        {
            let _ = this.progress.failure.set(*error);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Bytes(bytes) => bytes.is_empty(),
            // With a length announced, one more poll tells a source that yields too much.
            Source::Queue(queue) => self.left.is_none_or(|left| left == 0) && queue.is_drained(),
            Source::File(reader) => reader.is_drained(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Drop for UploadBody {
    fn drop(&mut self) {
        if let Source::Queue(queue) = &self.source {
            queue.close();
        }
        // An engine that dropped the body reads the response now, whatever became of the upload.
        self.progress.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use http_body_util::BodyExt;
    use std::sync::atomic::AtomicUsize;

    fn stream(window: usize, length: Option<u64>) -> (UploadBody, Arc<UploadQueue>, Arc<AtomicUsize>) {
        let told = Arc::new(AtomicUsize::new(0));
        let listener = Arc::clone(&told);
        let queue = Arc::new(UploadQueue::new(
            window,
            Arc::default(),
            Box::new(move || {
                listener.fetch_add(1, Ordering::SeqCst);
            }),
        ));
        let (body, _) = UploadBody::new(RequestBody::Stream {
            queue: Arc::clone(&queue),
            length,
        });
        (body.unwrap(), queue, told)
    }

    #[tokio::test]
    async fn a_source_without_credit_is_told_once_when_half_is_free() {
        let (mut body, queue, told) = stream(10, None);
        assert_eq!(queue.push(Bytes::from_static(b"012345")), 4);
        assert_eq!(queue.push(Bytes::from_static(b"6789")), 0);
        body.frame().await.unwrap().unwrap();
        assert_eq!(told.load(Ordering::SeqCst), 0, "the engine has not sent it yet");
        body.frame().await.unwrap().unwrap();
        assert_eq!(told.load(Ordering::SeqCst), 1);
        assert!(body.frame().now_or_never().is_none());
        assert_eq!(told.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_a_metering_engine_holds_counts_until_it_is_written() {
        let (mut body, queue, told) = stream(10, None);
        body.progress().set_metered(true);
        assert_eq!(queue.push(Bytes::from_static(b"0123456789")), 0);
        body.frame().await.unwrap().unwrap();
        assert!(body.frame().now_or_never().is_none());
        queue.written(5);
        assert_eq!((told.load(Ordering::SeqCst), queue.lock().credit.held()), (0, 5));
        // Chunk sizes are written too.
        queue.written(7);
        assert_eq!((told.load(Ordering::SeqCst), queue.lock().credit.held()), (1, 0));
        assert_eq!(queue.push(Bytes::from_static(b"0123456789")), 0);
        queue.close();
        queue.written(5);
        assert_eq!((told.load(Ordering::SeqCst), queue.lock().credit.held()), (1, 0));
    }

    #[tokio::test]
    async fn a_short_and_a_long_source_are_length_mismatches() {
        let (mut body, queue, _) = stream(100, Some(4));
        queue.push(Bytes::from_static(b"abc"));
        queue.finish();
        body.frame().await.unwrap().unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap_err(), UploadError::LengthMismatch);

        let (mut body, queue, _) = stream(100, Some(4));
        queue.push(Bytes::from_static(b"abcde"));
        assert_eq!(body.frame().await.unwrap().unwrap_err(), UploadError::LengthMismatch);
    }

    #[tokio::test]
    async fn a_sized_body_goes_out_in_slices_and_then_is_finished() {
        let (body, progress) = UploadBody::new(RequestBody::Bytes(Bytes::from(vec![1; SLICE + 1])));
        let mut body = body.unwrap();
        assert_eq!(body.size_hint().exact(), Some(SLICE as u64 + 1));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), SLICE);
        assert!(progress.finished().now_or_never().is_none());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 1);
        progress.finished().await;
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn trailers_follow_the_last_chunk_and_are_content_by_themselves() {
        let (mut body, queue, _) = stream(100, None);
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
