//! One request from the wire to its handler.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::Method;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::controller::RequestController;
use crate::credit::{ByteGauge, Credit};
use crate::decode::{ReadableBody, decode};
use crate::error::CoreError;
use crate::handler::DispatchHandler;
use crate::header_list::HeaderList;
use crate::prefetch::prefetch;
use crate::redirect::{RedirectPolicy, Redirects, is_redirect, unexpected_redirect};
use crate::request::{DispatchOptions, FetchOptions, RequestBody};
use crate::response::RedirectedTo;
use crate::silence::{body_timeout_error, headers_timeout_error, silent_body, silent_server};
use crate::size_limit::SizeLimit;
use crate::transport::{
    ConnectionSlot, Framing, Route, Transport, TransportBody, TransportLease, TunnelStream, WireRequest, WireResponse,
    upload_error,
};
use crate::tunnel::run_tunnel;
use crate::upload::UploadBody;
use crate::upload_progress::UploadProgress;
use crate::upload_queue::UploadQueue;

/// The methods for which undici announces an empty body.
const EXPECTS_PAYLOAD: [&str; 6] = ["POST", "PUT", "PATCH", "QUERY", "PROPFIND", "PROPPATCH"];

/// Runs one request to its end. The handler gets its calls in order and exactly one of end and error; a panic below
/// becomes that error. `gauge` counts what waits for the handler.
///
/// # Cancel safety
/// Dropping the future drops the connection without a word to the handler.
pub async fn execute_request<T: Transport, H: DispatchHandler>(
    transport: &T,
    mut options: Box<DispatchOptions>,
    controller: &RequestController,
    destroyed: &CancellationToken,
    gauge: &Arc<ByteGauge>,
    mut handler: H,
) {
    let total = options.timeout;
    let tunnel = options.tunnel.take();
    let follows = |fetch: &FetchOptions| fetch.redirect == RedirectPolicy::Follow;
    let is_followed = options.fetch.as_ref().is_some_and(follows);
    let redirects = is_followed.then(|| Box::new(Redirects::new(&options)));
    // Made here, so that a request that never runs closes its upload too.
    let attempt = Attempt::new(&mut options);
    let slot = ConnectionSlot::default();
    let outcome = {
        let request = Outgoing {
            options,
            attempt,
            redirects,
            slot: &slot,
            gauge,
            is_tunnel: tunnel.is_some(),
        };
        let run = AssertUnwindSafe(run(transport, request, controller, &mut handler)).catch_unwind();
        tokio::select! {
            biased;
            () = aborted(controller, &slot) => Err(CoreError::RequestAborted),
            () = was_destroyed(destroyed, &slot) => Err(CoreError::ClientDestroyed),
            () = elapsed(total) => Err(CoreError::TotalTimeout { timeout_ms: total.unwrap_or_default().as_millis() }),
            outcome = run => outcome.unwrap_or_else(|panic| Err(CoreError::Internal(panic_text(panic.as_ref())))),
        }
    };
    let outcome = match (outcome, tunnel) {
        // No longer a request: neither its limits nor its agent's end concern it.
        (Ok(Some(upgrade)), Some(tunnel)) => Box::pin(tunnel_through(upgrade, &tunnel, controller, &mut handler)).await,
        (Ok(_), _) => Ok(()),
        (Err(error), _) => Err(error),
    };
    if let Err(error) = outcome {
        handler.on_response_error(error).await;
    }
}

async fn tunnel_through<H: DispatchHandler>(
    upgrade: TunnelStream,
    tunnel: &UploadQueue,
    controller: &RequestController,
    handler: &mut H,
) -> Result<(), CoreError> {
    let outcome = tokio::select! {
        biased;
        () = controller.aborted() => Err(CoreError::RequestAborted),
        outcome = run_tunnel(upgrade, tunnel, controller, handler) => outcome,
    };
    tunnel.close();
    outcome
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic".to_owned())
}

/// An engine whose pool has the connection back already would keep it.
async fn aborted(controller: &RequestController, slot: &ConnectionSlot) {
    controller.aborted().await;
    if !controller.spares_connection() {
        slot.close();
    }
}

async fn was_destroyed(destroyed: &CancellationToken, slot: &ConnectionSlot) {
    destroyed.cancelled().await;
    slot.close();
}

async fn elapsed(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// How the body ends: an empty one says so where a payload is expected (RFC 9110 §8.6).
fn framing(options: &DispatchOptions) -> Framing {
    let empty = empty_framing(&options.method);
    match &options.body {
        RequestBody::Empty => empty,
        RequestBody::Bytes(bytes) if bytes.is_empty() => empty,
        RequestBody::Bytes(bytes) => Framing::Length(bytes.len() as u64),
        RequestBody::Stream { length: Some(0), .. } => empty,
        RequestBody::Stream {
            length: Some(length), ..
        } => Framing::Length(*length),
        RequestBody::Stream { length: None, .. } => Framing::Chunked,
        RequestBody::File(file) if file.length == 0 => empty,
        RequestBody::File(file) => Framing::Length(file.length),
    }
}

fn empty_framing(method: &Method) -> Framing {
    if EXPECTS_PAYLOAD.contains(&method.as_str()) {
        Framing::Length(0)
    } else {
        Framing::None
    }
}

/// What `run` takes of a request. The options are boxed: each future on the way would hold room for them twice.
struct Outgoing<'a> {
    options: Box<DispatchOptions>,
    attempt: Attempt,
    redirects: Option<Box<Redirects>>,
    slot: &'a ConnectionSlot,
    gauge: &'a Arc<ByteGauge>,
    is_tunnel: bool,
}

/// The body of one exchange.
struct Attempt {
    framing: Framing,
    body: Option<UploadBody>,
    /// Of a body whose length is not known.
    source: Option<Arc<UploadQueue>>,
    upload: StopUpload,
}

impl Attempt {
    /// Takes the body out of `options`.
    fn new(options: &mut DispatchOptions) -> Self {
        let framing = framing(options);
        let source = match &options.body {
            RequestBody::Stream { queue, length: None } => Some(Arc::clone(queue)),
            _ => None,
        };
        let (body, progress) = UploadBody::new(std::mem::take(&mut options.body));
        Self {
            framing,
            body,
            source,
            upload: StopUpload(progress),
        }
    }
}

/// The head of the answer to one exchange.
struct Answer<B> {
    response: WireResponse<B>,
    is_http2: bool,
    upload: StopUpload,
}

/// One request and the head of its response. Takes of `options` what only one exchange needs.
async fn exchange<T: Transport, H: DispatchHandler>(
    transport: &T,
    options: &mut DispatchOptions,
    attempt: Attempt,
    slot: &ConnectionSlot,
    handler: &mut H,
) -> Result<Answer<<T::Lease as TransportLease>::Body>, CoreError> {
    let Attempt {
        mut framing,
        mut body,
        source,
        upload,
    } = attempt;
    let is_https = options.origin.is_https();
    let route = Route {
        origin: options.origin.clone(),
        servername: options.servername.clone(),
        http1_only: options.http1_only,
        tunnels: options.upgrade.is_some() || options.method == Method::CONNECT,
        connect_timeout: options.connect_timeout,
    };
    let lease = transport.checkout(route).await?;
    handler.on_connection(lease.info()).await;
    let is_http2 = lease.info().is_some_and(|info| info.is_http2);
    // A source that has nothing to say is no body, as in undici, where the first chunk brings the head along.
    if let Some(source) = source
        && !source.has_content().await
    {
        framing = empty_framing(&options.method);
        body = None;
    }
    let asks_upgrade = options.upgrade.is_some();
    let mut headers = std::mem::take(&mut options.headers);
    if options.fetch.as_ref().is_some_and(|fetch| fetch.decodes) {
        accept_codings(&mut headers, is_https);
    }
    let mut request = WireRequest {
        method: options.method.clone(),
        target: std::mem::take(&mut options.target),
        host: options.host.take(),
        headers,
        framing,
        body,
        closes: options.closes,
        is_last: options.is_last,
        upgrade: options.upgrade.take(),
        expects_continue: options.expects_continue,
        slot: slot.clone(),
    };
    let response = {
        let mut on_informational = |start| handler.on_informational(start);
        tokio::select! {
            biased;
            response = lease.send(&mut request, &mut on_informational) => response.map_err(|error| upload.explain(error))?,
            () = silent_server(upload.0.flow(), options.headers_timeout) => return Err(headers_timeout_error(is_http2, options.headers_timeout)),
        }
    };
    upload.0.answered();
    if response.start.headers.size() >= options.max_header_size {
        return Err(CoreError::HeadersOverflow);
    }
    if response.start.status == 101 && !asks_upgrade {
        return Err(CoreError::Socket("bad upgrade".into()));
    }
    Ok(Answer {
        response,
        is_http2,
        upload,
    })
}

/// What undici's fetch says that it understands.
fn accept_codings(headers: &mut HeaderList, is_https: bool) {
    if headers.get("accept-encoding").is_some() {
        return;
    }
    let codings = match (headers.get("range"), is_https) {
        // A part of encoded bytes could not be decoded.
        (Some(_), _) => "identity",
        (None, true) => "br, gzip, deflate, zstd",
        (None, false) => "gzip, deflate",
    };
    headers.append("accept-encoding", codings);
}

/// Returns what is left when the connection has become a tunnel.
async fn run<T: Transport, H: DispatchHandler>(
    transport: &T,
    outgoing: Outgoing<'_>,
    controller: &RequestController,
    handler: &mut H,
) -> Result<Option<TunnelStream>, CoreError> {
    let Outgoing {
        mut options,
        mut attempt,
        mut redirects,
        slot,
        gauge,
        is_tunnel,
    } = outgoing;
    let (answer, redirected) = loop {
        let mut answer = exchange(transport, &mut options, attempt, slot, handler).await?;
        let Some(redirects) = &mut redirects else {
            break (answer, None);
        };
        let Some(body) = redirects.follow(&answer.response.start, &mut options)? else {
            break (answer, redirects.target());
        };
        // What is there already is taken, so that the connection can serve again; the rest is not worth waiting for.
        prefetch(&mut answer.response.body, gauge).await;
        drop(answer);
        handler.on_redirect(&options.origin);
        options.body = body;
        attempt = Attempt::new(&mut options);
    };
    deliver(answer, redirected, &options, is_tunnel, controller, gauge, handler).await
}

/// Tells the handler of a response, to its end. Returns what is left when the connection has become a tunnel.
async fn deliver<B: TransportBody, H: DispatchHandler>(
    answer: Answer<B>,
    redirected: Option<RedirectedTo>,
    options: &DispatchOptions,
    is_tunnel: bool,
    controller: &RequestController,
    gauge: &Arc<ByteGauge>,
    handler: &mut H,
) -> Result<Option<TunnelStream>, CoreError> {
    let body_timeout = options.body_timeout;
    let Answer {
        response,
        is_http2,
        upload,
    } = answer;
    let WireResponse {
        mut start,
        body,
        upgrade,
    } = response;
    if let Some(upgrade) = upgrade.filter(|_| is_tunnel) {
        // The pool has seen the last of the connection before the handler has it.
        drop(body);
        handler.on_upgrade(start).await;
        return Ok(Some(upgrade));
    }
    start.redirected = redirected;
    let mut size = SizeLimit {
        wire: options.max_response_size,
        decoded: None,
    };
    let mut body = match &options.fetch {
        None => ReadableBody::Plain(body),
        Some(fetch) => {
            if fetch.redirect == RedirectPolicy::Error && is_redirect(start.status) {
                return Err(unexpected_redirect(start.status));
            }
            size.decoded = fetch.max_decoded_size;
            let ratio = fetch.max_compression_ratio;
            if fetch.decodes {
                decode(body, &options.method, start.status, &start.headers, &mut size, ratio)?
            } else {
                ReadableBody::Plain(body)
            }
        }
    };
    start.content_length = body.size_hint().exact();

    let prefetched = prefetch(&mut body, gauge).await;
    let counted = size.count(prefetched.data.len());
    let mut trailers = prefetched.trailers;
    if counted.is_ok() && matches!(prefetched.end, Some(Ok(()))) {
        drop(prefetched.credit);
        handler.on_response_complete(start, prefetched.data, trailers).await;
        drop(upload);
        return Ok(None);
    }
    if let (Some(queue), Some(direct)) = (handler.queue(), body.direct())
        && size.covers(body.size_hint().exact())
    {
        queue.allow_direct(direct, body.size_hint().lower() + prefetched.data.len() as u64);
    }
    handler.on_response_start(start).await;
    counted?;
    if !prefetched.data.is_empty() {
        controller.pause_state().wait_if_paused().await;
        drop(prefetched.credit);
        handler.on_response_data(prefetched.data).await;
    }
    if let Some(Err(error)) = prefetched.end {
        return Err(error);
    }

    loop {
        controller.pause_state().wait_if_paused().await;
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = silent_body(controller.pause_state(), upload.0.flow(), body_timeout) => return Err(body_timeout_error(is_http2, body_timeout)),
        };
        match frame
            .transpose()
            .map_err(|error| upload.explain(error))?
            .map(http_body::Frame::into_data)
        {
            Some(Ok(data)) if data.is_empty() => {}
            Some(Ok(data)) => {
                size.count(data.len())?;
                // A pause may have come while the frame was awaited.
                if controller.pause_state().is_paused() {
                    let _waiting = Credit::new(gauge, data.len());
                    controller.pause_state().wait_if_paused().await;
                }
                handler.on_response_data(data).await;
            }
            Some(Err(frame)) => trailers.extend(frame.into_trailers().unwrap_or_default()),
            None => {
                // The end waits behind a pause as the data does.
                controller.pause_state().wait_if_paused().await;
                handler.on_response_end(trailers).await;
                return Ok(None);
            }
        }
    }
}

/// An upload still under way when the response has ended goes no further, as in undici.
struct StopUpload(Arc<UploadProgress>);

impl StopUpload {
    /// Why a request failed: for its body's sake, where that broke off.
    fn explain(&self, error: CoreError) -> CoreError {
        self.0.failure().map_or(error, upload_error)
    }
}

impl Drop for StopUpload {
    fn drop(&mut self) {
        self.0.stop();
    }
}
