//! How long engine wire keeps an idle connection, by tokio's paused clock, and what becomes of requests that meet one
//! whose server has left it.

use std::time::Duration;

use sluice_core::transport::{KeepAlive, TransportConfig};
use sluice_core::{Agent, AgentConfig, CoreError, RequestBody};
use sluice_test_macros::on_wire;
use tokio::time::Instant;

use crate::support::raw_server::{Connection, RawServer};
use crate::support::{agent_with, dispatch_unlimited as dispatch, get, post, settle, upload};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn agent(configure: impl FnOnce(&mut TransportConfig)) -> Agent {
    let mut config = AgentConfig::default();
    // The clock stands still but for what a test waits for.
    config.transport.connect_timeout = None;
    configure(&mut config.transport);
    agent_with(config)
}

/// How long the connection of a response with this `keep-alive` field is open afterwards.
async fn kept(field: &str, keep_alive: KeepAlive) -> Duration {
    let server = RawServer::bind();
    let agent = agent(|config| config.keep_alive = keep_alive);
    let mut events = dispatch(&agent, get(&server.origin()));
    let field = if field.is_empty() {
        String::new()
    } else {
        format!("keep-alive: {field}\r\n")
    };
    let answer = format!("HTTP/1.1 200 OK\r\n{field}content-length: 2\r\n\r\nok");
    let mut connection = server.answer(answer).await;
    assert_eq!(events.finish().await.body, b"ok");
    let start = Instant::now();
    assert_eq!(connection.closed().await, 0);
    start.elapsed()
}

/// The clock of tokio's timers has milliseconds.
fn assert_about(kept: Duration, expected: Duration, what: &str) {
    let most = expected + Duration::from_millis(2);
    assert!(kept >= expected && kept <= most, "{what}: {kept:?}, not {expected:?}");
}

#[on_wire(start_paused = true)]
async fn a_servers_hint_less_the_threshold_is_how_long_a_connection_is_kept() {
    let seconds = Duration::from_secs;
    let default = KeepAlive::default();
    let own = |timeout, max_timeout, threshold| KeepAlive {
        timeout: Some(timeout),
        max_timeout,
        threshold,
    };
    for (field, keep_alive, expected) in [
        ("", default, seconds(4)),
        ("timeout=5", default, seconds(3)),
        ("timeout=5, max=100", default, seconds(3)),
        ("max=100, TIMEOUT=30", default, seconds(28)),
        ("max=100", default, seconds(4)),
        ("nonsense", default, seconds(4)),
        ("timeout=nonsense", default, seconds(4)),
        ("timeout=3601", default, seconds(600)),
        ("timeout=2", default, Duration::ZERO),
        ("timeout=1", default, Duration::ZERO),
        ("timeout=0", default, Duration::ZERO),
        ("", own(seconds(7), seconds(3), seconds(1)), seconds(7)),
        ("timeout=10", own(seconds(7), seconds(30), seconds(1)), seconds(9)),
        ("timeout=10", own(seconds(7), seconds(3), seconds(1)), seconds(3)),
        ("timeout=10", own(seconds(7), seconds(30), Duration::ZERO), seconds(10)),
        (
            "timeout=10",
            own(seconds(7), seconds(30), Duration::from_millis(9_500)),
            Duration::from_millis(500),
        ),
    ] {
        assert_about(kept(field, keep_alive).await, expected, field);
    }
}

#[on_wire(start_paused = true)]
async fn the_last_response_says_how_long_and_each_use_starts_anew() {
    let server = RawServer::bind();
    let agent = agent(|_| {});
    let mut events = dispatch(&agent, get(&server.origin()));
    let mut connection = server
        .answer("HTTP/1.1 200 OK\r\nkeep-alive: timeout=30\r\ncontent-length: 2\r\n\r\nok")
        .await;
    events.finish().await;
    tokio::time::advance(Duration::from_secs(20)).await;
    let mut events = dispatch(&agent, get(&server.origin()));
    connection.head().await;
    connection
        .send("HTTP/1.1 200 OK\r\nkeep-alive: timeout=12\r\ncontent-length: 2\r\n\r\nok")
        .await;
    events.finish().await;
    let start = Instant::now();
    connection.closed().await;
    assert_about(start.elapsed(), Duration::from_secs(10), "the second hint");
}

#[on_wire(start_paused = true)]
async fn a_request_in_time_takes_the_connection_and_one_too_late_another() {
    for (idle, accepts_again) in [(3_990, false), (4_010, true)] {
        let server = RawServer::bind();
        let agent = agent(|_| {});
        let mut events = dispatch(&agent, get(&server.origin()));
        let mut connection = server.answer(OK).await;
        events.finish().await;
        tokio::time::advance(Duration::from_millis(idle)).await;
        let mut events = dispatch(&agent, get(&server.origin()));
        if accepts_again {
            connection = server.accept().await;
        }
        connection.head().await;
        connection.send(OK).await;
        assert_eq!(events.finish().await.body, b"ok");
    }
}

#[on_wire(start_paused = true)]
async fn an_http2_connection_without_streams_is_closed_after_its_time() {
    let server = RawServer::bind();
    let agent = agent(|config| {
        config.http2_prior_knowledge = true;
        config.keep_alive.timeout = Some(Duration::from_secs(7));
    });
    let mut events = dispatch(&agent, get(&server.origin()));
    let mut connection = h2::server::handshake(server.accept().await.stream).await.unwrap();
    let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
    respond.send_response(http::Response::<()>::new(()), true).unwrap();
    drop(respond);
    let serving = tokio::spawn(async move { while connection.accept().await.is_some() {} });
    events.finish().await;
    let start = Instant::now();
    let _: () = serving.await.unwrap();
    assert_about(start.elapsed(), Duration::from_secs(7), "HTTP/2");
}

#[on_wire(start_paused = true)]
async fn a_connection_takes_no_request_beyond_its_time_to_live() {
    let server = RawServer::bind();
    let agent = agent(|config| {
        config.connection_ttl = Some(Duration::from_secs(60));
        config.keep_alive.timeout = Some(Duration::from_secs(3600));
    });
    let mut events = dispatch(&agent, get(&server.origin()));
    let mut first = server.answer(OK).await;
    events.finish().await;
    for (later, is_new) in [(59, false), (2, true)] {
        tokio::time::advance(Duration::from_secs(later)).await;
        let mut events = dispatch(&agent, get(&server.origin()));
        let mut second = None;
        let connection = if is_new {
            second.insert(server.accept().await)
        } else {
            &mut first
        };
        connection.head().await;
        connection.send(OK).await;
        assert_eq!(events.finish().await.body, b"ok");
    }
    first.closed().await;
}

#[on_wire]
async fn a_connection_serves_so_many_requests_whatever_their_kind() {
    for (limit, connections) in [(1, 6), (2, 3), (4, 2), (u64::MAX, 1)] {
        let server = RawServer::bind();
        let agent = agent(|config| config.max_requests_per_connection = Some(limit));
        let mut accepted = Vec::<Connection>::new();
        for number in 0..6_u64 {
            let mut events = if number % 2 == 0 {
                dispatch(&agent, get(&server.origin()))
            } else {
                dispatch(&agent, post(&server.origin(), RequestBody::Bytes("body".into())))
            };
            if number % limit == 0 {
                accepted.push(server.accept().await);
            }
            let connection = accepted.last_mut().unwrap();
            let head = connection.head().await;
            let is_last = number % limit == limit - 1;
            assert_eq!(
                head.header("connection"),
                Some(if is_last { "close" } else { "keep-alive" })
            );
            if number % 2 == 1 {
                connection.body(4).await;
            }
            connection.send(OK).await;
            assert_eq!(events.finish().await.body, b"ok");
        }
        assert_eq!(accepted.len(), connections, "{limit}");
    }
}

enum Body {
    None,
    Bytes,
    Stream,
}

/// A request that meets a connection whose server has left it: what arrives on the next connection.
async fn after_stale(agent: &Agent, server: &RawServer, body: &Body, is_reset: bool) -> Vec<u8> {
    let mut events = dispatch(agent, get(&server.origin()));
    let connection = server.answer(OK).await;
    events.finish().await;
    if is_reset {
        connection.reset();
    } else {
        drop(connection);
    }
    settle().await;
    let mut events = match body {
        Body::None => dispatch(agent, get(&server.origin())),
        Body::Bytes => dispatch(agent, post(&server.origin(), RequestBody::Bytes("body".into()))),
        Body::Stream => {
            let (queue, _) = upload(1000, agent.gauge());
            queue.push("body".into());
            queue.finish();
            dispatch(
                agent,
                post(&server.origin(), RequestBody::Stream { queue, length: None }),
            )
        }
    };
    let mut connection = server.accept().await;
    connection.head().await;
    let received = match body {
        Body::None => Vec::new(),
        Body::Bytes => connection.body(4).await,
        Body::Stream => connection.chunked_body().await,
    };
    connection.send(OK).await;
    assert_eq!(events.finish().await.body, b"ok");
    received
}

#[on_wire]
async fn a_stale_connection_loses_no_request_and_no_byte_of_its_body() {
    for is_reset in [false, true] {
        for (body, expected) in [(Body::None, ""), (Body::Bytes, "body"), (Body::Stream, "body")] {
            let server = RawServer::bind();
            let agent = agent(|_| {});
            assert_eq!(after_stale(&agent, &server, &body, is_reset).await, expected.as_bytes());
        }
    }
}

#[on_wire]
async fn many_stale_connections_are_passed_over_at_once() {
    let server = RawServer::bind();
    let agent = agent(|_| {});
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(dispatch(&agent, get(&server.origin())));
    }
    let mut connections = Vec::new();
    for _ in 0..20 {
        connections.push(server.answer(OK).await);
    }
    for mut events in waiting {
        events.finish().await;
    }
    drop(connections);
    settle().await;
    let mut events = dispatch(&agent, post(&server.origin(), RequestBody::Bytes("body".into())));
    let (mut connection, head) = server.request().await;
    assert_eq!(head.request_line(), "POST / HTTP/1.1");
    assert_eq!(connection.body(4).await, b"body");
    connection.send(OK).await;
    assert_eq!(events.finish().await.body, b"ok");
}

#[on_wire]
async fn what_was_written_is_never_sent_again() {
    for is_first in [true, false] {
        for is_reset in [false, true] {
            for is_post in [false, true] {
                let server = RawServer::bind();
                let agent = agent(|config| config.connections = Some(1));
                let mut connection = if is_first {
                    None
                } else {
                    let mut events = dispatch(&agent, get(&server.origin()));
                    let connection = server.answer(OK).await;
                    events.finish().await;
                    Some(connection)
                };
                let mut events = if is_post {
                    dispatch(&agent, post(&server.origin(), RequestBody::Bytes("body".into())))
                } else {
                    dispatch(&agent, get(&server.origin()))
                };
                let mut connection = match connection.take() {
                    Some(connection) => connection,
                    None => server.accept().await,
                };
                connection.head().await;
                if is_post {
                    connection.body(4).await;
                }
                if is_reset {
                    connection.reset();
                } else {
                    drop(connection);
                }
                let error = events.error().await;
                assert!(
                    matches!(&error, CoreError::Socket(text) if text == "other side closed")
                        || error.error_code() == "ECONNRESET",
                    "{error:?}"
                );
                // The next request is the next that the server sees.
                let mut options = get(&server.origin());
                options.target = "/next".into();
                let mut events = dispatch(&agent, options);
                let (mut connection, head) = server.request().await;
                assert_eq!(head.request_line(), "GET /next HTTP/1.1");
                connection.send(OK).await;
                events.finish().await;
            }
        }
    }
}
