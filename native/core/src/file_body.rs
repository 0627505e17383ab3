//! A part of a file on its way to the socket, without entering the caller's thread.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::task::JoinHandle;

use crate::credit::ByteGauge;
use crate::spare::Spare;
use crate::upload::UploadError;

/// Bytes read at once; one such piece is read while the one before it is sent.
const PIECE: u64 = 256 * 1024;

/// A regular file as a request body. It is read at positions of its own, so that it can be sent again.
#[derive(Debug, Clone)]
pub struct FileBody {
    pub file: Arc<File>,
    /// Bytes from the beginning of the file.
    pub start: u64,
    pub length: u64,
    pub gauge: Arc<ByteGauge>,
}

/// Reads one [`FileBody`] once, on blocking threads.
#[derive(Debug)]
pub struct FileReader {
    body: FileBody,
    position: u64,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    spare: Spare,
    /// Bytes of the piece that is being read, or was read and not handed on.
    held: usize,
}

impl FileReader {
    pub fn new(body: FileBody) -> Self {
        Self {
            position: body.start,
            left: body.length,
            reading: None,
            spare: Spare::default(),
            held: 0,
            body,
        }
    }

    /// From the beginning once more.
    pub fn again(&self) -> Self {
        Self::new(self.body.clone())
    }

    /// The next piece; `None` at the end of the range, or of a file that has become shorter.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        if self.reading.is_none() && !self.read_ahead() {
            return Poll::Ready(None);
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let outcome = match reading.poll_unpin(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(outcome) => outcome,
        };
        self.reading = None;
        self.release();
        let piece = match outcome {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => return Poll::Ready(Some(Err(UploadError::File(error.raw_os_error().unwrap_or(0))))),
            Err(_) => return Poll::Ready(Some(Err(UploadError::File(0)))),
        };
        if piece.is_empty() {
            self.left = 0;
            return Poll::Ready(None);
        }
        self.position += piece.len() as u64;
        self.left = self.left.saturating_sub(piece.len() as u64);
        self.read_ahead();
        Poll::Ready(Some(Ok(piece)))
    }

    /// Nothing is left of the range.
    pub fn is_drained(&self) -> bool {
        self.left == 0 && self.reading.is_none()
    }

    fn read_ahead(&mut self) -> bool {
        let length = usize::try_from(self.left.min(PIECE)).unwrap_or(usize::MAX);
        if length == 0 {
            return false;
        }
        self.held = length;
        self.body.gauge.add(length);
        let (file, position, spare) = (Arc::clone(&self.body.file), self.position, self.spare.clone());
        self.reading = Some(tokio::task::spawn_blocking(move || {
            read_at(&file, position, length, &spare)
        }));
        true
    }

    fn release(&mut self) {
        self.body.gauge.subtract(std::mem::take(&mut self.held));
    }
}

impl Drop for FileReader {
    fn drop(&mut self) {
        self.release();
    }
}

/// `length` bytes, fewer only where the file ends.
fn read_at(file: &File, position: u64, length: usize, spare: &Spare) -> io::Result<Bytes> {
    let mut memory = spare.take(length);
    if memory.len() < length {
        memory.resize(length, 0);
    }
    let mut filled = 0;
    while filled < length {
        match read_some(file, &mut memory[filled..length], position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(spare.lend(memory, filled))
}

#[cfg(unix)]
fn read_some(file: &File, target: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, target, position)
}

#[cfg(windows)]
fn read_some(file: &File, target: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, target, position)
}
