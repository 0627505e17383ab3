//! The engine with a pool of its own that says what it does. HTTP/1 is its own too, targets and heads byte for byte;
//! HTTP/2 is hyper's.

mod begun_upload;
mod connection;
mod dial;
mod h1;
mod handshake;
mod head;
mod http2_body;
mod http2_executor;
mod http2_io;
mod http2_meter;
mod http2_send;
mod keep_alive;
mod open;
mod outgoing;
mod pool;
mod proxy_tunnel;
mod socket;
mod starvation;
mod stream;
mod switch;
mod target;
mod tcp;
mod wire_body;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

pub use self::connection::ConnectionSlot;
pub use self::h1::TunnelStream;
pub use self::keep_alive::KeepAlive;
pub use self::tcp::SocketOptions;
pub use self::wire_body::WireBody;

use self::connection::Sender;
use self::dial::Dialer;
use self::http2_body::Http2Exchange;
use self::pool::{Http2Settings, Lease, Pool, PoolLimits};
use super::failure::Refusal;
use super::http2_windows::Http2Windows;
use super::{Route, Transport, TransportConfig, TransportLease, WireRequest, WireResponse};
use crate::connection::ConnectionInfo;
use crate::error::CoreError;
use crate::origin::Origin;
use crate::response::ResponseStart;
use crate::upload::UploadBody;

/// How often a request goes out again that HTTP/2 servers gave back unprocessed (RFC 9113 §8.7).
const MAX_REFUSALS: usize = 3;
/// The same where each refusal was a connection's end: servers end theirs after so many requests, and of those that
/// go out together few may be served at a time.
const MAX_ENDED: usize = 100;

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
                Some(Sender::Http1(line)) => {
                    let exchange = h1::Exchange::new(&lease.pool, line);
                    let sent = h1::send(exchange, request, on_informational).await;
                    sent.map(|response| response.map(WireBody::Http1))
                }
                Some(Sender::Http2(sender)) => {
                    let sent = http2_send::send(Http2Exchange::new(&lease), sender, request).await;
                    sent.map(|response| response.map(WireBody::Http2))
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
