//! Long bodies of known length, whose rest a reader may take from the socket, and what becomes of their connections.

use sluice_core::{Agent, AgentConfig, CoreError, DispatchOptions, Method, ReadState};
use sluice_test_macros::on_wire;

use crate::support::raw_server::{Connection, RawServer};
use crate::support::reader::{Reader, dispatch};
use crate::support::{agent_with, get, pattern, recorder, settle};

const LENGTH: usize = 4 * 1024 * 1024;
const WINDOW: usize = 64 * 1024;

fn agent() -> Agent {
    let config = AgentConfig {
        window: WINDOW,
        ..AgentConfig::default()
    };
    agent_with(config)
}

fn head(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")
}

fn whole(length: usize) -> Vec<u8> {
    [head(length).into_bytes(), pattern(0, length)].concat()
}

/// Serves one more request on the same connection.
async fn is_kept(agent: &Agent, server: &RawServer, mut connection: Connection) {
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    connection.head().await;
    connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(events.finish().await.body, b"ok");
}

#[on_wire]
async fn a_long_body_comes_whole_and_its_connection_serves_on() {
    let length = head(LENGTH).len();
    // With the head comes nothing, or some of the body; or the head comes in two.
    for cut in [length, length + 5000, 1, length - 20] {
        let server = RawServer::bind();
        let agent = agent();
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        let bytes = whole(LENGTH);
        let mut connection = server.answer(&bytes[..cut]).await;
        settle().await;
        connection.send(&bytes[cut..]).await;
        let outcome = events.finish().await;
        assert!(outcome.end.is_ok());
        assert_eq!(outcome.head().content_length, Some(LENGTH as u64), "{cut}");
        assert_eq!(outcome.header("content-length"), LENGTH.to_string());
        assert!(outcome.body == pattern(0, LENGTH), "{cut}");
        is_kept(&agent, &server, connection).await;
    }
}

#[on_wire]
async fn a_body_that_is_cut_is_an_error_and_its_connection_is_not_used_again() {
    let server = RawServer::bind();
    let agent = agent();
    for resets in [false, true] {
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        let mut connection = server.answer(&whole(LENGTH)[..LENGTH / 2]).await;
        events.start().await;
        if resets {
            // What has not been read by then is lost.
            while events.data().await.len() < 1024 {}
            connection.reset();
        } else {
            drop(connection);
        }
        let error = events.error().await;
        if resets {
            assert!(
                matches!(&error, CoreError::System(error) if error.code == "ECONNRESET"),
                "{error:?}"
            );
        } else {
            assert!(
                matches!(&error, CoreError::Socket(text) if text == "other side closed"),
                "{error:?}"
            );
        }
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        connection = server.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
        events.finish().await;
        connection.send("HTTP/1.1 408 Request Timeout\r\n\r\n").await;
        connection.closed().await;
    }
}

#[on_wire]
async fn a_connection_that_ends_with_the_body_closes_behind_it_and_not_before() {
    let server = RawServer::bind();
    let agent = agent();
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {LENGTH}\r\n\r\n");
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut connection = server.answer(&head).await;
    events.start().await;
    settle().await;
    connection.send(pattern(0, LENGTH)).await;
    assert!(events.finish().await.body == pattern(0, LENGTH));
    assert_eq!(connection.closed().await, 0);
    // undici's verdict on one that ends sooner.
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    drop(server.answer(&head).await);
    assert!(matches!(events.error().await, CoreError::ResponseContentLengthMismatch));
}

#[on_wire]
async fn an_abort_closes_the_connection() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(get(&server.origin()), handler);
    let mut connection = server.answer(head(LENGTH)).await;
    events.start().await;
    connection.send(pattern(0, 1000)).await;
    events.data().await;
    controller.abort();
    connection.closed().await;
    assert!(matches!(events.error().await, CoreError::RequestAborted));
}

#[on_wire]
async fn bytes_behind_a_long_body_are_no_response() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let answer = [
        whole(LENGTH),
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad".to_vec(),
    ]
    .concat();
    let mut connection = server.answer(answer).await;
    assert_eq!(events.finish().await.body.len(), LENGTH);
    connection.closed().await;
}

#[on_wire]
async fn what_has_no_body_is_not_waited_for() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(DispatchOptions::new(server.origin(), Method::HEAD, "/"), handler);
    let connection = server.answer(head(LENGTH)).await;
    assert!(events.finish().await.body.is_empty());
    is_kept(&agent, &server, connection).await;
}

/// A reader whose queue is full, with more of the body in the socket than the queue ever holds.
async fn slow_reader(agent: &Agent, server: &RawServer) -> (Reader, Connection) {
    let mut reader = dispatch(agent, get(&server.origin()));
    let mut connection = server.answer(head(LENGTH)).await;
    reader.events.start().await;
    reader.queue.demand();
    connection.send(pattern(0, LENGTH / 2)).await;
    while reader.queue.held() < WINDOW {
        reader.pushed().await;
    }
    // The runtime gets to the gate.
    settle().await;
    (reader, connection)
}

/// Reads what there is without letting the runtime do anything.
fn read_all_there(reader: &Reader, at: &mut usize) -> ReadState {
    let mut target = vec![0; 100_000];
    loop {
        let (count, state) = reader.queue.read(&mut target);
        assert!(target[..count] == pattern(*at, count), "at {at}");
        *at += count;
        if count == 0 {
            return state;
        }
    }
}

#[on_wire]
async fn a_slow_reader_takes_the_rest_from_the_socket() {
    let server = RawServer::bind();
    let agent = agent();
    let (reader, mut connection) = slow_reader(&agent, &server).await;
    let mut at = 0;
    assert_eq!(read_all_there(&reader, &mut at), ReadState::Drained);
    assert!(
        at > reader.taken() && at <= LENGTH / 2,
        "{at}, queued {}",
        reader.taken()
    );
    // Who waits leaves the next to the runtime.
    let sender = tokio::spawn(async move {
        connection.send(pattern(LENGTH / 2, LENGTH / 2)).await;
        connection
    });
    let end = reader
        .read_all(|bytes| {
            assert!(bytes == pattern(at, bytes.len()), "at {at}");
            at += bytes.len();
        })
        .await;
    assert!(end.is_ok());
    assert_eq!(at, LENGTH);
    is_kept(&agent, &server, sender.await.unwrap()).await;
}

#[on_wire]
async fn a_reader_that_takes_the_last_byte_leaves_nothing_behind_it_to_the_next_request() {
    for surplus in [&b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad"[..], b""] {
        let server = RawServer::bind();
        let mut config = AgentConfig {
            window: WINDOW,
            ..AgentConfig::default()
        };
        config.transport.connections = Some(1);
        let agent = agent_with(config);
        let (reader, mut connection) = slow_reader(&agent, &server).await;
        let (handler, mut waiting) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        let mut at = 0;
        while at < LENGTH / 2 {
            read_all_there(&reader, &mut at);
        }
        reader.queue.wait();
        let last = [&pattern(LENGTH / 2, LENGTH / 2)[..], surplus].concat();
        tokio::spawn(async move { connection.send(last).await });
        while reader.queue.held() < WINDOW {
            settle().await;
        }
        while at < LENGTH {
            read_all_there(&reader, &mut at);
            settle().await;
        }
        assert!(reader.taken() < LENGTH, "the reader has taken some itself");
        server.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        assert_eq!(waiting.finish().await.body, b"ok");
    }
}

#[on_wire]
async fn an_error_met_by_the_reader_is_the_bodys() {
    let server = RawServer::bind();
    let agent = agent();
    let (reader, connection) = slow_reader(&agent, &server).await;
    let mut at = 0;
    let mut target = vec![0; 2 * WINDOW];
    while at <= reader.taken() {
        at += reader.queue.read(&mut target).0;
    }
    connection.reset();
    let end = reader.read_all(|_| {}).await;
    assert!(
        matches!(&end, Err(CoreError::System(error)) if error.code == "ECONNRESET"),
        "{end:?}"
    );
}

#[on_wire]
async fn an_abort_while_the_socket_is_the_readers_closes_it() {
    let server = RawServer::bind();
    let agent = agent();
    let (reader, mut connection) = slow_reader(&agent, &server).await;
    let mut target = vec![0; 2 * WINDOW];
    while reader.queue.read(&mut target).0 == 0 {}
    reader.queue.read(&mut target);
    reader.controller.abort();
    reader.queue.close();
    connection.closed().await;
}
