//! Requests that end before their response does: aborted, destroyed, dropped, panicked.

use bytes::Bytes;
use sluice_core::{Agent, CoreError, DispatchHandler, HeaderMap, ResponseStart};
use sluice_test_macros::both_engines;

use crate::support::mock::{mock_agent, mock_get};
use crate::support::raw_server::RawServer;
use crate::support::reader::dispatch;
use crate::support::{Recorder, agent, get, recorder, settle};

/// A head, and a body that never ends.
const ENDLESS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\nhello";

async fn idle(agent: &Agent) {
    while agent.running() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(agent.gauge().held(), 0);
}

#[both_engines]
async fn an_abort_before_the_head_closes_the_connection() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(get(&server.origin()), handler);
    let (mut connection, _) = server.request().await;
    assert_eq!(agent.running(), 1);
    controller.abort();
    connection.closed().await;
    let error = events.error().await;
    assert_eq!(
        (error.error_name(), error.error_code()),
        ("AbortError", "UND_ERR_ABORTED")
    );
    idle(&agent).await;
}

#[both_engines]
async fn an_abort_within_the_body_closes_the_connection() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(get(&server.origin()), handler);
    let mut connection = server.answer(ENDLESS).await;
    events.start().await;
    assert_eq!(events.data().await, "hello");
    controller.abort();
    connection.closed().await;
    assert_eq!(events.error().await, CoreError::RequestAborted);
    idle(&agent).await;
}

#[tokio::test]
async fn an_abort_before_the_request_runs_reaches_no_server() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(mock_get(), handler).abort();
    assert_eq!(events.error().await, CoreError::RequestAborted);
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn after_an_abort_there_is_no_data_only_the_error() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(mock_get(), handler);
    let server = requests.recv().await.unwrap().respond();
    events.start().await;
    server.send("late");
    controller.abort();
    let rest = events.finish().await;
    assert_eq!((rest.body.len(), rest.end.unwrap_err()), (0, CoreError::RequestAborted));
}

#[both_engines]
async fn an_abort_after_the_end_changes_nothing() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(get(&server.origin()), handler);
    let mut connection = server.answer("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na").await;
    assert!(events.finish().await.end.is_ok());
    controller.abort();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    connection.head().await;
    connection.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb").await;
    assert_eq!(events.finish().await.body, b"b");
}

#[both_engines]
async fn destroy_ends_every_running_request_and_refuses_new_ones() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut before_head) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let (mut first, _) = server.request().await;
    let (handler, mut within_body) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut second = server.answer(ENDLESS).await;
    within_body.start().await;
    assert_eq!(agent.running(), 2);
    agent.destroy();
    assert_eq!(before_head.error().await, CoreError::ClientDestroyed);
    assert_eq!(within_body.error().await, CoreError::ClientDestroyed);
    first.closed().await;
    second.closed().await;
    idle(&agent).await;
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    assert_eq!(events.error().await, CoreError::ClientDestroyed);
}

#[both_engines]
async fn a_dropped_response_closes_its_connection_and_holds_nothing() {
    let server = RawServer::bind();
    let agent = agent();
    let mut reader = dispatch(&agent, get(&server.origin()));
    let mut connection = server.answer(ENDLESS).await;
    reader.events.start().await;
    reader.pushed().await;
    assert_eq!(agent.gauge().held(), 5);
    drop(reader);
    connection.closed().await;
    idle(&agent).await;
}

#[both_engines]
async fn a_thousand_requests_of_every_end_hold_nothing() {
    let server = RawServer::bind();
    let agent = agent();
    let origin = server.origin();
    let serve = tokio::spawn(async move {
        loop {
            let mut connection = server.accept().await;
            tokio::spawn(async move {
                for at in 0.. {
                    let mut head = [0; 4096];
                    if !matches!(
                        tokio::io::AsyncReadExt::read(&mut connection.stream, &mut head).await,
                        Ok(1..)
                    ) {
                        return;
                    }
                    let answer = if at % 3 == 0 {
                        ENDLESS
                    } else {
                        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
                    };
                    if tokio::io::AsyncWriteExt::write_all(&mut connection.stream, answer.as_bytes())
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    for at in 0..1000 {
        let mut reader = dispatch(&agent, get(&origin));
        match at % 4 {
            0 => reader.controller.abort(),
            1 => drop(reader.events.next().await),
            2 => settle().await,
            _ => {}
        }
    }
    idle(&agent).await;
    serve.abort();
}

/// Panics at its first call of one kind.
struct Panics {
    at_start: bool,
    recorder: Recorder,
}

impl DispatchHandler for Panics {
    async fn on_response_start(&mut self, start: ResponseStart) {
        assert!(!self.at_start, "the handler's own fault");
        self.recorder.on_response_start(start).await;
    }

    async fn on_response_data(&mut self, _: Bytes) {
        panic!("the handler's own fault");
    }

    async fn on_response_end(&mut self, trailers: HeaderMap) {
        self.recorder.on_response_end(trailers).await;
    }

    async fn on_response_error(&mut self, error: CoreError) {
        self.recorder.on_response_error(error).await;
    }
}

#[both_engines]
async fn a_panic_of_the_handler_is_that_requests_error_and_no_others() {
    for at_start in [true, false] {
        let server = RawServer::bind();
        let agent = agent();
        let (recorder_, mut events) = recorder();
        agent.dispatch(
            get(&server.origin()),
            Panics {
                at_start,
                recorder: recorder_,
            },
        );
        let mut connection = server.answer(ENDLESS).await;
        let outcome = events.finish().await;
        assert_eq!(outcome.start.is_none(), at_start);
        assert_eq!(
            outcome.end.unwrap_err(),
            CoreError::Internal("the handler's own fault".into())
        );
        connection.closed().await;
        idle(&agent).await;
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        let _connection = server.answer("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na").await;
        assert_eq!(events.finish().await.body, b"a");
    }
}
