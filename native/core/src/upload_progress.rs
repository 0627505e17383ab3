//! What the rest of a request knows of its upload, and says to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::upload::UploadError;
use crate::upload_queue::UploadQueue;

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
    pub fn new(queue: Option<Arc<UploadQueue>>) -> Self {
        Self {
            queue,
            ..Self::default()
        }
    }

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

    /// The engine has taken the whole body, or no more of it.
    pub fn finish(&self) {
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
