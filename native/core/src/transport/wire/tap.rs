//! The heads of an HTTP/1 connection as they stand on the wire. hyper frames the messages; the case and order of header
//! names, which its header map loses, pass beside it.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::long_body::LongBody;
use super::socket::Loan;

/// More than hyper reads of a head; a longer one is an error there.
const MAX_HEAD: usize = 1024 * 1024;

/// Buffers that one write takes; the rest of hyper's waits for the next.
const MAX_BUFS: usize = 16;

/// One per connection. Idle on HTTP/2.
#[derive(Debug, Default)]
pub struct Tap {
    has_outgoing: AtomicBool,
    is_reading: AtomicBool,
    /// The body of the response is asked for.
    is_open: AtomicBool,
    has_informational: AtomicBool,
    is_handed_over: AtomicBool,
    requester: AtomicWaker,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Goes out in place of the next head hyper writes.
    outgoing: Vec<u8>,
    outgoing_sent: usize,
    incoming: Vec<u8>,
    informational: Vec<Vec<u8>>,
    head: Option<Vec<u8>>,
    loan: Option<Loan>,
    shown: Shown,
}

/// What of a response's head hyper gets to see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shown {
    #[default]
    AsItIs,
    /// Every final status as 200, since hyper takes no other for a tunnel's; the head that is kept says what the server
    /// said.
    Granted,
    /// Of a long body only what came with the head: the rest is read without hyper.
    Shortened,
}

/// Where a status line has its status.
const STATUS: std::ops::Range<usize> = 9..12;

/// Writes 200 over the status of a head that begins `before` bytes ahead of `bytes`. An informational status stays.
fn show_success(head: &[u8], before: usize, bytes: &mut [u8]) {
    if head.get(STATUS.start) == Some(&b'1') {
        return;
    }
    for (at, digit) in STATUS.zip(*b"200") {
        if let Some(byte) = at.checked_sub(before).and_then(|at| bytes.get_mut(at)) {
            *byte = digit;
        }
    }
}

impl Tap {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a request is handed to hyper: `head` is what goes out for it.
    pub fn arm(&self, head: Vec<u8>, shown: Shown) {
        let mut state = self.lock();
        *state = State {
            outgoing: head,
            shown,
            ..State::default()
        };
        drop(state);
        self.has_informational.store(false, Ordering::Relaxed);
        self.is_open.store(false, Ordering::Relaxed);
        self.is_reading.store(true, Ordering::Release);
        self.has_outgoing.store(true, Ordering::Release);
    }

    /// Somebody wants more of the body than came with the head.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    /// The connection has become a tunnel, whose both directions are somebody else's.
    pub fn hand_over(&self) {
        self.open();
        self.is_handed_over.store(true, Ordering::Release);
    }

    pub fn is_handed_over(&self) -> bool {
        self.is_handed_over.load(Ordering::Acquire)
    }

    /// The head of the response is still to come.
    pub fn is_awaiting_head(&self) -> bool {
        self.is_reading.load(Ordering::Acquire)
    }

    /// What is read now is of a body that nobody may ever ask for.
    pub fn is_ahead(&self) -> bool {
        !self.is_open.load(Ordering::Acquire) && !self.is_reading.load(Ordering::Acquire)
    }

    /// The final head of the response that hyper has just returned.
    pub fn take_head(&self) -> Option<Vec<u8>> {
        self.lock().head.take()
    }

    /// The rest of the body, if that is not hyper's to read.
    pub fn take_loan(&self) -> Option<Loan> {
        self.lock().loan.take()
    }

    /// `loan` is of the response whose head was read last.
    pub fn lend(&self, loan: Loan) {
        self.lock().loan = Some(loan);
    }

    /// The informational heads so far; wakes the caller's task when there are more.
    pub fn poll_informational(&self, cx: &Context<'_>) -> Vec<Vec<u8>> {
        self.requester.register(cx.waker());
        if self.has_informational.swap(false, Ordering::AcqRel) {
            std::mem::take(&mut self.lock().informational)
        } else {
            Vec::new()
        }
    }

    /// What the socket brought, before hyper sees it. Returns how many bytes of a body are still to come that hyper will
    /// not ask for.
    pub fn read(&self, mut bytes: &mut [u8]) -> Option<u64> {
        if !self.is_reading.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.lock();
        while !bytes.is_empty() {
            // A head that came whole is all that is copied: behind it a body may fill the rest of the read.
            let whole = if state.incoming.is_empty() {
                head_end(bytes, 0)
            } else {
                None
            };
            let before = state.incoming.len();
            let taken = whole.unwrap_or(bytes.len());
            state.incoming.extend_from_slice(&bytes[..taken]);
            if state.shown == Shown::Granted {
                show_success(&state.incoming, before, bytes);
            }
            let Some(end) = whole.or_else(|| head_end(&state.incoming, before.saturating_sub(3))) else {
                if state.incoming.len() > MAX_HEAD {
                    self.is_reading.store(false, Ordering::Release);
                    state.incoming = Vec::new();
                }
                return None;
            };
            state.incoming.truncate(end);
            let head = std::mem::take(&mut state.incoming);
            if is_informational(&head) {
                bytes = &mut bytes[end - before..];
                state.informational.push(head);
                self.has_informational.store(true, Ordering::Release);
                self.requester.wake();
            } else {
                // Of a head in pieces hyper has seen some already.
                let is_shown = state.shown == Shown::Shortened && before == 0;
                let left = is_shown.then(|| shorten(&head, bytes)).flatten();
                state.head = Some(head);
                self.is_reading.store(false, Ordering::Release);
                return left;
            }
        }
        None
    }

    /// Writes `bufs`, hyper's head in them replaced by ours. What is reported as written counts in hyper's bytes.
    pub fn write_through(
        &self,
        bufs: &[IoSlice<'_>],
        mut write: impl FnMut(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.has_outgoing.load(Ordering::Acquire) {
            return write(bufs);
        }
        let mut state = self.lock();
        let Some(end) = bufs.first().and_then(|first| head_end(first, 0)) else {
            // hyper hands a head over whole.
            return Poll::Ready(Err(io::Error::other("a request head without an end")));
        };
        loop {
            let ours = &state.outgoing[state.outgoing_sent..];
            let mut all = [IoSlice::new(&[]); MAX_BUFS];
            all[0] = IoSlice::new(ours);
            all[1] = IoSlice::new(&bufs[0][end..]);
            let mut count = 2;
            for buf in bufs[1..].iter().take(MAX_BUFS - 2) {
                all[count] = IoSlice::new(buf);
                count += 1;
            }
            if count == 2 && all[1].is_empty() {
                // One buffer is a plain send, which costs the kernel less.
                count = 1;
            }
            let left = ours.len();
            let written = match write(&all[..count]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(0)),
                Poll::Ready(Ok(written)) => written,
                other => return other,
            };
            if written < left {
                state.outgoing_sent += written;
                continue;
            }
            state.outgoing = Vec::new();
            self.has_outgoing.store(false, Ordering::Release);
            return Poll::Ready(Ok(end + written - left));
        }
    }
}

/// Lets `bytes`, which begin with `head`, announce no more than they bring. Returns what is still to come.
fn shorten(head: &[u8], bytes: &mut [u8]) -> Option<u64> {
    let body = LongBody::find(head)?;
    let here = bytes.len() - head.len();
    let left = body.beyond(here)?;
    body.shorten(bytes, here);
    Some(left)
}

/// The byte after the empty line that ends a head; lines may end in LF alone.
fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = memchr::memchr(b'\n', &bytes[at..]) {
        let after = at + found + 1;
        match &bytes[after..] {
            [b'\n', ..] => return Some(after + 1),
            [b'\r', b'\n', ..] => return Some(after + 2),
            _ => at = after,
        }
    }
    None
}

/// 101 ends the exchange as HTTP. hyper overlooks empty lines before a head; what they shift is not read here.
fn is_informational(head: &[u8]) -> bool {
    let status = head.get(STATUS).unwrap_or_default();
    head.starts_with(b"HTTP/") && status.first() == Some(&b'1') && status != b"101"
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;

    fn armed(head: &str) -> Tap {
        let tap = Tap::default();
        tap.arm(head.as_bytes().to_vec(), Shown::AsItIs);
        tap
    }

    #[test]
    fn a_head_in_pieces_is_found_and_the_body_left_alone() {
        let tap = armed("");
        for piece in ["HTTP/1.1 200 OK\r\nA: b\r", "\n\r", "\nbody\r\n\r\n"] {
            tap.read(&mut piece.as_bytes().to_vec());
        }
        assert_eq!(tap.take_head().unwrap(), b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
        tap.read(&mut b"HTTP/1.1 500 late\r\n\r\n".to_vec());
        assert_eq!(tap.take_head(), None);
    }

    #[test]
    fn nothing_of_the_body_behind_a_head_is_copied() {
        let tap = armed("");
        let mut read = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        read.resize(400 * 1024, b'x');
        tap.read(&mut read);
        let head = tap.take_head().unwrap();
        assert_eq!(head, b"HTTP/1.1 200 OK\r\n\r\n");
        assert!(head.capacity() < 64, "{}", head.capacity());
    }

    #[test]
    fn reads_ahead_from_the_end_of_the_head_until_the_body_is_asked_for() {
        let tap = armed("");
        tap.read(&mut b"HTTP/1.1 200 OK\r\n".to_vec());
        assert!(!tap.is_ahead(), "within the head");
        tap.read(&mut b"\r\n".to_vec());
        assert!(tap.is_ahead());
        tap.open();
        assert!(!tap.is_ahead());
        tap.arm(Vec::new(), Shown::AsItIs);
        tap.read(&mut b"HTTP/1.1 200 OK\r\n\r\n".to_vec());
        assert!(tap.is_ahead(), "of the next response");
    }

    #[test]
    fn informational_heads_come_before_the_final_one() {
        let tap = armed("");
        let waker = noop_waker();
        let cx = Context::from_waker(&waker);
        let heads = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 204 No\r\n\r\n";
        tap.read(&mut heads.to_vec());
        let heads = tap.poll_informational(&cx);
        assert_eq!(
            heads,
            [
                b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" as &[u8],
                b"HTTP/1.1 102 P\r\n\r\n"
            ]
        );
        assert!(tap.poll_informational(&cx).is_empty());
        assert_eq!(tap.take_head().unwrap(), b"HTTP/1.1 204 No\r\n\r\n");
    }

    #[test]
    fn a_refused_connect_looks_to_hyper_like_one_that_was_granted() {
        for size in [1, 2, 5, 100] {
            let tap = Tap::default();
            tap.arm(Vec::new(), Shown::Granted);
            let mut bytes = b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 407 Authenticate\r\n\r\n407 body".to_vec();
            for piece in bytes.chunks_mut(size) {
                tap.read(piece);
            }
            let shown = b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 Authenticate\r\n\r\n407 body";
            assert_eq!(bytes, shown, "{size}");
            assert_eq!(tap.take_head().unwrap(), b"HTTP/1.1 407 Authenticate\r\n\r\n");
        }
    }

    #[test]
    fn a_long_body_looks_to_hyper_like_what_came_with_its_head() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
        let whole = format!("HTTP/1.1 103 Early\r\n\r\n{head}body").into_bytes();
        let tap = Tap::default();
        tap.arm(Vec::new(), Shown::Shortened);
        let mut bytes = whole.clone();
        assert_eq!(tap.read(&mut bytes), Some(999_996));
        assert!(bytes.ends_with(b"content-length: 0000004\r\n\r\nbody"));
        assert_eq!(tap.take_head().unwrap(), head.as_bytes());
        for size in [1, 30, 60] {
            tap.arm(Vec::new(), Shown::Shortened);
            let mut bytes = whole.clone();
            assert!(bytes.chunks_mut(size).all(|piece| tap.read(piece).is_none()), "{size}");
            assert_eq!(bytes, whole, "hyper has seen the length");
        }
    }

    #[test]
    fn our_head_goes_out_in_place_of_hypers_however_little_the_socket_takes() {
        let tap = armed("POST /ours HTTP/1.1\r\nX-Case: 1\r\n\r\n");
        let hyper = b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nbo";
        let mut out = Vec::new();
        let mut socket = |bufs: &[IoSlice<'_>], limit: usize| {
            let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            let taken = limit.min(all.len());
            out.extend_from_slice(&all[..taken]);
            Poll::Ready(Ok(taken))
        };
        let bufs = [IoSlice::new(hyper), IoSlice::new(b"dy")];
        let Poll::Ready(Ok(written)) = tap.write_through(&bufs, |bufs| socket(bufs, 7)) else {
            panic!("not written")
        };
        assert!(written >= hyper.len() - 2 && written <= hyper.len() + 2);
        let rest: Vec<u8> = [hyper as &[u8], b"dy"].concat()[written..].to_vec();
        let _ = tap.write_through(&[IoSlice::new(&rest)], |bufs| socket(bufs, 100));
        assert_eq!(out, b"POST /ours HTTP/1.1\r\nX-Case: 1\r\n\r\nbody");
    }

    #[test]
    fn lines_may_end_in_lf_alone() {
        assert_eq!(head_end(b"HTTP/1.1 200 OK\nA: b\n\nbody", 0), Some(22));
        assert_eq!(head_end(b"HTTP/1.1 200 OK\r\nA: b\r\n", 0), None);
    }
}
