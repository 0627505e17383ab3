//! The response to one request, out of its socket.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use http::Method;
use tokio_util::io::poll_read_buf;

use super::decoder::{Cut, Decoded, ResponseDecoder};
use super::malformed::Malformed;
use crate::connection::ConnectionInfo;
use crate::transport::wire::socket::{LARGEST, SMALLEST, Socket};

/// Bytes that a trailer section may have: undici's default for all fields of a response.
const MOST_TRAILERS: usize = 16 * 1024;

/// Reads and decodes. Its buffer is there from the first read to the end of the response.
#[derive(Debug)]
pub struct ResponseReader {
    decoder: ResponseDecoder,
    input: BytesMut,
    /// Bytes to read at once.
    next: usize,
}

impl ResponseReader {
    pub fn new(method: Method) -> Self {
        Self {
            decoder: ResponseDecoder::new(method, MOST_TRAILERS),
            input: BytesMut::new(),
            next: SMALLEST,
        }
    }

    /// What the bytes that were read bring next.
    pub fn decode(&mut self) -> Result<Decoded, Malformed> {
        self.decoder.decode(&mut self.input)
    }

    /// Reads at most so many bytes. None is the end.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Socket,
        info: &ConnectionInfo,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let most = most.min(self.next);
        // What is queued is counted by its length: of the memory behind it little may be left unused.
        if self.input.capacity() - self.input.len() < most.div_ceil(4) {
            self.input.reserve(most);
        }
        let read = ready!(socket.with(|stream| poll_read_buf(stream, cx, &mut (&mut self.input).limit(most))))?;
        info.count_read(read);
        if read == self.next {
            self.next = (2 * self.next).min(LARGEST);
        } else if read > 0 && read < self.next / 4 {
            self.next = (self.next / 2).max(SMALLEST);
        }
        Poll::Ready(Ok(read))
    }

    /// The server has closed its side.
    pub fn end(&mut self) -> Result<(), Cut> {
        self.decoder.end_of_input(&self.input)
    }

    pub fn is_ended(&self) -> bool {
        self.decoder.is_ended()
    }

    /// Bytes of a body of known length that are still to come, those that were read included.
    pub fn left(&self) -> u64 {
        self.decoder.left()
    }

    /// Bytes that were read and are not decoded.
    pub fn ahead(&self) -> usize {
        self.input.len()
    }

    /// The rest of a body of known length was read past this.
    pub fn skip_rest(&mut self) {
        self.decoder.skip(self.decoder.left());
    }

    /// Whether something other than line breaks follows the response.
    pub fn has_surplus(&self) -> bool {
        !self.input.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// What follows the head of a response after which the connection is no longer HTTP's.
    pub fn into_rest(self) -> BytesMut {
        self.input
    }
}
