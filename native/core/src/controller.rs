//! The consumer's side of one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use crate::pause::{PauseReason, PauseState};

/// Cancels, pauses and resumes one request. Cheap to clone; any thread.
#[derive(Debug, Clone, Default)]
pub struct RequestController {
    cancelled: CancellationToken,
    spares_connection: Arc<AtomicBool>,
    pause: Arc<PauseState>,
}

impl RequestController {
    pub fn new() -> Self {
        Self::default()
    }

    /// Drops the connection (HTTP/2: resets the stream). The handler gets [`crate::CoreError::RequestAborted`].
    pub fn abort(&self) {
        self.cancelled.cancel();
    }

    /// Ends a body that nobody reads: the connection is kept if the whole rest is buffered already.
    pub fn cancel(&self) {
        self.spares_connection.store(true, Ordering::Release);
        self.cancelled.cancel();
    }

    pub fn spares_connection(&self) -> bool {
        self.spares_connection.load(Ordering::Acquire)
    }

    pub fn is_aborted(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    pub fn pause(&self) {
        self.pause.pause(PauseReason::Consumer);
    }

    pub fn resume(&self) {
        self.pause.resume(PauseReason::Consumer);
    }

    pub fn pause_state(&self) -> &Arc<PauseState> {
        &self.pause
    }

    /// Resolves when the request is aborted. Cancel safe.
    pub async fn aborted(&self) {
        self.cancelled.cancelled().await;
    }
}
