//! Bodies that cost the server next to nothing: one filler is shared by all of them and never copied.

use std::collections::HashMap;
use std::io::Write;
use std::pin::Pin;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Bytes of one frame: fewer, larger writes cost both sides less.
const FRAME: usize = 256 * 1024;

static FILLER: LazyLock<Bytes> = LazyLock::new(|| {
    let bytes: Vec<u8> = (0..FRAME).map(|i| (i * 31 % 251) as u8).collect();
    Bytes::from(bytes)
});

/// Any of the bodies served.
pub enum Answer {
    Full(Full<Bytes>),
    Filler(Filler),
    Slow(Slow),
    Echo(Incoming),
}

pub fn full(bytes: impl Into<Bytes>) -> Answer {
    Answer::Full(Full::new(bytes.into()))
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Full(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Filler(body) => Poll::Ready(body.next().map(Ok)),
            Self::Slow(body) => body.poll_next(cx).map(|frame| frame.map(Ok)),
            Self::Echo(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(body) => body.is_end_stream(),
            Self::Filler(body) => body.left == 0,
            Self::Slow(body) => body.left == 0,
            Self::Echo(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(body) => body.size_hint(),
            Self::Filler(body) if body.is_sized => SizeHint::with_exact(body.left),
            Self::Filler(_) => SizeHint::default(),
            Self::Slow(body) => SizeHint::with_exact(body.left * 1024),
            Self::Echo(body) => body.size_hint(),
        }
    }
}

pub struct Filler {
    left: u64,
    is_sized: bool,
}

impl Filler {
    pub fn sized(size: u64) -> Self {
        Self {
            left: size,
            is_sized: true,
        }
    }

    pub fn unsized_(size: u64) -> Self {
        Self {
            left: size,
            is_sized: false,
        }
    }

    fn next(&mut self) -> Option<Frame<Bytes>> {
        if self.left == 0 {
            return None;
        }
        let size = usize::try_from(self.left).unwrap_or(FRAME).min(FRAME);
        self.left -= size as u64;
        Some(Frame::data(FILLER.slice(..size)))
    }
}

pub struct Slow {
    left: u64,
    clock: Interval,
}

impl Slow {
    pub fn new(count: u64, every: Duration) -> Self {
        let mut clock = interval(every);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { left: count, clock }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.clock.poll_tick(cx));
        self.left -= 1;
        Poll::Ready(Some(Frame::data(FILLER.slice(..1024))))
    }
}

/// `size` bytes of a repeated sentence, compressed; each size is compressed once.
pub fn gzip(size: u64) -> std::io::Result<Bytes> {
    static ENCODED: LazyLock<Mutex<HashMap<u64, Bytes>>> = LazyLock::new(Mutex::default);
    let mut encoded = ENCODED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = encoded.get(&size) {
        return Ok(bytes.clone());
    }
    let text = b"The quick brown fox jumps over the lazy dog. ";
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut left = size;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(text.len()).min(text.len());
        encoder.write_all(&text[..part])?;
        left -= part as u64;
    }
    let bytes = Bytes::from(encoder.finish()?);
    encoded.insert(size, bytes.clone());
    Ok(bytes)
}
