//! `BodyQueue` under any order of calls, against the simplest model that can be right.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use sluice_core::{BodyQueue, ByteGauge, CoreError, HeaderMap, PauseReason, PauseState, ReadState};

use crate::support::pattern;

struct XorShift(u64);

impl XorShift {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// What a queue must look like from outside.
struct Model {
    queue: BodyQueue,
    pause: Arc<PauseState>,
    gauge: Arc<ByteGauge>,
    window: usize,
    /// Bytes pushed and neither read nor taken.
    queued: VecDeque<u8>,
    /// Bytes taken by the sink and not released.
    taken: usize,
    next_byte: u8,
    is_demanded: bool,
    is_armed: bool,
    is_closed: bool,
    /// Whether it ended well.
    end: Option<bool>,
    is_end_taken: bool,
}

impl Model {
    fn new(window: usize) -> Self {
        let (pause, gauge) = (Arc::<PauseState>::default(), Arc::<ByteGauge>::default());
        Self {
            queue: BodyQueue::new(window, Arc::clone(&pause), Arc::clone(&gauge)),
            pause,
            gauge,
            window,
            queued: VecDeque::new(),
            taken: 0,
            next_byte: 0,
            is_demanded: false,
            is_armed: false,
            is_closed: false,
            end: None,
            is_end_taken: false,
        }
    }

    fn state(&self) -> ReadState {
        match self.end {
            _ if !self.queued.is_empty() => ReadState::More,
            None => ReadState::Empty,
            Some(true) => ReadState::Ended,
            Some(false) => ReadState::Failed,
        }
    }

    fn push(&mut self, length: usize) {
        let frame: Bytes = (0..length).map(|at| self.next_byte.wrapping_add(at as u8)).collect();
        let is_taken = !self.is_closed && length > 0;
        let tell = self.queue.push(frame.clone());
        assert_eq!(tell, is_taken && self.is_armed);
        if is_taken {
            self.is_armed = false;
            self.next_byte = self.next_byte.wrapping_add(length as u8);
            self.queued.extend(&frame);
            let held = self.queued.len() + self.taken;
            let is_full = if self.is_demanded {
                held >= self.window
            } else {
                held > 0
            };
            assert!(
                !is_full || self.pause.is_paused_by(PauseReason::QueueFull),
                "a full queue pauses"
            );
        }
    }

    fn read(&mut self, length: usize) {
        let mut target = vec![0; length];
        let (count, state) = self.queue.read(&mut target);
        self.is_demanded = true;
        let expected: Vec<u8> = self.queued.drain(..length.min(self.queued.len())).collect();
        assert_eq!(&target[..count], &expected[..], "bytes in order, none lost");
        assert_eq!(state, self.state());
        self.is_armed = count == 0 && state == ReadState::Empty;
        if count > 0 && self.queued.len() + self.taken < self.window.div_ceil(2) {
            assert!(
                !self.pause.is_paused_by(PauseReason::QueueFull),
                "below half of the window it goes on"
            );
        }
    }

    fn poll_len(&mut self) {
        assert_eq!(
            self.queue.poll_len(false),
            (self.queued.len(), self.state()),
            "exactly what a read would find"
        );
        self.is_demanded = true;
        self.is_armed = self.state() == ReadState::Empty;
    }

    fn take(&mut self) {
        let (frames, state) = self.queue.take_frames();
        self.is_demanded = true;
        let bytes: Vec<u8> = frames.iter().flatten().copied().collect();
        assert!(
            !bytes.is_empty() || self.queued.is_empty() || self.taken > 0,
            "one frame at least"
        );
        assert_eq!(bytes, self.queued.drain(..bytes.len()).collect::<Vec<u8>>());
        assert_eq!(state, self.state());
        self.taken += bytes.len();
        assert!(
            frames.len() <= 1 || self.taken <= self.window / 2,
            "half of the window at most"
        );
    }

    fn release(&mut self) {
        self.queue.release(self.taken);
        self.taken = 0;
        if self.is_demanded && !self.is_closed && self.queued.len() < self.window {
            assert!(
                !self.pause.is_paused_by(PauseReason::QueueFull),
                "a sink lifts the gate as soon as there is room"
            );
        }
    }

    fn finish(&mut self, is_well: bool) {
        let counts = self.end.is_none() && !self.is_closed;
        let end = if is_well {
            Ok(HeaderMap::new())
        } else {
            Err(CoreError::BodyTimeout)
        };
        let tell = self.queue.finish(end);
        assert_eq!(tell, counts && self.is_armed);
        if counts {
            self.end = Some(is_well);
            self.is_armed = false;
        }
        assert_eq!(self.queue.is_complete(), self.end.is_some());
    }

    fn take_end(&mut self) {
        let end = self.queue.take_end();
        match self.end {
            Some(is_well) if !self.is_end_taken => assert_eq!(end.unwrap().is_ok(), is_well, "the first end counts"),
            _ => assert!(end.is_none(), "an end is told once"),
        }
        self.is_end_taken = self.end.is_some();
    }

    fn close(&mut self) {
        self.queue.close();
        self.is_closed = true;
        self.is_armed = false;
        self.queued.clear();
        self.taken = 0;
    }

    fn check_counts(&self) {
        let held = self.queued.len() + self.taken;
        assert_eq!((self.queue.held(), self.gauge.held()), (held, held));
        let is_stuck = self.is_demanded && !self.is_closed && held == 0;
        assert!(
            !is_stuck || !self.pause.is_paused_by(PauseReason::QueueFull),
            "an empty queue with demand never pauses"
        );
    }
}

#[test]
fn any_order_of_calls_keeps_the_counts_and_the_bytes() {
    for seed in 1..=400 {
        let mut random = XorShift(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15));
        let mut model = Model::new([0, 1, 7, 64, 1000][random.below(5)]);
        model.window = model.window.max(1);
        for _ in 0..300 {
            match random.below(100) {
                0..40 => model.push(random.below(40)),
                40..65 => model.read(random.below(60)),
                65..73 => model.poll_len(),
                73..80 => model.take(),
                80..88 => model.release(),
                88..92 => model.pause.pause(PauseReason::Consumer),
                92..96 => model.pause.resume(PauseReason::Consumer),
                96..98 if random.below(20) == 0 => model.finish(random.below(2) == 0),
                98 if random.below(4) == 0 => model.take_end(),
                99 if random.below(20) == 0 => model.close(),
                _ => {}
            }
            model.check_counts();
        }
        let gauge = Arc::clone(&model.gauge);
        drop(model);
        assert_eq!(gauge.held(), 0, "seed {seed}");
    }
}

#[test]
fn two_threads_move_every_byte_in_order_and_lose_no_notice() {
    let (pause, gauge) = (Arc::<PauseState>::default(), Arc::<ByteGauge>::default());
    let queue = Arc::new(BodyQueue::new(1000, Arc::clone(&pause), Arc::clone(&gauge)));
    let (notice, notices) = std::sync::mpsc::channel();
    const LENGTH: usize = 2_000_000;
    let writer = std::thread::spawn({
        let queue = Arc::clone(&queue);
        move || {
            let mut random = XorShift(7);
            let mut at = 0;
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            while at < LENGTH {
                runtime.block_on(pause.wait_if_paused());
                let frame = pattern(at, (1 + random.below(700)).min(LENGTH - at));
                at += frame.len();
                if queue.push(frame.into()) {
                    notice.send(()).unwrap();
                }
            }
            if queue.finish(Ok(HeaderMap::new())) {
                notice.send(()).unwrap();
            }
        }
    });
    let mut body = Vec::new();
    let mut target = [0; 333];
    loop {
        let (count, state) = queue.read(&mut target);
        body.extend_from_slice(&target[..count]);
        assert!(gauge.held() < 1000 + 700);
        match state {
            ReadState::Empty if count == 0 => notices.recv().unwrap(),
            ReadState::Ended => break,
            _ => {}
        }
    }
    writer.join().unwrap();
    assert!(body == pattern(0, LENGTH));
    assert_eq!(gauge.held(), 0);
}
