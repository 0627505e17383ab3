//! Records on their way to whoever takes all of them at once, and is told at most once in between.

use std::collections::VecDeque;

use crate::credit::Credit;
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering, PoisonError};

/// Encoded records, and what they hold of bodies.
#[derive(Debug, Default)]
pub struct Records {
    pub bytes: Vec<u8>,
    /// One for each record that brings a body, in their order.
    pub credits: VecDeque<Credit>,
}

/// Many threads append, one takes.
#[derive(Debug, Default)]
pub struct RecordQueue {
    state: Mutex<State>,
    /// Whoever takes was told, and has not taken since.
    is_told: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    records: Records,
    is_closed: bool,
}

impl RecordQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `write` appends a record. `None`, and nothing is written, when nobody takes records any more.
    pub fn append<R>(&self, write: impl FnOnce(&mut Records) -> R) -> Option<R> {
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        Some(write(&mut state.records))
    }

    /// After a record was appended: whether the one who takes is to be told.
    pub fn tells(&self) -> bool {
        !self.lock().records.bytes.is_empty() && !self.is_told.swap(true, Ordering::AcqRel)
    }

    /// All records so far, whose credit is the caller's.
    pub fn take(&self) -> Records {
        // In this order a record that comes in between is told of again, for nothing, and none is left behind.
        self.is_told.store(false, Ordering::Release);
        std::mem::take(&mut self.lock().records)
    }

    /// Nobody takes records any more. Those that are there go, and their credit with them.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let records = std::mem::take(&mut state.records);
        drop(state);
        drop(records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credit::ByteGauge;
    use crate::sync::Arc;

    fn append(queue: &RecordQueue, gauge: &Arc<ByteGauge>) -> bool {
        let credit = Credit::new(gauge, 10);
        let appended = queue.append(|records| {
            records.bytes.push(1);
            records.credits.push_back(credit);
        });
        appended.is_some()
    }

    #[test]
    fn one_is_told_once_until_it_takes() {
        let queue = RecordQueue::default();
        assert!(!queue.tells(), "of nothing");
        append(&queue, &Arc::default());
        assert!(queue.tells());
        append(&queue, &Arc::default());
        assert!(!queue.tells());
        assert_eq!(queue.take().bytes, [1, 1]);
        assert!(!queue.tells());
        append(&queue, &Arc::default());
        assert!(queue.tells());
    }

    #[test]
    fn credit_lives_as_long_as_the_records() {
        let gauge = Arc::default();
        let queue = RecordQueue::default();
        append(&queue, &gauge);
        append(&queue, &gauge);
        let mut taken = queue.take();
        assert_eq!(gauge.held(), 20);
        taken.credits.pop_front();
        assert_eq!(gauge.held(), 10);
        append(&queue, &gauge);
        drop(taken);
        assert_eq!(gauge.held(), 10);
        queue.close();
        assert_eq!(gauge.held(), 0, "nobody takes it");
        assert!(!append(&queue, &gauge));
        assert_eq!(gauge.held(), 0);
        append(&queue, &gauge);
        drop(queue);
        assert_eq!(gauge.held(), 0);
    }
}
