//! Uploads whose server takes nothing end by the timeout of their phase; those whose source is slow do not.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use sluice_core::transport::EngineKind;
use sluice_core::{Agent, AgentConfig, CoreError, DispatchOptions, FileBody, RequestBody, UploadQueue};
use sluice_test_macros::{both_engines, on_wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, advance, sleep};

use crate::support::mock::{mock_agent, mock_get};
use crate::support::raw_server::{Connection, RawServer};
use crate::support::{FAR, SHORT, agent_with, engine, get, kept, pattern, post, recorder, settle, upload};

/// More than the sockets and the engine hold between them.
const MUCH: usize = 16 * 1024 * 1024;
/// A limit that a server which takes something every [`TICK`] must not reach, however busy the machine is.
const LIMIT: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(20);
/// Ticks that take longer than the limit.
const TICKS: usize = 35;

fn limited(options: DispatchOptions, limit: Duration) -> DispatchOptions {
    DispatchOptions {
        headers_timeout: Some(limit),
        body_timeout: Some(limit),
        ..options
    }
}

/// A source that goes on for ever, as far as there is credit.
fn endless(agent: &Agent) -> RequestBody {
    let (queue, mut credit) = upload(256 * 1024, agent.gauge());
    let source = Arc::downgrade(&queue);
    tokio::spawn(async move {
        loop {
            let Some(queue) = source.upgrade() else { return };
            while queue.push(pattern(0, 64 * 1024).into()) > 0 {}
            drop(queue);
            if credit.recv().await.is_none() {
                return;
            }
        }
    });
    RequestBody::Stream { queue, length: None }
}

fn file(agent: &Agent) -> RequestBody {
    let path = std::env::temp_dir().join(format!("sluice-stall-{:?}", std::thread::current().id()));
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(&pattern(0, MUCH)).unwrap();
    RequestBody::File(FileBody {
        file: Arc::new(file),
        start: 0,
        length: MUCH as u64,
        gauge: Arc::clone(agent.gauge()),
    })
}

type Kind = fn(&Agent) -> RequestBody;

const KINDS: [(&str, Kind); 4] = [
    ("bytes", |_| RequestBody::Bytes(pattern(0, MUCH).into())),
    ("kept", |agent| kept(256 * 1024, agent.gauge(), pattern(0, MUCH))),
    ("stream", endless),
    ("file", file),
];

fn h2_agent() -> Agent {
    let mut config = AgentConfig::default();
    config.transport.http2_prior_knowledge = true;
    agent_with(config)
}

/// The agent holds nothing of an upload that has ended.
async fn let_go(agent: &Agent) {
    while agent.gauge().held() > 0 {
        tokio::task::yield_now().await;
    }
}

#[both_engines]
async fn on_http1_a_server_that_reads_nothing_is_a_headers_timeout_and_its_connection_is_closed() {
    for (name, body) in KINDS {
        let server = RawServer::with_small_buffers();
        let agent = agent_with(AgentConfig::default());
        let (handler, mut events) = recorder();
        agent.dispatch(limited(post(&server.origin(), body(&agent)), SHORT), handler);
        let mut connection = server.accept().await;
        assert_eq!(events.error().await, CoreError::HeadersTimeout, "{name}");
        let_go(&agent).await;
        connection.closed().await;
    }
}

#[both_engines]
async fn on_http1_a_server_that_answers_and_reads_nothing_is_a_body_timeout() {
    for (name, body) in KINDS {
        let server = RawServer::with_small_buffers();
        let agent = agent_with(AgentConfig::default());
        let (handler, mut events) = recorder();
        agent.dispatch(limited(post(&server.origin(), body(&agent)), SHORT), handler);
        let (mut connection, _) = server.request().await;
        connection
            .send("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nearly")
            .await;
        let outcome = events.finish().await;
        assert_eq!(
            (&outcome.body[..], outcome.end.unwrap_err()),
            (&b"early"[..], CoreError::BodyTimeout),
            "{name}"
        );
        let_go(&agent).await;
        connection.closed().await;
    }
}

#[both_engines]
async fn on_http1_a_server_that_takes_a_little_at_a_time_is_waited_for() {
    let server = RawServer::with_small_buffers();
    let agent = agent_with(AgentConfig::default());
    let (handler, mut events) = recorder();
    let body = RequestBody::Bytes(pattern(0, MUCH).into());
    agent.dispatch(limited(post(&server.origin(), body), LIMIT), handler);
    let (mut connection, _) = server.request().await;
    let mut left = MUCH;
    for _ in 0..TICKS {
        sleep(TICK).await;
        left -= connection.body(256 * 1024).await.len();
    }
    assert!(events.now().is_none());
    connection.body(left).await;
    connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(events.finish().await.body, b"ok");
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const FIRST: u8 = 1;
const SECOND: u8 = 3;
/// `:status: 200` (RFC 7541, appendix A).
const STATUS_200: u8 = 0x88;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// A server of HTTP/2 that gives no window but its first ones: of a stream, and of the connection the 65535 bytes of
/// RFC 9113 §6.9.2.
struct Frames {
    stream: tokio::net::TcpStream,
}

impl Frames {
    /// With a connection of `agent` that has answered a request: its client knows of the windows from then on.
    async fn open(server: &RawServer, agent: &Agent, stream_window: u32) -> Self {
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        let Connection { mut stream, .. } = server.accept().await;
        let settings = [&[0, 4][..], &stream_window.to_be_bytes()[..]].concat();
        stream.write_all(&frame(SETTINGS, 0, 0, &settings)).await.unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        let mut frames = Self { stream };
        while frames.next().await.0 != HEADERS {}
        frames
            .send(HEADERS, END_STREAM | END_HEADERS, FIRST, &[STATUS_200])
            .await;
        assert!(events.finish().await.end.is_ok());
        frames
    }

    /// The kind of the next frame and the length of its payload.
    async fn next(&mut self) -> (u8, usize) {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.stream.read_exact(&mut payload).await.unwrap();
        if head[3] == SETTINGS && head[4] == 0 {
            self.send(SETTINGS, 1, 0, &[]).await;
        }
        (head[3], payload.len())
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
        self.stream
            .write_all(&frame(kind, flags, stream, payload))
            .await
            .unwrap();
    }

    /// Reads until so many bytes of body have come, of whatever stream.
    async fn data(&mut self, mut length: usize) {
        while length > 0 {
            if let (DATA, payload) = self.next().await {
                length -= payload;
            }
        }
    }
}

const CONNECTION_WINDOW: usize = 65_535;

/// Windows of a stream, and what fits into them and that of the connection.
const WINDOWS: [(u32, usize); 2] = [(10, 10), (1 << 30, CONNECTION_WINDOW)];

fn is_headers_timeout(error: &CoreError, limit: Duration) -> bool {
    match error {
        CoreError::Http2HeadersTimeout { timeout_ms } => *timeout_ms == limit.as_millis(),
        // It does not say what a connection speaks.
        CoreError::HeadersTimeout => engine() == EngineKind::Reqwest,
        _ => false,
    }
}

#[both_engines]
async fn on_http2_a_shut_window_of_the_stream_or_the_connection_is_a_headers_timeout() {
    for (window, fits) in WINDOWS {
        for (name, body) in KINDS {
            let server = RawServer::bind();
            let agent = h2_agent();
            let (handler, mut events) = recorder();
            let mut frames = Frames::open(&server, &agent, window).await;
            agent.dispatch(limited(post(&server.origin(), body(&agent)), SHORT), handler);
            frames.data(fits).await;
            let error = events.error().await;
            assert!(is_headers_timeout(&error, SHORT), "{name}, window {window}: {error:?}");
            let_go(&agent).await;
        }
    }
}

#[both_engines]
async fn on_http2_a_shut_window_behind_an_early_response_is_a_body_timeout() {
    for (window, fits) in WINDOWS {
        let server = RawServer::bind();
        let agent = h2_agent();
        let (handler, mut events) = recorder();
        let mut frames = Frames::open(&server, &agent, window).await;
        agent.dispatch(limited(post(&server.origin(), endless(&agent)), SHORT), handler);
        frames.data(fits).await;
        frames.send(HEADERS, END_HEADERS, SECOND, &[STATUS_200]).await;
        frames.send(DATA, 0, SECOND, b"early").await;
        let outcome = events.finish().await;
        assert_eq!(outcome.body, b"early", "window {window}");
        let error = outcome.end.unwrap_err();
        assert_eq!(error.error_code(), "UND_ERR_BODY_TIMEOUT", "window {window}");
        let_go(&agent).await;
    }
}

/// Engine reqwest is done with a piece of the body or it is not.
#[on_wire]
async fn on_http2_a_server_that_takes_a_byte_at_a_time_is_waited_for() {
    for (window, fits) in WINDOWS {
        let server = RawServer::bind();
        let agent = h2_agent();
        let (handler, mut events) = recorder();
        let mut frames = Frames::open(&server, &agent, window).await;
        agent.dispatch(limited(post(&server.origin(), endless(&agent)), LIMIT), handler);
        frames.data(fits).await;
        for _ in 0..TICKS {
            sleep(TICK).await;
            frames.send(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).await;
            frames.send(WINDOW_UPDATE, 0, SECOND, &[0, 0, 0, 1]).await;
            frames.data(1).await;
        }
        assert!(events.now().is_none(), "window {window}");
        let stopped = Instant::now();
        let error = events.error().await;
        assert!(is_headers_timeout(&error, LIMIT), "{error:?}");
        assert!(stopped.elapsed() > LIMIT - TICK, "it counts from the last byte on");
    }
}

/// A request that waits at the mock engine with its body, and that body's source.
fn mock_post(queue: &Arc<UploadQueue>) -> DispatchOptions {
    limited(
        DispatchOptions {
            body: RequestBody::Stream {
                queue: Arc::clone(queue),
                length: None,
            },
            ..mock_get()
        },
        FAR,
    )
}

const NEARLY: Duration = Duration::from_secs(3599);

#[tokio::test(start_paused = true)]
async fn the_headers_timer_begins_anew_with_what_the_socket_takes() {
    let (agent, mut requests) = mock_agent();
    let (queue, _credit) = upload(1000, agent.gauge());
    let (handler, mut events) = recorder();
    agent.dispatch(mock_post(&queue), handler);
    for piece in ["one", "two", "three", "four"] {
        queue.push(Bytes::from_static(piece.as_bytes()));
    }
    let mut request = requests.recv().await.unwrap();
    let body = request.wire.body.as_mut().unwrap();
    for _ in 0..3 {
        let piece = body.frame().await.unwrap().unwrap();
        settle().await;
        advance(NEARLY).await;
        settle().await;
        assert!(events.now().is_none());
        drop(piece);
    }
    let piece = body.frame().await.unwrap().unwrap();
    let last = Instant::now();
    assert_eq!(events.error().await, CoreError::HeadersTimeout);
    assert_eq!(last.elapsed(), FAR);
    drop(piece);
    request.dropped().await;
    assert_eq!(agent.gauge().held(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_asks_for_nothing_is_a_headers_timeout() {
    let (agent, mut requests) = mock_agent();
    let (queue, _credit) = upload(1000, agent.gauge());
    queue.push(Bytes::from_static(b"one"));
    let (handler, mut events) = recorder();
    agent.dispatch(mock_post(&queue), handler);
    let request = requests.recv().await.unwrap();
    assert_eq!(events.error().await, CoreError::HeadersTimeout);
    request.dropped().await;
    assert!(queue.push(Bytes::from_static(b"two")) <= 0, "nobody takes it");
    assert_eq!(agent.gauge().held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_outlives_both_timeouts_and_the_server_has_its_time_after_it() {
    let (agent, mut requests) = mock_agent();
    let (queue, _credit) = upload(1000, agent.gauge());
    queue.push(Bytes::from_static(b"one"));
    let (handler, mut events) = recorder();
    agent.dispatch(mock_post(&queue), handler);
    let mut request = requests.recv().await.unwrap();
    let mut body = request.wire.body.take().unwrap();
    let source = tokio::spawn(async move {
        let mut pieces = 0;
        while let Some(piece) = body.frame().await {
            piece.unwrap();
            pieces += 1;
        }
        pieces
    });
    for _ in 0..3 {
        settle().await;
        advance(FAR * 2).await;
        settle().await;
        assert!(events.now().is_none(), "before the head");
        queue.push(Bytes::from_static(b"more"));
    }
    let server = request.respond();
    events.start().await;
    server.send("early");
    assert_eq!(events.data().await, "early");
    for _ in 0..3 {
        settle().await;
        advance(FAR * 2).await;
        settle().await;
        assert!(events.now().is_none(), "after the head");
        queue.push(Bytes::from_static(b"more"));
    }
    settle().await;
    advance(NEARLY).await;
    queue.finish();
    assert_eq!(source.await.unwrap(), 7);
    let sent = Instant::now();
    assert_eq!(events.error().await, CoreError::BodyTimeout);
    assert_eq!(sent.elapsed(), FAR);
}

#[tokio::test(start_paused = true)]
async fn behind_an_early_response_the_body_timer_begins_anew_with_what_the_socket_takes() {
    let (agent, mut requests) = mock_agent();
    let (queue, _credit) = upload(1000, agent.gauge());
    for piece in ["one", "two", "three", "four"] {
        queue.push(Bytes::from_static(piece.as_bytes()));
    }
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(mock_post(&queue), handler);
    let mut request = requests.recv().await.unwrap();
    let mut body = request.wire.body.take().unwrap();
    let server = request.respond();
    events.start().await;
    for _ in 0..3 {
        let piece = body.frame().await.unwrap().unwrap();
        settle().await;
        advance(NEARLY).await;
        settle().await;
        assert!(events.now().is_none());
        drop(piece);
    }
    let piece = body.frame().await.unwrap().unwrap();
    controller.pause();
    settle().await;
    advance(FAR * 2).await;
    settle().await;
    assert!(
        events.now().is_none(),
        "a server whose answer is not read may stop reading too"
    );
    controller.resume();
    let resumed = Instant::now();
    assert_eq!(events.error().await, CoreError::BodyTimeout);
    assert_eq!(resumed.elapsed(), FAR);
    drop(piece);
    drop(server);
    assert_eq!(agent.gauge().held(), 0);
}
