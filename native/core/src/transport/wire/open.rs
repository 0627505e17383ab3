//! From a dialed stream to a connection that speaks HTTP, and the task that drives it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::connection::{Connection, Sender};
use super::dial::Dialed;
use super::http2_executor::Http2Executor;
use super::http2_meter::Http2Meter;
use super::io::WireIo;
use super::outgoing::OutgoingBody;
use super::pool::{Lease, Pool, PoolEvents, PoolLimits, Slot};
use super::rest::{Driver, Http1Sender, News};
use super::socket::Socket;
use crate::connection::ConnectionInfo;
use crate::credit::ByteGauge;
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
    let info = Arc::new(ConnectionInfo::new(dialed.local, dialed.remote, max_streams).of_pool(pool.number()));
    let settings = &pool.limits().http2;
    let meter = is_http2.then(|| Arc::new(Http2Meter::new(&settings.gauge, settings.stream_window)));
    let socket = Arc::new(Socket::new(dialed.stream));
    let connection = Arc::new(Connection::new(
        pool.next_id(),
        info,
        dialed.forward,
        Arc::clone(pool.events()),
        meter,
        &socket,
    ));
    let failed = |error: hyper::Error| classify(&error, Phase::Connect, &peer(pool.events(), &connection));
    if is_http2 {
        let io = TokioIo::new(WireIo::new(socket, &connection, &settings.gauge));
        let (sender, driver) = http2_builder(pool.limits(), &connection)
            .handshake(io)
            .await
            .map_err(failed)?;
        let lease = pool.opened(&connection, Sender::Http2(sender));
        tokio::spawn(drive(driver, connection, pool, slot));
        Ok(lease)
    } else {
        let spoken = speak_http1(&connection, &settings.gauge).await;
        let (sender, driver) = spoken.ok_or_else(|| CoreError::Socket("other side closed".into()))?;
        let lease = pool.opened(&connection, Sender::Http1(Http1Sender::Hyper(sender)));
        let driver = drive_http1(driver, socket, Arc::clone(&connection), Arc::clone(pool.events()));
        tokio::spawn(drive(driver, connection, pool, slot));
        Ok(lease)
    }
}

/// hyper's end of an HTTP/1 connection, as long as that is open. Does not wait.
pub async fn speak_http1(
    connection: &Connection,
    gauge: &Arc<ByteGauge>,
) -> Option<(http1::SendRequest<OutgoingBody>, Driver)> {
    let io = TokioIo::new(WireIo::new(connection.socket()?, connection, gauge));
    let (sender, driver) = http1_builder().handshake(io).await.ok()?;
    Some((sender, Box::pin(driver.with_upgrades())))
}

/// Runs hyper when it is there, and watches the socket when it is not.
fn drive_http1(
    driver: Driver,
    socket: Arc<Socket>,
    connection: Arc<Connection>,
    events: Arc<PoolEvents>,
) -> impl Future<Output = hyper::Result<()>> + Send {
    let mut driver = Some(driver);
    poll_fn(move |cx| {
        match connection.rest.poll_news(cx) {
            None => {}
            Some(News::Rest) => driver = None,
            Some(News::Speak(other)) => driver = Some(other),
        }
        if let Some(driver) = &mut driver {
            return driver.as_mut().poll(cx);
        }
        if !connection.switch.is_killed(cx) {
            connection.switch.explain(match ready!(socket.poll_gone(cx)) {
                Ok(()) => CoreError::Socket("other side closed".into()),
                Err(error) => classify(&error, Phase::Body, &peer(&events, &connection)),
            });
        }
        socket.shut_down(cx);
        Poll::Ready(Ok(()))
    })
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
        connection.rest.close();
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
