//! Content codings of a response (RFC 9110 §8.4.1), undone as its bytes come.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use http::{HeaderMap, Method};
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::direct::Direct;
use crate::error::CoreError;
use crate::header_list::HeaderList;
use crate::size_limit::SizeLimit;
use crate::transport::TransportBody;

/// What a decoder yields at once: the most that one frame can blow up to.
const STEP: usize = 64 * 1024;
/// The same on a thread of its own, where the way there has to pay.
const LARGE_STEP: usize = 256 * 1024;
/// Encoded bytes that are worth that way: a millisecond or less is decoded in place (`examples/decode.rs`).
const LARGE_INPUT: usize = 64 * 1024;
/// As undici: more are an attack.
const MOST_CODINGS: usize = 5;
/// RFC 9659 §3.
const ZSTD_WINDOW_LOG: u32 = 23;

type Codec = Box<dyn DecodeV2 + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// `first` is the first byte of the data: deflate comes with and without zlib's header.
    fn codec(self, first: u8) -> Codec {
        match self {
            Self::Gzip => Box::new(GzipDecoder::new()),
            Self::Deflate if first & 0x0f == 8 => Box::new(ZlibDecoder::new()),
            Self::Deflate => Box::new(DeflateDecoder::new()),
            Self::Brotli => Box::new(BrotliDecoder::new()),
            Self::Zstd => Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(
                ZSTD_WINDOW_LOG,
            )])),
        }
    }

    /// Whether `first` begins another member after the end of one; anything else there is padding.
    fn goes_on(self, first: u8) -> bool {
        match self {
            Self::Gzip => first == 0x1f,
            Self::Zstd => first == 0x28 || (0x50..=0x5f).contains(&first),
            Self::Deflate | Self::Brotli => false,
        }
    }
}

/// One coding of the chain.
struct Stage {
    coding: Coding,
    /// `None` before the first byte.
    codec: Option<Codec>,
    input: Bytes,
    /// The last output was full: the codec may hold more.
    holds_output: bool,
    is_done: bool,
}

impl Stage {
    fn new(coding: Coding) -> Self {
        Self {
            coding,
            codec: None,
            input: Bytes::new(),
            holds_output: false,
            is_done: false,
        }
    }

    /// Takes input or gives output, or ends. Only with either at hand, and room.
    fn advance(&mut self, out: &mut WriteBuffer<'_>) -> Result<(), CoreError> {
        if self.is_done {
            match self.input.first() {
                Some(&first) if self.coding.goes_on(first) => {
                    self.codec = None;
                    self.is_done = false;
                }
                _ => {
                    self.input.clear();
                    return Ok(());
                }
            }
        }
        let codec = match (&mut self.codec, self.input.first()) {
            (Some(codec), _) => codec,
            (slot, Some(&first)) => slot.insert(self.coding.codec(first)),
            (None, None) => return Ok(()),
        };
        let before = out.written_len();
        let mut input = PartialBuffer::new(&self.input[..]);
        let outcome = if self.input.is_empty() {
            codec.flush(out).map(|_| false)
        } else {
            codec.decode(&mut input, out)
        };
        let taken = input.written_len();
        self.is_done = outcome.map_err(|error| bad_data(self.coding, &error))?;
        let was_stuck = !self.is_done && !self.input.is_empty() && taken == 0 && out.written_len() == before;
        if was_stuck && !out.has_no_spare_space() {
            return Err(bad_data(self.coding, &"no progress"));
        }
        self.input.advance(taken);
        self.holds_output = !self.is_done && out.has_no_spare_space();
        Ok(())
    }

    /// # Errors
    /// [`CoreError::Decode`] when the data ended too early. No data at all is an empty body.
    fn finish(&mut self) -> Result<(), CoreError> {
        let Some(codec) = self.codec.as_mut().filter(|_| !self.is_done) else {
            return Ok(());
        };
        let mut nothing = [0; 64];
        match codec.finish(&mut WriteBuffer::new_initialized(&mut nothing)) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(CoreError::Decode {
                code: "Z_BUF_ERROR",
                message: format!("unexpected end of {} data", self.coding.name()),
            }),
        }
    }
}

fn bad_data(coding: Coding, error: &dyn std::fmt::Display) -> CoreError {
    CoreError::Decode {
        code: "Z_DATA_ERROR",
        message: format!("incorrect {} data: {error}", coding.name()),
    }
}

/// The codings of one response; the first stage takes what the wire brings.
struct Decoder {
    stages: Vec<Stage>,
}

impl Decoder {
    /// `None` where there is nothing to undo, or a coding that nobody here knows: the body then stays as it is.
    fn new(headers: &HeaderList) -> Result<Option<Self>, CoreError> {
        let mut codings = Vec::new();
        for value in headers.get_all("content-encoding") {
            let value = String::from_utf8_lossy(value).to_ascii_lowercase();
            codings.extend(value.split(',').map(|coding| coding.trim().to_owned()));
        }
        if codings.len() > MOST_CODINGS {
            return Err(CoreError::Decode {
                code: "Z_DATA_ERROR",
                message: format!(
                    "too many content-encodings in response: {}, maximum allowed is {MOST_CODINGS}",
                    codings.len()
                ),
            });
        }
        let stages: Option<Vec<_>> = codings.iter().rev().map(|text| Coding::parse(text)).collect();
        Ok(stages.filter(|stages| !stages.is_empty()).map(|stages| Self {
            stages: stages.into_iter().map(Stage::new).collect(),
        }))
    }

    fn push(&mut self, data: Bytes) {
        if let Some(first) = self.stages.first_mut() {
            first.input = data;
        }
    }

    /// Encoded bytes not yet taken.
    fn waiting(&self) -> usize {
        self.stages.first().map_or(0, |stage| stage.input.len())
    }

    /// At most `limit` decoded bytes; none when more input is needed.
    fn next(&mut self, limit: usize) -> Result<Bytes, CoreError> {
        let mut buffer = vec![0; limit];
        let mut out = WriteBuffer::new_initialized(&mut buffer);
        fill(&mut self.stages, &mut out)?;
        let length = out.written_len();
        buffer.truncate(length);
        // What is queued is counted by its length: it must not hold much more.
        if length * 2 < limit {
            buffer.shrink_to_fit();
        }
        Ok(Bytes::from(buffer))
    }

    fn finish(&mut self) -> Result<(), CoreError> {
        self.stages.iter_mut().try_for_each(Stage::finish)
    }
}

/// Runs the last of `stages` until `out` is full or the input is used up.
fn fill(stages: &mut [Stage], out: &mut WriteBuffer<'_>) -> Result<(), CoreError> {
    let Some((stage, before)) = stages.split_last_mut() else {
        return Ok(());
    };
    while !out.has_no_spare_space() {
        if stage.input.is_empty() && !stage.holds_output {
            let mut buffer = vec![0; if before.is_empty() { 0 } else { STEP }];
            let mut inner = WriteBuffer::new_initialized(&mut buffer);
            fill(before, &mut inner)?;
            let length = inner.written_len();
            if length == 0 {
                return Ok(());
            }
            buffer.truncate(length);
            stage.input = Bytes::from(buffer);
        }
        stage.advance(out)?;
    }
    Ok(())
}

enum State {
    Idle(Box<Decoder>),
    /// On a thread for work that takes long.
    Busy(JoinHandle<(Box<Decoder>, Result<Bytes, CoreError>)>),
    Over,
}

/// A body whose codings are undone. Holds one frame of the wire and one step of output per coding, whatever comes.
pub struct DecodedBody<B> {
    inner: B,
    state: State,
    needs_input: bool,
    is_inner_over: bool,
    trailers: Option<HeaderMap>,
    size: SizeLimit,
    max_ratio: Option<f64>,
    wire: u64,
    decoded: u64,
}

impl<B: Body<Data = Bytes, Error = CoreError> + Unpin> DecodedBody<B> {
    fn produced(&mut self, data: Bytes) -> Result<Frame<Bytes>, CoreError> {
        self.decoded += data.len() as u64;
        #[expect(clippy::cast_precision_loss, reason = "a limit, not an account")]
        let is_too_much = self
            .max_ratio
            .is_some_and(|ratio| self.decoded as f64 > ratio * self.wire as f64);
        if is_too_much {
            return Err(CoreError::CompressionRatioExceeded);
        }
        Ok(Frame::data(data))
    }

    /// The next frame of output, or `None` when there was no output yet and another look is due.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        let data = match &mut self.state {
            State::Over => return Poll::Ready(None),
            State::Busy(task) => {
                let (decoder, outcome) =
                    ready!(Pin::new(task).poll(cx)).map_err(|error| CoreError::Internal(error.to_string()))?;
                self.state = State::Idle(decoder);
                outcome?
            }
            State::Idle(decoder) => {
                if self.needs_input {
                    if self.is_inner_over {
                        decoder.finish()?;
                        self.state = State::Over;
                        return Poll::Ready(None);
                    }
                    match ready!(Pin::new(&mut self.inner).poll_frame(cx)).transpose()? {
                        None => self.is_inner_over = true,
                        Some(frame) => match frame.into_data() {
                            Ok(data) => {
                                self.size.count(data.len())?;
                                self.wire += data.len() as u64;
                                decoder.push(data);
                                self.needs_input = false;
                            }
                            Err(frame) => {
                                let trailers = frame.into_trailers().unwrap_or_default();
                                self.trailers.get_or_insert_default().extend(trailers);
                            }
                        },
                    }
                    return Poll::Ready(None);
                }
                if decoder.waiting() < LARGE_INPUT {
                    decoder.next(STEP)?
                } else {
                    let State::Idle(mut decoder) = std::mem::replace(&mut self.state, State::Over) else {
                        return Poll::Ready(None);
                    };
                    self.state = State::Busy(tokio::task::spawn_blocking(move || {
                        let outcome = decoder.next(LARGE_STEP);
                        (decoder, outcome)
                    }));
                    return Poll::Ready(None);
                }
            }
        };
        if data.is_empty() {
            self.needs_input = true;
            return Poll::Ready(None);
        }
        Poll::Ready(Some(self.produced(data)))
    }
}

impl<B: Body<Data = Bytes, Error = CoreError> + Unpin> Body for DecodedBody<B> {
    type Data = Bytes;
    type Error = CoreError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        let this = &mut *self;
        loop {
            if matches!(this.state, State::Over) {
                return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            match ready!(this.poll_step(cx)) {
                None => {}
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(error)) => {
                    this.state = State::Over;
                    this.trailers = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Over) && self.trailers.is_none()
    }

    /// What the wire announces is the encoded length.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// A body as its reader gets it.
pub enum ReadableBody<B> {
    Plain(B),
    Decoded(Box<DecodedBody<B>>),
}

/// Undoes the codings of a response to `method`. Without any, `size` goes on counting outside.
///
/// # Errors
/// [`CoreError::Decode`] for too many codings.
pub fn decode<B>(
    body: B,
    method: &Method,
    status: u16,
    headers: &HeaderList,
    size: &mut SizeLimit,
    max_ratio: Option<f64>,
) -> Result<ReadableBody<B>, CoreError> {
    let is_bodiless = *method == Method::HEAD || *method == Method::CONNECT;
    if is_bodiless || matches!(status, 101 | 103 | 204 | 205 | 304) {
        return Ok(ReadableBody::Plain(body));
    }
    let Some(decoder) = Decoder::new(headers)? else {
        return Ok(ReadableBody::Plain(body));
    };
    Ok(ReadableBody::Decoded(Box::new(DecodedBody {
        inner: body,
        state: State::Idle(Box::new(decoder)),
        needs_input: true,
        is_inner_over: false,
        trailers: None,
        size: size.take_wire(),
        max_ratio,
        wire: 0,
        decoded: 0,
    })))
}

impl<B: TransportBody> TransportBody for ReadableBody<B> {
    fn direct(&self) -> Option<Arc<dyn Direct>> {
        match self {
            Self::Plain(body) => body.direct(),
            Self::Decoded(_) => None,
        }
    }
}

impl<B: Body<Data = Bytes, Error = CoreError> + Unpin> Body for ReadableBody<B> {
    type Data = Bytes;
    type Error = CoreError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        match &mut *self {
            Self::Plain(body) => Pin::new(body).poll_frame(cx),
            Self::Decoded(body) => Pin::new(body.as_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::Decoded(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(body) => body.size_hint(),
            Self::Decoded(body) => body.size_hint(),
        }
    }
}
