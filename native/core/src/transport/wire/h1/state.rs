//! Where a connection is in its exchanges, and who may read and write its socket there.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What an HTTP/1 connection is doing.
///
/// ```text
///          begin            written           answered              ended
///   Idle ────────► Sending ─────────► Awaiting ────────► Receiving ───────► Idle
///    │              │   │               │    │             ▲   │
///    │              │   └───────────────┼────┼─┐ answered  │   │
///    │              │                   │    │ ▼           │   │
///    │              │                   │    │ Exchanging ─┘   │
///    │              │                   │    │  │    written   │
///    │              │                   │    └──┼──────────────┼──► HandedOver (switch)
///    │              │                   │       │              │
///    └──────────────┴───────────────────┴───────┴──────────────┴──► Closing (close, ended too early)
/// ```
///
/// | state | reads | writes |
/// |---|---|---|
/// | `Idle` | the watcher, once it has idled for a while | nobody |
/// | `Sending`, `Awaiting` | the request's future | the request's future |
/// | `Exchanging` | the response's body | a task of the upload's own |
/// | `Receiving` | the response's body, or who was lent the rest of it | nobody |
/// | `HandedOver` | the tunnel | the tunnel |
/// | `Closing` | nobody | nobody |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Idle,
    /// The request is not written yet, and nothing of its response has been read.
    Sending,
    Awaiting,
    /// The response has begun before its request was written.
    Exchanging,
    Receiving,
    Closing,
    HandedOver,
}

/// The state of one connection, shared by those whom it lets read and write.
#[derive(Debug, Default)]
pub struct Course(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: State,
    /// Why the peer takes no more of the request. What it said before is read all the same: a server that will not have a
    /// request answers, and closes with the rest of it unread (RFC 9112 §9.6).
    refusal: Option<io::Error>,
}

impl Course {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, next: impl FnOnce(State) -> State) -> State {
        let mut inner = self.lock();
        inner.state = next(inner.state);
        inner.state
    }

    #[cfg(test)]
    pub fn state(&self) -> State {
        self.lock().state
    }

    /// A request begins. False where the connection can take none.
    pub fn begin(&self) -> bool {
        let mut inner = self.lock();
        let is_idle = inner.state == State::Idle;
        if is_idle {
            inner.state = State::Sending;
        }
        is_idle
    }

    /// The socket has the whole request.
    pub fn written(&self) {
        self.step(|state| match state {
            State::Sending => State::Awaiting,
            State::Exchanging => State::Receiving,
            other => other,
        });
    }

    /// The socket takes no more of the request: the connection ends with the response.
    pub fn refuse(&self, refusal: io::Error) {
        self.lock().refusal.get_or_insert(refusal);
    }

    pub fn is_refused(&self) -> bool {
        self.lock().refusal.is_some()
    }

    /// The final head has come. True when the request is still being written.
    pub fn answered(&self) -> bool {
        let answered = self.step(|state| match state {
            State::Sending => State::Exchanging,
            State::Awaiting => State::Receiving,
            other => other,
        });
        answered == State::Exchanging
    }

    /// Whether nothing of the request is left to write.
    pub fn is_written(&self) -> bool {
        let inner = self.lock();
        inner.refusal.is_none() && matches!(inner.state, State::Receiving | State::Awaiting)
    }

    /// The response has ended. True when the connection may serve another request.
    pub fn ended(&self) -> bool {
        let mut inner = self.lock();
        let may_serve = inner.state == State::Receiving && inner.refusal.is_none();
        inner.state = if may_serve { State::Idle } else { State::Closing };
        may_serve
    }

    pub fn close(&self) {
        self.step(|state| match state {
            State::HandedOver => State::HandedOver,
            _ => State::Closing,
        });
    }

    /// The protocols are switched.
    pub fn switch(&self) {
        self.step(|_| State::HandedOver);
    }

    pub fn is_handed_over(&self) -> bool {
        self.lock().state == State::HandedOver
    }

    /// Why nothing more is to be read: the refused write, where that says more than the end that was read behind it. A
    /// peer that had closed before it took no more had said all it had to say.
    pub fn take_refusal(&self, is_end: bool, awaits_head: bool) -> Option<io::Error> {
        let mut inner = self.lock();
        let had_closed = |refusal: &io::Error| refusal.kind() == io::ErrorKind::BrokenPipe;
        inner
            .refusal
            .take_if(|refusal| !is_end || awaits_head || !had_closed(refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_serves_on_only_behind_a_whole_exchange() {
        let course = Course::default();
        assert!(course.begin());
        assert!(!course.begin(), "one request at a time");
        course.written();
        assert_eq!(course.state(), State::Awaiting);
        assert!(!course.answered());
        assert!(course.ended());
        assert!(course.begin());
        assert!(course.answered(), "before the request was written");
        course.written();
        assert_eq!(course.state(), State::Receiving);
        assert!(course.ended());
        assert!(course.begin());
        course.answered();
        assert!(!course.ended(), "the rest of the request is unwritten");
        assert!(!course.begin());
    }

    #[test]
    fn a_refused_request_ends_its_connection() {
        let course = Course::default();
        course.begin();
        course.refuse(io::ErrorKind::BrokenPipe.into());
        course.written();
        course.answered();
        assert!(!course.is_written());
        assert!(
            course.take_refusal(true, false).is_none(),
            "an end behind the peer's own is one"
        );
        assert!(!course.ended());
    }

    #[test]
    fn what_was_handed_over_does_not_close() {
        let course = Course::default();
        course.begin();
        course.switch();
        course.close();
        assert!(course.is_handed_over());
    }
}
