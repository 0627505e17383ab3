//! One request on HTTP/2, and the head of its response.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::SendRequest;

use super::Unsent;
use super::http2_body::{Http2Body, Http2Exchange};
use super::outgoing::OutgoingBody;
use super::target::uri;
use crate::error::CoreError;
use crate::header_list::HeaderList;
use crate::response::ResponseStart;
use crate::transport::failure::{self, Peer, Phase, classify};
use crate::transport::{Framing, WireRequest, WireResponse};

/// How long a body waits for the server's word on `expect: 100-continue` (RFC 9110 §10.1.1 asks for a bound; this is
/// curl's). hyper keeps a 100 to itself, so that only a final response is heard.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// hyper gives back what it has not begun to send.
fn unsent(mut error: TrySendError<http::Request<OutgoingBody>>, request: &mut WireRequest, peer: &Peer<'_>) -> Unsent {
    match error.take_message() {
        Some(message) => {
            request.body = message.into_body().into_upload();
            if let Some(body) = &request.body {
                body.progress().release();
            }
            Unsent::Stale
        }
        None => Unsent::Failed(classify(error.error(), Phase::Head, peer)),
    }
}

pub async fn send(
    exchange: Http2Exchange,
    mut sender: SendRequest<OutgoingBody>,
    request: &mut WireRequest,
) -> Result<WireResponse<Http2Body>, Unsent> {
    if request.upgrade.is_some() || request.method == Method::CONNECT {
        return Err(Unsent::Failed(CoreError::Informational(
            "HTTP/2: Extended CONNECT protocol not supported by server".into(),
        )));
    }
    let expecting = request.body.as_ref().filter(|_| request.expects_continue);
    let expecting = expecting.map(|body| Arc::clone(body.progress()));
    let mut wire = http2_request(request, &exchange).map_err(Unsent::Failed)?;
    if let Some(upload) = &expecting {
        upload.hold();
        wire.headers_mut()
            .insert(http::header::EXPECT, http::HeaderValue::from_static("100-continue"));
    }
    exchange.connection().serve();
    let mut sending = pin!(sender.try_send_request(wire));
    let sent = match expecting {
        None => sending.await,
        Some(upload) => tokio::select! {
            biased;
            sent = &mut sending => sent,
            () = tokio::time::sleep(CONTINUE_WAIT) => {
                upload.release();
                sending.await
            }
        },
    };
    match sent {
        Ok(response) => Ok(WireResponse {
            start: start_of(&response),
            body: Http2Body::new(response.into_body(), exchange),
            upgrade: None,
        }),
        Err(error) => {
            let refusal = failure::refusal(error.error());
            match (unsent(error, request, &exchange.peer()), refusal) {
                (Unsent::Failed(error), Some(refusal)) => {
                    exchange.pool().retire(exchange.connection().id);
                    Err(Unsent::Unprocessed(refusal, error))
                }
                (unsent, _) => Err(unsent),
            }
        }
    }
}

fn http2_request(
    request: &mut WireRequest,
    exchange: &Http2Exchange,
) -> Result<http::Request<OutgoingBody>, CoreError> {
    let origin = &exchange.pool().route().origin;
    let uri = uri(origin, request.host.as_deref(), &request.target)?;
    let mut headers = request.headers.to_map()?;
    if let Framing::Length(length) = request.framing {
        headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    let mut wire = http::Request::new(OutgoingBody::new(request.body.take(), &exchange.connection().begun));
    *wire.method_mut() = request.method.clone();
    *wire.uri_mut() = uri;
    *wire.version_mut() = Version::HTTP_2;
    *wire.headers_mut() = headers;
    Ok(wire)
}

fn start_of(response: &http::Response<Incoming>) -> ResponseStart {
    ResponseStart {
        status: response.status().as_u16(),
        reason: bytes::Bytes::new(),
        headers: HeaderList::from(response.headers()),
        version: response.version(),
        content_length: None,
        redirected: None,
    }
}
