//! Each model in every order of its threads' steps, but for those of three threads, in which one is interrupted at most so
//! often: all orders would take hours.
#![cfg(sluice_loom)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use loom::future::block_on;
use loom::model::Builder;
use loom::thread;
use sluice_models::credit::{ByteGauge, Credit, Reserve};
use sluice_models::pause::{PauseReason, PauseState};
use sluice_models::record_queue::RecordQueue;
use sluice_models::sync::{Arc, AtomicUsize, Ordering};

const INTERRUPTIONS: usize = 3;

fn bounded_model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(INTERRUPTIONS);
    builder.check(run);
}

#[test]
fn whoever_waits_at_the_gate_passes_when_its_reason_is_cleared() {
    loom::model(|| {
        let pause = Arc::new(PauseState::new());
        pause.pause(PauseReason::QueueFull);
        let owner = {
            let pause = Arc::clone(&pause);
            thread::spawn(move || pause.resume(PauseReason::QueueFull))
        };
        block_on(pause.wait_if_paused());
        assert!(!pause.is_paused());
        owner.join().unwrap();
    });
}

#[test]
fn whoever_waits_at_the_gate_passes_when_the_last_of_two_reasons_is_cleared() {
    bounded_model(|| {
        let pause = Arc::new(PauseState::new());
        let reasons = [PauseReason::QueueFull, PauseReason::Consumer];
        for reason in reasons {
            pause.pause(reason);
        }
        let owners = reasons.map(|reason| {
            let pause = Arc::clone(&pause);
            thread::spawn(move || pause.resume(reason))
        });
        block_on(pause.wait_if_paused());
        assert!(!pause.is_paused());
        for owner in owners {
            owner.join().unwrap();
        }
    });
}

#[test]
fn a_reason_that_is_set_again_holds_the_gate() {
    loom::model(|| {
        let pause = Arc::new(PauseState::new());
        pause.pause(PauseReason::Budget);
        let reader = {
            let pause = Arc::clone(&pause);
            thread::spawn(move || {
                pause.resume(PauseReason::Budget);
                pause.pause(PauseReason::QueueFull);
            })
        };
        let consumer = {
            let pause = Arc::clone(&pause);
            thread::spawn(move || pause.resume(PauseReason::Consumer))
        };
        reader.join().unwrap();
        consumer.join().unwrap();
        assert!(pause.is_paused_by(PauseReason::QueueFull));
        assert!(!pause.is_paused_by(PauseReason::Budget));
    });
}

#[test]
fn a_timer_that_finds_the_gate_open_again_finds_that_it_was_shut() {
    loom::model(|| {
        let pause = Arc::new(PauseState::new());
        pause.pause(PauseReason::QueueFull);
        let before = pause.resumes();
        let reader = {
            let pause = Arc::clone(&pause);
            thread::spawn(move || pause.resume(PauseReason::QueueFull))
        };
        if !pause.is_paused() {
            assert_ne!(pause.resumes(), before);
        }
        reader.join().unwrap();
    });
}

#[test]
fn credit_is_given_back_once_whoever_drops_it() {
    loom::model(|| {
        let gauge = Arc::new(ByteGauge::new(1000));
        let mut credit = Credit::new(&gauge, 10);
        let mut handed = Credit::none(&gauge);
        credit.pass(4, &mut handed);
        let reader = thread::spawn(move || {
            handed.grow(3);
            handed.shrink(5);
        });
        let other = {
            let gauge = Arc::clone(&gauge);
            thread::spawn(move || {
                let _reserve = Reserve::new(&gauge);
                assert!(gauge.held() <= 13, "{}", gauge.held());
            })
        };
        credit.shrink(2);
        drop(credit);
        reader.join().unwrap();
        other.join().unwrap();
        assert_eq!(gauge.held(), 0);
    });
}

fn append(queue: &RecordQueue, gauge: &Arc<ByteGauge>) -> bool {
    let credit = Credit::new(gauge, 10);
    queue.append(|records| {
        records.bytes.push(1);
        records.credits.push_back(credit);
    })
}

/// Two records by so many threads, which send a message when they are to; the records are taken at each message.
fn send_two(threads: usize) {
    let queue = Arc::new(RecordQueue::default());
    let messages = Arc::new(AtomicUsize::new(0));
    let send = |records: usize| {
        let (queue, messages) = (Arc::clone(&queue), Arc::clone(&messages));
        thread::spawn(move || {
            for _ in 0..records {
                assert!(queue.append(|records| records.bytes.push(1)));
                if queue.tells() {
                    messages.fetch_add(1, Ordering::AcqRel);
                }
            }
        })
    };
    let producers: Vec<_> = (0..threads).map(|_| send(2 / threads)).collect();
    let mut taken = 0;
    let mut receive = || {
        if messages.swap(0, Ordering::AcqRel) > 0 {
            taken += queue.take().bytes.len();
        }
    };
    receive();
    for producer in producers {
        producer.join().unwrap();
    }
    receive();
    assert_eq!(taken, 2);
    assert!(
        queue.take().bytes.is_empty(),
        "a record is left without a message on its way"
    );
}

#[test]
fn no_record_of_one_thread_is_left_behind() {
    loom::model(|| send_two(1));
}

#[test]
fn no_record_of_two_threads_is_left_behind() {
    bounded_model(|| send_two(2));
}

#[test]
fn a_queue_that_is_closed_holds_no_credit_however_late_a_record_comes() {
    loom::model(|| {
        let gauge = Arc::new(ByteGauge::default());
        let queue = Arc::new(RecordQueue::default());
        let producers = [(), ()].map(|()| {
            let (queue, gauge) = (Arc::clone(&queue), Arc::clone(&gauge));
            thread::spawn(move || {
                append(&queue, &gauge);
            })
        });
        queue.close();
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(gauge.held(), 0);
        assert!(queue.take().bytes.is_empty());
    });
}
