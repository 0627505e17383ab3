//! The pool of engine wire: who gets a connection, when, and what is said of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluice_core::transport::{KeepAlive, TransportConfig};
use sluice_core::{
    Agent, AgentConfig, ConnectionEventKind, ConnectionInfo, CoreError, DispatchHandler, HeaderMap, ResponseStart,
};
use sluice_test_macros::on_wire;
use tokio::sync::{mpsc, oneshot};

use crate::support::observer::{Observed, Starved, observer};
use crate::support::raw_server::RawServer;
use crate::support::{Recorder, agent_with, get, recorder, settle};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn agent(configure: impl FnOnce(&mut TransportConfig)) -> (Agent, mpsc::UnboundedReceiver<Observed>) {
    let (observer, observed) = observer();
    let mut config = AgentConfig::default();
    config.transport.observer = Some(Arc::new(observer));
    configure(&mut config.transport);
    (agent_with(config), observed)
}

fn kinds(observed: &mut mpsc::UnboundedReceiver<Observed>) -> Vec<ConnectionEventKind> {
    std::iter::from_fn(|| observed.try_recv().ok())
        .map(|event| event.kind)
        .collect()
}

fn informational(text: &str) -> Option<CoreError> {
    Some(CoreError::Informational(text.into()))
}

#[on_wire]
async fn requests_beyond_the_limit_are_served_in_their_order_on_the_same_connection() {
    let server = RawServer::bind();
    let (agent, mut observed) = agent(|config| config.connections = Some(1));
    let mut events = Vec::new();
    for index in 0..3 {
        let (handler, event) = recorder();
        let mut options = get(&server.origin());
        options.target = format!("/{index}");
        agent.dispatch(options, handler);
        events.push(event);
    }
    let mut connection = server.accept().await;
    for (index, events) in events.iter_mut().enumerate() {
        let head = connection.head().await;
        assert_eq!(head.request_line(), format!("GET /{index} HTTP/1.1"));
        connection.send(OK).await;
        assert_eq!(events.finish().await.body, b"ok");
    }
    assert_eq!(kinds(&mut observed), [ConnectionEventKind::Connect]);
}

#[on_wire]
async fn waiting_behind_a_response_that_is_not_read_is_told_until_it_is_over() {
    let server = RawServer::bind();
    let (starvations, mut starved) = mpsc::unbounded_channel();
    let (mut observer, _observed) = observer();
    observer.starvations = Some(starvations);
    let mut config = AgentConfig::default();
    config.transport.connections = Some(1);
    config.transport.observer = Some(Arc::new(observer));
    let agent = agent_with(config);
    let (first, mut first_events) = recorder();
    agent.dispatch(get(&server.origin()), first);
    let (mut connection, _) = server.request().await;
    let (second, mut second_events) = recorder();
    agent.dispatch(get(&server.origin()), second);
    let (third, mut third_events) = recorder();
    let third_controller = agent.dispatch(get(&server.origin()), third);
    settle().await;
    assert!(starved.try_recv().is_err(), "no response holds the connection yet");
    connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no").await;
    let told = |round, waiting| Starved {
        round,
        waiting,
        held: 1,
    };
    assert_eq!(starved.recv().await, Some(told(0, 2)));
    assert_eq!(starved.recv().await, Some(told(0, 2)), "for as long as it lasts");
    connection.send("k").await;
    first_events.finish().await;
    let over = Starved {
        round: 0,
        waiting: 0,
        held: 0,
    };
    assert_eq!(starved.recv().await, Some(over), "the head of the second is awaited");
    connection.head().await;
    connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no").await;
    assert_eq!(starved.recv().await, Some(told(1, 1)));
    third_controller.abort();
    third_events.error().await;
    assert_eq!(starved.recv().await, Some(over), "nobody waits");
    connection.send("k").await;
    second_events.finish().await;
}

#[on_wire]
async fn an_aborted_waiter_leaves_its_place_to_the_next() {
    let server = RawServer::bind();
    let (agent, _observed) = agent(|config| config.connections = Some(1));
    let (first, mut first_events) = recorder();
    agent.dispatch(get(&server.origin()), first);
    let (mut connection, _) = server.request().await;
    let (second, mut second_events) = recorder();
    let controller = agent.dispatch(get(&server.origin()), second);
    let (third, mut third_events) = recorder();
    agent.dispatch(get(&server.origin()), third);
    settle().await;
    controller.abort();
    assert_eq!(second_events.error().await, CoreError::RequestAborted);
    connection.send(OK).await;
    first_events.finish().await;
    connection.head().await;
    connection.send(OK).await;
    assert_eq!(third_events.finish().await.body, b"ok");
}

#[on_wire]
async fn a_failed_connect_gives_its_slot_back_and_is_told() {
    let port = RawServer::bind().port();
    let (agent, mut observed) = agent(|config| config.connections = Some(1));
    let origin = sluice_core::Origin::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    for _ in 0..3 {
        let (handler, mut events) = recorder();
        agent.dispatch(get(&origin), handler);
        assert_eq!(
            events.error().await.to_string(),
            format!("connect ECONNREFUSED 127.0.0.1:{port}")
        );
        let event = observed.recv().await.unwrap();
        assert_eq!(event.kind, ConnectionEventKind::ConnectionError);
        assert_eq!(event.error.unwrap().error_code(), "ECONNREFUSED");
    }
}

#[on_wire]
async fn every_end_of_a_connection_is_told_with_its_reason() {
    let server = RawServer::bind();
    let (agent, mut observed) = agent(|_| {});
    for (answer, reason) in [
        (
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            informational("reset"),
        ),
        (
            "HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n",
            informational("reset"),
        ),
    ] {
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        let mut connection = server.answer(answer).await;
        assert!(events.finish().await.end.is_ok());
        connection.closed().await;
        let opened = observed.recv().await.unwrap();
        assert_eq!(
            (opened.kind, opened.remote_port),
            (ConnectionEventKind::Connect, Some(server.port()))
        );
        let closed = observed.recv().await.unwrap();
        assert_eq!(
            (closed.kind, closed.error),
            (ConnectionEventKind::Disconnect, reason),
            "{answer}"
        );
    }
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(get(&server.origin()), handler);
    let (mut connection, _) = server.request().await;
    controller.abort();
    events.finish().await;
    connection.closed().await;
    observed.recv().await.unwrap();
    assert_eq!(observed.recv().await.unwrap().error, informational("aborted"));

    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let connection = server.answer(OK).await;
    events.finish().await;
    drop(connection);
    observed.recv().await.unwrap();
    assert_eq!(
        observed.recv().await.unwrap().error,
        Some(CoreError::Socket("other side closed".into()))
    );
}

#[on_wire]
async fn an_idle_connection_is_closed_after_its_time() {
    let server = RawServer::bind();
    let (agent, mut observed) = agent(|config| {
        config.keep_alive = KeepAlive {
            timeout: Some(Duration::from_millis(20)),
            ..KeepAlive::default()
        };
    });
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut connection = server.answer(OK).await;
    events.finish().await;
    connection.closed().await;
    observed.recv().await.unwrap();
    assert_eq!(
        observed.recv().await.unwrap().error,
        informational("socket idle timeout")
    );
}

#[on_wire]
async fn a_connection_serves_as_many_requests_as_it_may() {
    let server = RawServer::bind();
    let (agent, _observed) = agent(|config| config.max_requests_per_connection = Some(2));
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let (mut connection, head) = server.request().await;
    assert_eq!(head.header("connection"), Some("keep-alive"));
    connection.send(OK).await;
    events.finish().await;
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    assert_eq!(connection.head().await.header("connection"), Some("close"));
    connection.send(OK).await;
    events.finish().await;
    connection.closed().await;
}

#[on_wire]
async fn destroy_closes_idle_connections_too() {
    let server = RawServer::bind();
    let (agent, mut observed) = agent(|_| {});
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut connection = server.answer(OK).await;
    events.finish().await;
    agent.destroy();
    connection.closed().await;
    observed.recv().await.unwrap();
    assert_eq!(observed.recv().await.unwrap().error, Some(CoreError::ClientDestroyed));
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    assert_eq!(events.error().await, CoreError::ClientDestroyed);
}

#[on_wire]
async fn an_agent_that_is_dropped_closes_its_idle_connections() {
    let server = RawServer::bind();
    let (agent, mut observed) = agent(|_| {});
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut connection = server.answer(OK).await;
    events.finish().await;
    drop(agent);
    connection.closed().await;
    observed.recv().await.unwrap();
    assert_eq!(observed.recv().await.unwrap().error, Some(CoreError::ClientDestroyed));
}

/// Asks before it lets a request go out.
struct Hesitant {
    asked: Option<oneshot::Sender<()>>,
    go: Option<oneshot::Receiver<()>>,
    then: Recorder,
}

impl DispatchHandler for Hesitant {
    async fn on_connection(&mut self, connection: Option<&Arc<ConnectionInfo>>) {
        assert!(connection.unwrap().remote.is_some());
        self.asked.take().unwrap().send(()).unwrap();
        let _ = self.go.take().unwrap().await;
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
async fn an_abort_before_the_go_ahead_sends_nothing_and_keeps_the_connection() {
    let server = RawServer::bind();
    let (agent, mut observed) = agent(|_| {});
    let (then, mut events) = recorder();
    let (asked, is_asked) = oneshot::channel();
    let (_hold, go) = oneshot::channel();
    let hesitant = Hesitant {
        asked: Some(asked),
        go: Some(go),
        then,
    };
    let controller = agent.dispatch(get(&server.origin()), hesitant);
    is_asked.await.unwrap();
    controller.abort();
    assert_eq!(events.error().await, CoreError::RequestAborted);

    let (handler, mut events) = recorder();
    let mut options = get(&server.origin());
    options.target = "/second".into();
    agent.dispatch(options, handler);
    let (mut connection, head) = server.request().await;
    assert_eq!(head.request_line(), "GET /second HTTP/1.1");
    connection.send(OK).await;
    events.finish().await;
    assert_eq!(kinds(&mut observed), [ConnectionEventKind::Connect]);
}
