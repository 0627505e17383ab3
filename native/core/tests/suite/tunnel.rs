//! Upgrades, CONNECT and informational responses on engine wire.

use std::sync::Arc;

use bytes::Bytes;
use sluice_core::{Agent, CoreError, DispatchHandler, DispatchOptions, HeaderMap, Method, ResponseStart, UploadQueue};
use sluice_test_macros::on_wire;
use tokio::sync::mpsc;

use crate::support::raw_server::{Connection, RawServer};
use crate::support::{Event, Events, Recorder, agent, get, recorder, settle, upload};

/// Records informational heads beside the rest.
struct Watcher {
    informational: mpsc::UnboundedSender<ResponseStart>,
    then: Recorder,
}

impl DispatchHandler for Watcher {
    fn on_informational(&mut self, start: ResponseStart) {
        self.informational.send(start).unwrap();
    }

    async fn on_response_start(&mut self, start: ResponseStart) {
        self.then.on_response_start(start).await;
    }

    async fn on_response_data(&mut self, frame: Bytes) {
        self.then.on_response_data(frame).await;
    }

    async fn on_response_end(&mut self, trailers: HeaderMap) {
        self.then.on_response_end(trailers).await;
    }

    async fn on_response_error(&mut self, error: CoreError) {
        self.then.on_response_error(error).await;
    }
}

#[on_wire]
async fn informational_responses_come_before_the_final_one() {
    let server = RawServer::bind();
    let agent = agent();
    let (then, mut events) = recorder();
    let (informational, mut heads) = mpsc::unbounded_channel();
    agent.dispatch(get(&server.origin()), Watcher { informational, then });
    let (mut connection, _) = server.request().await;
    connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
    let head = heads.recv().await.unwrap();
    assert_eq!((head.status, head.headers.text()), (103, b"Link\x00</a>" as &[u8]));
    assert!(events.now().is_none());
    connection
        .send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(events.finish().await.head().status, 200);
    assert_eq!(heads.recv().await.unwrap().status, 102);
}

#[on_wire]
async fn a_100_and_a_101_that_nobody_asked_for_are_socket_errors() {
    for (answer, text) in [
        ("HTTP/1.1 100 Continue\r\n\r\n", "bad response"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            "bad upgrade",
        ),
    ] {
        let server = RawServer::bind();
        let agent = agent();
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        let mut connection = server.answer(answer).await;
        assert_eq!(events.error().await, CoreError::Socket(text.into()));
        connection.closed().await;
    }
}

struct Tunnel {
    connection: Connection,
    queue: Arc<UploadQueue>,
    credit: mpsc::UnboundedReceiver<()>,
    events: Events,
    controller: sluice_core::RequestController,
    head: ResponseStart,
}

async fn tunnel(server: &RawServer, agent: &Agent, method: Method, target: &str, answer: &str) -> Tunnel {
    let (queue, credit) = upload(1024, agent.gauge());
    let (handler, mut events) = recorder();
    let options = DispatchOptions {
        upgrade: (method != Method::CONNECT).then(|| "chat".into()),
        tunnel: Some(Arc::clone(&queue)),
        ..DispatchOptions::new(server.origin(), method, target)
    };
    let controller = agent.dispatch(options, handler);
    let (mut connection, head) = server.request().await;
    if head.request_line().starts_with("GET") {
        assert_eq!(head.header("connection"), Some("upgrade"));
        assert_eq!(head.header("upgrade"), Some("chat"));
    } else {
        assert_eq!(head.request_line(), format!("CONNECT {target} HTTP/1.1"));
    }
    connection.send(answer).await;
    let Event::Start(head) = events.next().await else {
        panic!("no head")
    };
    Tunnel {
        connection,
        queue,
        credit,
        events,
        controller,
        head,
    }
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";

#[on_wire]
async fn an_upgrade_is_a_stream_both_ways_with_what_came_with_the_head() {
    let server = RawServer::bind();
    let agent = agent();
    let answer = format!("{SWITCH}early");
    let mut tunnel = tunnel(&server, &agent, Method::GET, "/chat", &answer).await;
    assert_eq!(tunnel.head.status, 101);
    assert_eq!(tunnel.events.data().await, "early");
    tunnel.queue.push(Bytes::from_static(b"hello"));
    assert_eq!(tunnel.connection.body(5).await, b"hello");
    tunnel.connection.send("world").await;
    assert_eq!(tunnel.events.data().await, "world");
    // Half closed: the other direction goes on.
    tunnel.queue.finish();
    assert_eq!(tunnel.connection.closed().await, 0);
    tunnel.connection.send("late").await;
    assert_eq!(tunnel.events.data().await, "late");
    drop(tunnel.connection);
    assert!(tunnel.events.finish().await.end.is_ok());
}

#[on_wire]
async fn what_a_peer_does_not_read_holds_the_writer_back() {
    let server = RawServer::with_small_buffers();
    let agent = agent();
    let mut tunnel = tunnel(&server, &agent, Method::GET, "/", SWITCH).await;
    let chunk = Bytes::from(vec![7; 64 * 1024]);
    let mut pushed = 0;
    // Credit comes back until the socket is full.
    while tunnel.queue.push(chunk.clone()) > 0 || {
        settle().await;
        tunnel.credit.try_recv().is_ok()
    } {
        pushed += chunk.len();
        assert!(pushed < 64 * 1024 * 1024, "nothing holds it back");
    }
    pushed += chunk.len();
    assert_eq!(tunnel.connection.body(pushed).await.len(), pushed);
    tunnel.credit.recv().await.unwrap();
}

#[on_wire]
async fn an_abort_closes_a_tunnel() {
    let server = RawServer::bind();
    let agent = agent();
    let mut tunnel = tunnel(&server, &agent, Method::GET, "/", SWITCH).await;
    tunnel.controller.abort();
    tunnel.connection.closed().await;
    assert_eq!(tunnel.events.error().await, CoreError::RequestAborted);
}

#[on_wire]
async fn a_tunnel_outlives_its_agent() {
    let server = RawServer::bind();
    let agent = agent();
    let mut tunnel = tunnel(&server, &agent, Method::GET, "/", SWITCH).await;
    drop(agent);
    tunnel.connection.send("still").await;
    assert_eq!(tunnel.events.data().await, "still");
}

#[on_wire]
async fn connect_gives_the_tunnel_whatever_the_status() {
    let server = RawServer::bind();
    let agent = agent();
    let answer = "HTTP/1.1 200 Connection established\r\n\r\n";
    let mut open = tunnel(&server, &agent, Method::CONNECT, "other.test:443", answer).await;
    assert_eq!(open.head.reason, "Connection established");
    open.queue.push(Bytes::from_static(b"through"));
    assert_eq!(open.connection.body(7).await, b"through");

    let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\nno";
    let mut refused = tunnel(&server, &agent, Method::CONNECT, "other.test:443", answer).await;
    assert_eq!(refused.head.status, 407);
    assert_eq!(refused.events.data().await, "no");
    refused.queue.push(Bytes::from_static(b"why"));
    assert_eq!(refused.connection.body(3).await, b"why");
    refused.queue.finish();
    drop(refused.connection);
    assert!(refused.events.finish().await.end.is_ok());
}

#[on_wire]
async fn an_upgrade_that_is_refused_is_an_ordinary_response() {
    let server = RawServer::bind();
    let agent = agent();
    let (queue, _credit) = upload(1024, agent.gauge());
    let (handler, mut events) = recorder();
    let options = DispatchOptions {
        upgrade: Some("chat".into()),
        tunnel: Some(queue),
        ..get(&server.origin())
    };
    agent.dispatch(options, handler);
    server
        .answer("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\n\r\nno")
        .await;
    let outcome = events.finish().await;
    assert_eq!((outcome.head().status, outcome.body.as_slice()), (426, b"no" as &[u8]));
}
