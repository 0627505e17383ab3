//! From a dialed stream to a connection that speaks HTTP, and the task that drives it.

use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::connection::{Connection, Sender};
use super::dial::Dialed;
use super::http2_executor::Http2Executor;
use super::http2_meter::Http2Meter;
use super::io::WireIo;
use super::pool::{Lease, Pool, PoolEvents, PoolLimits, Slot};
use crate::connection::ConnectionInfo;
use crate::error::CoreError;
use crate::transport::failure::{Peer, Phase, classify};

/// hyper's parser has room for 100 fields without asking the allocator; responses with more exist.
const MAX_HEADERS: usize = 512;
/// How long an HTTP/2 peer may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Speaks HTTP over `dialed`; the lease is for the request that asked.
pub async fn open(pool: &Arc<Pool>, dialed: Dialed, slot: Slot) -> Result<Lease, CoreError> {
    let is_http2 = dialed.is_http2 || pool.limits().http2.prior_knowledge;
    let max_streams = is_http2.then_some(pool.limits().max_streams);
    let info = Arc::new(ConnectionInfo::new(dialed.local, dialed.remote, max_streams));
    let settings = &pool.limits().http2;
    let meter = is_http2.then(|| Arc::new(Http2Meter::new(Arc::clone(&settings.gauge), settings.stream_window)));
    let connection = Arc::new(Connection::new(
        pool.next_id(),
        info,
        dialed.forward,
        Arc::clone(pool.events()),
        meter.clone(),
    ));
    let io = TokioIo::new(WireIo::new(
        dialed.stream,
        Arc::clone(&connection.info),
        Arc::clone(&connection.switch),
        Arc::clone(&connection.tap),
        meter,
        Arc::clone(&connection.begun),
        Arc::clone(&settings.gauge),
    ));
    let failed = |error: hyper::Error| classify(&error, Phase::Connect, &peer(pool.events(), &connection));
    if is_http2 {
        let (sender, driver) = http2_builder(pool.limits(), &connection)
            .handshake(io)
            .await
            .map_err(failed)?;
        let lease = pool.opened(&connection, Sender::Http2(sender));
        tokio::spawn(drive(driver, connection, pool, slot));
        Ok(lease)
    } else {
        let (sender, driver) = http1_builder().handshake(io).await.map_err(failed)?;
        let lease = pool.opened(&connection, Sender::Http1(sender));
        tokio::spawn(drive(driver.with_upgrades(), connection, pool, slot));
        Ok(lease)
    }
}

fn peer<'a>(events: &'a PoolEvents, connection: &Connection) -> Peer<'a> {
    Peer {
        origin: &events.route.origin,
        address: connection.info.remote.map(|address| address.ip()),
        connect_timeout: None,
    }
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_headers(MAX_HEADERS)
        .allow_obsolete_multiline_headers_in_responses(true);
    builder
}

fn http2_builder(limits: &PoolLimits, connection: &Connection) -> http2::Builder<Http2Executor> {
    let settings = &limits.http2;
    let mut builder = http2::Builder::new(Http2Executor(Arc::clone(&connection.begun)));
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .initial_max_send_streams(limits.max_streams)
        .keep_alive_interval(settings.ping_interval)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    builder
}

/// Runs a connection to its end, which its pool and the pool's observer learn of.
fn drive<D: Future<Output = hyper::Result<()>> + Send>(
    driver: D,
    connection: Arc<Connection>,
    pool: &Arc<Pool>,
    slot: Slot,
) -> impl Future<Output = ()> + Send + use<D> {
    let events = Arc::clone(pool.events());
    let pool = Arc::downgrade(pool);
    async move {
        let ended = driver.await;
        if let Some(pool) = pool.upgrade() {
            pool.forget(connection.id);
        }
        connection.ended(match &ended {
            Ok(()) => CoreError::Socket("other side closed".into()),
            Err(error) => classify(error, Phase::Body, &peer(&events, &connection)),
        });
        drop(slot);
    }
}
