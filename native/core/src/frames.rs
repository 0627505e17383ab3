//! Frames that wait, and the credit of their bytes.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::credit::{ByteGauge, Credit};
use crate::sync::Arc;

/// What is in it is counted, and nothing else of it is.
#[derive(Debug)]
pub struct Frames {
    frames: VecDeque<Bytes>,
    credit: Credit,
}

impl Frames {
    pub fn new(gauge: &Arc<ByteGauge>) -> Self {
        Self {
            frames: VecDeque::new(),
            credit: Credit::none(gauge),
        }
    }

    pub fn push(&mut self, frame: Bytes) {
        self.credit.grow(frame.len());
        self.frames.push_back(frame);
    }

    /// The first frame, whose bytes `owner` holds from now on.
    pub fn pop(&mut self, owner: &mut Credit) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.credit.pass(frame.len(), owner);
        Some(frame)
    }

    /// Copies as much as fits and forgets it.
    pub fn read(&mut self, target: &mut [u8]) -> usize {
        let mut copied = 0;
        while copied < target.len() {
            let Some(frame) = self.frames.front_mut() else { break };
            let count = frame.len().min(target.len() - copied);
            target[copied..copied + count].copy_from_slice(&frame[..count]);
            frame.advance(count);
            copied += count;
            if frame.is_empty() {
                self.frames.pop_front();
            }
        }
        self.credit.shrink(copied)
    }

    pub fn clear(&mut self) {
        self.frames.clear();
        self.credit.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Of the first frame, in bytes.
    pub fn next_len(&self) -> Option<usize> {
        self.frames.front().map(Bytes::len)
    }

    pub fn bytes(&self) -> usize {
        self.credit.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_they_are_read_or_their_owner_is_dropped() {
        let gauge = Arc::new(ByteGauge::default());
        let mut frames = Frames::new(&gauge);
        for frame in ["0123", "4567", "89"] {
            frames.push(Bytes::from_static(frame.as_bytes()));
        }
        let mut target = [0; 6];
        assert_eq!(frames.read(&mut target), 6);
        assert_eq!((&target, gauge.held(), frames.next_len()), (b"012345", 4, Some(2)));
        let mut owner = Credit::none(&gauge);
        assert_eq!(frames.pop(&mut owner).unwrap(), "67");
        assert_eq!((frames.bytes(), owner.bytes(), gauge.held()), (2, 2, 4));
        drop(owner);
        assert_eq!(gauge.held(), 2);
        frames.clear();
        assert_eq!((frames.pop(&mut Credit::none(&gauge)), gauge.held()), (None, 0));
    }
}
