//! Connections of engine wire that idle for a while, which are watched and hold nothing, and those of long bodies.

use std::sync::Arc;
use std::time::Duration;

use sluice_core::{Agent, AgentConfig, ConnectionEventKind, CoreError, RequestBody};
use sluice_test_macros::on_wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::support::certificates::{Authority, trusting};
use crate::support::observer::{Observed, observer};
use crate::support::raw_server::{Connection, RawServer};
use crate::support::{agent_with, dispatch_unlimited as dispatch, get, pass, pattern, post, reader, settle};

const OK: &str = "HTTP/1.1 200 OK\r\nkeep-alive: timeout=60\r\ncontent-length: 2\r\n\r\nok";
/// Longer than a connection idles before it rests, and shorter than it is kept.
const WHILE: Duration = Duration::from_secs(5);

fn agent(mut config: AgentConfig) -> (Agent, UnboundedReceiver<Observed>) {
    let (observer, observed) = observer();
    config.transport.connect_timeout = None;
    config.transport.observer = Some(Arc::new(observer));
    (agent_with(config), observed)
}

/// A connection that has served a request, and rests.
async fn resting(agent: &Agent, server: &RawServer) -> Connection {
    let mut events = dispatch(agent, get(&server.origin()));
    let connection = server.answer(OK).await;
    assert_eq!(events.finish().await.body, b"ok");
    rest().await;
    connection
}

async fn rest() {
    settle().await;
    tokio::time::advance(WHILE).await;
    settle().await;
}

/// How the one connection ended.
async fn left(observed: &mut UnboundedReceiver<Observed>) -> Observed {
    assert_eq!(observed.recv().await.unwrap().kind, ConnectionEventKind::Connect);
    let left = observed.recv().await.unwrap();
    assert_eq!(left.kind, ConnectionEventKind::Disconnect);
    left
}

#[on_wire(start_paused = true)]
async fn a_connection_that_rests_serves_on() {
    let server = RawServer::bind();
    let (agent, _) = agent(AgentConfig::default());
    let mut connection = resting(&agent, &server).await;
    for _ in 0..3 {
        let mut events = dispatch(&agent, get(&server.origin()));
        connection.head().await;
        connection.send(OK).await;
        assert_eq!(events.finish().await.body, b"ok");
        rest().await;
    }
}

#[on_wire(start_paused = true)]
async fn requests_that_wait_for_a_resting_connection_get_it_in_turn() {
    let server = RawServer::bind();
    let mut config = AgentConfig::default();
    config.transport.connections = Some(1);
    let (agent, _) = agent(config);
    let mut connection = resting(&agent, &server).await;
    let mut all: Vec<_> = (0..3).map(|_| dispatch(&agent, get(&server.origin()))).collect();
    for events in &mut all {
        connection.head().await;
        connection.send(OK).await;
        assert_eq!(events.finish().await.body, b"ok");
    }
}

#[on_wire(start_paused = true)]
async fn a_server_that_leaves_a_resting_connection_is_noticed() {
    let server = RawServer::bind();
    let (agent, mut observed) = agent(AgentConfig::default());
    drop(resting(&agent, &server).await);
    let left = left(&mut observed).await;
    assert!(matches!(left.error, Some(CoreError::Socket(text)) if text == "other side closed"));
    let mut events = dispatch(&agent, get(&server.origin()));
    server.answer(OK).await;
    assert_eq!(events.finish().await.body, b"ok");
}

#[on_wire(start_paused = true)]
async fn what_comes_unasked_on_a_resting_connection_is_no_response() {
    let server = RawServer::bind();
    let (agent, _) = agent(AgentConfig::default());
    let mut connection = resting(&agent, &server).await;
    connection.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad").await;
    connection.closed().await;
    let mut events = dispatch(&agent, get(&server.origin()));
    server.answer(OK).await;
    assert_eq!(events.finish().await.body, b"ok");
}

#[on_wire(start_paused = true)]
async fn a_resting_connection_closes_with_its_agent() {
    let server = RawServer::bind();
    let (agent, mut observed) = agent(AgentConfig::default());
    let mut connection = resting(&agent, &server).await;
    agent.destroy();
    connection.closed().await;
    let left = left(&mut observed).await;
    assert!(matches!(left.error, Some(CoreError::ClientDestroyed)), "{left:?}");
}

#[on_wire(start_paused = true)]
async fn a_resting_connection_is_closed_when_its_time_is_over() {
    let server = RawServer::bind();
    let (agent, mut observed) = agent(AgentConfig::default());
    let mut connection = resting(&agent, &server).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    connection.closed().await;
    let left = left(&mut observed).await;
    assert!(
        matches!(&left.error, Some(CoreError::Informational(text)) if text == "socket idle timeout"),
        "{left:?}"
    );
}

#[on_wire(start_paused = true)]
async fn tls_goes_on_where_it_was() {
    let server = RawServer::bind();
    let authority = Authority::new("one");
    let (agent, _) = agent(trusting(authority.pem()));
    let identity = authority.issue("localhost");
    let mut events = dispatch(&agent, get(&server.https_origin("localhost")));
    let mut stream = identity.accept(&server, &[]).await.unwrap();
    for _ in 0..2 {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut head).await.unwrap() > 0);
        }
        stream.write_all(OK.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(events.finish().await.body, b"ok");
        rest().await;
        events = dispatch(&agent, get(&server.https_origin("localhost")));
    }
}

#[on_wire]
async fn what_is_not_written_yet_keeps_a_connection_from_resting() {
    // Of some length the system takes all but what the engine has taken ahead.
    for length in (1..16).map(|part| part * 320 * 1024) {
        let server = RawServer::with_small_buffers();
        let (agent, _) = agent(AgentConfig::default());
        let body = pattern(0, length);
        let mut events = dispatch(&agent, post(&server.origin(), RequestBody::Bytes(body.clone().into())));
        let (mut connection, _) = server.request().await;
        // Before the body is read.
        connection.send(OK).await;
        events.finish().await;
        pass(WHILE).await;
        let _next = dispatch(&agent, get(&server.origin()));
        // All of it, or the end of the connection: never the next request in its place.
        let got = connection.most_of_body(length).await;
        assert!(body.starts_with(&got), "{length}");
    }
}

#[on_wire(start_paused = true)]
async fn a_server_that_leaves_behind_a_long_body_is_not_waited_for() {
    let server = RawServer::bind();
    let mut config = AgentConfig {
        window: 4 * 1024 * 1024,
        ..AgentConfig::default()
    };
    config.transport.connections = Some(1);
    let (agent, _) = agent(config);
    let length = 1024 * 1024;
    let mut reader = reader::dispatch(&agent, get(&server.origin()));
    let mut connection = server
        .answer(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"))
        .await;
    reader.events.start().await;
    reader.queue.demand();
    connection.send(pattern(0, length - 1)).await;
    while reader.taken() < length - 1 {
        reader.pushed().await;
    }
    settle().await;
    let mut waiting = dispatch(&agent, get(&server.origin()));
    settle().await;
    // The last byte is read, and told only after the pause.
    reader.controller.pause();
    connection.send([0]).await;
    drop(connection);
    server.answer(OK).await;
    assert_eq!(waiting.finish().await.body, b"ok");
    reader.controller.resume();
    assert!(reader.read_all(|_| {}).await.is_ok());
}
