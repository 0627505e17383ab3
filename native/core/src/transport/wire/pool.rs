//! The connections of one origin: who waits for one, who has one, which are idle.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::http2;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::connection::{Connection, Sender};
use super::dial::Dialer;
use super::h1::Line;
use super::keep_alive::KeepAlive;
use super::open::open;
use super::outgoing::OutgoingBody;
use super::starvation::{Bodies, News, Supply, Watch, next_pool, watch};
use crate::connection::{ConnectionEvent, ConnectionEventKind, ConnectionObserver, Starvation};
use crate::credit::ByteGauge;
use crate::error::CoreError;
use crate::transport::Route;

/// How long nobody looks whether its server has closed an idle HTTP/1 connection.
const WATCHED_AFTER: Duration = Duration::from_millis(10);

/// What bounds a pool.
#[derive(Debug, Clone)]
pub struct PoolLimits {
    /// Connections open or being opened; `None` is no limit.
    pub connections: Option<usize>,
    pub keep_alive: KeepAlive,
    /// Requests that one connection serves; `None` is no limit.
    pub max_requests: Option<u64>,
    /// How long a connection is used at all; `None` is no limit.
    pub ttl: Option<Duration>,
    /// Requests at once on one HTTP/2 connection.
    pub max_streams: usize,
    pub http2: Http2Settings,
}

#[derive(Debug, Clone)]
pub struct Http2Settings {
    pub stream_window: u32,
    pub connection_window: u32,
    /// Between two pings; `None` sends none.
    pub ping_interval: Option<Duration>,
    /// Without negotiation.
    pub prior_knowledge: bool,
    /// Counts what connections hold of response bodies.
    pub gauge: Arc<ByteGauge>,
}

/// Tells the observer what happens to the connections of one route.
#[derive(Debug)]
pub struct PoolEvents {
    pub route: Route,
    observer: Option<Arc<dyn ConnectionObserver>>,
}

impl PoolEvents {
    pub fn notify(&self, kind: ConnectionEventKind, connection: Option<&Connection>, error: Option<&CoreError>) {
        if let Some(observer) = &self.observer {
            observer.notify(ConnectionEvent {
                kind,
                origin: &self.route.origin,
                http1_only: self.route.http1_only,
                info: connection.map(|connection| connection.info.as_ref()),
                error,
            });
        }
    }
}

/// Requests wait here in the order they came, and get a connection, or the right to open one.
#[derive(Debug)]
pub struct Pool {
    events: Arc<PoolEvents>,
    dialer: Arc<Dialer>,
    limits: PoolLimits,
    state: Mutex<State>,
    /// In [`ConnectionInfo::pool`](crate::connection::ConnectionInfo::pool).
    number: u32,
    bodies: Bodies,
    /// Told when it is to look sooner.
    reaper: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    /// Slots taken: connections and dials.
    open: usize,
    last_id: u64,
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    connections: HashMap<u64, Weak<Connection>>,
    waiters: VecDeque<oneshot::Sender<Grant>>,
    watch: Watch,
    /// A dial is under way whose connection might serve every waiter.
    is_probing: bool,
    /// Whether the origin speaks HTTP/2, once that is known.
    is_http2: Option<bool>,
    /// When the reaper looks next; `None` while there is none.
    next_look: Option<Instant>,
    is_destroyed: bool,
}

#[derive(Debug)]
struct Idle {
    line: Line,
    /// When it is to be watched; `None` once it is.
    watched: Option<Instant>,
    expires: Instant,
}

impl Idle {
    /// When something is to be done with it.
    fn next(&self) -> Instant {
        self.watched.map_or(self.expires, |watched| watched.min(self.expires))
    }

    fn watch(&mut self, now: Instant) {
        if self.watched.take_if(|watched| *watched <= now).is_some() {
            self.line.watch();
        }
    }

    fn id(&self) -> u64 {
        self.line.connection().id
    }

    fn explain(&self, error: CoreError) {
        self.line.connection().switch.explain(error);
    }
}

#[derive(Debug)]
struct Shared {
    connection: Arc<Connection>,
    sender: http2::SendRequest<OutgoingBody>,
    active: usize,
    /// When it was last used; an unused one goes after the keep-alive timeout.
    used: Instant,
}

/// What a waiter gets.
#[derive(Debug)]
enum Grant {
    Idle(Idle),
    Shared(Lease),
    Slot(Slot),
}

/// The right to one open connection; given back when dropped.
#[derive(Debug)]
pub struct Slot(Weak<Pool>);

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.release_slot();
        }
    }
}

/// While the first connection of an origin is opened the others wait for what it turns out to speak.
struct Probe<'a> {
    pool: &'a Arc<Pool>,
    has_opened: bool,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.is_probing = false;
        if self.has_opened {
            self.pool.serve_waiters(&mut state);
        } else {
            // Each tries for itself now: one after the other they would wait for one timeout each.
            let known = state.is_http2.replace(false);
            self.pool.serve_waiters(&mut state);
            state.is_http2 = known;
        }
    }
}

/// A connection on which one request may be sent. Dropped unsent it goes back.
#[derive(Debug)]
pub struct Lease {
    pub pool: Arc<Pool>,
    pub connection: Arc<Connection>,
    pub sender: Option<Sender>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.sender.take() {
            Some(Sender::Http1(line)) => {
                let keep = self.pool.limits.keep_alive.timeout;
                self.pool.check_in(line, keep);
            }
            Some(Sender::Http2(_)) => self.pool.end_stream(self.connection.id),
            None => {}
        }
    }
}

impl Pool {
    pub fn new(
        route: Route,
        dialer: Arc<Dialer>,
        observer: Option<Arc<dyn ConnectionObserver>>,
        limits: PoolLimits,
    ) -> Arc<Self> {
        let is_http2 = if limits.http2.prior_knowledge {
            Some(true)
        } else if !route.origin.is_https() || route.http1_only || !dialer.offers_http2() {
            Some(false)
        } else {
            None
        };
        Arc::new(Self {
            events: Arc::new(PoolEvents { route, observer }),
            dialer,
            limits,
            state: Mutex::new(State {
                is_http2,
                ..State::default()
            }),
            number: next_pool(),
            bodies: Bodies::default(),
            reaper: Arc::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn limits(&self) -> &PoolLimits {
        &self.limits
    }

    pub fn route(&self) -> &Route {
        &self.events.route
    }

    /// Whether requests of `route` share these connections.
    pub fn serves(&self, route: &Route) -> bool {
        let own = self.route();
        own.origin == route.origin
            && own.servername == route.servername
            && own.http1_only == route.http1_only
            && own.tunnels == route.tunnels
    }

    /// Outlives the pool in its connections.
    pub fn events(&self) -> &Arc<PoolEvents> {
        &self.events
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its responses past their head.
    pub fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    /// Nothing is open and nobody waits.
    pub fn is_unused(&self) -> bool {
        let state = self.lock();
        state.open == 0 && state.waiters.is_empty()
    }

    /// A connection for one request: an idle one, a share of one, or a new one when its turn has come.
    ///
    /// # Cancel safety
    /// What a dropped future was given goes to the next in the queue.
    pub async fn checkout(self: &Arc<Self>, connect_timeout: Option<Duration>) -> Result<Lease, CoreError> {
        loop {
            let grant = match self.grant()? {
                Ok(grant) => grant,
                Err(granted) => granted.await.map_err(|_| CoreError::ClientDestroyed)?,
            };
            match grant {
                Grant::Shared(lease) => return Ok(lease),
                // Boxed, or every request would carry the room for a dial.
                Grant::Slot(slot) => return Box::pin(self.dial(slot, connect_timeout)).await,
                Grant::Idle(mut idle) => {
                    if idle.line.take_up() {
                        let connection = Arc::clone(idle.line.connection());
                        return Ok(self.lease(connection, Sender::Http1(idle.line)));
                    }
                }
            }
        }
    }

    fn lease(self: &Arc<Self>, connection: Arc<Connection>, sender: Sender) -> Lease {
        Lease {
            pool: Arc::clone(self),
            connection,
            sender: Some(sender),
        }
    }

    /// What there is now, or a place in the queue.
    fn grant(self: &Arc<Self>) -> Result<Result<Grant, oneshot::Receiver<Grant>>, CoreError> {
        // Dropped with the pool unlocked.
        let mut passed_over = Vec::new();
        let mut state = self.lock();
        if state.is_destroyed {
            return Err(CoreError::ClientDestroyed);
        }
        if let Some(lease) = self.share(&mut state) {
            return Ok(Ok(Grant::Shared(lease)));
        }
        let now = Instant::now();
        while let Some(idle) = state.idle.pop() {
            if self.is_old(idle.line.connection()) {
                idle.explain(CoreError::Informational("reset".into()));
            } else if !idle.line.is_closed() && idle.expires > now {
                return Ok(Ok(Grant::Idle(idle)));
            } else {
                idle.explain(idle_timeout());
            }
            passed_over.push(idle);
        }
        if state.waiters.is_empty() && self.has_room(&state) {
            return Ok(Ok(Grant::Slot(self.take_slot(&mut state))));
        }
        let (waiter, granted) = oneshot::channel();
        state.waiters.push_back(waiter);
        if self.events.observer.is_some() && state.watch.switch_on() {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
        Ok(Err(granted))
    }

    /// Runs `look` with what those who wait can hope for.
    pub fn with_watch<T>(&self, look: impl FnOnce(&mut Watch, Supply) -> T) -> T {
        let mut state = self.lock();
        state.waiters.retain(|waiter| !waiter.is_closed());
        let streams: usize = state.shared.iter().map(|shared| shared.active).sum();
        let supply = Supply {
            // A dial under way will serve them.
            waiting: if state.is_probing { 0 } else { state.waiters.len() },
            taken: if state.shared.is_empty() { state.open } else { streams },
            held: self.bodies.count(),
        };
        look(&mut state.watch, supply)
    }

    pub fn tell_starvation(&self, news: News) {
        let Some(observer) = &self.events.observer else { return };
        let (supply, round) = match news {
            News::Starved(supply, round) => (Some(supply), round),
            News::Over => (None, 0),
        };
        observer.starvation(Starvation {
            origin: &self.route().origin,
            pool: self.number,
            round,
            waiting: supply.map_or(0, |supply| supply.waiting),
            held: supply.map_or(0, |supply| supply.held),
        });
    }

    /// A stream of an HTTP/2 connection, if one has room.
    fn share(self: &Arc<Self>, state: &mut State) -> Option<Lease> {
        if state.shared.is_empty() {
            return None;
        }
        state.shared.retain(|shared| !shared.sender.is_closed());
        let limit = self.limits.max_streams;
        let shared = state.shared.iter_mut().find(|shared| shared.active < limit)?;
        shared.active += 1;
        Some(self.lease(Arc::clone(&shared.connection), Sender::Http2(shared.sender.clone())))
    }

    fn has_room(&self, state: &State) -> bool {
        !state.is_probing && self.limits.connections.is_none_or(|limit| state.open < limit)
    }

    fn take_slot(self: &Arc<Self>, state: &mut State) -> Slot {
        state.open += 1;
        // An HTTP/2 connection serves them all: one is opened at a time.
        state.is_probing = state.is_http2 != Some(false);
        Slot(Arc::downgrade(self))
    }

    fn release_slot(self: &Arc<Self>) {
        let mut state = self.lock();
        state.open -= 1;
        self.serve_waiters(&mut state);
    }

    /// Gives what is free to those who wait, in their order.
    fn serve_waiters(self: &Arc<Self>, state: &mut State) {
        while !state.waiters.is_empty() {
            let grant = if let Some(lease) = self.share(state) {
                Grant::Shared(lease)
            } else if self.has_room(state) {
                Grant::Slot(self.take_slot(state))
            } else {
                return;
            };
            let Some(waiter) = state.waiters.pop_front() else {
                return;
            };
            // A waiter that has gone: dropping its grant would lock again.
            match waiter.send(grant) {
                Ok(()) => state.watch.feed(),
                Err(Grant::Idle(_)) => {}
                Err(Grant::Slot(mut slot)) => {
                    slot.0 = Weak::new();
                    state.open -= 1;
                    state.is_probing = false;
                }
                Err(Grant::Shared(mut lease)) => {
                    lease.sender = None;
                    if let Some(shared) = find(&mut state.shared, lease.connection.id) {
                        shared.active -= 1;
                    }
                }
            }
        }
    }

    async fn dial(self: &Arc<Self>, slot: Slot, connect_timeout: Option<Duration>) -> Result<Lease, CoreError> {
        let mut probe = Probe {
            pool: self,
            has_opened: false,
        };
        let opened = match self.dialer.dial(&self.events.route, connect_timeout).await {
            Ok(dialed) => open(self, dialed, slot).await,
            Err(error) => Err(error),
        };
        probe.has_opened = opened.is_ok();
        drop(probe);
        if let Err(error) = &opened {
            self.events
                .notify(ConnectionEventKind::ConnectionError, None, Some(error));
        }
        opened
    }

    /// A number for a new connection.
    pub fn next_id(&self) -> u64 {
        let mut state = self.lock();
        state.last_id += 1;
        state.last_id
    }

    /// A connection is open; the lease is its first request's.
    pub fn opened(self: &Arc<Self>, connection: &Arc<Connection>, sender: Sender) -> Lease {
        let mut state = self.lock();
        state.connections.insert(connection.id, Arc::downgrade(connection));
        state.is_http2 = Some(matches!(sender, Sender::Http2(_)));
        if let Sender::Http2(sender) = &sender {
            state.shared.push(Shared {
                connection: Arc::clone(connection),
                sender: sender.clone(),
                active: 1,
                used: Instant::now(),
            });
        }
        drop(state);
        self.events.notify(ConnectionEventKind::Connect, Some(connection), None);
        self.lease(Arc::clone(connection), sender)
    }

    /// A connection has ended.
    pub fn forget(&self, connection: u64) {
        let mut state = self.lock();
        state.connections.remove(&connection);
        state.shared.retain(|shared| shared.connection.id != connection);
    }

    /// Closes an idle HTTP/1 connection, if it is one.
    pub fn drop_idle(&self, connection: u64) {
        let mut state = self.lock();
        let at = state.idle.iter().position(|idle| idle.id() == connection);
        let dropped = at.map(|at| state.idle.remove(at));
        drop(state);
        drop(dropped);
    }

    /// Gives an HTTP/2 connection no further request: its server has said that it takes none.
    pub fn retire(&self, connection: u64) {
        let mut state = self.lock();
        state.shared.retain(|shared| shared.connection.id != connection);
    }

    fn is_old(&self, connection: &Connection) -> bool {
        self.limits.ttl.is_some_and(|ttl| connection.opened.elapsed() > ttl)
    }

    /// Takes a connection back that can serve another request, and keeps it for so long.
    pub fn check_in(self: &Arc<Self>, line: Line, keep: Option<Duration>) {
        let Some(keep) = keep.filter(|_| !self.is_old(line.connection())) else {
            line.connection()
                .switch
                .explain(CoreError::Informational("reset".into()));
            return;
        };
        let now = Instant::now();
        let mut idle = Idle {
            line,
            watched: Some(now + WATCHED_AFTER),
            expires: now + keep,
        };
        let mut state = self.lock();
        if state.is_destroyed || idle.line.is_closed() {
            return;
        }
        while let Some(waiter) = state.waiters.pop_front() {
            match waiter.send(Grant::Idle(idle)) {
                Err(Grant::Idle(back)) => idle = back,
                _ => {
                    state.watch.feed();
                    return;
                }
            }
        }
        let next = idle.next();
        state.idle.push(idle);
        self.start_reaping(&mut state);
        if state.next_look.is_some_and(|look| next < look) {
            state.next_look = Some(next);
            self.reaper.notify_one();
        }
    }

    /// A request on an HTTP/2 connection is over.
    pub fn end_stream(self: &Arc<Self>, connection: u64) {
        let mut state = self.lock();
        if let Some(shared) = find(&mut state.shared, connection) {
            shared.active -= 1;
            shared.used = Instant::now();
        }
        self.serve_waiters(&mut state);
        self.start_reaping(&mut state);
    }

    fn start_reaping(self: &Arc<Self>, state: &mut State) {
        if state.next_look.is_none() {
            state.next_look = Some(Instant::now());
            tokio::spawn(reap(Arc::downgrade(self), Arc::clone(&self.reaper)));
        }
    }

    /// Drops what has idled too long, and has watched what has idled for a while; when to look again, if anything is left.
    fn reap_once(&self) -> Option<Instant> {
        // Dropped with the pool unlocked.
        let expired: Vec<Idle>;
        let mut state = self.lock();
        let now = Instant::now();
        let keep = self.limits.keep_alive.timeout.unwrap_or_default();
        expired = state.idle.extract_if(.., |idle| idle.expires <= now).collect();
        for idle in &expired {
            idle.explain(idle_timeout());
        }
        state.shared.retain(|shared| {
            let is_kept = shared.active > 0 || shared.used + keep > now;
            if !is_kept {
                shared.connection.switch.explain(idle_timeout());
            }
            is_kept
        });
        for idle in &mut state.idle {
            idle.watch(now);
        }
        let next_idle = state.idle.iter().map(Idle::next);
        let unused = state.shared.iter().filter(|shared| shared.active == 0);
        let next = next_idle.chain(unused.map(|shared| shared.used + keep)).min();
        state.next_look = next;
        next
    }

    /// Closes every connection; nobody gets another.
    pub fn destroy(&self) {
        let mut state = self.lock();
        state.is_destroyed = true;
        state.waiters.clear();
        for connection in state.connections.values().filter_map(Weak::upgrade) {
            connection.switch.kill(CoreError::ClientDestroyed);
        }
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop(idle);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for connection in state.connections.values().filter_map(Weak::upgrade) {
            connection.switch.explain(CoreError::ClientDestroyed);
        }
        if state.watch.was_told() {
            self.tell_starvation(News::Over);
        }
    }
}

fn find(shared: &mut [Shared], connection: u64) -> Option<&mut Shared> {
    shared.iter_mut().find(|shared| shared.connection.id == connection)
}

fn idle_timeout() -> CoreError {
    CoreError::Informational("socket idle timeout".into())
}

async fn reap(pool: Weak<Pool>, sooner: Arc<Notify>) {
    loop {
        let Some(next) = pool.upgrade().and_then(|pool| pool.reap_once()) else {
            return;
        };
        let _ = tokio::time::timeout_at(next, sooner.notified()).await;
    }
}
