//! Whose turn it is while a request body is sent: its source's, or its peer's.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What was given to the engine and what its socket has taken of that. Between the two it is the peer's turn: its socket
/// takes no more, or its HTTP/2 window is shut. While the source is slow nothing is between the two, and nobody waits for
/// the peer.
#[derive(Debug, Default)]
pub struct UploadFlow {
    state: Mutex<State>,
    /// It has become the peer's turn.
    turned: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The engine has asked for more, and the source has none yet.
    is_source_awaited: bool,
    /// Bytes that the engine has, and its socket has not taken.
    on_way: usize,
    /// When the socket took something last, or the peer's turn began. `None`: it has been the peer's turn from the
    /// beginning.
    since: Option<Instant>,
}

impl State {
    fn is_sources_turn(&self) -> bool {
        self.is_source_awaited && self.on_way == 0
    }
}

impl UploadFlow {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body is sent once more from its beginning: the engine has nothing of it.
    pub fn begin_again(&self) {
        *self.lock() = State {
            since: Some(Instant::now()),
            ..State::default()
        };
        self.turned.notify_waiters();
    }

    pub fn await_source(&self) {
        self.lock().is_source_awaited = true;
    }

    /// The engine has so many bytes more, or with none all that it will be given.
    pub fn give(&self, bytes: usize) {
        let mut state = self.lock();
        let turns = state.is_sources_turn();
        state.is_source_awaited = false;
        state.on_way += bytes;
        if turns {
            state.since = Some(Instant::now());
            drop(state);
            self.turned.notify_waiters();
        }
    }

    /// The socket has taken so many bytes.
    pub fn accept(&self, bytes: usize) {
        let mut state = self.lock();
        state.on_way = state.on_way.saturating_sub(bytes);
        state.since = Some(Instant::now());
    }

    /// Since when the peer has taken nothing, seen from `start` on; `None` while its source is what the body waits for.
    fn silent_since(&self, start: Instant) -> Option<Instant> {
        let state = self.lock();
        (!state.is_sources_turn()).then(|| state.since.map_or(start, |since| since.max(start)))
    }

    /// Resolves when it is the peer's turn: since when, seen from `start` on. Cancel safe.
    pub async fn peers_turn(&self, start: Instant) -> Instant {
        loop {
            if let Some(since) = self.silent_since(start) {
                return since;
            }
            let mut turned = pin!(self.turned.notified());
            // Registered before the second look, or a turn in between would be missed.
            turned.as_mut().enable();
            if let Some(since) = self.silent_since(start) {
                return since;
            }
            turned.await;
        }
    }

    /// Resolves when the peer has taken nothing for `limit`, which begins at `start` at the earliest and anew with every
    /// byte, and does not run while the source is awaited. Cancel safe.
    pub async fn silence(&self, start: Instant, limit: Duration) {
        loop {
            let Some(end) = self.peers_turn(start).await.checked_add(limit) else {
                return std::future::pending().await;
            };
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const LIMIT: Duration = Duration::from_secs(10);
    const NEARLY: Duration = Duration::from_secs(9);

    async fn silence(flow: &UploadFlow) -> Duration {
        let start = Instant::now();
        flow.silence(start, LIMIT).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_silent_from_the_last_byte_on() {
        let flow = UploadFlow::default();
        flow.give(100);
        let (elapsed, ()) = tokio::join!(silence(&flow), async {
            for _ in 0..5 {
                advance(NEARLY).await;
                flow.accept(1);
            }
        });
        assert_eq!(elapsed, NEARLY * 5 + LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_source_is_no_silence_of_the_peer() {
        let flow = UploadFlow::default();
        flow.give(10);
        flow.await_source();
        let (elapsed, ()) = tokio::join!(silence(&flow), async {
            advance(NEARLY).await;
            flow.accept(10);
            advance(LIMIT * 10).await;
            flow.give(1);
        });
        assert_eq!(elapsed, NEARLY + LIMIT * 11);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_is_awaited_is_no_excuse_for_what_the_peer_has_not_taken() {
        let flow = UploadFlow::default();
        flow.give(10);
        flow.accept(9);
        flow.await_source();
        assert_eq!(silence(&flow).await, LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_sent_again_has_its_time_anew() {
        let flow = UploadFlow::default();
        flow.give(100);
        let (elapsed, ()) = tokio::join!(silence(&flow), async {
            advance(NEARLY).await;
            flow.begin_again();
            flow.await_source();
            advance(LIMIT * 2).await;
            flow.give(100);
        });
        assert_eq!(elapsed, NEARLY + LIMIT * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_is_awaited_from_the_end_of_a_slow_source() {
        let flow = UploadFlow::default();
        flow.await_source();
        let (elapsed, ()) = tokio::join!(silence(&flow), async {
            advance(LIMIT * 2).await;
            flow.give(0);
        });
        assert_eq!(elapsed, LIMIT * 3);
    }
}
