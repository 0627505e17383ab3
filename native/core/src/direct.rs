//! A body that its reader may take from the socket itself.

use std::fmt::Debug;
use std::net::TcpStream;

/// What a direct read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectRead {
    /// So many bytes, at least one.
    Some(usize),
    /// Nothing yet.
    Nothing,
    /// It is for the runtime to read on: it meets what is wrong, and the end.
    Over,
}

/// The rest of a body. Any thread.
pub trait Direct: Send + Sync + Debug {
    /// Reads what is there, if no more and no less than `left` bytes are still to come.
    fn read(&self, left: u64, target: &mut [u8]) -> DirectRead;

    /// Another handle of the socket, to wait there for what is to come; none where only the runtime can.
    fn socket(&self) -> Option<TcpStream>;
}
