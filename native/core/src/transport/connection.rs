//! The connection that serves a request, for those who must be sure that it goes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// Closes a connection from outside. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct KillSwitch(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    is_killed: AtomicBool,
    writes: AtomicU64,
    reader: AtomicWaker,
}

impl KillSwitch {
    /// The connection is to read no further. Whoever reads it is woken when that changes.
    pub(super) fn is_killed(&self, cx: &Context<'_>) -> bool {
        self.0.reader.register(cx.waker());
        self.0.is_killed.load(Ordering::Acquire)
    }

    pub(super) fn count_write(&self) {
        self.0.writes.fetch_add(1, Ordering::Relaxed);
    }

    fn writes(&self) -> u64 {
        self.0.writes.load(Ordering::Relaxed)
    }

    fn kill(&self) {
        self.0.is_killed.store(true, Ordering::Release);
        self.0.reader.wake();
    }
}

/// Holds the HTTP/1 connection of a response, once there is one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ConnectionSlot(Arc<OnceLock<(KillSwitch, u64)>>);

impl ConnectionSlot {
    pub(super) fn set(&self, switch: KillSwitch) {
        let writes = switch.writes();
        // One request has one connection.
        let _ = self.0.set((switch, writes));
    }

    /// Closes the connection also if the rest of this response is buffered already and the engine's pool has it back,
    /// but not once a further request was written to it.
    pub fn close(&self) {
        if let Some((switch, writes)) = self.0.get()
            && switch.writes() == *writes
        {
            switch.kill();
        }
    }
}
