//! The socket of an HTTP/1 connection, and the loan of it to whoever reads a long body, which needs no framing.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::stream::Stream;
use crate::connection::ConnectionInfo;
use crate::credit::{ByteGauge, FRAME};
use crate::direct::{Direct, DirectRead};

/// Bytes that are read at once of a body that nobody has asked for.
pub const AHEAD: usize = 4096;
/// Bytes of the buffer for one read.
pub const SMALLEST: usize = 8 * 1024;
const FIRST: usize = 64 * 1024;
/// As hyper.
pub const LARGEST: usize = 8192 + 4096 * 100;

#[derive(Debug)]
pub struct Socket {
    held: Mutex<Held>,
    is_write_vectored: bool,
    /// Something came while it was idle: no request is to be written to it.
    is_gone: AtomicBool,
}

#[derive(Debug)]
pub(super) enum Held {
    Live(Stream),
    /// Not watched by the runtime, which would wake for all that comes while somebody else reads.
    Parked(TcpStream),
    /// The runtime could not watch it again.
    Lost,
}

impl Held {
    fn live(&mut self) -> io::Result<&mut Stream> {
        if matches!(self, Self::Parked(_))
            && let Self::Parked(stream) = std::mem::replace(self, Self::Lost)
        {
            *self = Self::Live(Stream::Tcp(tokio::net::TcpStream::from_std(stream)?));
        }
        match self {
            Self::Live(stream) => Ok(stream),
            Self::Parked(_) | Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Nothing is there. The runtime knows of a socket that it watches, and of one that was parked only later.
    fn is_quiet(&self) -> bool {
        match self {
            Self::Live(_) => true,
            Self::Parked(stream) => {
                matches!(stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Lost => false,
        }
    }

    /// Another handle of what the runtime does not watch.
    fn parked(&self) -> Option<TcpStream> {
        match self {
            Self::Parked(stream) => stream.try_clone().ok(),
            Self::Live(_) | Self::Lost => None,
        }
    }

    /// Reads what is there.
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if matches!(self, Self::Live(Stream::Tcp(_)))
            && let Self::Live(Stream::Tcp(stream)) = std::mem::replace(self, Self::Lost)
        {
            *self = Self::Parked(stream.into_std()?);
        }
        match self {
            Self::Parked(stream) => stream.read(target),
            Self::Live(_) => Err(io::ErrorKind::WouldBlock.into()),
            Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Socket {
    pub fn new(stream: Stream) -> Self {
        Self {
            is_write_vectored: stream.is_write_vectored(),
            held: Mutex::new(Held::Live(stream)),
            is_gone: AtomicBool::new(false),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the runtime's thread.
    pub fn with<T>(&self, run: impl FnOnce(Pin<&mut Stream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match self.lock().live() {
            Ok(stream) => run(Pin::new(stream)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    pub fn is_write_vectored(&self) -> bool {
        self.is_write_vectored
    }

    pub(super) fn set_gone(&self) {
        self.is_gone.store(true, Ordering::Release);
    }

    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Says goodbye, as far as that goes without waiting, and gives the descriptor back, whoever else knows the socket.
    pub fn close(&self) {
        match std::mem::replace(&mut *self.lock(), Held::Lost) {
            Held::Live(mut stream) => {
                let _ = Pin::new(&mut stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
            }
            Held::Parked(stream) => {
                let _ = stream.shutdown(Shutdown::Write);
            }
            Held::Lost => {}
        }
    }
}

/// The rest of a body of known length, and the socket to read it from until it has come.
#[derive(Debug)]
pub struct Loan {
    socket: Arc<Socket>,
    info: Arc<ConnectionInfo>,
    gauge: Arc<ByteGauge>,
    /// Changes only with the socket locked.
    left: AtomicU64,
    /// A system tells an error of a socket once.
    failed: Mutex<Option<io::Error>>,
    /// The runtime waits for the socket, and would not be woken if it were parked. Changes only with the socket locked.
    is_watched: AtomicBool,
}

impl Loan {
    pub fn new(socket: Arc<Socket>, info: Arc<ConnectionInfo>, gauge: Arc<ByteGauge>, left: u64) -> Self {
        Self {
            socket,
            info,
            gauge,
            left: AtomicU64::new(left),
            failed: Mutex::default(),
            is_watched: AtomicBool::new(false),
        }
    }

    /// Bytes that are still to come.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Acquire)
    }

    /// Some of them, at most a page while `is_ahead`.
    ///
    /// # Errors
    /// The socket's, and `UnexpectedEof`.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuffer, is_ahead: bool) -> Poll<io::Result<Bytes>> {
        let most = if is_ahead {
            AHEAD
        } else if self.gauge.is_spent() {
            FRAME
        } else {
            buffer.next
        };
        self.socket.with(|stream| {
            let polled = self.poll_stream(stream, cx, buffer, most);
            self.is_watched.store(polled.is_pending(), Ordering::Release);
            polled
        })
    }

    fn poll_stream(
        &self,
        stream: Pin<&mut Stream>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuffer,
        most: usize,
    ) -> Poll<io::Result<Bytes>> {
        if let Some(error) = self.failed().take() {
            return Poll::Ready(Err(error));
        }
        let most = self.most(most);
        if most == 0 {
            return Poll::Ready(Ok(Bytes::new()));
        }
        buffer.bytes.reserve(most);
        let read = ready!(poll_read_buf(stream, cx, &mut (&mut buffer.bytes).limit(most)))?;
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.count(read);
        Poll::Ready(Ok(buffer.take(read, most)))
    }

    /// The socket is the exchange's again: nothing is left to come, or nobody reads on. False when the connection cannot serve
    /// on: its server has closed it, or has sent more than it announced.
    pub fn end(&self) -> bool {
        let socket = self.socket.lock();
        self.left.store(0, Ordering::Release);
        socket.is_quiet()
    }

    fn most(&self, bytes: usize) -> usize {
        bytes.min(usize::try_from(self.left()).unwrap_or(usize::MAX))
    }

    fn count(&self, read: usize) {
        self.info.count_read(read);
        self.left.fetch_sub(read as u64, Ordering::AcqRel);
    }

    fn failed(&self) -> MutexGuard<'_, Option<io::Error>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the bytes of the socket are those of the body.
    pub fn is_direct(&self) -> bool {
        matches!(&*self.socket.lock(), Held::Live(Stream::Tcp(_)))
    }
}

impl Direct for Loan {
    fn read(&self, left: u64, target: &mut [u8]) -> DirectRead {
        let mut socket = self.socket.lock();
        if left == 0 || self.left() != left || self.is_watched.load(Ordering::Acquire) {
            return DirectRead::Over;
        }
        let most = self.most(target.len());
        match socket.read(&mut target[..most]) {
            // The end shows itself again to whoever waits.
            Ok(0) => DirectRead::Over,
            Ok(read) => {
                self.count(read);
                DirectRead::Some(read)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => DirectRead::Nothing,
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    *self.failed() = Some(error);
                }
                DirectRead::Over
            }
        }
    }

    fn socket(&self) -> Option<TcpStream> {
        self.socket.lock().parked()
    }
}

/// Where frames are read into.
#[derive(Debug)]
pub struct ReadBuffer {
    bytes: BytesMut,
    next: usize,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self {
            bytes: BytesMut::new(),
            next: FIRST,
        }
    }
}

impl ReadBuffer {
    /// The `read` bytes that came last, of `most`. What is queued is counted by its length: its memory must not be much
    /// more.
    fn take(&mut self, read: usize, most: usize) -> Bytes {
        let wanted = if read == most { 2 * read } else { read };
        self.next = wanted.next_power_of_two().clamp(SMALLEST, LARGEST);
        self.bytes.split().freeze()
    }
}
