//! What `native/core/src/sync.rs` has, of loom.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

pub use std::sync::PoisonError;

pub use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
pub use loom::sync::{Arc, Mutex, MutexGuard};

/// As much of tokio's as is used: whoever holds a [`Notified`] hears of every [`Notify::notify_waiters`] from the moment it
/// was made.
#[derive(Debug, Default)]
pub struct Notify {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    notices: usize,
    waiting: Vec<Waker>,
}

impl Notify {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn notify_waiters(&self) {
        let mut state = self.lock();
        state.notices += 1;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    pub fn notified(&self) -> Notified<'_> {
        Notified {
            notify: self,
            heard: self.lock().notices,
        }
    }
}

#[derive(Debug)]
pub struct Notified<'a> {
    notify: &'a Notify,
    heard: usize,
}

impl Notified<'_> {
    pub fn enable(self: Pin<&mut Self>) -> bool {
        self.notify.lock().notices != self.heard
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.notify.lock();
        if state.notices != self.heard {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}
