//! The socket of a connection on which nobody has asked for anything.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};

use crate::transport::wire::socket::{Held, Socket};
use crate::transport::wire::stream::Stream;

/// Line breaks that a server may leave behind a response; more is no mistake of that kind.
const MOST_STRAY: usize = 16;

/// What is there to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noise {
    Nothing,
    /// Bytes that may be TLS's own: whoever reads on will know.
    Unclear,
    /// Something that is no answer to any request, or the end.
    Something,
}

impl Socket {
    /// Whether neither bytes nor an end have come on an idle connection, by a look at the system's socket: the runtime may
    /// not know yet. A stray line break is dropped.
    pub async fn is_quiet(&self) -> bool {
        let noise = self.noise();
        if noise != Noise::Unclear {
            return noise == Noise::Nothing;
        }
        // The runtime has to see it before TLS can read it.
        tokio::task::yield_now().await;
        self.noise() != Noise::Something
    }

    fn noise(&self) -> Noise {
        if self.is_gone() {
            return Noise::Something;
        }
        let mut held = self.lock();
        let mut bytes = [0; MOST_STRAY];
        let read = match &mut *held {
            Held::Parked(stream) => stream.read(&mut bytes),
            Held::Live(Stream::Tcp(stream)) => (&*SockRef::from(&*stream)).read(&mut bytes),
            #[cfg(unix)]
            Held::Live(Stream::Unix(stream)) => (&*SockRef::from(&*stream)).read(&mut bytes),
            Held::Live(Stream::Tls(stream)) => {
                let mut read = ReadBuf::new(&mut bytes);
                let polled = Pin::new(&mut **stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut read);
                match polled {
                    Poll::Ready(outcome) => outcome.map(|()| read.filled().len()),
                    Poll::Pending => return stream.get_ref().0.beneath(),
                }
            }
            Held::Lost => return Noise::Something,
        };
        match read {
            Ok(count) if is_stray(&bytes[..count]) => Noise::Nothing,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Noise::Nothing,
            _ => Noise::Something,
        }
    }

    /// Something comes on an idle connection: bytes, its end, or an error. Stray line breaks are dropped.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_noise(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; MOST_STRAY];
        loop {
            let mut read = ReadBuf::new(&mut bytes);
            let polled = self.with(|stream| stream.poll_read(cx, &mut read));
            let outcome = ready!(polled);
            if outcome.is_err() || !is_stray(read.filled()) {
                self.set_gone();
                return Poll::Ready(outcome);
            }
        }
    }
}

fn is_stray(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len() < MOST_STRAY && bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

impl Stream {
    /// What is in the socket beneath TLS, untouched.
    fn beneath(&self) -> Noise {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match self {
            Self::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            #[cfg(unix)]
            Self::Unix(stream) => SockRef::from(stream).peek(&mut byte),
            Self::Tls(stream) => return stream.get_ref().0.beneath(),
        };
        match peeked {
            Ok(0) => Noise::Something,
            Ok(_) => Noise::Unclear,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Noise::Nothing,
            Err(_) => Noise::Something,
        }
    }
}
