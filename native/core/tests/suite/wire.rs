//! What the second engine can and the first cannot.

use std::time::Duration;

use sluice_core::transport::{KeepAlive, TransportConfig};
use sluice_core::{Agent, AgentConfig, DispatchOptions, Method};
use sluice_test_macros::on_wire;

use crate::support::raw_server::RawServer;
use crate::support::{agent_with, get, recorder};

fn agent() -> Agent {
    let config = AgentConfig {
        transport: TransportConfig {
            // An idle connection that closes by itself would pass for a dropped one.
            keep_alive: KeepAlive {
                timeout: Some(Duration::from_secs(3600)),
                ..KeepAlive::default()
            },
            ..TransportConfig::default()
        },
        ..AgentConfig::default()
    };
    agent_with(config)
}

#[on_wire]
async fn a_target_reaches_the_server_byte_for_byte_and_no_header_is_added() {
    let server = RawServer::bind();
    let agent = agent();
    for target in [
        "/a/../b",
        "/%2e%2e/x",
        "//double//",
        "/a\\b|c",
        "/?q='",
        "/<^`>",
        "*",
        "http://other.test/x",
    ] {
        let (handler, mut events) = recorder();
        agent.dispatch(DispatchOptions::new(server.origin(), Method::GET, target), handler);
        let (mut connection, head) = server.request().await;
        assert_eq!(
            head.text,
            format!(
                "GET {target} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: keep-alive\r\n\r\n",
                server.port()
            ),
        );
        connection
            .send("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            .await;
        events.finish().await;
    }
}

#[on_wire]
async fn an_abort_drops_a_connection_whose_rest_is_buffered_already() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(get(&server.origin()), handler);
    controller.pause();
    // More than one read, so that it is no complete response, yet all there.
    let body = "x".repeat(17 * 1024);
    let mut connection = server
        .answer(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    events.start().await;
    controller.abort();
    connection.closed().await;
}
