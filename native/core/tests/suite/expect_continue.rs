//! `expect: 100-continue` over HTTP/2: the body waits for the server's word, for a while.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::Connection;
use http::Response;
use sluice_core::{Agent, AgentConfig, DispatchOptions, Origin, RequestBody};
use sluice_test_macros::on_wire;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::raw_server::RawServer;
use crate::support::{agent_with, dispatch_unlimited, post, recorder, upload};

/// reqwest has no way to keep a body back; the addon refuses the option there.
fn h2_agent() -> Agent {
    let mut config = AgentConfig::default();
    config.transport.http2_prior_knowledge = true;
    // The clock stands still but for what a test waits for.
    config.transport.connect_timeout = None;
    agent_with(config)
}

async fn accept(server: &RawServer) -> Connection<TcpStream, Bytes> {
    h2::server::handshake(server.accept().await.stream).await.unwrap()
}

fn expecting(origin: &Origin, body: RequestBody) -> DispatchOptions {
    DispatchOptions {
        expects_continue: true,
        ..post(origin, body)
    }
}

#[on_wire]
async fn a_final_response_keeps_the_body_from_being_sent() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let (queue, _credit) = upload(1000, agent.gauge());
    let bodies = [
        RequestBody::Bytes("never".into()),
        RequestBody::Stream {
            queue: queue.clone(),
            length: None,
        },
    ];
    queue.push("never".into());
    let mut connection = None;
    for body in bodies {
        let (handler, mut events) = recorder();
        agent.dispatch(expecting(&server.origin(), body), handler);
        if connection.is_none() {
            connection = Some(accept(&server).await);
        }
        let connection = connection.as_mut().unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(request.headers()["expect"], "100-continue");
        let response = Response::builder().status(417).body(()).unwrap();
        respond.send_response(response, true).unwrap();
        let mut body = request.into_body();
        let (outcome, sent) = tokio::join!(events.finish(), async {
            tokio::select! {
                sent = body.data() => sent,
                _ = connection.accept() => panic!("another request"),
            }
        });
        assert_eq!((outcome.head().status, outcome.end.is_ok()), (417, true));
        assert_eq!(sent.unwrap().unwrap_err().reason(), Some(Reason::CANCEL));
    }
    assert_eq!(agent.gauge().held(), 0);
}

#[on_wire(start_paused = true)]
async fn a_server_that_does_not_care_gets_the_body_after_a_while() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let begun = Instant::now();
    let mut events = dispatch_unlimited(&agent, expecting(&server.origin(), RequestBody::Bytes("late".into())));
    let mut connection = accept(&server).await;
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
    let mut body = request.into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "late");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    respond.send_response(Response::new(()), true).unwrap();
    assert_eq!(events.finish().await.head().status, 200);
}

#[on_wire]
async fn a_request_without_a_body_expects_nothing() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(expecting(&server.origin(), RequestBody::Empty), handler);
    let mut connection = accept(&server).await;
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    assert!(!request.headers().contains_key("expect"));
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
    respond.send_response(Response::new(()), true).unwrap();
    assert_eq!(events.finish().await.head().status, 200);
}
