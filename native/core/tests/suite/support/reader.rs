//! A response held in a `BodyQueue` until somebody reads it, as the addon holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use sluice_core::transport::Transport;
use sluice_core::{
    Agent, BodyEnd, BodyQueue, ByteGauge, CoreError, DispatchHandler, DispatchOptions, HeaderMap, ReadState,
    RequestController, ResponseStart,
};

use super::{Event, Events, Recorder, recorder};

#[derive(Debug)]
struct QueueHandler {
    queue: Arc<BodyQueue>,
    gauge: Arc<ByteGauge>,
    measure: Arc<Measure>,
    recorder: Recorder,
}

/// What went through the queue.
#[derive(Debug, Default)]
pub struct Measure {
    pushed: AtomicUsize,
    most_held: AtomicUsize,
    largest_frame: AtomicUsize,
}

/// The reader's side. Dropping it drops the response, as the addon's garbage collection does.
#[derive(Debug)]
pub struct Reader {
    pub queue: Arc<BodyQueue>,
    pub controller: RequestController,
    pub events: Events,
    measure: Arc<Measure>,
}

pub fn dispatch<T: Transport>(agent: &Agent<T>, options: DispatchOptions) -> Reader {
    let controller = RequestController::new();
    let gauge = Arc::clone(agent.gauge());
    let queue = BodyQueue::new(
        agent.config().window,
        Arc::clone(controller.pause_state()),
        Arc::clone(&gauge),
    );
    let queue = Arc::new(queue);
    let (recorder, events) = recorder();
    let measure = Arc::<Measure>::default();
    let handler = QueueHandler {
        queue: Arc::clone(&queue),
        gauge,
        measure: Arc::clone(&measure),
        recorder,
    };
    tokio::spawn(agent.execute(options, controller.clone(), handler));
    Reader {
        queue,
        controller,
        events,
        measure,
    }
}

impl DispatchHandler for QueueHandler {
    async fn on_response_start(&mut self, start: ResponseStart) {
        self.recorder.tell(Event::Start(start));
    }

    async fn on_response_data(&mut self, frame: Bytes) {
        self.measure.pushed.fetch_add(frame.len(), Ordering::Relaxed);
        self.measure.largest_frame.fetch_max(frame.len(), Ordering::Relaxed);
        self.queue.push(frame.clone());
        self.measure.most_held.fetch_max(self.gauge.held(), Ordering::Relaxed);
        self.recorder.tell(Event::Data(Bytes::new()));
    }

    fn queue(&self) -> Option<&BodyQueue> {
        Some(&self.queue)
    }

    async fn on_response_end(&mut self, trailers: HeaderMap) {
        self.queue.finish(Ok(trailers));
    }

    async fn on_response_error(&mut self, error: CoreError) {
        self.queue.finish(Err(error.clone()));
        self.recorder.tell(Event::Error(error));
    }

    async fn on_response_complete(&mut self, start: ResponseStart, body: Bytes, trailers: HeaderMap) {
        self.recorder.tell(Event::Complete(start, body, trailers));
    }
}

impl Reader {
    /// Resolves when a frame was pushed.
    pub async fn pushed(&mut self) {
        match self.events.next().await {
            Event::Data(_) => {}
            other => panic!("expected a push, got {other:?}"),
        }
    }

    /// Bytes that the queue was given.
    pub fn taken(&self) -> usize {
        self.measure.pushed.load(Ordering::Relaxed)
    }

    pub fn most_held(&self) -> usize {
        self.measure.most_held.load(Ordering::Relaxed)
    }

    pub fn largest_frame(&self) -> usize {
        self.measure.largest_frame.load(Ordering::Relaxed)
    }

    /// Reads to the end and gives each piece to `check`.
    pub async fn read_all(&self, mut check: impl FnMut(&[u8])) -> BodyEnd {
        let mut target = vec![0; 64 * 1024];
        loop {
            let (count, state) = self.queue.read(&mut target);
            check(&target[..count]);
            match state {
                ReadState::More => tokio::task::yield_now().await,
                ReadState::Empty if count > 0 => {}
                ReadState::Empty | ReadState::Direct => self.queue.ready().await,
                ReadState::Drained => {
                    self.queue.wait();
                }
                ReadState::Ended | ReadState::Failed => return self.queue.take_end().unwrap(),
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.controller.abort();
        self.queue.close();
    }
}
