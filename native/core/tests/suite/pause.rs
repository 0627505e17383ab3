//! The gate: what a pause holds back, what it must not lose.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use sluice_core::{AgentConfig, CoreError, DispatchHandler, HeaderMap, RequestController, ResponseStart};
use sluice_test_macros::both_engines;
use tokio::sync::mpsc;

use crate::support::mock::{mock_agent, mock_get};
use crate::support::raw_server::{Connection, RawServer};
use crate::support::reader::dispatch;
use crate::support::{Event, Recorder, SHORT, agent, agent_with, get, pattern, recorder, settle};

/// More than the sockets of both ends can hold.
const FLOOD: usize = 64 * 1024 * 1024;
/// What may lie between the server's `write` and a reader that takes nothing: mostly the kernel's.
const IN_FLIGHT: usize = 48 * 1024 * 1024;

/// Sends a body as fast as it goes. Tells the count each time that no byte went for a while.
struct Flood {
    sent: Arc<AtomicUsize>,
    stalls: mpsc::UnboundedReceiver<usize>,
    task: tokio::task::JoinHandle<Connection>,
}

impl Flood {
    fn start(connection: Connection) -> Self {
        Self::of(FLOOD, connection)
    }

    fn of(length: usize, mut connection: Connection) -> Self {
        let sent = Arc::new(AtomicUsize::new(0));
        let (stalled, stalls) = mpsc::unbounded_channel();
        let count = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            connection
                .send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"))
                .await;
            let mut at = 0;
            while at < length {
                let piece = pattern(at, (64 * 1024).min(length - at));
                let mut left = &piece[..];
                while !left.is_empty() {
                    match tokio::time::timeout(SHORT * 4, connection.stream.writable()).await {
                        Ok(ready) => ready.unwrap(),
                        Err(_) => {
                            stalled.send(at).unwrap();
                            connection.stream.writable().await.unwrap();
                        }
                    }
                    match connection.stream.try_write(left) {
                        Ok(written) => {
                            left = &left[written..];
                            at += written;
                            count.store(at, Ordering::SeqCst);
                        }
                        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
                    }
                }
            }
            connection
        });
        Self { sent, stalls, task }
    }

    /// Resolves when the server's sends have stopped, with the bytes it got rid of.
    async fn stalled(&mut self) -> usize {
        self.stalls
            .recv()
            .await
            .expect("the server sent everything and never had to wait")
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }
}

/// Compares what comes with [`pattern`].
#[derive(Default)]
struct Checked(usize);

impl Checked {
    fn take(&mut self, bytes: &[u8]) {
        assert!(bytes == pattern(self.0, bytes.len()), "wrong bytes after {}", self.0);
        self.0 += bytes.len();
    }
}

#[both_engines]
async fn a_paused_response_stops_the_server_and_loses_nothing() {
    let server = RawServer::with_small_buffers();
    let agent = agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(get(&server.origin()), handler);
    let mut flood = Flood::start(server.request().await.0);
    let mut checked = Checked::default();
    events.start().await;
    checked.take(&events.data().await);
    controller.pause();
    let sent = flood.stalled().await;
    assert!(sent < IN_FLIGHT, "{sent} bytes sent to a paused reader");
    while let Some(Event::Data(frame)) = events.now() {
        checked.take(&frame);
    }
    assert_eq!(flood.sent(), sent, "the server could send more");
    assert!(events.now().is_none());
    controller.resume();
    while checked.0 < FLOOD {
        checked.take(&events.data().await);
    }
    assert!(events.finish().await.end.is_ok());
    assert_eq!(flood.task.await.unwrap().stream.try_write(b"").unwrap(), 0);
}

#[both_engines]
async fn until_the_first_demand_one_socket_read_is_taken_and_then_the_window() {
    let server = RawServer::with_small_buffers();
    let agent = agent();
    let reader = dispatch(&agent, get(&server.origin()));
    let mut flood = Flood::start(server.request().await.0);
    flood.stalled().await;
    assert!(
        (1..=16 * 1024).contains(&reader.taken()),
        "{} bytes taken before any demand",
        reader.taken()
    );
    assert_eq!(agent.gauge().held(), reader.taken());
    reader.queue.demand();
    flood.stalled().await;
    let window = agent.config().window;
    assert!(reader.taken() >= window, "the window fills: {}", reader.taken());
    assert!(reader.taken() < window + reader.largest_frame());
    let mut checked = Checked::default();
    reader.read_all(|bytes| checked.take(bytes)).await.unwrap();
    assert_eq!(checked.0, FLOOD);
}

#[both_engines]
async fn bytes_held_stay_within_the_window_and_one_frame() {
    // Many times the largest window.
    const LENGTH: usize = 16 * 1024 * 1024;
    for window in [1, 10_000, 256 * 1024, 1024 * 1024] {
        let server = RawServer::bind();
        let agent = agent_with(AgentConfig {
            window,
            ..AgentConfig::default()
        });
        let reader = dispatch(&agent, get(&server.origin()));
        let flood = Flood::of(LENGTH, server.request().await.0);
        let mut checked = Checked::default();
        reader.read_all(|bytes| checked.take(bytes)).await.unwrap();
        assert_eq!(checked.0, LENGTH);
        let bound = window + reader.largest_frame();
        assert!(
            reader.most_held() <= bound,
            "{} bytes held, {bound} allowed",
            reader.most_held()
        );
        assert_eq!(agent.gauge().held(), 0);
        flood.task.await.unwrap();
    }
}

#[both_engines]
async fn a_drained_queue_leaves_the_consumers_pause_alone() {
    let server = RawServer::with_small_buffers();
    let agent = agent();
    let reader = dispatch(&agent, get(&server.origin()));
    let mut flood = Flood::start(server.request().await.0);
    reader.queue.demand();
    flood.stalled().await;
    reader.controller.pause();
    let taken = reader.taken();
    let mut checked = Checked::default();
    let mut target = vec![0; FLOOD];
    let (count, _) = reader.queue.read(&mut target);
    assert_eq!(count, taken);
    checked.take(&target[..count]);
    settle().await;
    assert_eq!(reader.taken(), taken, "paused by the consumer");
    reader.controller.resume();
    reader.read_all(|bytes| checked.take(bytes)).await.unwrap();
    assert_eq!(checked.0, FLOOD);
}

#[tokio::test]
async fn the_socket_is_not_asked_while_paused() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(mock_get(), handler);
    let server = requests.recv().await.unwrap().respond();
    events.start().await;
    server.send("one");
    assert_eq!(events.data().await, "one");
    controller.pause();
    server.send("two");
    server.send("three");
    settle().await;
    let polls = server.polls();
    settle().await;
    assert_eq!(server.polls(), polls);
    controller.resume();
    assert_eq!(events.data().await, "two");
    assert_eq!(events.data().await, "three");
}

#[tokio::test]
async fn a_full_queue_asks_the_socket_for_nothing_more() {
    let (agent, mut requests) = mock_agent();
    let mut reader = dispatch(&agent, mock_get());
    let server = requests.recv().await.unwrap().respond();
    reader.events.start().await;
    server.send("one");
    reader.pushed().await;
    settle().await;
    let polls = server.polls();
    server.send("two");
    settle().await;
    assert_eq!((server.polls(), reader.taken()), (polls, 3));
    reader.queue.demand();
    reader.pushed().await;
    assert_eq!(reader.taken(), 6);
}

#[tokio::test]
async fn a_frame_that_comes_while_it_is_awaited_waits_behind_the_pause() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(mock_get(), handler);
    let server = requests.recv().await.unwrap().respond();
    events.start().await;
    settle().await;
    controller.pause();
    server.send("late");
    settle().await;
    assert!(events.now().is_none(), "no data after pause()");
    controller.resume();
    assert_eq!(events.data().await, "late");
}

#[tokio::test]
async fn the_end_waits_behind_the_pause() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(mock_get(), handler);
    let server = requests.recv().await.unwrap().respond();
    events.start().await;
    settle().await;
    controller.pause();
    drop(server);
    settle().await;
    assert!(events.now().is_none(), "no end after pause()");
    controller.resume();
    assert!(matches!(events.next().await, Event::End(_)));
}

/// Pauses within one of its calls.
struct PausesAtStart(Recorder, RequestController);

impl DispatchHandler for PausesAtStart {
    async fn on_response_start(&mut self, start: ResponseStart) {
        self.1.pause();
        self.0.on_response_start(start).await;
    }

    async fn on_response_data(&mut self, frame: Bytes) {
        self.0.on_response_data(frame).await;
    }

    async fn on_response_end(&mut self, trailers: HeaderMap) {
        self.0.on_response_end(trailers).await;
    }

    async fn on_response_error(&mut self, error: CoreError) {
        self.0.on_response_error(error).await;
    }
}

#[tokio::test]
async fn data_that_came_with_the_head_waits_behind_a_pause_at_the_head() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    let controller = RequestController::new();
    tokio::spawn(agent.execute(
        mock_get(),
        controller.clone(),
        PausesAtStart(handler, controller.clone()),
    ));
    let _server = requests.recv().await.unwrap().respond_with(|server| {
        server.send("early");
        server
    });
    events.start().await;
    settle().await;
    assert!(events.now().is_none(), "no data after pause()");
    controller.resume();
    assert_eq!(events.data().await, "early");
}

#[tokio::test]
async fn an_abort_ends_a_paused_response() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(mock_get(), handler);
    let server = requests.recv().await.unwrap().respond();
    events.start().await;
    controller.pause();
    controller.abort();
    server.dropped().await;
    assert_eq!(events.error().await, CoreError::RequestAborted);
}
