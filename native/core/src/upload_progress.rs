//! What the rest of a request knows of its upload, and says to it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::upload::UploadError;
use crate::upload_queue::UploadQueue;

/// What the rest of a request knows of its upload.
#[derive(Debug, Default)]
pub struct UploadProgress {
    /// How often the body was begun: what becomes of one of before says nothing.
    attempt: AtomicU32,
    is_finished: AtomicBool,
    /// The socket takes no more, whatever the engine still has.
    is_refused: AtomicBool,
    is_stopped: AtomicBool,
    /// The body is not to be sent yet.
    is_held: AtomicBool,
    /// The body may be begun again.
    is_repeatable: bool,
    failure: OnceLock<UploadError>,
    changed: Notify,
    body: Mutex<Option<Waker>>,
    /// Of a streamed body.
    queue: Option<Arc<UploadQueue>>,
}

impl UploadProgress {
    pub fn new(queue: Option<Arc<UploadQueue>>, is_repeatable: bool) -> Self {
        Self {
            queue,
            is_repeatable,
            ..Self::default()
        }
    }

    /// The body is sent from its beginning. Returns what tells this time from others.
    pub fn begin(&self) -> u32 {
        let attempt = self.attempt.fetch_add(1, Ordering::AcqRel) + 1;
        self.is_finished.store(false, Ordering::Release);
        self.is_refused.store(false, Ordering::Release);
        self.is_held.store(false, Ordering::Release);
        self.changed.notify_waiters();
        attempt
    }

    /// Resolves when the engine has taken the whole body, or its socket takes no more. Cancel safe.
    pub async fn finished(&self) {
        self.changed_to(true).await;
    }

    /// Resolves when that is no longer so, since the body is sent again. Cancel safe.
    pub async fn begun_again(&self) {
        if self.is_repeatable {
            self.changed_to(false).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    async fn changed_to(&self, is_over: bool) {
        let is_now = || (self.is_finished() || self.is_refused.load(Ordering::Acquire)) == is_over;
        while !is_now() {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is_now() {
                return;
            }
            changed.await;
        }
    }

    pub fn is_finished(&self) -> bool {
        self.is_finished.load(Ordering::Acquire)
    }

    /// The engine has taken the whole body, or no more of it, in the given attempt.
    pub fn finish(&self, attempt: u32) {
        if self.attempt.load(Ordering::Acquire) != attempt {
            return;
        }
        self.is_finished.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// There is an answer to the request.
    pub fn answered(&self) {
        if let Some(queue) = &self.queue {
            queue.answered();
        }
    }

    /// The socket takes no more: from here on the server is waited for, and nobody needs the source.
    pub fn refuse(&self) {
        self.is_refused.store(true, Ordering::Release);
        if let Some(queue) = &self.queue {
            queue.abandon();
        }
        self.changed.notify_waiters();
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

    /// Whether the engine tells [`UploadProgress::written`] of the body.
    pub fn set_metered(&self, is_metered: bool) {
        if let Some(queue) = &self.queue {
            queue.set_metered(is_metered);
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
