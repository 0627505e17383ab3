//! Memory that what was sent leaves to what comes next: fresh memory is in no cache, and may have to be zeroed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Pieces that are kept; more were under way only for a moment.
const MOST: usize = 16;
/// Smaller ones are the allocator's business.
const LEAST: usize = 4096;

/// Of one upload, whose pieces are alike.
#[derive(Debug, Clone, Default)]
pub struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for `length` bytes and not much more, of whatever content.
    pub fn take(&self, length: usize) -> Vec<u8> {
        let kept = self.lock().pop();
        kept.filter(|kept| (length..=length.saturating_mul(2)).contains(&kept.capacity()))
            .unwrap_or_else(|| Vec::with_capacity(length))
    }

    /// The first `length` bytes of `memory`, which comes back when nobody has them any more.
    pub fn lend(&self, memory: Vec<u8>, length: usize) -> Bytes {
        Bytes::from_owner(Lent {
            memory,
            length,
            spare: self.clone(),
        })
    }

    /// Nothing comes next.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// A copy of `bytes`.
    pub fn copy(&self, bytes: &[u8]) -> Bytes {
        if bytes.len() < LEAST {
            return Bytes::copy_from_slice(bytes);
        }
        let mut memory = self.take(bytes.len());
        memory.clear();
        memory.extend_from_slice(bytes);
        self.lend(memory, bytes.len())
    }
}

#[derive(Debug)]
struct Lent {
    memory: Vec<u8>,
    length: usize,
    spare: Spare,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut spare = self.spare.lock();
        if spare.len() < MOST {
            spare.push(std::mem::take(&mut self.memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_the_last_slice_has_gone() {
        let spare = Spare::default();
        let piece = spare.copy(&[1; 5000]);
        let address = piece.as_ptr();
        let slice = piece.slice(100..200);
        drop(piece);
        assert_eq!(spare.lock().len(), 0, "the slice has it");
        drop(slice);
        assert_eq!(spare.lock().len(), 1);
        let next = spare.copy(&[2; 4500]);
        assert_eq!(next.as_ptr(), address);
        assert_eq!(next, [2; 4500][..]);
    }

    #[test]
    fn pieces_of_another_size_get_memory_of_their_own() {
        let spare = Spare::default();
        drop(spare.copy(&[1; 100_000]));
        let small = spare.take(5000);
        assert!(small.capacity() < 10_000);
        drop(spare.copy(&[1; 4]));
        assert_eq!(spare.lock().len(), 0, "too small to be kept");
        let many: Vec<Bytes> = (0..2 * MOST).map(|_| spare.copy(&[1; 5000])).collect();
        drop(many);
        assert_eq!(spare.lock().len(), MOST);
    }
}
