//! Servers and handlers that the tests drive step by step. Nothing here sleeps: every wait is for an event.

pub mod certificates;
pub mod engine;
pub mod mock;
pub mod observer;
pub mod raw_server;
pub mod reader;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sluice_core::{
    Agent, AgentConfig, ByteGauge, CoreError, DispatchHandler, DispatchOptions, HeaderMap, Method, Origin, RequestBody,
    ResponseStart, UploadQueue,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

pub use self::engine::engine;

/// One call that a handler got.
#[derive(Debug, Clone)]
pub enum Event {
    Start(ResponseStart),
    Data(Bytes),
    End(HeaderMap),
    Error(CoreError),
    Complete(ResponseStart, Bytes, HeaderMap),
}

/// Tells every call to the other end of a channel; pauses nothing.
#[derive(Debug)]
pub struct Recorder(mpsc::UnboundedSender<Event>);

/// The calls of one request, in order.
#[derive(Debug)]
pub struct Events(mpsc::UnboundedReceiver<Event>);

pub fn recorder() -> (Recorder, Events) {
    watch::alive();
    let (sender, receiver) = mpsc::unbounded_channel();
    (Recorder(sender), Events(receiver))
}

impl Recorder {
    pub fn tell(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

impl DispatchHandler for Recorder {
    async fn on_response_start(&mut self, start: ResponseStart) {
        self.tell(Event::Start(start));
    }

    async fn on_response_data(&mut self, frame: Bytes) {
        assert!(!frame.is_empty(), "a frame is never empty");
        self.tell(Event::Data(frame));
    }

    async fn on_response_end(&mut self, trailers: HeaderMap) {
        self.tell(Event::End(trailers));
    }

    async fn on_response_error(&mut self, error: CoreError) {
        self.tell(Event::Error(error));
    }

    async fn on_response_complete(&mut self, start: ResponseStart, body: Bytes, trailers: HeaderMap) {
        self.tell(Event::Complete(start, body, trailers));
    }
}

impl Events {
    /// The next call; panics when there is none left.
    pub async fn next(&mut self) -> Event {
        self.0
            .recv()
            .await
            .expect("the handler is gone and has said nothing more")
    }

    /// A call that was made already.
    pub fn now(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }

    /// Head of a response whose body is still to come.
    pub async fn start(&mut self) -> ResponseStart {
        match self.next().await {
            Event::Start(start) => start,
            other => panic!("expected the head, got {other:?}"),
        }
    }

    pub async fn data(&mut self) -> Bytes {
        match self.next().await {
            Event::Data(frame) => frame,
            other => panic!("expected data, got {other:?}"),
        }
    }

    /// Every call up to the last, which must be an end or an error, and the last for good.
    pub async fn finish(&mut self) -> Outcome {
        let mut outcome = Outcome {
            start: None,
            body: Vec::new(),
            frames: 0,
            end: Ok(HeaderMap::new()),
            is_complete: false,
        };
        let mut has_ended = false;
        while let Some(event) = self.0.recv().await {
            assert!(!has_ended, "a call after the end: {event:?}");
            match event {
                Event::Start(start) => {
                    assert!(
                        outcome.start.is_none() && outcome.frames == 0,
                        "the head comes first and once"
                    );
                    outcome.start = Some(start);
                }
                Event::Data(frame) => {
                    outcome.frames += 1;
                    outcome.body.extend_from_slice(&frame);
                }
                Event::End(trailers) => {
                    outcome.end = Ok(trailers);
                    has_ended = true;
                }
                Event::Error(error) => {
                    outcome.end = Err(error);
                    has_ended = true;
                }
                Event::Complete(start, body, trailers) => {
                    assert!(outcome.start.is_none(), "a complete response stands for all the rest");
                    outcome = Outcome {
                        start: Some(start),
                        body: body.to_vec(),
                        frames: 0,
                        end: Ok(trailers),
                        is_complete: true,
                    };
                    has_ended = true;
                }
            }
        }
        assert!(has_ended, "neither end nor error");
        outcome
    }

    /// The error that ends the request.
    pub async fn error(&mut self) -> CoreError {
        self.finish().await.end.expect_err("an error")
    }
}

/// A whole response.
#[derive(Debug)]
pub struct Outcome {
    pub start: Option<ResponseStart>,
    pub body: Vec<u8>,
    pub frames: usize,
    pub end: Result<HeaderMap, CoreError>,
    /// Whether it came as one event.
    pub is_complete: bool,
}

impl Outcome {
    pub fn head(&self) -> &ResponseStart {
        self.start.as_ref().expect("a head")
    }

    pub fn header(&self, name: &str) -> &str {
        std::str::from_utf8(self.head().headers.get(name).expect(name)).unwrap()
    }
}

pub fn agent() -> Agent {
    agent_with(AgentConfig::default())
}

/// On the engine that the test declares.
pub fn agent_with(mut config: AgentConfig) -> Agent {
    config.engine = engine();
    Agent::new(config, Handle::current()).unwrap()
}

pub fn get(origin: &Origin) -> DispatchOptions {
    DispatchOptions::new(origin.clone(), Method::GET, "/")
}

/// Without the limits that tokio's paused clock would reach.
pub fn dispatch_unlimited(agent: &Agent, options: DispatchOptions) -> Events {
    let (handler, events) = recorder();
    let options = DispatchOptions {
        headers_timeout: None,
        body_timeout: None,
        ..options
    };
    agent.dispatch(options, handler);
    events
}

pub fn post(origin: &Origin, body: RequestBody) -> DispatchOptions {
    DispatchOptions {
        body,
        ..DispatchOptions::new(origin.clone(), Method::POST, "/")
    }
}

/// An upload that tells every notice of fresh credit.
pub fn upload(window: usize, gauge: &Arc<ByteGauge>) -> (Arc<UploadQueue>, mpsc::UnboundedReceiver<()>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let listener = Box::new(move || {
        let _ = sender.send(());
    });
    (
        Arc::new(UploadQueue::new(window, Arc::clone(gauge), listener)),
        receiver,
    )
}

/// A body that its owner keeps, and hands over as there is credit.
pub fn kept(window: usize, gauge: &Arc<ByteGauge>, bytes: Vec<u8>) -> RequestBody {
    let (sender, mut credit) = mpsc::unbounded_channel();
    let listener = Box::new(move || {
        let _ = sender.send(());
    });
    let length = bytes.len();
    let queue = Arc::new(UploadQueue::kept(window, Arc::clone(gauge), listener, length));
    let body = RequestBody::Stream {
        queue: Arc::clone(&queue),
        length: Some(length as u64),
    };
    tokio::spawn(async move {
        loop {
            queue.push_from(&bytes).unwrap();
            credit.recv().await;
        }
    });
    body
}

/// Bytes whose value depends on their place, so that a lost or swapped piece shows.
pub fn pattern(offset: usize, length: usize) -> Vec<u8> {
    (offset..offset + length)
        .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8)
        .collect()
}

/// Where nothing is yet, and no other test puts anything.
pub fn temporary_path() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("sluice-core-{}-{number}", std::process::id()));
    // Of a process that had the same number.
    let _ = std::fs::remove_file(&path);
    path
}

/// Lets the runtime look at its sockets and run what is ready, often enough for a closed socket to be noticed.
pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// So much time goes by on tokio's clock, and none for the sockets.
pub async fn pass(time: Duration) {
    settle().await;
    tokio::time::pause();
    tokio::time::advance(time).await;
    settle().await;
    tokio::time::resume();
}

/// A limit so far away that only tokio's paused clock gets there.
pub const FAR: Duration = Duration::from_secs(3600);

/// The limit of every timeout that is measured on real sockets.
pub const SHORT: Duration = Duration::from_millis(50);
