//! The right to an open HTTP/1 connection.

use std::sync::{Arc, Weak};

use super::watch::Watch;
use crate::error::CoreError;
use crate::transport::wire::connection::Connection;
use crate::transport::wire::pool::{Pool, Slot};
use crate::transport::wire::socket::Socket;

/// Held by the pool while the connection is idle, by the exchange otherwise. The connection closes when it is dropped, and
/// those who have to know are told; it must not be dropped with the pool locked.
#[derive(Debug)]
pub struct Line {
    connection: Arc<Connection>,
    socket: Arc<Socket>,
    pool: Weak<Pool>,
    watch: Option<Watch>,
    /// Given back last.
    _slot: Slot,
}

impl Line {
    pub fn new(connection: &Arc<Connection>, socket: Arc<Socket>, pool: &Arc<Pool>, slot: Slot) -> Self {
        Self {
            connection: Arc::clone(connection),
            socket,
            pool: Arc::downgrade(pool),
            watch: None,
            _slot: slot,
        }
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// Has its idle connection watched from here on: the server may close it.
    pub fn watch(&mut self) {
        self.watch = Watch::start(&self.connection, &self.socket, &self.pool);
    }

    pub fn is_closed(&self) -> bool {
        self.connection.switch.is_off() || self.socket.is_gone()
    }

    /// It is to be used. False when it cannot.
    pub fn take_up(&mut self) -> bool {
        self.watch = None;
        !self.is_closed()
    }

    /// Whether nothing has come on the idle connection, so that what comes next answers the next request.
    pub async fn is_quiet(&self) -> bool {
        self.socket.is_quiet().await
    }

    /// The connection is no longer HTTP's: its socket is the caller's.
    pub fn hand_over(self) -> Arc<Socket> {
        self.connection.course.switch();
        Arc::clone(&self.socket)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.watch = None;
        if !self.connection.course.is_handed_over() {
            self.connection.course.close();
            self.socket.close();
        }
        if let Some(pool) = self.pool.upgrade() {
            pool.forget(self.connection.id);
        }
        self.connection.ended(CoreError::Socket("other side closed".into()));
    }
}
