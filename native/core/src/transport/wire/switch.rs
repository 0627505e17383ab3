//! Closes a connection from outside.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;

use crate::error::CoreError;

/// Held by a connection's IO and by whoever may end it.
#[derive(Debug, Default)]
pub struct Switch {
    is_killed: AtomicBool,
    reader: AtomicWaker,
    /// Why the connection ends, where it is not the peer's doing.
    cause: Mutex<Option<CoreError>>,
}

impl Switch {
    /// The connection is to read no further. Whoever reads it is woken when that changes.
    pub fn is_killed(&self, cx: &Context<'_>) -> bool {
        self.reader.register(cx.waker());
        self.is_killed.load(Ordering::Acquire)
    }

    /// The same for whoever writes, who is the one that reads too.
    pub fn is_off(&self) -> bool {
        self.is_killed.load(Ordering::Acquire)
    }

    /// Why the connection was closed, if it was.
    pub fn cause_of_kill(&self) -> Option<CoreError> {
        self.is_off().then(|| self.cause()).flatten()
    }

    /// Closes the connection now.
    pub fn kill(&self, cause: CoreError) {
        self.explain(cause);
        self.is_killed.store(true, Ordering::Release);
        self.reader.wake();
    }

    /// Says why the connection will end; the first to say so is right.
    pub fn explain(&self, cause: CoreError) {
        self.cause
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(cause);
    }

    pub fn cause(&self) -> Option<CoreError> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
