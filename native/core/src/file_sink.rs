//! From a body to an open file, without leaving the runtime.

use std::fs::File;
use std::io::{self, IoSlice, Write};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::body_queue::{BodyQueue, ReadState};

/// Why a pipe ended.
#[derive(Debug)]
pub enum PipeEnd {
    /// The body ended or failed; its end is still in the queue.
    Source,
    /// The file took no more.
    File(io::Error),
    /// The caller stopped it.
    Stopped,
}

/// Moves the queue into `file`, at its position, until the body ends; returns the bytes written and why it ended.
/// At most one write is under way, on a blocking thread; bytes count as held until they are written.
pub async fn pipe_to_file(queue: &BodyQueue, mut file: File, stop: &CancellationToken) -> (u64, PipeEnd) {
    let mut written = 0;
    loop {
        if stop.is_cancelled() {
            return (written, PipeEnd::Stopped);
        }
        let (frames, state) = queue.take_frames();
        if frames.is_empty() {
            if state != ReadState::Empty {
                return (written, PipeEnd::Source);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return (written, PipeEnd::Stopped),
                () = queue.ready() => {}
            }
            continue;
        }
        let length = frames.iter().map(Bytes::len).sum();
        let write = tokio::task::spawn_blocking(move || {
            let result = write_all(&mut file, &frames);
            (file, result)
        });
        let Ok((returned, result)) = write.await else {
            return (written, PipeEnd::File(io::Error::other("the writing thread panicked")));
        };
        file = returned;
        queue.release(length);
        match result {
            Ok(()) => written += length as u64,
            Err((partial, error)) => return (written + partial, PipeEnd::File(error)),
        }
    }
}

fn write_all(file: &mut File, frames: &[Bytes]) -> Result<(), (u64, io::Error)> {
    let mut slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
    let mut left = slices.as_mut_slice();
    let mut written = 0;
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                written += count as u64;
                IoSlice::advance_slices(&mut left, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}
