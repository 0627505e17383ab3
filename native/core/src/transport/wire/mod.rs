//! The engine on hyper's connections: targets and heads byte for byte, a pool of our own that says what it does.

mod begun_upload;
mod body;
mod connection;
mod dial;
mod handshake;
mod head;
mod http2_executor;
mod http2_meter;
mod io;
mod keep_alive;
mod long_body;
mod open;
mod outgoing;
mod pool;
mod proxy_tunnel;
mod rest;
mod socket;
mod starvation;
mod stream;
mod switch;
mod tap;
mod target;
mod tcp;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use http::{Method, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

pub use self::body::WireBody;
pub use self::connection::ConnectionSlot;
pub use self::keep_alive::KeepAlive;
pub use self::tcp::SocketOptions;

use self::body::Exchange;
use self::connection::Sender;
use self::dial::Dialer;
use self::head::{HeadFacts, framing_headers, request_head, response_start};
use self::outgoing::OutgoingBody;
use self::pool::{Http2Settings, Lease, Pool, PoolLimits};
use self::tap::Shown;
use self::target::uri;
use super::failure::{self, Peer, Phase, Refusal, classify};
use super::http2_windows::Http2Windows;
use super::{Framing, Route, Transport, TransportConfig, TransportLease, WireRequest, WireResponse};
use crate::connection::ConnectionInfo;
use crate::error::CoreError;
use crate::header_list::HeaderList;
use crate::origin::Origin;
use crate::response::ResponseStart;
use crate::upload::UploadBody;

/// How often a request goes out again that HTTP/2 servers gave back unprocessed (RFC 9113 §8.7).
const MAX_REFUSALS: usize = 3;
/// The same where each refusal was a connection's end: servers end theirs after so many requests, and of those that
/// go out together few may be served at a time.
const MAX_ENDED: usize = 100;

/// How long a body waits for the server's word on `expect: 100-continue` (RFC 9110 §10.1.1 asks for a bound; this is
/// curl's). hyper keeps a 100 to itself, so that only a final response is heard.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// Pools that nobody uses are dropped when there are more than this.
const REMEMBERED_POOLS: usize = 256;

/// One pool for each route.
#[derive(Debug)]
pub struct WireTransport {
    config: TransportConfig,
    dialer: Arc<Dialer>,
    limits: PoolLimits,
    pools: Mutex<HashMap<PoolKey, Arc<Pool>>>,
    /// What was asked for last: most often the next request's too.
    last: Mutex<Weak<Pool>>,
}

type PoolKey = (Origin, Option<String>, bool, bool);

impl WireTransport {
    pub fn new(config: TransportConfig) -> Self {
        let windows = Http2Windows::within_budget(&config);
        let limits = PoolLimits {
            connections: config.connections,
            keep_alive: config.keep_alive,
            max_requests: config.max_requests_per_connection,
            ttl: config.connection_ttl,
            max_streams: windows.streams,
            http2: Http2Settings {
                stream_window: windows.stream,
                connection_window: windows.connection,
                ping_interval: config.http2_ping_interval,
                prior_knowledge: config.http2_prior_knowledge,
                gauge: Arc::clone(&config.gauge),
            },
        };
        Self {
            dialer: Arc::new(Dialer::new(&config)),
            limits,
            config,
            pools: Mutex::default(),
            last: Mutex::default(),
        }
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<PoolKey, Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self, route: Route) -> Arc<Pool> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = last.upgrade()
            && pool.serves(&route)
        {
            return pool;
        }
        let pool = self.find_pool(route);
        *last = Arc::downgrade(&pool);
        pool
    }

    fn find_pool(&self, route: Route) -> Arc<Pool> {
        let key = (
            route.origin.clone(),
            route.servername.clone(),
            route.http1_only,
            route.tunnels,
        );
        let mut pools = self.pools();
        if let Some(pool) = pools.get(&key) {
            return Arc::clone(pool);
        }
        if pools.len() >= REMEMBERED_POOLS {
            pools.retain(|_, pool| Arc::strong_count(pool) > 1 || !pool.is_unused());
        }
        let pool = Pool::new(
            route,
            Arc::clone(&self.dialer),
            self.config.observer.clone(),
            self.limits.clone(),
        );
        pools.insert(key, Arc::clone(&pool));
        pool
    }
}

impl Transport for WireTransport {
    type Lease = WireLease;

    async fn checkout(&self, mut route: Route) -> Result<WireLease, CoreError> {
        // Otherwise its connections are those of every request.
        route.tunnels &= self.dialer.has_proxies();
        let connect_timeout = route.connect_timeout;
        let lease = self.pool(route).checkout(connect_timeout).await?;
        Ok(WireLease { lease, connect_timeout })
    }

    fn destroy(&self) {
        for pool in self.pools().values() {
            pool.destroy();
        }
    }
}

/// A connection for one request.
#[derive(Debug)]
pub struct WireLease {
    lease: Lease,
    connect_timeout: Option<Duration>,
}

impl TransportLease for WireLease {
    type Body = WireBody;

    fn info(&self) -> Option<&Arc<ConnectionInfo>> {
        Some(&self.lease.connection.info)
    }

    async fn send(
        self,
        request: &mut WireRequest,
        on_informational: &mut (dyn FnMut(ResponseStart) + Send),
    ) -> Result<WireResponse<WireBody>, CoreError> {
        let Self {
            mut lease,
            connect_timeout,
        } = self;
        let (mut refusals, mut ended) = (0, 0);
        loop {
            let pool = Arc::clone(&lease.pool);
            let replay = request.body.as_ref().map(UploadBody::replay);
            let sent = match lease.sender.take() {
                Some(Sender::Http1(sender)) => {
                    let exchange = Exchange::http1(&lease, sender);
                    send_http1(exchange, request, on_informational).await
                }
                Some(Sender::Http2(sender)) => {
                    let exchange = Exchange::http2(&lease);
                    send_http2(exchange, sender, request).await
                }
                None => Err(Unsent::Failed(CoreError::Internal("a lease was used twice".into()))),
            };
            match sent {
                Ok(response) => return Ok(response),
                Err(Unsent::Failed(error)) => return Err(error),
                Err(Unsent::Unprocessed(refusal, error)) => {
                    match refusal {
                        Refusal::Connection => ended += 1,
                        Refusal::Stream => refusals += 1,
                    }
                    if refusals > MAX_REFUSALS || ended > MAX_ENDED {
                        return Err(error);
                    }
                    match replay {
                        None => {}
                        Some(Some(replay)) => request.body = replay.body(),
                        // Its source is read already.
                        Some(None) => return Err(error),
                    }
                    lease = pool.checkout(connect_timeout).await?;
                }
                // Not a byte of it was written, so that any method and any body can go out on another connection.
                Err(Unsent::Stale) => lease = pool.checkout(connect_timeout).await?,
            }
        }
    }
}

/// Why a request got no response.
enum Unsent {
    Failed(CoreError),
    /// The connection had gone before the request was taken.
    Stale,
    /// The server says that it has not looked at it, and why it did not.
    Unprocessed(Refusal, CoreError),
}

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

async fn send_http1(
    mut exchange: Exchange,
    request: &mut WireRequest,
    on_informational: &mut (dyn FnMut(ResponseStart) + Send),
) -> Result<WireResponse<WireBody>, Unsent> {
    let pool = Arc::clone(exchange.pool());
    let connection = Arc::clone(exchange.connection());
    let number = connection.serve();
    let closes = request.closes || pool.limits().max_requests.is_some_and(|limit| number >= limit);
    request.slot.set(Arc::clone(&connection), number);
    let is_connect = request.method == Method::CONNECT;
    connection.tap.arm(
        request_head(request, &pool.route().origin, closes, connection.forward.as_deref()),
        shown(request, closes),
    );
    exchange.carries(request.body.as_ref());
    let mut wire = http::Request::new(OutgoingBody::new(request.body.take(), &connection.begun));
    *wire.method_mut() = request.method.clone();
    *wire.uri_mut() = Uri::from_static("/");
    *wire.headers_mut() = framing_headers(request);
    let Some(sender) = exchange.sender() else {
        return Err(Unsent::Failed(CoreError::Internal("no sender".into())));
    };
    let mut sending = pin!(sender.try_send_request(wire));
    let sent = poll_fn(|cx| {
        for head in connection.tap.poll_informational(cx) {
            let Some((start, _)) = response_start(&head) else {
                continue;
            };
            if start.status == 100 && !request.expects_continue {
                return Poll::Ready(Err(Unsent::Failed(CoreError::Socket("bad response".into()))));
            }
            on_informational(start);
        }
        sending.as_mut().poll(cx).map(Ok)
    })
    .await?;
    let mut response = match sent {
        Ok(response) => response,
        Err(error) => {
            let failed = unsent(error, request, &exchange.peer());
            return Err(match (failed, connection.tap.take_head()) {
                (Unsent::Failed(CoreError::HttpParser { .. }), Some(head))
                    if response_start(&head).is_some_and(|(_, facts)| facts.has_two_lengths()) =>
                {
                    Unsent::Failed(CoreError::ResponseContentLengthMismatch)
                }
                (failed, _) => failed,
            });
        }
    };
    exchange.borrow(connection.tap.take_loan());
    let head = connection.tap.take_head();
    let read = head.and_then(|head| response_start(&head));
    let (start, facts) = read.unwrap_or_else(|| (start_of(&response), HeadFacts::default()));
    if facts.has_length_and_encoding() {
        return Err(Unsent::Failed(CoreError::ResponseContentLengthMismatch));
    }
    let is_upgraded = start.status == 101 || is_connect;
    if is_upgraded {
        exchange.keep(None);
        exchange.explain("upgrade");
        connection.tap.hand_over();
    } else {
        let server_keeps = facts.keeps_connection(&request.method, &start);
        exchange.closes_after_length(!server_keeps && facts.has_content_length());
        let may_keep = server_keeps && !closes && !request.is_last;
        exchange.keep(
            may_keep
                .then(|| pool.limits().keep_alive.after(facts.keep_alive))
                .flatten(),
        );
    }
    let upgrade = is_upgraded.then(|| hyper::upgrade::on(&mut response));
    Ok(WireResponse {
        start,
        body: WireBody::new(response.into_body(), exchange),
        upgrade,
    })
}

/// A body that comes while the request's own is written stays with hyper, which then sees the end of both.
fn shown(request: &WireRequest, closes: bool) -> Shown {
    if request.method == Method::CONNECT {
        Shown::Granted
    } else if request.method == Method::HEAD || request.upgrade.is_some() || request.body.is_some() || closes {
        Shown::AsItIs
    } else {
        Shown::Shortened
    }
}

async fn send_http2(
    exchange: Exchange,
    mut sender: hyper::client::conn::http2::SendRequest<OutgoingBody>,
    request: &mut WireRequest,
) -> Result<WireResponse<WireBody>, Unsent> {
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
            body: WireBody::new(response.into_body(), exchange),
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

fn http2_request(request: &mut WireRequest, exchange: &Exchange) -> Result<http::Request<OutgoingBody>, CoreError> {
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
