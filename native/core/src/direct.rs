//! A body that its reader may take from the socket itself.

use std::fmt::Debug;

/// The rest of a body. Any thread.
pub trait Direct: Send + Sync + Debug {
    /// Reads what is there, if no more and no less than `left` bytes are still to come; 0 means to wait for the runtime,
    /// which also meets what is wrong.
    fn read(&self, left: u64, target: &mut [u8]) -> usize;
}
