//! One request and the head of its response.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Method;

use super::body::H1Body;
use super::decoder::{Decoded, ResponseHead};
use super::exchange::Exchange;
use super::framing::BodyFraming;
use super::informational::Informational;
use super::request_writer::RequestWriter;
use super::response_reader::ResponseReader;
use super::tunnel_stream::TunnelStream;
use super::upload_rest::write_rest;
use crate::error::CoreError;
use crate::response::ResponseStart;
use crate::transport::wire::Unsent;
use crate::transport::wire::head::request_head;
use crate::transport::wire::socket::LARGEST;
use crate::transport::{WireRequest, WireResponse};

/// The request's future writes the request and reads the head itself, side by side: a server may answer before it has read
/// all, or says that it takes no more.
pub async fn send(
    mut exchange: Exchange,
    request: &mut WireRequest,
    on_informational: &mut (dyn FnMut(ResponseStart) + Send),
) -> Result<WireResponse<H1Body>, Unsent> {
    let connection = Arc::clone(exchange.connection());
    let pool = Arc::clone(exchange.pool());
    if !exchange.is_usable().await || !connection.course.begin() {
        exchange.fail(CoreError::Socket("other side closed".into()));
        return Err(Unsent::Stale);
    }
    let number = connection.serve();
    let closes = request.closes || pool.limits().max_requests.is_some_and(|limit| number >= limit);
    request.slot.set(Arc::clone(&connection), number);
    let is_connect = request.method == Method::CONNECT;
    let head = request_head(request, &pool.route().origin, closes, connection.forward.as_deref());
    let mut writing = Some(RequestWriter::new(
        head,
        request.framing,
        &request.headers,
        request.body.take(),
    ));
    let mut reader = ResponseReader::new(request.method.clone());
    let mut informational = Informational::new(request.expects_continue);
    let head = poll_fn(|cx| {
        if let Some(cause) = exchange.killed(cx) {
            return Poll::Ready(Err(cause));
        }
        poll_write(&exchange, &mut writing, cx)?;
        loop {
            match reader.decode()? {
                Decoded::Head(head) => return Poll::Ready(Ok(head)),
                Decoded::Informational(start) => {
                    informational.check(&start)?;
                    on_informational(start);
                }
                Decoded::Pending | Decoded::Data(_) | Decoded::End(_) => {
                    ready!(poll_read(&exchange, &mut reader, cx))?;
                }
            }
        }
    })
    .await
    .map_err(|error| Unsent::Failed(exchange.fail(error)))?;
    if is_connect || head.framing == BodyFraming::Switched {
        return Ok(switched(exchange, reader, head));
    }
    let keep = (head.keeps_connection && !closes && !request.is_last)
        .then(|| pool.limits().keep_alive.after(head.facts.keep_alive))
        .flatten();
    exchange.keep(keep, !head.keeps_connection && head.facts.has_content_length());
    if connection.course.answered()
        && !connection.course.is_refused()
        && let Some(writer) = writing.take()
    {
        write_rest(writer, Arc::clone(exchange.socket()), connection);
    }
    Ok(WireResponse {
        start: head.start,
        body: H1Body::new(exchange, reader, head.framing),
        upgrade: None,
    })
}

/// Ready or not: what cannot be written now is written when the task runs next.
fn poll_write(exchange: &Exchange, writing: &mut Option<RequestWriter>, cx: &mut Context<'_>) -> Result<(), CoreError> {
    let Some(writer) = writing else { return Ok(()) };
    if exchange.connection().course.is_refused() {
        return Ok(());
    }
    match writer.poll(cx, exchange.socket(), exchange.info()) {
        Poll::Pending => {}
        Poll::Ready(Ok(())) => {
            exchange.connection().course.written();
            *writing = None;
        }
        Poll::Ready(Err(fault)) => {
            if let Some(error) = exchange.write_fault(fault, writer) {
                return Err(error);
            }
        }
    }
    Ok(())
}

fn poll_read(exchange: &Exchange, reader: &mut ResponseReader, cx: &mut Context<'_>) -> Poll<Result<(), CoreError>> {
    let read = ready!(reader.poll_fill(cx, exchange.socket(), exchange.info(), LARGEST));
    Poll::Ready(match read {
        Ok(0) => Err(exchange.read_fault(None, true)),
        Ok(_) => Ok(()),
        Err(error) => Err(exchange.read_fault(Some(error), true)),
    })
}

/// What follows the head is not HTTP's. CONNECT gives the tunnel whatever its status.
fn switched(mut exchange: Exchange, reader: ResponseReader, head: ResponseHead) -> WireResponse<H1Body> {
    let connection = Arc::clone(exchange.connection());
    let stream = exchange
        .hand_over()
        .map(|socket| TunnelStream::new(socket, connection, reader.into_rest()));
    WireResponse {
        start: head.start,
        body: H1Body::empty(exchange),
        upgrade: stream,
    }
}
