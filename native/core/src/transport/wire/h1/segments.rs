//! What is to be written next, in pieces that go out together.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::piece::Piece;
use crate::transport::wire::socket::Socket;

/// Pieces of one write.
const MOST_SLICES: usize = 32;

/// A queue of pieces.
#[derive(Debug, Default)]
pub struct Segments {
    queue: VecDeque<Segment>,
    length: usize,
}

#[derive(Debug)]
enum Segment {
    /// A head, or what frames a body.
    Frame(Bytes),
    /// Of the body; it tells of what the socket takes.
    Data(Piece),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Frame(bytes) => bytes,
            Self::Data(piece) => piece.chunk(),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Frame(bytes) => bytes.advance(count),
            Self::Data(piece) => piece.advance(count),
        }
    }
}

impl Segments {
    pub fn push(&mut self, bytes: impl Into<Bytes>) {
        self.add(Segment::Frame(bytes.into()));
    }

    pub fn push_data(&mut self, piece: Piece) {
        self.add(Segment::Data(piece));
    }

    fn add(&mut self, segment: Segment) {
        let length = segment.bytes().len();
        if length > 0 {
            self.length += length;
            self.queue.push_back(segment);
        }
    }

    /// Bytes that wait.
    pub fn length(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether one write cannot take more.
    pub fn is_full(&self) -> bool {
        self.queue.len() >= MOST_SLICES
    }

    /// One write, of the most that a write takes; how much it took.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, socket: &Socket) -> Poll<io::Result<usize>> {
        let bytes = ready!(socket.with(|stream| match self.queue.front() {
            // A plain send costs the kernel less.
            Some(only) if self.queue.len() == 1 => stream.poll_write(cx, only.bytes()),
            _ if !socket.is_write_vectored() => stream.poll_write(cx, self.queue.front().map_or(&[], Segment::bytes)),
            _ => {
                let mut slices = [IoSlice::new(&[]); MOST_SLICES];
                let count = self.queue.len().min(MOST_SLICES);
                for (slice, segment) in slices.iter_mut().zip(&self.queue) {
                    *slice = IoSlice::new(segment.bytes());
                }
                stream.poll_write_vectored(cx, &slices[..count])
            }
        }))?;
        if bytes == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn advance(&mut self, bytes: usize) {
        let mut left = bytes;
        self.length -= bytes;
        while let Some(first) = self.queue.front_mut() {
            let length = first.bytes().len();
            let here = left.min(length);
            first.advance(here);
            left -= here;
            if here < length {
                break;
            }
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::credit::ByteGauge;
    use crate::request::RequestBody;
    use crate::upload::UploadBody;
    use crate::upload_queue::UploadQueue;

    #[test]
    fn a_write_that_takes_little_leaves_the_rest_in_order_and_tells_of_the_body_alone() {
        let gauge: Arc<ByteGauge> = Arc::default();
        let queue = Arc::new(UploadQueue::new(100, Arc::clone(&gauge), Box::new(|| {})));
        let (body, progress) = UploadBody::new(RequestBody::Stream {
            queue: Arc::clone(&queue),
            length: None,
        });
        queue.push(Bytes::from_static(b"hello"));
        let mut body = body.unwrap();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Some(Ok(frame))) = body.poll_piece(&mut cx) else {
            panic!("nothing was pushed")
        };
        let mut segments = Segments::default();
        segments.push("5\r\n");
        segments.push_data(frame.into_data().unwrap());
        segments.push("");
        segments.push("\r\n");
        assert_eq!((segments.length(), gauge.held()), (10, 5));
        for (taken, held) in [(1, 5), (4, 3), (4, 0), (1, 0)] {
            segments.advance(taken);
            assert_eq!(gauge.held(), held);
        }
        assert!(segments.is_empty() && segments.length() == 0);
        assert!(!progress.is_finished());
    }
}
