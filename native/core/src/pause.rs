//! The gate of a response body.

use std::pin::pin;

use crate::sync::{AtomicU8, AtomicU32, Notify, Ordering};

/// Who holds the gate down. Each owner clears only its own reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PauseReason {
    /// The response's queue has reached its window.
    QueueFull = 1,
    /// The consumer called `pause()`.
    Consumer = 1 << 1,
    /// The agent's byte budget is spent.
    Budget = 1 << 2,
}

/// An atomic set of reasons; the body is read while the set is empty.
#[derive(Debug, Default)]
pub struct PauseState {
    reasons: AtomicU8,
    resumes: AtomicU32,
    resumed: Notify,
}

impl PauseState {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn pause(&self, reason: PauseReason) {
        self.reasons.fetch_or(reason as u8, Ordering::AcqRel);
    }

    /// Clears `reason` alone and wakes the loop if it was the last one.
    pub fn resume(&self, reason: PauseReason) {
        // Counted first: a timer that expires in between must not take the pause for the server's silence.
        self.resumes.fetch_add(1, Ordering::AcqRel);
        let before = self.reasons.fetch_and(!(reason as u8), Ordering::AcqRel);
        if before == reason as u8 {
            self.resumed.notify_waiters();
        }
    }

    /// How often a reason was cleared: a timer that finds it changed may have measured a pause too.
    pub fn resumes(&self) -> u32 {
        self.resumes.load(Ordering::Acquire)
    }

    pub fn is_paused(&self) -> bool {
        self.reasons.load(Ordering::Acquire) != 0
    }

    pub fn is_paused_by(&self, reason: PauseReason) -> bool {
        self.reasons.load(Ordering::Acquire) & reason as u8 != 0
    }

    /// Returns once the set is empty. Cancel safe.
    pub async fn wait_if_paused(&self) {
        while self.is_paused() {
            let mut resumed = pin!(self.resumed.notified());
            // Registered before the second look, or a resume in between would be missed.
            resumed.as_mut().enable();
            if !self.is_paused() {
                return;
            }
            resumed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn runs_only_when_every_owner_has_cleared_its_reason() {
        let state = Arc::new(PauseState::new());
        state.pause(PauseReason::QueueFull);
        state.pause(PauseReason::Consumer);
        let waiter = tokio::spawn({
            let state = Arc::clone(&state);
            async move { state.wait_if_paused().await }
        });
        tokio::task::yield_now().await;
        state.resume(PauseReason::QueueFull);
        tokio::task::yield_now().await;
        assert!(
            !waiter.is_finished(),
            "a drained queue must not undo the consumer's pause"
        );
        assert!(state.is_paused_by(PauseReason::Consumer));
        state.resume(PauseReason::Consumer);
        waiter.await.unwrap();
    }

    #[tokio::test]
    async fn clearing_a_reason_that_was_not_set_changes_nothing() {
        let state = PauseState::new();
        state.pause(PauseReason::Budget);
        state.resume(PauseReason::Consumer);
        assert!(state.is_paused());
        state.resume(PauseReason::Budget);
        state.wait_if_paused().await;
    }
}
