//! The bounded store between the socket and the reader of one response.

use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::Notify;

use crate::credit::{ByteGauge, Credit, Reserve, Window};
use crate::direct::{Direct, DirectRead};
use crate::error::CoreError;
use crate::frames::Frames;
use crate::pause::{PauseReason, PauseState};

/// How a body ended: trailers (often empty) or exactly one error.
pub type BodyEnd = Result<HeaderMap, CoreError>;

/// What a reader finds after it took bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadState {
    /// More bytes are queued.
    More,
    /// Nothing is queued, the body goes on.
    Empty,
    /// The same, but a read may find something in the socket.
    Direct,
    /// Neither in the queue nor in the socket: [`BodyQueue::socket`] is where the next bytes come, unless the reader
    /// waits [for the runtime](BodyQueue::wait).
    Drained,
    /// Everything was read and the body ended well.
    Ended,
    /// Everything was read and the body failed.
    Failed,
}

/// Holds at most its window and one frame, and before the first demand one frame.
///
/// A reader outside the runtime that is slower than the server takes the rest of a body from the socket itself, where
/// the body allows that: the queue stays paused, and saves a copy and two wake-ups for each read, until the reader waits
/// for the runtime.
///
/// The runtime's thread pushes, one reader takes. A full queue pauses its response with [`PauseReason::QueueFull`];
/// draining below half clears that reason and no other. One that holds bytes while its agent's budget is spent pauses
/// with [`PauseReason::Budget`] until there is budget again or it holds nothing.
#[derive(Debug)]
pub struct BodyQueue {
    state: Mutex<State>,
    pause: Arc<PauseState>,
    gauge: Arc<ByteGauge>,
    /// For readers on the runtime; a reader outside is told by the result of `push` and `finish`.
    ready: Notify,
}

#[derive(Debug)]
struct State {
    window: Window,
    frames: Frames,
    /// Bytes that a sink has taken and not released.
    taken: Credit,
    /// Since the first demand.
    reserve: Option<Reserve>,
    is_demanded: bool,
    is_reader_waiting: bool,
    is_closed: bool,
    direct: Option<Arc<dyn Direct>>,
    /// Bytes of a body with `direct` that have not come this way.
    left: u64,
    /// Its reader takes what follows the frames.
    is_direct: bool,
    /// The last direct read left nothing in the socket.
    is_drained: bool,
    /// What a reader finds after the last byte.
    end_state: ReadState,
    end: Option<BodyEnd>,
}

impl State {
    fn is_full(&self) -> bool {
        if self.is_direct {
            true
        } else if self.is_demanded {
            self.window.is_spent(self.held())
        } else {
            self.held() > 0
        }
    }

    fn held(&self) -> usize {
        self.frames.bytes() + self.taken.bytes()
    }

    fn has_ended(&self) -> bool {
        self.end_state != ReadState::Empty
    }

    /// So many bytes of a body that may be read directly have come.
    fn count_left(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
        if self.left == 0 {
            // It holds the socket.
            self.direct = None;
        }
    }

    /// What a reader finds. One that waits and finds nothing will be told.
    fn arm(&mut self, waits: bool) -> ReadState {
        let read_state = self.read_state();
        self.is_reader_waiting = waits && read_state == ReadState::Empty;
        read_state
    }

    fn read_state(&self) -> ReadState {
        if self.frames.is_empty() {
            self.end_state
        } else {
            ReadState::More
        }
    }
}

impl BodyQueue {
    pub fn new(window: usize, pause: Arc<PauseState>, gauge: Arc<ByteGauge>) -> Self {
        Self {
            state: Mutex::new(State {
                window: Window::new(window),
                frames: Frames::new(&gauge),
                taken: Credit::none(&gauge),
                reserve: None,
                is_demanded: false,
                is_reader_waiting: false,
                is_closed: false,
                direct: None,
                left: 0,
                is_direct: false,
                is_drained: false,
                end_state: ReadState::Empty,
                end: None,
            }),
            pause,
            gauge,
            ready: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a frame; true when a waiting reader outside the runtime must be told.
    pub fn push(&self, frame: Bytes) -> bool {
        let mut state = self.lock();
        if state.is_closed || frame.is_empty() {
            return false;
        }
        let length = frame.len();
        state.frames.push(frame);
        state.count_left(length);
        if state.is_full() {
            self.pause.pause(PauseReason::QueueFull);
        }
        if self.gauge.is_spent() {
            self.pause.pause(PauseReason::Budget);
        }
        self.ready.notify_one();
        std::mem::take(&mut state.is_reader_waiting)
    }

    /// Ends the body; true when a waiting reader outside the runtime must be told. The first end counts.
    pub fn finish(&self, end: BodyEnd) -> bool {
        let mut state = self.lock();
        if state.has_ended() || state.is_closed {
            return false;
        }
        state.end_state = if end.is_ok() {
            ReadState::Ended
        } else {
            ReadState::Failed
        };
        state.end = Some(end);
        state.is_direct = false;
        // A reader may have waited at the socket before, and keeps it open until it is told.
        let was_direct = state.direct.take().is_some();
        self.ready.notify_one();
        std::mem::take(&mut state.is_reader_waiting) || was_direct
    }

    /// The first pull: from now on the window fills.
    pub fn demand(&self) {
        let mut state = self.lock();
        self.demand_locked(&mut state);
    }

    fn demand_locked(&self, state: &mut State) {
        if !state.is_demanded {
            state.is_demanded = true;
            if !state.is_closed {
                state.reserve = Some(Reserve::new(&self.gauge));
            }
            if !state.is_full() {
                self.pause.resume(PauseReason::QueueFull);
            }
        }
    }

    /// Bytes were given back.
    fn make_way(&self, state: &State) {
        if state.is_demanded && !state.is_direct && state.window.is_below_half(state.held()) {
            self.pause.resume(PauseReason::QueueFull);
        }
        self.give_way(state);
    }

    fn give_way(&self, state: &State) {
        if self.pause.is_paused_by(PauseReason::Budget) && (state.held() == 0 || !self.gauge.is_spent()) {
            self.pause.resume(PauseReason::Budget);
        }
    }

    /// `left` bytes of the body have not been pushed, and may be read by whoever wants them.
    pub fn allow_direct(&self, direct: Arc<dyn Direct>, left: u64) {
        let mut state = self.lock();
        state.direct = Some(direct);
        state.left = left;
    }

    /// For a reader that takes what the queue does not hold too, or one that does not. A full queue is a sign that its
    /// reader is the slower one: the runtime waits at the gate then, not at the socket.
    fn lock_to_read(&self, reads_on: bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        self.demand_locked(&mut state);
        if reads_on {
            state.is_direct |= state.direct.is_some() && state.window.is_spent(state.held());
        } else {
            self.end_direct(&mut state);
        }
        state
    }

    fn end_direct(&self, state: &mut State) {
        state.is_drained = false;
        if std::mem::take(&mut state.is_direct) && !state.is_full() {
            self.pause.resume(PauseReason::QueueFull);
        }
    }

    /// What the queue does not hold.
    fn read_directly(&self, state: &mut State, target: &mut [u8]) -> DirectRead {
        let Some(direct) = state.direct.as_ref().filter(|_| state.is_direct) else {
            return DirectRead::Over;
        };
        if std::mem::take(&mut state.is_drained) {
            return DirectRead::Nothing;
        }
        let found = direct.read(state.left, target);
        if let DirectRead::Some(read) = found {
            state.is_drained = read < target.len();
            state.count_left(read);
        }
        if found == DirectRead::Over || state.direct.is_none() {
            self.end_direct(state);
        }
        found
    }

    /// Copies into `target` what is queued, or what is there already. A read that finds nothing arms one notice from
    /// `push` or `finish`.
    pub fn read(&self, target: &mut [u8]) -> (usize, ReadState) {
        self.read_locked(&mut self.lock_to_read(true), target)
    }

    /// The same of what is queued alone.
    pub fn read_queued(&self, target: &mut [u8]) -> (usize, ReadState) {
        self.read_locked(&mut self.lock_to_read(false), target)
    }

    fn read_locked(&self, state: &mut State, target: &mut [u8]) -> (usize, ReadState) {
        let copied = state.frames.read(target);
        if copied > 0 {
            self.make_way(state);
            return (copied, state.arm(false));
        }
        match self.read_directly(state, target) {
            DirectRead::Some(read) => (read, state.arm(false)),
            DirectRead::Nothing => {
                state.arm(true);
                (0, ReadState::Drained)
            }
            DirectRead::Over => (0, state.arm(true)),
        }
    }

    /// For a reader that found the body [drained](ReadState::Drained): bytes that the socket will have. None where it can
    /// only wait for the runtime.
    pub fn left_in_socket(&self) -> Option<u64> {
        let state = self.lock();
        (state.is_direct && state.direct.is_some()).then_some(state.left)
    }

    /// Whether there will be a socket to read any more.
    pub fn has_socket(&self) -> bool {
        self.lock().direct.is_some()
    }

    /// A handle of that socket.
    pub fn socket(&self) -> Option<TcpStream> {
        let direct = self.lock().direct.clone()?;
        direct.socket()
    }

    /// The runtime reads again, and tells the reader.
    pub fn wait(&self) -> ReadState {
        self.lock_to_read(false).arm(true)
    }

    /// Bytes that are queued now; with none, arms one notice as [`BodyQueue::read`] does. Whoever `reads_on` with that is
    /// told when it would find more.
    pub fn poll_len(&self, reads_on: bool) -> (usize, ReadState) {
        let mut state = self.lock_to_read(reads_on);
        let read_state = match state.read_state() {
            ReadState::Empty if state.is_direct => ReadState::Direct,
            read_state => read_state,
        };
        state.is_reader_waiting = read_state == ReadState::Empty;
        (state.frames.bytes(), read_state)
    }

    /// Takes queued frames for a sink on the runtime, half of the window or one frame at most, so that others come while
    /// it works. Their bytes count as held until [`BodyQueue::release`] gives them back.
    pub fn take_frames(&self) -> (Vec<Bytes>, ReadState) {
        let mut state = self.lock_to_read(false);
        let State {
            window, frames, taken, ..
        } = &mut *state;
        let most = window.bytes() / 2;
        let mut batch = Vec::new();
        while let Some(length) = frames.next_len()
            && (taken.bytes() == 0 || taken.bytes() + length <= most)
        {
            batch.extend(frames.pop(taken));
        }
        (batch, state.read_state())
    }

    /// Gives back the credit of frames that were taken. A sink writes one batch while the next arrives, so it
    /// lifts the gate as soon as there is room; waking the loop costs it nothing.
    pub fn release(&self, bytes: usize) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        state.taken.shrink(bytes);
        self.make_way(&state);
        if !state.is_full() {
            self.pause.resume(PauseReason::QueueFull);
        }
    }

    /// Resolves when a frame or the end may have come. For a single reader on the runtime.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }

    /// The end, once: what [`ReadState::Ended`] and [`ReadState::Failed`] stand for.
    pub fn take_end(&self) -> Option<BodyEnd> {
        self.lock().end.take()
    }

    /// Whether all the rest is here: nothing more will come from the socket.
    pub fn is_complete(&self) -> bool {
        self.lock().has_ended()
    }

    pub fn held(&self) -> usize {
        self.lock().held()
    }

    /// Nobody will read any more: drops what is held and takes nothing further.
    pub fn close(&self) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        state.is_closed = true;
        state.reserve = None;
        state.is_direct = false;
        state.direct = None;
        state.frames.clear();
        state.taken.clear();
        state.is_reader_waiting = false;
        self.ready.notify_one();
    }
}

impl Drop for BodyQueue {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::credit::RESERVE;

    fn queue(window: usize) -> (BodyQueue, Arc<PauseState>, Arc<ByteGauge>) {
        let pause = Arc::new(PauseState::new());
        let gauge = Arc::new(ByteGauge::default());
        (
            BodyQueue::new(window, Arc::clone(&pause), Arc::clone(&gauge)),
            pause,
            gauge,
        )
    }

    #[test]
    fn takes_one_frame_before_the_first_demand() {
        let (queue, pause, _) = queue(1000);
        queue.push(Bytes::from_static(b"abc"));
        assert!(pause.is_paused());
        queue.demand();
        assert!(!pause.is_paused());
    }

    #[test]
    fn pauses_at_the_window_and_resumes_below_half() {
        let (queue, pause, gauge) = queue(10);
        queue.demand();
        queue.push(Bytes::from_static(b"0123456"));
        assert!(!pause.is_paused());
        queue.push(Bytes::from_static(b"789ab"));
        assert!(pause.is_paused_by(PauseReason::QueueFull));
        assert_eq!(gauge.held(), 12);
        let mut target = [0; 7];
        assert_eq!(queue.read(&mut target), (7, ReadState::More));
        assert!(pause.is_paused(), "five bytes are half of the window, not less");
        assert_eq!(queue.read(&mut target[..1]), (1, ReadState::More));
        assert!(!pause.is_paused());
        assert_eq!(gauge.held(), 4);
    }

    #[test]
    fn a_spent_budget_leaves_every_queue_one_frame() {
        // Beside what is kept back for both, and for later ones.
        let gauge = Arc::new(ByteGauge::new((2 * RESERVE + 10) * 4 / 3));
        let queue = || {
            let pause = Arc::new(PauseState::new());
            let queue = BodyQueue::new(1000, Arc::clone(&pause), Arc::clone(&gauge));
            queue.demand();
            (queue, pause)
        };
        let (greedy, greedy_pause) = queue();
        let (late, late_pause) = queue();
        greedy.push(Bytes::from_static(b"01234567"));
        assert!(!greedy_pause.is_paused());
        greedy.push(Bytes::from_static(b"89abcdef"));
        assert!(greedy_pause.is_paused_by(PauseReason::Budget));
        assert!(!late_pause.is_paused(), "it holds nothing yet");
        late.push(Bytes::from_static(b"x"));
        assert!(late_pause.is_paused_by(PauseReason::Budget));
        late.read(&mut [0; 4]);
        assert!(!late_pause.is_paused(), "it holds nothing again");
        greedy.read(&mut [0; 4]);
        assert!(greedy_pause.is_paused(), "the budget is spent still");
        greedy.read(&mut [0; 4]);
        assert!(!greedy_pause.is_paused(), "there is budget again");
    }

    #[test]
    fn draining_leaves_the_consumers_pause_alone() {
        let (queue, pause, _) = queue(4);
        queue.demand();
        queue.push(Bytes::from_static(b"0123"));
        pause.pause(PauseReason::Consumer);
        queue.read(&mut [0; 16]);
        assert!(pause.is_paused_by(PauseReason::Consumer));
        assert!(!pause.is_paused_by(PauseReason::QueueFull));
    }

    #[test]
    fn tells_a_waiting_reader_once() {
        let (queue, ..) = queue(100);
        assert_eq!(queue.read(&mut [0; 4]), (0, ReadState::Empty));
        assert!(queue.push(Bytes::from_static(b"a")));
        assert!(!queue.push(Bytes::from_static(b"b")));
        assert_eq!(queue.read(&mut [0; 4]), (2, ReadState::Empty));
        assert!(
            !queue.finish(Ok(HeaderMap::new())),
            "a read that found bytes arms nothing"
        );
        assert_eq!(queue.read(&mut [0; 4]), (0, ReadState::Ended));
    }

    #[test]
    fn delivers_what_came_before_an_error_and_only_the_first_end() {
        let (queue, ..) = queue(100);
        queue.push(Bytes::from_static(b"abc"));
        queue.finish(Err(CoreError::BodyTimeout));
        queue.finish(Ok(HeaderMap::new()));
        let mut target = [0; 8];
        assert_eq!(queue.read(&mut target), (3, ReadState::Failed));
        assert!(matches!(queue.take_end(), Some(Err(CoreError::BodyTimeout))));
    }

    /// A socket that holds so many bytes, of as many in all.
    #[derive(Debug)]
    struct Source {
        ready: AtomicUsize,
        left: AtomicUsize,
    }

    impl Direct for Source {
        fn read(&self, left: u64, target: &mut [u8]) -> DirectRead {
            if left != self.left.load(Ordering::Relaxed) as u64 {
                return DirectRead::Over;
            }
            let count = target.len().min(self.ready.load(Ordering::Relaxed));
            if count == 0 {
                return DirectRead::Nothing;
            }
            target[..count].fill(b'x');
            self.ready.fetch_sub(count, Ordering::Relaxed);
            self.left.fetch_sub(count, Ordering::Relaxed);
            DirectRead::Some(count)
        }

        fn socket(&self) -> Option<TcpStream> {
            None
        }
    }

    /// A queue of 4 bytes that holds 4 of a body of 100, with `ready` of the rest in the socket.
    fn direct_queue(ready: usize) -> (BodyQueue, Arc<PauseState>, Arc<Source>) {
        let (queue, pause, _) = queue(4);
        let source = Arc::new(Source {
            ready: AtomicUsize::new(ready),
            left: AtomicUsize::new(96),
        });
        queue.allow_direct(Arc::<Source>::clone(&source), 100);
        queue.demand();
        queue.push(Bytes::from_static(b"0123"));
        (queue, pause, source)
    }

    #[test]
    fn a_reader_that_finds_the_queue_full_reads_on_by_itself() {
        let (queue, pause, source) = direct_queue(10);
        let mut target = [0; 8];
        assert_eq!(queue.read(&mut target), (4, ReadState::Empty));
        assert!(pause.is_paused(), "the socket is the reader's");
        assert_eq!(queue.read(&mut target), (8, ReadState::Empty));
        assert_eq!(queue.read(&mut target), (2, ReadState::Empty));
        assert_eq!(queue.read(&mut target), (0, ReadState::Drained));
        assert!(pause.is_paused(), "the socket is the reader's to wait at");
        assert_eq!(queue.left_in_socket(), Some(86));
        assert_eq!(queue.wait(), ReadState::Empty);
        assert!(!pause.is_paused(), "the runtime waits for more");
        assert_eq!(queue.left_in_socket(), None);
        source.left.fetch_sub(1, Ordering::Relaxed);
        assert!(queue.push(Bytes::from_static(b"y")), "the reader waits");
    }

    #[test]
    fn a_socket_that_gave_less_than_it_was_asked_for_is_not_asked_at_once() {
        let (queue, _, source) = direct_queue(2);
        let mut target = [0; 4];
        queue.read(&mut target);
        assert_eq!(queue.read(&mut target), (2, ReadState::Empty));
        source.ready.store(5, Ordering::Relaxed);
        assert_eq!(queue.read(&mut target), (0, ReadState::Drained), "it is waited for");
        assert_eq!(queue.read(&mut target), (4, ReadState::Empty));
        assert_eq!(queue.read(&mut target), (1, ReadState::Empty));
    }

    #[test]
    fn whoever_waits_at_the_socket_is_told_of_the_end() {
        let (queue, ..) = direct_queue(0);
        let mut target = [0; 8];
        queue.read(&mut target);
        assert_eq!(queue.read(&mut target), (0, ReadState::Drained));
        assert!(queue.finish(Err(CoreError::BodyTimeout)));
        assert_eq!(queue.left_in_socket(), None);
        assert_eq!(queue.wait(), ReadState::Failed);
    }

    #[test]
    fn whoever_has_waited_at_the_socket_is_told_of_a_failure() {
        let (queue, ..) = direct_queue(8);
        let mut target = [0; 8];
        queue.read(&mut target);
        assert_eq!(queue.read(&mut target), (8, ReadState::Empty));
        assert!(queue.finish(Err(CoreError::BodyTimeout)), "it keeps the socket open");
    }

    #[test]
    fn a_reader_that_keeps_up_leaves_the_socket_alone() {
        let (queue, pause, source) = direct_queue(10);
        let mut target = [0; 8];
        queue.read(&mut target);
        queue.read(&mut target);
        queue.read(&mut target);
        assert_eq!(queue.read(&mut target), (0, ReadState::Drained));
        queue.wait();
        assert!(!pause.is_paused());
        source.ready.store(8, Ordering::Relaxed);
        assert_eq!(queue.read(&mut target), (0, ReadState::Empty));
    }

    #[test]
    fn the_last_byte_read_directly_lets_the_runtime_see_the_end() {
        let (queue, pause, _) = direct_queue(96);
        let mut target = [0; 200];
        assert_eq!(queue.read(&mut target), (4, ReadState::Empty));
        assert_eq!(queue.read(&mut target), (96, ReadState::Empty));
        assert!(!pause.is_paused());
        assert_eq!(queue.read(&mut target), (0, ReadState::Empty));
        assert!(queue.finish(Ok(HeaderMap::new())));
        assert_eq!(queue.read(&mut target), (0, ReadState::Ended));
    }

    #[test]
    fn a_body_that_has_come_whole_lets_the_socket_go() {
        let (queue, pause, source) = direct_queue(0);
        queue.push(Bytes::from(vec![b'x'; 95]));
        assert_eq!(Arc::strong_count(&source), 2);
        queue.push(Bytes::from_static(b"y"));
        assert_eq!(Arc::strong_count(&source), 1);
        assert!(pause.is_paused());
        assert_eq!(queue.read(&mut [0; 99]), (99, ReadState::More));
        assert!(!pause.is_paused(), "below half of the window the runtime sees the end");
    }

    #[test]
    fn nothing_is_read_past_a_frame_under_way() {
        let (queue, pause, source) = direct_queue(10);
        // The runtime has read it, and not pushed it yet.
        source.left.fetch_sub(1, Ordering::Relaxed);
        let mut target = [0; 8];
        queue.read(&mut target);
        assert_eq!(queue.read(&mut target), (0, ReadState::Empty));
        assert!(!pause.is_paused());
        assert!(queue.push(Bytes::from_static(b"y")));
        assert_eq!(queue.read(&mut target), (1, ReadState::Empty));
    }

    #[test]
    fn a_reader_that_only_looks_at_the_queue_hands_the_socket_back() {
        let (queue, pause, _) = direct_queue(10);
        let mut target = [0; 8];
        assert_eq!(queue.read(&mut target), (4, ReadState::Empty));
        assert_eq!(queue.poll_len(true), (0, ReadState::Direct));
        assert!(pause.is_paused());
        assert_eq!(queue.poll_len(false), (0, ReadState::Empty));
        assert!(!pause.is_paused());
        queue.push(Bytes::from_static(b"0123"));
        queue.read(&mut target);
        queue.take_frames();
        assert!(!pause.is_paused());
    }

    #[test]
    fn an_error_ends_direct_reads() {
        let (queue, ..) = direct_queue(10);
        let mut target = [0; 8];
        queue.read(&mut target);
        queue.finish(Err(CoreError::BodyTimeout));
        assert_eq!(queue.read(&mut target), (0, ReadState::Failed));
    }

    #[test]
    fn close_and_drop_give_every_byte_back() {
        let (queue, _, gauge) = queue(100);
        queue.push(Bytes::from_static(b"abcdef"));
        queue.close();
        assert_eq!(gauge.held(), 0);
        queue.push(Bytes::from_static(b"later"));
        drop(queue);
        assert_eq!(gauge.held(), 0);
    }

    #[test]
    fn a_sink_takes_half_of_the_window_so_that_more_comes_while_it_works() {
        let (queue, pause, _) = queue(8);
        queue.demand();
        for frame in [&b"01"[..], b"23", b"45", b"6789"] {
            queue.push(Bytes::from_static(frame));
        }
        assert!(pause.is_paused());
        assert_eq!(queue.take_frames().0, [&b"01"[..], b"23"]);
        assert!(pause.is_paused(), "what it has counts until it is released");
        queue.release(4);
        assert!(!pause.is_paused());
        assert_eq!(
            queue.take_frames().0,
            [&b"45"[..]],
            "the next one would be more than half"
        );
        queue.release(2);
        assert_eq!(
            queue.take_frames(),
            (vec![Bytes::from_static(b"6789")], ReadState::Empty)
        );
    }

    #[test]
    fn frames_taken_by_a_sink_count_until_they_are_released() {
        let (queue, pause, gauge) = queue(4);
        queue.demand();
        queue.push(Bytes::from_static(b"01234567"));
        let (frames, state) = queue.take_frames();
        assert_eq!((frames.len(), state), (1, ReadState::Empty));
        assert!(pause.is_paused());
        assert_eq!(gauge.held(), 8);
        queue.release(8);
        assert!(!pause.is_paused());
        assert_eq!(gauge.held(), 0);
    }
}
