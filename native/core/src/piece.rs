//! What an engine has of a request body.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::upload_progress::UploadProgress;

/// Bytes that tell of every one that the engine's socket takes: an engine advances a buffer by what it has written.
#[derive(Debug)]
pub struct Piece {
    bytes: Bytes,
    progress: Arc<UploadProgress>,
    attempt: u32,
}

impl Piece {
    pub fn new(bytes: Bytes, progress: &Arc<UploadProgress>, attempt: u32) -> Self {
        progress.give(attempt, bytes.len());
        Self {
            bytes,
            progress: Arc::clone(progress),
            attempt,
        }
    }

    /// For an engine that takes nothing but `Bytes`: what it drops was written, or will not be.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(Whole(self))
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.progress.accept(self.attempt, count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.progress.drop_unsent(self.attempt, self.bytes.len());
    }
}

#[derive(Debug)]
struct Whole(Piece);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.0.advance(self.0.remaining());
    }
}
