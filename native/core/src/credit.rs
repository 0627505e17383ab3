//! Byte counts that bound memory.
//!
//! What is counted is owned by a [`Credit`], which lives with the bytes and gives the count back when it is dropped. There is
//! no other way to change a [`ByteGauge`].

use crate::sync::{Arc, AtomicUsize, Ordering};

/// How many bytes one queue may hold before its source must stop.
///
/// The last frame may overdraw it, because a frame is never split to fit.
#[derive(Debug, Clone, Copy)]
pub struct Window(usize);

impl Window {
    pub fn new(bytes: usize) -> Self {
        Self(bytes.max(1))
    }

    pub fn bytes(self) -> usize {
        self.0
    }

    pub fn is_spent(self, held: usize) -> bool {
        held >= self.0
    }

    /// Below half of the window: the hysteresis that keeps a full queue from waking its source for every read.
    pub fn is_below_half(self, held: usize) -> bool {
        held < self.0.div_ceil(2)
    }

    /// Bytes left, negative when overdrawn.
    pub fn left(self, held: usize) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX) - i64::try_from(held).unwrap_or(i64::MAX)
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

    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn is_spent(&self) -> bool {
        let reserved = self.bodies.load(Ordering::Relaxed).saturating_mul(RESERVE);
        self.held().saturating_add(reserved) >= self.limit - self.limit / 4
    }
}

/// Bytes of a gauge that its owner holds. They are given back when it is dropped.
#[derive(Debug)]
pub struct Credit {
    gauge: Arc<ByteGauge>,
    bytes: usize,
}

impl Credit {
    pub fn new(gauge: &Arc<ByteGauge>, bytes: usize) -> Self {
        let mut credit = Self {
            gauge: Arc::clone(gauge),
            bytes: 0,
        };
        credit.grow(bytes);
        credit
    }

    pub fn none(gauge: &Arc<ByteGauge>) -> Self {
        Self::new(gauge, 0)
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn gauge(&self) -> &Arc<ByteGauge> {
        &self.gauge
    }

    /// Takes so many bytes more.
    pub fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.gauge.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back so many bytes, as far as there are any; returns how many.
    pub fn shrink(&mut self, bytes: usize) -> usize {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.gauge.held.fetch_sub(bytes, Ordering::Relaxed);
        bytes
    }

    /// Hands so many bytes, as far as there are any, on to `other`.
    pub fn pass(&mut self, bytes: usize, other: &mut Self) {
        if Arc::ptr_eq(&self.gauge, &other.gauge) {
            let bytes = bytes.min(self.bytes);
            self.bytes -= bytes;
            other.bytes += bytes;
        } else {
            other.grow(self.shrink(bytes));
        }
    }

    /// Gives back everything.
    pub fn clear(&mut self) {
        self.shrink(self.bytes);
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Keeps a frame back for a body that is being read, until it is dropped.
#[derive(Debug)]
pub struct Reserve(Arc<ByteGauge>);

impl Reserve {
    pub fn new(gauge: &Arc<ByteGauge>) -> Self {
        gauge.bodies.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(gauge))
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        self.0.bodies.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_keeps_a_frame_back_for_every_body() {
        let gauge = Arc::new(ByteGauge::new(12 * RESERVE));
        let _held = Credit::new(&gauge, 7 * RESERVE);
        let first = Reserve::new(&gauge);
        assert!(!gauge.is_spent());
        let second = Reserve::new(&gauge);
        assert!(gauge.is_spent());
        drop(second);
        assert!(!gauge.is_spent());
        drop(first);
    }

    #[test]
    fn is_spent_at_the_window_and_below_half_after_half_is_given_back() {
        let window = Window::new(100);
        assert!(!window.is_spent(99));
        assert!(window.is_spent(149));
        assert_eq!(window.left(149), -49);
        assert!(!window.is_below_half(50));
        assert!(window.is_below_half(49));
    }

    #[test]
    fn a_credit_gives_back_what_it_holds_and_no_more() {
        let gauge = Arc::new(ByteGauge::default());
        let mut credit = Credit::new(&gauge, 10);
        credit.grow(5);
        assert_eq!(credit.shrink(4), 4);
        assert_eq!((credit.bytes(), gauge.held()), (11, 11));
        assert_eq!(credit.shrink(100), 11);
        credit.grow(3);
        drop(credit);
        assert_eq!(gauge.held(), 0);
    }

    #[test]
    fn what_is_handed_on_is_counted_once_wherever_it_goes() {
        let (gauge, foreign) = (Arc::new(ByteGauge::default()), Arc::new(ByteGauge::default()));
        let mut credit = Credit::new(&gauge, 10);
        let (mut other, mut elsewhere) = (Credit::none(&gauge), Credit::none(&foreign));
        credit.pass(4, &mut other);
        assert_eq!((credit.bytes(), other.bytes(), gauge.held()), (6, 4, 10));
        credit.pass(100, &mut elsewhere);
        assert_eq!((credit.bytes(), gauge.held(), foreign.held()), (0, 4, 6));
        drop((other, elsewhere));
        assert_eq!((gauge.held(), foreign.held()), (0, 0));
    }
}
