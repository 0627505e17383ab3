//! What the rest of a request knows of its upload, and says to it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::upload::UploadError;
use crate::upload_flow::UploadFlow;
use crate::upload_queue::UploadQueue;

/// What the rest of a request knows of its upload.
#[derive(Debug, Default)]
pub struct UploadProgress {
    /// How often the body was begun: what becomes of one of before says nothing.
    attempt: AtomicU32,
    is_finished: AtomicBool,
    is_stopped: AtomicBool,
    /// The body is not to be sent yet.
    is_held: AtomicBool,
    failure: OnceLock<UploadError>,
    flow: UploadFlow,
    body: Mutex<Option<Waker>>,
    /// Of a streamed body.
    queue: Option<Arc<UploadQueue>>,
}

impl UploadProgress {
    pub fn new(queue: Option<Arc<UploadQueue>>) -> Self {
        Self {
            queue,
            ..Self::default()
        }
    }

    /// The body is sent from its beginning. Returns what tells this time from others.
    pub fn begin(&self) -> u32 {
        let attempt = self.attempt.fetch_add(1, Ordering::AcqRel) + 1;
        self.is_finished.store(false, Ordering::Release);
        self.is_held.store(false, Ordering::Release);
        if attempt > 1 {
            self.flow.begin_again();
        }
        attempt
    }

    /// Who is waited for.
    pub fn flow(&self) -> &UploadFlow {
        &self.flow
    }

    /// Whether what becomes of the given attempt still matters.
    fn is_current(&self, attempt: u32) -> bool {
        self.attempt.load(Ordering::Acquire) == attempt
    }

    /// The source is what the engine waits for, or who holds the body.
    pub fn await_source(&self, attempt: u32) {
        if self.is_current(attempt) {
            self.flow.await_source();
        }
    }

    /// The engine has so many bytes more.
    pub fn give(&self, attempt: u32, bytes: usize) {
        if self.is_current(attempt) {
            self.flow.give(bytes);
        }
    }

    /// The engine's socket has taken so many bytes of what it has.
    pub fn accept(&self, attempt: u32, bytes: usize) {
        if self.is_current(attempt) && bytes > 0 {
            self.flow.accept(bytes);
            self.release_credit(bytes);
        }
    }

    /// The engine has so many bytes no more, which nobody will send.
    pub fn drop_unsent(&self, attempt: u32, bytes: usize) {
        if self.is_current(attempt) && bytes > 0 {
            self.release_credit(bytes);
        }
    }

    fn release_credit(&self, bytes: usize) {
        if let Some(queue) = &self.queue {
            queue.written(bytes);
        }
    }

    pub fn is_finished(&self) -> bool {
        self.is_finished.load(Ordering::Acquire)
    }

    /// The engine has taken the whole body, or no more of it, in the given attempt.
    pub fn finish(&self, attempt: u32) {
        if self.is_current(attempt) {
            self.is_finished.store(true, Ordering::Release);
            self.flow.give(0);
        }
    }

    /// There is an answer to the request.
    pub fn answered(&self) {
        if let Some(queue) = &self.queue {
            queue.answered();
        }
    }

    /// The socket takes no more: from here on the server is waited for, and nobody needs the source.
    pub fn refuse(&self) {
        if let Some(queue) = &self.queue {
            queue.abandon();
        }
        self.flow.give(0);
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

    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Wakes the task when that changes.
    pub fn poll_stopped(&self, cx: &Context<'_>) -> bool {
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        self.is_stopped()
    }

    /// The body broke off.
    pub fn fail(&self, error: UploadError) {
        let _ = self.failure.set(error);
    }

    /// Why the body broke off. On HTTP/2 hyper tells of the reset that follows, and not of this.
    pub fn failure(&self) -> Option<UploadError> {
        self.failure.get().copied()
    }

    /// The response is complete: an upload still under way ends here, and its connection with it.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        // An engine that waits for its socket does not ask the body, which may hold a window until then.
        if let Some(queue) = &self.queue {
            queue.abandon();
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
    pub fn poll_held(&self, cx: &Context<'_>) -> bool {
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
