//! From a dialed stream to a connection that speaks HTTP.

use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::connection::{Connection, Sender};
use super::dial::Dialed;
use super::h1::Line;
use super::http2_executor::Http2Executor;
use super::http2_io::Http2Io;
use super::http2_meter::Http2Meter;
use super::pool::{Lease, Pool, PoolEvents, PoolLimits, Slot};
use super::socket::Socket;
use crate::connection::ConnectionInfo;
use crate::error::CoreError;
use crate::transport::failure::{Peer, Phase, classify};

/// How long an HTTP/2 peer may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Speaks HTTP over `dialed`; the lease is for the request that asked.
pub async fn open(pool: &Arc<Pool>, dialed: Dialed, slot: Slot) -> Result<Lease, CoreError> {
    let is_http2 = dialed.is_http2 || pool.limits().http2.prior_knowledge;
    let max_streams = is_http2.then_some(pool.limits().max_streams);
    let info = Arc::new(ConnectionInfo::new(dialed.local, dialed.remote, max_streams).of_pool(pool.number()));
    let id = pool.next_id();
    if !is_http2 {
        let connection = Arc::new(Connection::new(id, info, dialed.forward, pool, None));
        let line = Line::new(&connection, Arc::new(Socket::new(dialed.stream)), pool, slot);
        return Ok(pool.opened(&connection, Sender::Http1(line)));
    }
    let settings = &pool.limits().http2;
    let meter = Arc::new(Http2Meter::new(&settings.gauge, settings.stream_window));
    let connection = Arc::new(Connection::new(
        id,
        info,
        dialed.forward,
        pool,
        Some(Arc::clone(&meter)),
    ));
    let io = Http2Io::new(dialed.stream, &connection, meter, &settings.gauge);
    let spoken = http2_builder(pool.limits(), &connection)
        .handshake(TokioIo::new(io))
        .await;
    let failed = |error: hyper::Error| classify(&error, Phase::Connect, &peer(pool.events(), &connection));
    let (sender, driver) = spoken.map_err(failed)?;
    let lease = pool.opened(&connection, Sender::Http2(sender));
    tokio::spawn(drive(driver, connection, pool, slot));
    Ok(lease)
}

fn peer<'a>(events: &'a PoolEvents, connection: &Connection) -> Peer<'a> {
    Peer {
        origin: &events.route.origin,
        address: connection.info.remote.map(|address| address.ip()),
        connect_timeout: None,
    }
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

/// Runs an HTTP/2 connection to its end, which its pool and the pool's observer learn of.
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
