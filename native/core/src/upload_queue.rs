//! Chunks of a streamed upload.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;

use crate::credit::{ByteGauge, Credit, Window};
use crate::frames::Frames;
use crate::spare::Spare;
use crate::upload::UploadError;

type CreditListener = Box<dyn Fn() + Send + Sync>;

/// What is copied at once.
const PIECE: usize = 64 * 1024;

/// What became of a body that was to be taken further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// There is more, and no credit.
    More,
    /// All of it was taken.
    Last,
    /// Nobody takes the rest, unless the body is begun again.
    Over,
}

/// Chunks of a streamed upload between their source and the socket; bounded by credit.
pub struct UploadQueue {
    state: Mutex<QueueState>,
    spare: Spare,
    gauge: Arc<ByteGauge>,
    /// Told once when a source that ran out of credit may go on. Any thread.
    on_credit: CreditListener,
    /// Bytes of a body that its owner keeps, and can send again.
    kept: Option<usize>,
}

struct QueueState {
    window: Window,
    frames: Frames,
    /// Bytes that the engine has, which still count.
    handed: Credit,
    /// The engine says what its socket has taken. Otherwise a frame is taken when the next one is asked for.
    is_metered: bool,
    end: Option<Result<(), UploadError>>,
    /// Sent behind the last chunk of a body without a length (RFC 9110 §6.5).
    trailers: Option<HeaderMap>,
    is_source_waiting: bool,
    is_closed: bool,
    /// There is an answer: without one the request's error tells the source.
    is_answered: bool,
    /// The source was told that nobody takes the rest.
    is_told: bool,
    reader: Option<Waker>,
    /// How often the body was begun. A body of before finds nothing here, and closes nothing.
    round: u32,
    /// What has been taken of a body that its owner keeps.
    position: usize,
}

impl QueueState {
    fn new(window: Window, gauge: &Arc<ByteGauge>) -> Self {
        Self {
            window,
            frames: Frames::new(gauge),
            handed: Credit::none(gauge),
            is_metered: false,
            end: None,
            trailers: None,
            is_source_waiting: false,
            is_closed: false,
            is_answered: false,
            is_told: false,
            reader: None,
            round: 0,
            position: 0,
        }
    }

    fn held(&self) -> usize {
        self.frames.bytes() + self.handed.bytes()
    }
}

impl std::fmt::Debug for UploadQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadQueue")
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

impl UploadQueue {
    pub fn new(window: usize, gauge: Arc<ByteGauge>, on_credit: CreditListener) -> Self {
        Self {
            state: Mutex::new(QueueState::new(Window::new(window), &gauge)),
            spare: Spare::default(),
            gauge,
            on_credit,
            kept: None,
        }
    }

    /// For `length` bytes that their owner keeps until the request is over: [`UploadQueue::push_from`] takes them.
    pub fn kept(window: usize, gauge: Arc<ByteGauge>, on_credit: CreditListener, length: usize) -> Self {
        let mut queue = Self::new(window, gauge, on_credit);
        queue.kept = Some(length);
        queue
    }

    /// Whether the body can be sent again.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// The body begins to be sent. One that is kept begins at its first byte, however often: the source is told.
    /// Returns what tells this time from others.
    pub fn open(&self) -> u32 {
        let mut state = self.lock();
        state.round += 1;
        let round = state.round;
        if round == 1 || self.kept.is_none() {
            return round;
        }
        shut(&mut state);
        *state = QueueState {
            round,
            reader: state.reader.take(),
            ..QueueState::new(state.window, &self.gauge)
        };
        self.tell(state, true);
        round
    }

    /// Bytes that count against the window.
    pub fn held(&self) -> usize {
        self.lock().held()
    }

    /// Takes a copy of a chunk, as [`UploadQueue::push`] does the chunk. The engine has its beginning while the rest is
    /// copied.
    pub fn push_copy(&self, chunk: &[u8]) -> i64 {
        let mut left = self.push(Bytes::new());
        for piece in chunk.chunks(PIECE) {
            left = self.push(self.spare.copy(piece));
        }
        left
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a chunk and returns the credit left, in bytes. At zero or less the source waits for its listener.
    pub fn push(&self, chunk: Bytes) -> i64 {
        let mut state = self.lock();
        if state.is_closed || state.end.is_some() {
            return 0;
        }
        if chunk.is_empty() {
            return self.left(&state);
        }
        self.take(&mut state, chunk)
    }

    /// Takes copies of what follows in `whole`, as far as there is credit; the source waits for its listener then.
    ///
    /// # Errors
    /// [`UploadError::LengthMismatch`] for a body of which something is missing that was not taken.
    pub fn push_from(&self, whole: &[u8]) -> Result<Pushed, UploadError> {
        loop {
            let (round, position) = {
                let state = self.lock();
                if state.end.is_some() {
                    return Ok(Pushed::Last);
                }
                if state.is_told {
                    return Ok(Pushed::Over);
                }
                if state.is_closed || state.is_source_waiting {
                    return Ok(Pushed::More);
                }
                (state.round, state.position)
            };
            if self.kept != Some(whole.len()) {
                return Err(UploadError::LengthMismatch);
            }
            let piece = &whole[position..whole.len().min(position + PIECE)];
            let copy = self.spare.copy(piece);
            let mut state = self.lock();
            if state.is_closed || state.round != round {
                continue;
            }
            state.position += piece.len();
            self.take(&mut state, copy);
            if state.position == whole.len() {
                state.end = Some(Ok(()));
                state.is_source_waiting = false;
            }
        }
    }

    /// The source was told that nobody takes what it still has.
    pub fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_told && state.end.is_none()
    }

    fn take(&self, state: &mut QueueState, chunk: Bytes) -> i64 {
        state.frames.push(chunk);
        let left = self.left(state);
        state.is_source_waiting = left <= 0;
        wake(state);
        left
    }

    /// With the agent's budget spent, one chunk at a time.
    fn left(&self, state: &QueueState) -> i64 {
        let left = state.window.left(state.held());
        if self.gauge.is_spent() { left.min(0) } else { left }
    }

    pub fn finish(&self) {
        self.end(Ok(()));
    }

    /// As [`UploadQueue::finish`]. On HTTP/1.1 only fields go out that the `trailer` header has announced.
    pub fn finish_with(&self, trailers: HeaderMap) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(Ok(()));
            state.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
        }
        wake(&mut state);
    }

    pub fn take_trailers(&self) -> Option<HeaderMap> {
        self.lock().trailers.take()
    }

    /// Fails the upload; the connection is dropped.
    pub fn fail(&self, error: UploadError) {
        self.end(Err(error));
    }

    fn end(&self, end: Result<(), UploadError>) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        wake(&mut state);
    }

    /// The next chunk; `None` at the end. `round` is the body's, which may have been begun again.
    pub fn poll_next(&self, round: u32, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        let mut state = self.lock();
        if state.round != round {
            return Poll::Ready(Some(Err(UploadError::ResponseEnded)));
        }
        if let Some(Err(error)) = state.end {
            return Poll::Ready(Some(Err(error)));
        }
        let taken = if state.is_metered { 0 } else { state.handed.bytes() };
        let tell = self.give_back(&mut state, taken);
        let QueueState { frames, handed, .. } = &mut *state;
        let next = match frames.pop(handed) {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if state.end.is_some() => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        };
        self.tell(state, tell);
        next
    }

    /// Whether the source is to be told.
    fn give_back(&self, state: &mut QueueState, bytes: usize) -> bool {
        let bytes = state.handed.shrink(bytes);
        let held = state.held();
        let has_room = held == 0 || (state.window.is_below_half(held) && !self.gauge.is_spent());
        bytes > 0 && has_room && std::mem::take(&mut state.is_source_waiting)
    }

    /// Whether the engine tells [`UploadQueue::written`] of what it has taken.
    pub fn set_metered(&self, is_metered: bool) {
        self.lock().is_metered = is_metered;
    }

    /// The engine has so many bytes no more.
    pub fn written(&self, bytes: usize) {
        let mut state = self.lock();
        let tell = self.give_back(&mut state, bytes);
        self.tell(state, tell);
    }

    fn tell(&self, state: MutexGuard<'_, QueueState>, tells: bool) {
        drop(state);
        if tells {
            (self.on_credit)();
        }
    }

    /// Waits for the first chunk, trailers or the end; whether there is anything to send. Cancel safe.
    pub async fn has_content(&self) -> bool {
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            if !state.frames.is_empty() || matches!(state.end, Some(Err(_))) {
                return Poll::Ready(true);
            }
            if state.end.is_some() {
                return Poll::Ready(state.trailers.is_some());
            }
            state.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The next chunk; `None` at the end. Cancel safe.
    pub async fn next(&self) -> Option<Result<Bytes, UploadError>> {
        let round = self.lock().round;
        std::future::poll_fn(|cx| self.poll_next(round, cx)).await
    }

    pub fn is_drained(&self) -> bool {
        let state = self.lock();
        state.frames.is_empty() && state.end == Some(Ok(())) && state.trailers.is_none()
    }

    /// The socket takes no more. The source learns of it otherwise.
    pub fn close(&self) {
        shut(&mut self.lock());
    }

    /// The engine has all that was announced, unless the body was begun again: a source that waits may go on to its end.
    pub fn complete_round(&self, round: u32) {
        let mut state = self.lock();
        if state.round != round {
            return;
        }
        // What the engine has still counts until it has gone.
        state.is_closed = true;
        state.frames.clear();
        let tell = std::mem::take(&mut state.is_source_waiting);
        self.tell(state, tell);
    }

    /// Nobody takes more of the body: a source that has more is told, once, and not before there is an answer.
    pub fn abandon(&self) {
        self.abandon_locked(self.lock());
    }

    /// There is an answer to the request.
    pub fn answered(&self) {
        let mut state = self.lock();
        state.is_answered = true;
        if state.is_closed {
            self.abandon_locked(state);
        }
    }

    /// The same, unless the body was begun again.
    pub fn abandon_round(&self, round: u32) {
        let state = self.lock();
        if state.round == round {
            self.abandon_locked(state);
        }
    }

    fn abandon_locked(&self, mut state: MutexGuard<'_, QueueState>) {
        shut(&mut state);
        self.spare.clear();
        let tell = state.is_answered && state.end.is_none() && !std::mem::replace(&mut state.is_told, true);
        self.tell(state, tell);
    }
}

fn shut(state: &mut QueueState) {
    state.is_closed = true;
    state.frames.clear();
    state.handed.clear();
}

impl Drop for UploadQueue {
    fn drop(&mut self) {
        self.close();
    }
}

fn wake(state: &mut QueueState) {
    if let Some(reader) = state.reader.take() {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts how often its source is told.
    fn queue(window: usize) -> (UploadQueue, Arc<AtomicUsize>) {
        let told = Arc::new(AtomicUsize::new(0));
        let listener = Arc::clone(&told);
        let on_credit = move || {
            listener.fetch_add(1, Ordering::SeqCst);
        };
        (UploadQueue::new(window, Arc::default(), Box::new(on_credit)), told)
    }

    #[tokio::test]
    async fn a_source_without_credit_is_told_once_when_half_is_free() {
        let (queue, told) = queue(10);
        assert_eq!(queue.push(Bytes::from_static(b"012345")), 4);
        assert_eq!(queue.push(Bytes::from_static(b"6789")), 0);
        queue.next().await.unwrap().unwrap();
        assert_eq!(told.load(Ordering::SeqCst), 0, "the engine has not sent it yet");
        queue.next().await.unwrap().unwrap();
        assert_eq!(told.load(Ordering::SeqCst), 1);
        assert!(queue.next().now_or_never().is_none());
        assert_eq!(told.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_a_metering_engine_holds_counts_until_it_is_written() {
        let (queue, told) = queue(10);
        queue.set_metered(true);
        assert_eq!(queue.push(Bytes::from_static(b"0123456789")), 0);
        queue.next().await.unwrap().unwrap();
        assert!(queue.next().now_or_never().is_none());
        queue.written(5);
        assert_eq!((told.load(Ordering::SeqCst), queue.held()), (0, 5));
        queue.written(5);
        assert_eq!((told.load(Ordering::SeqCst), queue.held()), (1, 0));
        assert_eq!(queue.push(Bytes::from_static(b"0123456789")), 0);
        queue.close();
        queue.written(5);
        assert_eq!((told.load(Ordering::SeqCst), queue.held()), (1, 0));
    }

    #[test]
    fn a_copy_is_taken_piece_by_piece_and_whole() {
        let (queue, _) = queue(2 * PIECE);
        let chunk: Vec<u8> = (0..=255).cycle().take(3 * PIECE - 1).collect();
        assert_eq!(queue.push_copy(&chunk), 1 - PIECE as i64);
        let pieces = [take(&queue), take(&queue), take(&queue)];
        assert_eq!(pieces.concat(), chunk);
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
        assert_eq!(queue.push_copy(&[]), 2 * PIECE as i64 - queue.held() as i64);
    }

    fn kept(window: usize, length: usize) -> (UploadQueue, Arc<AtomicUsize>) {
        let (mut queue, told) = queue(window);
        queue.kept = Some(length);
        (queue, told)
    }

    fn take(queue: &UploadQueue) -> Bytes {
        queue.next().now_or_never().unwrap().unwrap().unwrap()
    }

    #[test]
    fn what_its_owner_keeps_is_taken_as_far_as_there_is_credit() {
        let body = vec![1; 3 * PIECE];
        let (queue, told) = kept(PIECE + 1, body.len());
        queue.open();
        assert_eq!(queue.push_from(&body), Ok(Pushed::More));
        assert_eq!(queue.push_from(&body), Ok(Pushed::More), "nothing without credit");
        assert_eq!((queue.held(), told.load(Ordering::SeqCst)), (2 * PIECE, 0));
        take(&queue);
        take(&queue);
        assert!(queue.next().now_or_never().is_none());
        assert_eq!(told.load(Ordering::SeqCst), 1);
        assert_eq!(queue.push_from(&body[1..]), Err(UploadError::LengthMismatch));
        assert_eq!(queue.push_from(&body), Ok(Pushed::Last));
        assert_eq!(take(&queue).len(), PIECE);
        assert!(queue.next().now_or_never().unwrap().is_none());
        assert_eq!(told.load(Ordering::SeqCst), 1);
        assert_eq!(queue.push_from(&[]), Ok(Pushed::Last), "its memory may go");
    }

    #[test]
    fn the_last_piece_asks_for_nothing_although_it_uses_the_credit_up() {
        let (queue, told) = kept(PIECE, PIECE);
        let round = queue.open();
        assert_eq!(queue.push_from(&[1; PIECE]), Ok(Pushed::Last));
        take(&queue);
        assert!(queue.next().now_or_never().unwrap().is_none());
        queue.abandon_round(round);
        assert_eq!(told.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_source_that_has_more_is_told_once_that_nobody_takes_it() {
        let (streamed, told) = queue(PIECE);
        let round = streamed.open();
        streamed.push(Bytes::from_static(b"0123"));
        streamed.abandon_round(round);
        assert_eq!(
            (streamed.is_over(), told.load(Ordering::SeqCst)),
            (false, 0),
            "its error may come"
        );
        streamed.answered();
        streamed.abandon();
        assert_eq!((streamed.is_over(), told.load(Ordering::SeqCst)), (true, 1));

        let body = vec![1; 3 * PIECE];
        let (queue, told) = kept(PIECE, body.len());
        let round = queue.open();
        assert_eq!(queue.push_from(&body), Ok(Pushed::More));
        queue.answered();
        queue.abandon_round(round);
        queue.abandon();
        assert_eq!(told.load(Ordering::SeqCst), 1);
        assert_eq!(queue.push_from(&body), Ok(Pushed::Over));
        assert_eq!((queue.held(), queue.gauge.held()), (0, 0));
    }

    #[test]
    fn a_source_that_waits_goes_on_when_all_that_was_announced_is_sent() {
        let (queue, told) = queue(PIECE);
        let round = queue.open();
        assert_eq!(queue.push_copy(&[1; PIECE]), 0);
        take(&queue);
        queue.complete_round(round);
        assert_eq!((queue.is_over(), told.load(Ordering::SeqCst)), (false, 1));
    }

    #[test]
    fn a_body_that_is_begun_again_has_nothing_from_before() {
        let body: Vec<u8> = (0..=255).cycle().take(3 * PIECE).collect();
        let (queue, told) = kept(PIECE, body.len());
        let first = queue.open();
        queue.set_metered(true);
        queue.push_from(&body).unwrap();
        take(&queue);
        queue.abandon_round(first);
        let second = queue.open();
        assert_eq!((queue.gauge.held(), told.load(Ordering::SeqCst)), (0, 1));
        queue.abandon_round(first);
        assert_eq!(queue.push_from(&body), Ok(Pushed::More), "it is nobody's");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(
            queue.poll_next(first, &mut cx),
            Poll::Ready(Some(Err(UploadError::ResponseEnded)))
        ));
        match queue.poll_next(second, &mut cx) {
            Poll::Ready(Some(Ok(piece))) => assert_eq!(piece, body[..PIECE]),
            other => panic!("{other:?}"),
        }
        assert!(queue.poll_next(second, &mut cx).is_pending());
        assert_eq!(queue.held(), 0, "this engine does not meter");
        assert_eq!(told.load(Ordering::SeqCst), 2, "with the credit");
        queue.abandon_round(second);
        queue.answered();
        assert_eq!(told.load(Ordering::SeqCst), 3);
    }
}
