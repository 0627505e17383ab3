//! The body of a response, which reads its socket when it is polled.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::decoder::Decoded;
use super::exchange::Exchange;
use super::framing::BodyFraming;
use super::response_reader::ResponseReader;
use crate::credit::FRAME;
use crate::direct::Direct;
use crate::error::CoreError;
use crate::transport::TransportBody;
use crate::transport::wire::socket::{AHEAD, LARGEST, Loan, ReadBuffer};

/// A shorter rest of a body of known length is not worth a way of its own.
const WORTH: u64 = 64 * 1024;
/// Bytes of an abandoned body that are read for the sake of its connection, if they are there already.
const DRAINED: usize = 64 * 1024;

/// The frames of a response, trailers among them.
#[derive(Debug)]
pub struct H1Body {
    exchange: Exchange,
    /// Absent once the response has ended.
    reader: Option<ResponseReader>,
    /// The rest of a long body of known length, which its reader may take itself.
    loan: Option<Arc<Loan>>,
    buffer: ReadBuffer,
    is_length_known: bool,
    has_begun: bool,
}

impl H1Body {
    pub fn new(exchange: Exchange, reader: ResponseReader, framing: BodyFraming) -> Self {
        let mut body = Self::empty(exchange);
        body.reader = Some(reader);
        body.is_length_known = matches!(framing, BodyFraming::Length(_));
        body.end_if_whole();
        body.lend();
        body
    }

    /// That of a response without one, whose connection is not HTTP's any more.
    pub fn empty(exchange: Exchange) -> Self {
        Self {
            exchange,
            reader: None,
            loan: None,
            buffer: ReadBuffer::default(),
            is_length_known: true,
            has_begun: false,
        }
    }

    /// Lets the reader of a long rest take it, unless the request's own is still to be written.
    fn lend(&mut self) {
        let Some(reader) = &self.reader else { return };
        let rest = reader.left().saturating_sub(reader.ahead() as u64);
        if !self.is_length_known || rest < WORTH || !self.exchange.connection().course.is_written() {
            return;
        }
        let gauge = &self.exchange.pool().limits().http2.gauge;
        let (socket, info) = (self.exchange.socket(), self.exchange.info());
        self.loan = Some(Arc::new(Loan::new(
            Arc::clone(socket),
            Arc::clone(info),
            Arc::clone(gauge),
            rest,
        )));
    }

    /// Nothing more belongs to the response.
    fn end(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.exchange.finish(reader.has_surplus());
        }
    }

    fn end_if_whole(&mut self) {
        if self.reader.as_ref().is_some_and(ResponseReader::is_ended) {
            self.end();
        }
    }

    fn fail<T>(&mut self, error: CoreError) -> Poll<Option<Result<T, CoreError>>> {
        self.reader = None;
        self.loan = None;
        Poll::Ready(Some(Err(self.exchange.fail(error))))
    }

    /// A piece of the long rest; none when its reader has taken the last.
    fn poll_loan(&mut self, cx: &mut Context<'_>, loan: &Arc<Loan>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        let read = if loan.left() == 0 {
            None
        } else {
            match ready!(loan.poll_read(cx, &mut self.buffer, !self.has_begun)) {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    let is_end = error.kind() == std::io::ErrorKind::UnexpectedEof && error.get_ref().is_none();
                    let error = self.exchange.read_fault((!is_end).then_some(error), false);
                    return self.fail(error);
                }
            }
        };
        self.has_begun = true;
        self.pay_back();
        Poll::Ready(read.map(|bytes| Ok(Frame::data(bytes))))
    }

    /// The socket is the exchange's again when the long rest has come whole.
    fn pay_back(&mut self) {
        let Some(loan) = self.loan.take_if(|loan| loan.left() == 0) else {
            return;
        };
        let is_quiet = loan.end();
        let has_surplus = self.reader.take().is_none_or(|reader| reader.ahead() > 0);
        self.exchange.finish(has_surplus || !is_quiet);
    }

    /// Bytes to read at once. With the budget spent a body takes little: those that begin then may all take one frame more.
    /// Before anybody has asked for the body, it is a page.
    fn most(&self) -> usize {
        if !self.has_begun {
            AHEAD
        } else if self.exchange.pool().limits().http2.gauge.is_spent() {
            FRAME
        } else {
            LARGEST
        }
    }

    /// Keeps the connection if the rest of the response is there already.
    fn drain(&mut self) {
        let mut left = DRAINED;
        while self.exchange.may_be_kept() && self.loan.is_none() {
            let Some(reader) = &mut self.reader else { return };
            match reader.decode() {
                Ok(Decoded::Data(data)) if data.len() <= left => left -= data.len(),
                Ok(Decoded::End(_)) => return self.end(),
                Ok(Decoded::Pending) => {
                    let mut cx = Context::from_waker(Waker::noop());
                    let read = reader.poll_fill(&mut cx, self.exchange.socket(), self.exchange.info(), left.max(1));
                    if !matches!(read, Poll::Ready(Ok(1..))) {
                        return;
                    }
                }
                _ => return,
            }
        }
    }
}

impl Body for H1Body {
    type Data = Bytes;
    type Error = CoreError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        let this = &mut *self;
        loop {
            let Some(reader) = &mut this.reader else {
                return Poll::Ready(None);
            };
            match reader.decode() {
                Ok(Decoded::Data(data)) => {
                    this.has_begun = true;
                    this.end_if_whole();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Decoded::End(trailers)) => {
                    let trailers = match trailers.to_map() {
                        Ok(trailers) => trailers,
                        Err(error) => return this.fail(error),
                    };
                    this.end();
                    return Poll::Ready((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))));
                }
                Ok(Decoded::Pending) => {}
                Ok(Decoded::Head(_) | Decoded::Informational(_)) => {
                    return this.fail(CoreError::Internal("a head within a body".into()));
                }
                Err(malformed) => return this.fail(malformed.into()),
            }
            if let Some(cause) = this.exchange.killed(cx) {
                return this.fail(cause);
            }
            if let Some(loan) = this.loan.clone() {
                return this.poll_loan(cx, &loan);
            }
            let most = this.most();
            let Some(reader) = &mut this.reader else {
                return Poll::Ready(None);
            };
            match ready!(reader.poll_fill(cx, this.exchange.socket(), this.exchange.info(), most)) {
                Ok(0) if reader.end().is_ok() => {
                    let refusal = this.exchange.connection().course.take_refusal(true, false);
                    if refusal.is_some() {
                        let error = this.exchange.read_fault(refusal, false);
                        return this.fail(error);
                    }
                    this.end();
                    return Poll::Ready(None);
                }
                Ok(0) => {
                    let error = this.exchange.read_fault(None, false);
                    return this.fail(error);
                }
                Ok(_) => {}
                Err(error) => {
                    let error = this.exchange.read_fault(Some(error), false);
                    return this.fail(error);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.reader.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let Some(reader) = &self.reader else {
            return SizeHint::with_exact(0);
        };
        match &self.loan {
            Some(loan) => SizeHint::with_exact(reader.ahead() as u64 + loan.left()),
            None if self.is_length_known => SizeHint::with_exact(reader.left()),
            None => SizeHint::new(),
        }
    }
}

impl TransportBody for H1Body {
    fn direct(&self) -> Option<Arc<dyn Direct>> {
        let loan = self.loan.as_ref().filter(|loan| loan.is_direct())?;
        Some(Arc::<Loan>::clone(loan))
    }
}

impl Drop for H1Body {
    fn drop(&mut self) {
        // A pool is given connections on the runtime only.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.pay_back();
            self.drain();
        }
        if let Some(loan) = &self.loan {
            loan.end();
        }
    }
}
