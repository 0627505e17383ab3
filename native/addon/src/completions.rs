//! What the runtime has to tell one JavaScript environment.
//!
//! Records are encoded on the runtime's thread into one buffer; JavaScript gets them all in a single call. At most one
//! `Channel::try_send` is outstanding. `streams/exchange.ts` decodes them.
//!
//! A record is little-endian words: `kind | flags << 8`, its length in words, the request's id, then by kind. Text and
//! bytes follow the words, padded to a whole word. None is larger than the buffer that JavaScript reads it from: what a
//! server sends is bounded before it comes here, and where it is not, the request fails instead.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use neon::event::Channel;
use sluice_core::{
    ByteGauge, ConnectionEvent, ConnectionInfo, ConnectionObserver, CoreError, Credit, RecordQueue, Records,
    ResponseStart, Starvation,
};
use tokio::sync::{Notify, oneshot};

use crate::environment;
use crate::marshal::{headers_text, write_connection_event, write_error};
use crate::runtime::{Runtime, note_answer};

pub const WORD: usize = 4;
/// Words that every record begins with.
pub const PREFIX_WORDS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Words: status, reason, header, body and trailer lengths, content-length (low, high; all ones if unknown).
    Head = 1,
    Readable = 2,
    /// Words: length of the JSON.
    Error = 3,
    UploadReady = 4,
    /// Words: bytes written (low, high), length of the JSON (0: the body's own end stands in the queue).
    Piped = 5,
    /// The request has a connection and waits for the go-ahead.
    Ready = 6,
    /// The id is an agent's. Words: length of the JSON.
    Connection = 7,
    /// The core asks; the id is an agent's. Words: number of the question, length of the JSON.
    Question = 8,
    /// Requests wait while responses hold every connection. The id is a pool's. Words: round, requests that wait (0: it
    /// is over), responses, length of the origin.
    Starvation = 9,
}

impl Kind {
    pub fn of(word: u32) -> Option<Self> {
        match word & 0xff {
            1 => Some(Self::Head),
            2 => Some(Self::Readable),
            3 => Some(Self::Error),
            4 => Some(Self::UploadReady),
            5 => Some(Self::Piped),
            6 => Some(Self::Ready),
            7 => Some(Self::Connection),
            8 => Some(Self::Question),
            9 => Some(Self::Starvation),
            _ => None,
        }
    }
}

/// The response is complete: body and trailers are in the record.
pub const FLAG_COMPLETE: u32 = 1 << 8;
/// The response came over HTTP/2.
pub const FLAG_HTTP2: u32 = 1 << 9;
/// A 1xx response; more heads follow.
pub const FLAG_INFORMATIONAL: u32 = 1 << 10;
/// The request's id stands for a tunnel now.
pub const FLAG_UPGRADE: u32 = 1 << 11;
/// Redirects were followed: the final URL ends the record, padded with NUL.
pub const FLAG_REDIRECTED: u32 = 1 << 12;
/// One of them changed the origin.
pub const FLAG_CROSS_ORIGIN: u32 = 1 << 13;
/// The pipe was stopped by its caller.
pub const FLAG_STOPPED: u32 = 1 << 8;

/// What follows a head.
#[derive(Debug, Clone, Copy)]
pub enum HeadKind<'a> {
    Informational,
    /// The body, frame by frame.
    Open,
    /// Nothing: body and trailers are here. The body counts until JavaScript has taken the record.
    Complete(&'a Bytes, &'a HeaderMap, &'a Arc<ByteGauge>),
    Upgrade,
}

/// What JavaScript was asked and has not answered.
#[derive(Default)]
struct Questions {
    last: u32,
    waiting: HashMap<u32, oneshot::Sender<String>>,
}

/// Tells an environment of one agent's connections.
pub struct AgentObserver {
    pub agent: u32,
    pub completions: Arc<CompletionQueue>,
}

impl std::fmt::Debug for AgentObserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentObserver")
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

impl ConnectionObserver for AgentObserver {
    fn notify(&self, event: ConnectionEvent<'_>) {
        // It always fits: an origin is bounded, and so is the text of an error.
        let pushed = self.completions.push(|out| {
            words(out, &[Kind::Connection as u32, 0, self.agent, 0]);
            let text = out.len();
            write_connection_event(&event, out);
            patch_since(out, text - WORD, text);
        });
        debug_assert_eq!(pushed, Ok(()));
    }

    fn starvation(&self, starvation: Starvation<'_>) {
        let Starvation {
            origin,
            pool,
            round,
            waiting,
            held,
        } = starvation;
        // It always fits: an origin is bounded.
        let pushed = self.completions.push(|out| {
            let counts = [round, size(waiting), size(held), 0];
            words(out, &[Kind::Starvation as u32, 0, pool]);
            words(out, &counts);
            let text = out.len();
            out.extend_from_slice(origin.as_str().as_bytes());
            patch_since(out, text - WORD, text);
        });
        debug_assert_eq!(pushed, Ok(()));
    }
}

/// A record would not fit into the buffer that JavaScript reads it from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oversize;

/// One per copy of the package, shared with every request of it.
pub struct CompletionQueue {
    environment: u32,
    /// Bytes of the largest record.
    capacity: usize,
    questions: Mutex<Questions>,
    records: RecordQueue,
    changed: Notify,
    is_closed: AtomicBool,
    channel: Channel,
}

impl CompletionQueue {
    /// Starts the task that tells JavaScript. It runs after every task that is ready now, so one message carries
    /// the completions of a whole turn of the runtime.
    pub fn start(runtime: &Runtime, channel: Channel, environment: u32, capacity: usize) -> Arc<Self> {
        let queue = Arc::new(Self {
            environment,
            capacity,
            questions: Mutex::default(),
            records: RecordQueue::default(),
            changed: Notify::new(),
            is_closed: AtomicBool::new(false),
            channel,
        });
        runtime.handle().spawn(flush(Arc::clone(&queue)));
        queue
    }

    /// No further record; the flushing task ends.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.records.close();
        self.questions().waiting.clear();
        self.changed.notify_one();
    }

    /// Every record so far. JavaScript's thread.
    pub fn take(&self) -> Records {
        self.records.take()
    }

    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks JavaScript; the answer is text. An environment that has gone drops the question, as it is done with one that
    /// does not fit into a record.
    pub fn ask(&self, agent: u32, write: impl FnOnce(&mut Vec<u8>)) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        let mut questions = self.questions();
        // With the lock held: what is put in later than the closing clears would wait for ever.
        if self.is_closed.load(Ordering::Acquire) {
            return receiver;
        }
        questions.waiting.retain(|_, sender| !sender.is_closed());
        questions.last = questions.last.wrapping_add(1);
        let number = questions.last;
        questions.waiting.insert(number, sender);
        drop(questions);
        let pushed = self.push(|out| {
            words(out, &[Kind::Question as u32, 0, agent, number, 0]);
            let text = out.len();
            write(out);
            patch_since(out, text - WORD, text);
        });
        if pushed.is_err() {
            self.questions().waiting.remove(&number);
        }
        receiver
    }

    /// JavaScript has answered. Nobody may be waiting any more.
    pub fn answer(&self, number: u32, answer: String) {
        if let Some(sender) = self.questions().waiting.remove(&number) {
            let _ = sender.send(answer);
        }
    }

    fn push(&self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Oversize> {
        self.append(None, write)?;
        self.changed.notify_one();
        Ok(())
    }

    fn append(&self, credit: Option<Credit>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Oversize> {
        let appended = self.records.append(|records| {
            append_record(&mut records.bytes, self.capacity, write)?;
            records.credits.extend(credit);
            Ok(())
        });
        // Nobody is there to tell, and so nothing is too large.
        appended.unwrap_or(Ok(()))
    }

    /// A record of words alone, which always fits.
    fn push_words(&self, record: &[u32]) {
        let pushed = self.push(|out| words(out, record));
        debug_assert_eq!(pushed, Ok(()));
    }

    /// One message for every record so far. False when the environment is being torn down; nobody is there to tell.
    fn send(&self) -> bool {
        !self.records.tells() || self.send_drain()
    }

    fn send_drain(&self) -> bool {
        let environment = self.environment;
        self.channel
            .try_send(move |cx| environment::drain(cx, environment))
            .is_ok()
    }

    /// # Errors
    /// [`Oversize`]: nothing is told.
    pub fn head(&self, id: u32, start: &ResponseStart, kind: HeadKind<'_>) -> Result<(), Oversize> {
        note_answer();
        let mut flags = match kind {
            HeadKind::Informational => FLAG_INFORMATIONAL,
            HeadKind::Open => 0,
            HeadKind::Complete(..) => FLAG_COMPLETE,
            HeadKind::Upgrade => FLAG_UPGRADE,
        };
        if start.version >= http::Version::HTTP_2 {
            flags |= FLAG_HTTP2;
        }
        if let Some(redirected) = &start.redirected {
            flags |= FLAG_REDIRECTED;
            if redirected.is_cross_origin {
                flags |= FLAG_CROSS_ORIGIN;
            }
        }
        let credit = match kind {
            HeadKind::Complete(body, _, gauge) => Some(Credit::new(gauge, body.len())),
            HeadKind::Informational | HeadKind::Open | HeadKind::Upgrade => None,
        };
        self.append(credit, |out| {
            words(out, &[Kind::Head as u32 | flags, 0, id, u32::from(start.status)]);
            let lengths = out.len();
            let length = start.content_length.unwrap_or(u64::MAX);
            words(out, &[size(start.reason.len()), 0, 0, 0, low(length), high(length)]);
            out.extend_from_slice(&start.reason);
            let text = out.len();
            out.extend_from_slice(start.headers.text());
            patch_since(out, lengths + WORD, text);
            if let HeadKind::Complete(body, trailers, _) = kind {
                patch(out, lengths + 2 * WORD, body.len());
                out.extend_from_slice(body);
                let text = out.len();
                headers_text(trailers, out);
                patch_since(out, lengths + 3 * WORD, text);
            }
            if let Some(redirected) = &start.redirected {
                out.extend_from_slice(redirected.url.as_bytes());
            }
        })?;
        self.changed.notify_one();
        Ok(())
    }

    pub fn readable(&self, id: u32) {
        self.push_words(&[Kind::Readable as u32, 0, id]);
    }

    /// The same from JavaScript's own thread, outside of its calls: the runtime need not wake for it.
    #[cfg(unix)]
    pub fn readable_here(&self, id: u32) {
        let appended = self.append(None, |out| words(out, &[Kind::Readable as u32, 0, id]));
        debug_assert_eq!(appended, Ok(()));
        self.send();
    }

    pub fn ready(&self, id: u32) {
        self.push_words(&[Kind::Ready as u32, 0, id]);
    }

    pub fn upload_ready(&self, id: u32) {
        self.push_words(&[Kind::UploadReady as u32, 0, id]);
    }

    pub fn error(&self, id: u32, error: &CoreError, host: &str, connection: Option<&ConnectionInfo>) {
        // It always fits: every text of an error is bounded.
        let pushed = self.push(|out| {
            words(out, &[Kind::Error as u32, 0, id, 0]);
            let text = out.len();
            write_error(error, "headers", host, connection, out);
            patch_since(out, text - WORD, text);
        });
        debug_assert_eq!(pushed, Ok(()));
    }

    pub fn piped(&self, id: u32, written: u64, is_stopped: bool, error: Option<&CoreError>) {
        let flags = if is_stopped { FLAG_STOPPED } else { 0 };
        let pushed = self.push(|out| {
            words(
                out,
                &[Kind::Piped as u32 | flags, 0, id, low(written), high(written), 0],
            );
            if let Some(error) = error {
                let text = out.len();
                write_error(error, "write", "", None, out);
                patch_since(out, text - WORD, text);
            }
        });
        debug_assert_eq!(pushed, Ok(()));
    }
}

async fn flush(queue: Arc<CompletionQueue>) {
    loop {
        queue.changed.notified().await;
        if queue.is_closed.load(Ordering::Acquire) || !queue.send() {
            return;
        }
    }
}

/// A record that was begun and not finished leaves nothing behind, whatever ended it.
struct Begun<'a> {
    records: &'a mut Vec<u8>,
    start: usize,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.records.truncate(self.start);
    }
}

/// `write` appends the record's words, the second of which is filled in here, and what follows them.
fn append_record(records: &mut Vec<u8>, capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Oversize> {
    let start = records.len();
    let mut begun = Begun { records, start };
    write(begun.records);
    let end = begun.records.len().next_multiple_of(WORD);
    if end - start > capacity {
        return Err(Oversize);
    }
    begun.records.resize(end, 0);
    patch(begun.records, start + WORD, (end - start) / WORD);
    begun.start = end;
    Ok(())
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

fn patch(out: &mut [u8], at: usize, length: usize) {
    out[at..at + WORD].copy_from_slice(&size(length).to_le_bytes());
}

/// The length of what was written since `text`.
fn patch_since(out: &mut [u8], at: usize, text: usize) {
    let length = out.len() - text;
    patch(out, at, length);
}

fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
fn low(number: u64) -> u32 {
    number as u32
}

fn high(number: u64) -> u32 {
    low(number >> 32)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn record(fill: u8, bytes: usize) -> impl FnOnce(&mut Vec<u8>) {
        move |out| {
            words(out, &[Kind::Readable as u32, 0, 7]);
            out.resize(out.len() + bytes, fill);
        }
    }

    #[test]
    fn a_record_that_does_not_fit_leaves_the_others_as_they_are() {
        let mut records = Vec::new();
        assert_eq!(append_record(&mut records, 32, record(1, 3)), Ok(()));
        let before = records.clone();
        assert_eq!(append_record(&mut records, 32, record(2, 21)), Err(Oversize));
        assert_eq!(records, before);
        assert_eq!(append_record(&mut records, 32, record(3, 20)), Ok(()));
        assert_eq!(records.len(), 16 + 32);
    }

    #[test]
    fn a_record_whose_writing_panics_leaves_the_others_as_they_are() {
        let mut records = Vec::new();
        assert_eq!(append_record(&mut records, 32, record(1, 3)), Ok(()));
        let before = records.clone();
        let torn = catch_unwind(AssertUnwindSafe(|| {
            append_record(&mut records, 32, |out| {
                out.push(1);
                std::panic::resume_unwind(Box::new("torn"));
            })
        }));
        assert!(torn.is_err());
        assert_eq!(records, before);
    }
}
