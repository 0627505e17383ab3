//! A part of a file on its way to the socket, without entering the caller's thread.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::task::JoinHandle;

use crate::credit::{ByteGauge, Credit};
use crate::page_cache::PageCache;
use crate::spare::Spare;
use crate::upload::UploadError;

/// Bytes read at once; one such piece is read while the one before it is sent.
const PIECE: u64 = 256 * 1024;

/// Bytes that are read at once in one turn of the runtime: a server may take a file as fast as it is read.
const TURN: usize = 1024 * 1024;

/// A regular file as a request body. It is read at positions of its own, so that it can be sent again.
#[derive(Debug, Clone)]
pub struct FileBody {
    pub file: Arc<File>,
    /// Bytes from the beginning of the file.
    pub start: u64,
    pub length: u64,
    pub gauge: Arc<ByteGauge>,
}

/// Reads one [`FileBody`] once: what is in memory at once, the rest on blocking threads.
#[derive(Debug)]
pub struct FileReader {
    body: FileBody,
    position: u64,
    left: u64,
    reading: Option<JoinHandle<io::Result<(Bytes, PageCache)>>>,
    cache: PageCache,
    /// Bytes that were read at once in this turn.
    turn: usize,
    spare: Spare,
    /// Bytes of the piece that is being read, or was read and not handed on.
    held: Credit,
}

impl FileReader {
    pub fn new(body: FileBody) -> Self {
        Self {
            position: body.start,
            left: body.length,
            reading: None,
            cache: PageCache::default(),
            turn: 0,
            spare: Spare::default(),
            held: Credit::none(&body.gauge),
            body,
        }
    }

    /// What is read.
    pub fn body(&self) -> &FileBody {
        &self.body
    }

    /// The next piece; `None` at the end of the range, or of a file that has become shorter.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        if self.reading.is_none() {
            if self.turn >= TURN {
                self.turn = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(piece) = self.read_at_once() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if !self.read_ahead() {
                return Poll::Ready(None);
            }
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let outcome = match reading.poll_unpin(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(outcome) => outcome,
        };
        self.reading = None;
        self.held.clear();
        let piece = match outcome {
            Ok(Ok((piece, cache))) => {
                self.cache = cache;
                piece
            }
            Ok(Err(error)) => return Poll::Ready(Some(Err(UploadError::File(error.raw_os_error().unwrap_or(0))))),
            Err(_) => return Poll::Ready(Some(Err(UploadError::File(0)))),
        };
        if piece.is_empty() {
            self.left = 0;
            return Poll::Ready(None);
        }
        self.pass(piece.len());
        if !self.cache.is_of_use() {
            self.read_ahead();
        }
        Poll::Ready(Some(Ok(piece)))
    }

    fn pass(&mut self, bytes: usize) {
        self.position += bytes as u64;
        self.left = self.left.saturating_sub(bytes as u64);
    }

    /// Less than a thread's wake-ups would take, and the bytes are in this core's cache when they are sent.
    fn read_at_once(&mut self) -> Option<Bytes> {
        let length = self.next_length();
        if length == 0 || !self.cache.is_of_use() {
            return None;
        }
        let mut memory = room(&self.spare, length);
        let read = self.cache.read(&self.body.file, &mut memory[..length], self.position);
        self.pass(read);
        self.turn += read;
        let piece = self.spare.lend(memory, read);
        (read > 0).then_some(piece)
    }

    fn next_length(&self) -> usize {
        usize::try_from(self.left.min(PIECE)).unwrap_or(usize::MAX)
    }

    /// Nothing is left of the range.
    pub fn is_drained(&self) -> bool {
        self.left == 0 && self.reading.is_none()
    }

    fn read_ahead(&mut self) -> bool {
        let length = self.next_length();
        if length == 0 {
            return false;
        }
        self.held.grow(length);
        let (file, position, spare) = (Arc::clone(&self.body.file), self.position, self.spare.clone());
        let cache = self.cache;
        self.reading = Some(tokio::task::spawn_blocking(move || {
            Ok((read_at(&file, position, length, &spare)?, cache.after_wait(&file)))
        }));
        true
    }
}

/// At least `length` bytes of whatever content.
fn room(spare: &Spare, length: usize) -> Vec<u8> {
    let mut memory = spare.take(length);
    if memory.len() < length {
        memory.resize(length, 0);
    }
    memory
}

/// `length` bytes, fewer only where the file ends.
fn read_at(file: &File, position: u64, length: usize, spare: &Spare) -> io::Result<Bytes> {
    let mut memory = room(spare, length);
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

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use futures_util::task::noop_waker;

    use super::*;

    const SIZE: usize = 3 * TURN + 10;

    /// A file of that folder that has just been written.
    fn reader(folder: &Path) -> (FileReader, Vec<u8>) {
        let path = folder.join(format!(
            "sluice-page-cache-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
        let mut file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all(&bytes).unwrap();
        let body = FileBody {
            file: Arc::new(file),
            start: 10,
            length: (SIZE - 10) as u64,
            gauge: Arc::default(),
        };
        (FileReader::new(body), bytes[10..].to_vec())
    }

    fn poll(reader: &mut FileReader) -> Poll<Option<Bytes>> {
        let polled = reader.poll_next(&mut Context::from_waker(&noop_waker()));
        polled.map(|piece| piece.map(|piece| piece.unwrap()))
    }

    /// The rest, and how often it let others have their turn.
    fn rest_at_once(reader: &mut FileReader) -> (Vec<u8>, usize) {
        let (mut bytes, mut turns) = (Vec::new(), 0);
        loop {
            match poll(reader) {
                Poll::Ready(Some(piece)) => bytes.extend_from_slice(&piece),
                Poll::Ready(None) => return (bytes, turns),
                Poll::Pending if reader.reading.is_none() => turns += 1,
                Poll::Pending => panic!("waits after {} bytes", bytes.len()),
            }
        }
    }

    /// Outside of a runtime, which has the threads that wait.
    #[test]
    fn what_the_system_has_in_memory_is_read_at_once() {
        let (mut reader, bytes) = reader(&std::env::temp_dir());
        if PageCache::default().read(&reader.body.file, &mut [0], 0) == 0 {
            // The folder's file system does not tell.
            return;
        }
        let (read, turns) = rest_at_once(&mut reader);
        assert!(read == bytes);
        assert_eq!(turns, 3, "one for each {TURN} bytes");
        assert!(reader.is_drained());
    }

    #[tokio::test]
    async fn a_file_that_lives_in_memory_is_waited_for_once() {
        let folder = Path::new("/dev/shm");
        if !folder.is_dir() {
            return;
        }
        let (mut reader, bytes) = reader(folder);
        assert!(poll(&mut reader).is_pending());
        let mut first = std::future::poll_fn(|cx| reader.poll_next(cx))
            .await
            .unwrap()
            .unwrap()
            .to_vec();
        first.extend(rest_at_once(&mut reader).0);
        assert!(first == bytes);
    }

    #[tokio::test]
    async fn a_piece_that_is_missing_is_read_ahead_of() {
        let (mut reader, bytes) = reader(&std::env::temp_dir());
        reader.cache = PageCache::Missing;
        let mut read = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| reader.poll_next(cx)).await {
            read.extend_from_slice(&piece.unwrap());
            assert_eq!(
                reader.held.bytes() > 0,
                read.len() < bytes.len(),
                "the next one is on its way"
            );
        }
        assert!(read == bytes);
        assert_eq!(reader.body.gauge.held(), 0);
    }
}
