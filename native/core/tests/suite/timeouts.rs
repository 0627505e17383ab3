//! Each limit by itself, and what must not run into it.

use std::time::Duration;

use futures_util::FutureExt;
use sluice_core::transport::TransportConfig;
use sluice_core::{AgentConfig, CoreError, DispatchOptions, RequestBody};
use sluice_test_macros::both_engines;
use tokio::time::{Instant, advance};

use crate::support::mock::{mock_agent, mock_get};
use crate::support::raw_server::RawServer;
use crate::support::reader::dispatch;
use crate::support::{Event, FAR, SHORT, agent, agent_with, get, recorder, settle, upload};

#[both_engines]
async fn a_handshake_that_never_comes_is_a_connect_timeout() {
    let server = RawServer::bind();
    let transport = TransportConfig {
        connect_timeout: Some(SHORT),
        ..TransportConfig::default()
    };
    let (handler, mut events) = recorder();
    // The kernel accepts, but nobody answers the first message of TLS.
    agent_with(AgentConfig {
        transport,
        ..AgentConfig::default()
    })
    .dispatch(get(&server.https_origin("localhost")), handler);
    let error = events.error().await;
    assert_eq!(
        error,
        CoreError::ConnectTimeout {
            address: format!("localhost:{}", server.port()),
            timeout_ms: 50
        }
    );
    assert_eq!(
        (error.error_name(), error.error_code()),
        ("ConnectTimeoutError", "UND_ERR_CONNECT_TIMEOUT")
    );
}

#[both_engines]
async fn a_silent_server_is_a_headers_timeout_and_its_connection_is_closed() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(
        DispatchOptions {
            headers_timeout: Some(SHORT),
            ..get(&server.origin())
        },
        handler,
    );
    let (mut connection, _) = server.request().await;
    assert_eq!(events.error().await, CoreError::HeadersTimeout);
    connection.closed().await;
}

#[both_engines]
async fn a_body_that_stops_is_a_body_timeout_and_its_connection_is_closed() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(
        DispatchOptions {
            body_timeout: Some(SHORT),
            ..get(&server.origin())
        },
        handler,
    );
    let mut connection = server.answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await;
    let outcome = events.finish().await;
    assert_eq!(
        (outcome.body.as_slice(), outcome.end.unwrap_err()),
        (&b"hello"[..], CoreError::BodyTimeout)
    );
    connection.closed().await;
}

#[both_engines]
async fn the_total_limit_ends_a_request_in_either_phase() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"] {
        let server = RawServer::bind();
        let agent = agent();
        let (handler, mut events) = recorder();
        agent.dispatch(
            DispatchOptions {
                timeout: Some(SHORT),
                ..get(&server.origin())
            },
            handler,
        );
        let mut connection = server.answer(answer).await;
        assert_eq!(events.error().await, CoreError::TotalTimeout { timeout_ms: 50 });
        connection.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_frame_starts_the_body_timer_anew() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(
        DispatchOptions {
            body_timeout: Some(FAR),
            ..mock_get()
        },
        handler,
    );
    let server = requests.recv().await.unwrap().respond();
    events.start().await;
    for _ in 0..5 {
        settle().await;
        advance(FAR - Duration::from_secs(1)).await;
        server.send("tick");
        assert_eq!(events.data().await, "tick");
    }
    let silent_since = Instant::now();
    assert_eq!(events.error().await, CoreError::BodyTimeout);
    assert!(silent_since.elapsed() >= FAR);
}

#[tokio::test(start_paused = true)]
async fn a_body_paused_for_longer_than_every_timeout_survives() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    let limits = DispatchOptions {
        headers_timeout: Some(FAR),
        body_timeout: Some(FAR),
        ..mock_get()
    };
    let controller = agent.dispatch(limits, handler);
    let server = requests.recv().await.unwrap().respond();
    events.start().await;
    server.send("one");
    assert_eq!(events.data().await, "one");
    controller.pause();
    settle().await;
    advance(FAR * 10).await;
    settle().await;
    assert!(events.now().is_none());
    server.send("two");
    controller.resume();
    assert_eq!(events.data().await, "two");
    drop(server);
    assert!(matches!(events.next().await, Event::End(_)));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_that_nobody_reads_survives_too() {
    let (agent, mut requests) = mock_agent();
    let mut reader = dispatch(
        &agent,
        DispatchOptions {
            body_timeout: Some(FAR),
            ..mock_get()
        },
    );
    let server = requests.recv().await.unwrap().respond();
    reader.events.start().await;
    server.send("one");
    reader.pushed().await;
    settle().await;
    advance(FAR * 10).await;
    settle().await;
    assert!(reader.events.now().is_none());
    server.send("two");
    drop(server);
    let mut body = Vec::new();
    reader.read_all(|bytes| body.extend_from_slice(bytes)).await.unwrap();
    assert_eq!(body, b"onetwo");
}

#[tokio::test(start_paused = true)]
async fn a_pause_while_a_frame_is_awaited_suspends_the_body_timer() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(
        DispatchOptions {
            body_timeout: Some(FAR),
            ..mock_get()
        },
        handler,
    );
    let _server = requests.recv().await.unwrap().respond();
    events.start().await;
    settle().await;
    advance(FAR / 2).await;
    controller.pause();
    settle().await;
    advance(FAR * 10).await;
    settle().await;
    assert!(events.now().is_none(), "silent while paused");
    controller.resume();
    let resumed = Instant::now();
    assert_eq!(events.error().await, CoreError::BodyTimeout);
    assert!(resumed.elapsed() >= FAR, "the whole limit runs from the resume");
}

#[tokio::test(start_paused = true)]
async fn a_short_pause_within_the_limit_starts_it_anew() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(
        DispatchOptions {
            body_timeout: Some(FAR),
            ..mock_get()
        },
        handler,
    );
    let _server = requests.recv().await.unwrap().respond();
    events.start().await;
    settle().await;
    advance(FAR / 4).await;
    controller.pause();
    advance(FAR / 4).await;
    controller.resume();
    let resumed = Instant::now();
    assert_eq!(events.error().await, CoreError::BodyTimeout);
    assert!(resumed.elapsed() >= FAR, "only silence without a pause counts");
}

#[tokio::test(start_paused = true)]
async fn the_headers_timer_waits_for_the_upload() {
    let (agent, mut requests) = mock_agent();
    let (queue, _) = upload(1000, agent.gauge());
    let (handler, mut events) = recorder();
    let body = RequestBody::Stream {
        queue: queue.clone(),
        length: None,
    };
    agent.dispatch(
        DispatchOptions {
            headers_timeout: Some(FAR),
            body,
            ..mock_get()
        },
        handler,
    );
    queue.push("first".into());
    let mut request = requests.recv().await.unwrap();
    let body = request.wire.body.as_mut().unwrap();
    assert!(http_body_util::BodyExt::frame(body).await.is_some());
    assert!(http_body_util::BodyExt::frame(body).now_or_never().is_none());
    settle().await;
    advance(FAR * 10).await;
    settle().await;
    assert!(events.now().is_none(), "its source has more");
    queue.finish();
    assert!(http_body_util::BodyExt::frame(body).await.is_none());
    let written = Instant::now();
    assert_eq!(events.error().await, CoreError::HeadersTimeout);
    assert!(written.elapsed() >= FAR);
    request.dropped().await;
}

#[tokio::test(start_paused = true)]
async fn without_limits_a_silent_server_is_waited_for() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(mock_get(), handler);
    let request = requests.recv().await.unwrap();
    advance(FAR * 1000).await;
    let server = request.respond();
    events.start().await;
    settle().await;
    advance(FAR * 1000).await;
    drop(server);
    assert!(matches!(events.next().await, Event::End(_)));
}
