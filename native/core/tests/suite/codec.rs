//! HTTP/1 on engine wire: which bytes belong to which request, and how much a server may say before it answers.

use std::sync::Arc;

use sluice_core::transport::TransportConfig;
use sluice_core::{Agent, AgentConfig, ConnectionEventKind, CoreError, HeaderMap, RequestBody};
use sluice_test_macros::on_wire;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::support::observer::{Observed, observer};
use crate::support::raw_server::{Connection, RawServer};
use crate::support::{agent_with, get, post, recorder, settle, upload};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BAD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad";

fn agent() -> (Agent, UnboundedReceiver<Observed>) {
    let (observer, observed) = observer();
    let config = AgentConfig {
        transport: TransportConfig {
            observer: Some(Arc::new(observer)),
            ..TransportConfig::default()
        },
        ..AgentConfig::default()
    };
    (agent_with(config), observed)
}

/// One request, whose connection is new or this one.
async fn serve(agent: &Agent, server: &RawServer, kept: Option<Connection>, answer: &str) -> (Connection, Vec<u8>) {
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut connection = match kept {
        Some(connection) => connection,
        None => server.accept().await,
    };
    connection.head().await;
    connection.send(answer).await;
    (connection, events.finish().await.body)
}

#[on_wire]
async fn a_response_that_nobody_asked_for_answers_no_request_whenever_it_comes() {
    let server = RawServer::bind();
    let (agent, _) = agent();
    // In the segment of the first response.
    let (_first, body) = serve(&agent, &server, None, &format!("{OK}{BAD}")).await;
    assert_eq!(body, b"ok");
    // In one of its own, which is there before the next request, but not before the end of the first response.
    let (mut second, body) = serve(&agent, &server, None, OK).await;
    assert_eq!(body, b"ok");
    second.send(BAD).await;
    let (_third, body) = serve(&agent, &server, None, OK).await;
    assert_eq!(body, b"ok");
}

#[on_wire]
async fn what_comes_first_on_a_new_connection_answers_its_first_request() {
    let server = RawServer::bind();
    let (agent, _) = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut connection = server.accept().await;
    connection.send(OK).await;
    assert_eq!(events.finish().await.body, b"ok");
}

#[on_wire]
async fn a_stray_line_break_behind_a_response_costs_no_connection() {
    let server = RawServer::bind();
    let (agent, mut observed) = agent();
    let (mut connection, _) = serve(&agent, &server, None, &format!("{OK}\r\n")).await;
    connection.send("\r\n").await;
    settle().await;
    let (_connection, body) = serve(&agent, &server, Some(connection), OK).await;
    assert_eq!(body, b"ok");
    assert_eq!(observed.recv().await.unwrap().kind, ConnectionEventKind::Connect);
    assert!(observed.try_recv().is_err());
}

#[on_wire]
async fn a_server_that_leaves_an_idle_connection_is_noticed() {
    let server = RawServer::bind();
    let (agent, mut observed) = agent();
    let (connection, _) = serve(&agent, &server, None, OK).await;
    drop(connection);
    assert_eq!(observed.recv().await.unwrap().kind, ConnectionEventKind::Connect);
    let left = observed.recv().await.unwrap();
    assert_eq!(left.kind, ConnectionEventKind::Disconnect);
    assert_eq!(left.error, Some(CoreError::Socket("other side closed".into())));
}

#[on_wire]
async fn informational_responses_without_end_are_an_overflow() {
    let many = "HTTP/1.1 103 E\r\n\r\n".repeat(101);
    let large = format!("HTTP/1.1 103 E\r\nlink: {}\r\n\r\n", "x".repeat(40_000)).repeat(2);
    for (informational, is_taken) in [
        ("HTTP/1.1 103 E\r\n\r\n".repeat(100), true),
        (many, false),
        (large, false),
    ] {
        let server = RawServer::bind();
        let (agent, _) = agent();
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        let mut connection = server.answer(format!("{informational}{OK}")).await;
        let outcome = events.finish().await;
        if is_taken {
            assert_eq!(outcome.body, b"ok");
        } else {
            assert_eq!(outcome.end.unwrap_err(), CoreError::HeadersOverflow);
            connection.closed().await;
        }
    }
}

#[on_wire]
async fn trailers_go_out_in_the_case_that_announced_them() {
    let server = RawServer::bind();
    let (agent, _) = agent();
    let (queue, _) = upload(1000, agent.gauge());
    let (handler, mut events) = recorder();
    let body = RequestBody::Stream {
        queue: Arc::clone(&queue),
        length: None,
    };
    let mut options = post(&server.origin(), body);
    options.headers.append("Trailer", "X-Sum, content-length");
    agent.dispatch(options, handler);
    queue.push("body".into());
    let mut trailers = HeaderMap::new();
    for name in ["x-sum", "x-other", "content-length"] {
        trailers.insert(name, "7".parse().unwrap());
    }
    queue.finish_with(trailers);
    let (mut connection, _) = server.request().await;
    let expected = b"4\r\nbody\r\n0\r\nX-Sum: 7\r\n\r\n";
    assert_eq!(connection.body(expected.len()).await, expected);
    connection.send(OK).await;
    assert!(events.finish().await.end.is_ok());
}

#[on_wire]
async fn an_upload_that_ends_behind_the_head_of_its_response_keeps_the_connection() {
    let server = RawServer::bind();
    let (agent, mut observed) = agent();
    let (queue, _) = upload(1000, agent.gauge());
    let (handler, mut events) = recorder();
    let body = RequestBody::Stream {
        queue: Arc::clone(&queue),
        length: None,
    };
    agent.dispatch(post(&server.origin(), body), handler);
    queue.push("one".into());
    let (mut connection, _) = server.request().await;
    connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
    events.start().await;
    queue.push("two".into());
    queue.finish();
    assert_eq!(connection.chunked_body().await, b"onetwo");
    connection.send("ok").await;
    assert_eq!(events.finish().await.body, b"ok");
    serve(&agent, &server, Some(connection), OK).await;
    assert_eq!(observed.recv().await.unwrap().kind, ConnectionEventKind::Connect);
    assert!(observed.try_recv().is_err());
}

#[on_wire]
async fn an_early_answer_to_a_head_that_is_not_written_is_read_whole() {
    let server = RawServer::with_small_buffers();
    let (agent, mut observed) = agent();
    let (handler, mut events) = recorder();
    let mut options = get(&server.origin());
    // More than the sockets hold.
    options.headers.append("x-large", vec![b'a'; 16 * 1024 * 1024]);
    agent.dispatch(options, handler);
    let mut connection = server.accept().await;
    connection
        .send("HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 10\r\n\r\nfirst")
        .await;
    assert_eq!(events.start().await.status, 431);
    connection.send("other").await;
    let outcome = events.finish().await;
    assert!(outcome.end.is_ok(), "{:?}", outcome.end);
    assert_eq!(outcome.body, b"firstother");
    while observed.recv().await.unwrap().kind != ConnectionEventKind::Disconnect {}
}
