//! Byte counts that bound memory.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Credit of one queue: how many bytes it may still take before its source must stop.
///
/// The last take may overdraw it by one frame, because a frame is never split to fit.
#[derive(Debug, Clone)]
pub struct ByteCredit {
    window: usize,
    held: usize,
}

impl ByteCredit {
    pub fn new(window: usize) -> Self {
        Self {
            window: window.max(1),
            held: 0,
        }
    }

    pub fn held(&self) -> usize {
        self.held
    }

    pub fn window(&self) -> usize {
        self.window
    }

    pub fn take(&mut self, bytes: usize) {
        self.held = self.held.saturating_add(bytes);
    }

    pub fn give_back(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.held, "more credit given back than taken");
        self.held = self.held.saturating_sub(bytes);
    }

    pub fn is_spent(&self) -> bool {
        self.held >= self.window
    }

    /// Below half of the window: the hysteresis that keeps a full queue from waking its source for every read.
    pub fn is_below_half(&self) -> bool {
        self.held < self.window.div_ceil(2)
    }

    /// Bytes left, negative when overdrawn.
    pub fn left(&self) -> i64 {
        i64::try_from(self.window).unwrap_or(i64::MAX) - i64::try_from(self.held).unwrap_or(i64::MAX)
    }
}

/// Bytes that all bodies of one agent hold now, and may hold.
///
/// Nobody waits for the others here: a body that holds nothing may always take one frame, and one that holds something
/// goes on when its own reader has taken that. So a spent budget slows every body down and stops none. What the bodies
/// under way may take in this way is kept back for them, and a quarter of the limit for those that begin later, so that the
/// whole stays inside it.
#[derive(Debug)]
pub struct ByteGauge {
    held: AtomicUsize,
    bodies: AtomicUsize,
    limit: usize,
}

/// Bytes kept back for each body that is being read.
pub const RESERVE: usize = 64 * 1024;
/// Bytes that are read at once for a body when the budget is spent.
pub const FRAME: usize = 16 * 1024;

impl Default for ByteGauge {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl ByteGauge {
    pub fn new(limit: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            bodies: AtomicUsize::new(0),
            limit,
        }
    }

    pub fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn subtract(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A body begins to be read.
    pub fn enter(&self) {
        self.bodies.fetch_add(1, Ordering::Relaxed);
    }

    pub fn leave(&self) {
        self.bodies.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn is_spent(&self) -> bool {
        let reserved = self.bodies.load(Ordering::Relaxed).saturating_mul(RESERVE);
        self.held().saturating_add(reserved) >= self.limit - self.limit / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_keeps_a_frame_back_for_every_body() {
        let gauge = ByteGauge::new(12 * RESERVE);
        gauge.add(7 * RESERVE);
        gauge.enter();
        assert!(!gauge.is_spent());
        gauge.enter();
        assert!(gauge.is_spent());
        gauge.leave();
        assert!(!gauge.is_spent());
    }

    #[test]
    fn is_spent_at_the_window_and_below_half_after_half_is_given_back() {
        let mut credit = ByteCredit::new(100);
        credit.take(99);
        assert!(!credit.is_spent());
        credit.take(50);
        assert!(credit.is_spent());
        assert_eq!(credit.left(), -49);
        credit.give_back(99);
        assert!(!credit.is_below_half());
        credit.give_back(1);
        assert!(credit.is_below_half());
    }
}
