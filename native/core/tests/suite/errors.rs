//! Failures of the network before and within the head, under Node's names.

use std::net::TcpListener;

use sluice_core::transport::EngineKind;
use sluice_core::{CoreError, DispatchOptions, Method, Origin};
use sluice_test_macros::both_engines;

use crate::support::raw_server::{Connection, RawServer};
use crate::support::{Event, Outcome, agent, agent_with, engine, get, recorder, settle};

/// What a request ends with whose connection `serve` gets after its head was read, and may give back to be held open.
async fn fails_when<T, F: Future<Output = T>>(serve: impl FnOnce(Connection) -> F) -> CoreError {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let _held = serve(server.request().await.0).await;
    let outcome = events.finish().await;
    assert!(outcome.start.is_none(), "a failure before the head is an error alone");
    outcome.end.unwrap_err()
}

/// The error for an answer that is no HTTP; name, code.
async fn refused(answer: &str) -> (&'static str, &'static str) {
    let error = fails_when(|mut connection| async move {
        connection.send(answer).await;
        connection.closed().await;
    })
    .await;
    (error.error_name(), error.error_code())
}

#[both_engines]
async fn a_refused_connect_names_code_syscall_address_and_port() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost"] {
        let (handler, mut events) = recorder();
        agent().dispatch(get(&Origin::parse(&format!("http://{host}:{port}")).unwrap()), handler);
        let CoreError::System(error) = events.error().await else {
            panic!("a system error")
        };
        assert_eq!(
            (error.code, error.syscall, error.port),
            ("ECONNREFUSED", "connect", Some(port)),
            "{host}"
        );
        assert_eq!(error.errno, -111);
        let address: std::net::IpAddr = error.address.unwrap().parse().unwrap();
        assert!(address.is_loopback());
    }
}

#[both_engines]
async fn a_refused_connect_to_an_ipv6_literal_names_it_without_brackets() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return;
    };
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let (handler, mut events) = recorder();
    agent().dispatch(get(&Origin::parse(&format!("http://[::1]:{port}")).unwrap()), handler);
    assert_eq!(
        events.error().await.to_string(),
        format!("connect ECONNREFUSED ::1:{port}")
    );
}

#[both_engines]
async fn an_unknown_host_is_getaddrinfos_failure() {
    let (handler, mut events) = recorder();
    agent().dispatch(get(&Origin::parse("http://nowhere.invalid").unwrap()), handler);
    let CoreError::System(error) = events.error().await else {
        panic!("a system error")
    };
    // A machine without any name server answers EAI_AGAIN, as Node says there too.
    assert!(matches!(error.code, "ENOTFOUND" | "EAI_AGAIN"), "{error}");
    assert_eq!(
        (error.syscall, error.hostname.as_deref()),
        ("getaddrinfo", Some("nowhere.invalid"))
    );
    assert_eq!((error.address, error.port), (None, None));
}

#[both_engines]
async fn a_reset_before_the_head_is_read_econnreset() {
    let error = fails_when(|connection| async { connection.reset() }).await;
    assert_eq!(
        (error.error_code(), error.to_string().as_str()),
        ("ECONNRESET", "read ECONNRESET")
    );
}

#[both_engines]
async fn a_close_before_or_within_the_head_is_other_side_closed() {
    for answer in ["", "HTTP", "HTTP/1.1 200 OK\r\ncontent-le"] {
        let error = fails_when(|mut connection| async move { connection.send(answer).await }).await;
        assert_eq!(error, CoreError::Socket("other side closed".into()), "after {answer:?}");
        assert_eq!(
            (error.error_name(), error.error_code()),
            ("SocketError", "UND_ERR_SOCKET")
        );
    }
}

#[both_engines]
async fn an_answer_that_is_no_http_is_a_parser_error() {
    let rows = [
        ("garbage of no protocol\r\n\r\n", "HPE_INVALID_CONSTANT"),
        ("SSH-2.0-OpenSSH_9.6\r\n", "HPE_INVALID_CONSTANT"),
        ("HTTP/4.7 200 OK\r\n\r\n", "HPE_INVALID_CONSTANT"),
        ("HTTP/1.1 xyz OK\r\n\r\n", "HPE_INVALID_STATUS"),
        ("HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n", "HPE_INVALID_HEADER_TOKEN"),
        ("HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n", "HPE_INVALID_HEADER_TOKEN"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "HPE_UNEXPECTED_CONTENT_LENGTH",
        ),
    ];
    for (answer, code) in rows {
        let code = match (engine(), answer) {
            // llhttp's own, where hyper does not tell.
            (EngineKind::Wire, "HTTP/4.7 200 OK\r\n\r\n") => "HPE_INVALID_VERSION",
            (EngineKind::Wire, "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n") => "HPE_INVALID_CONTENT_LENGTH",
            _ => code,
        };
        assert_eq!(refused(answer).await, ("HTTPParserError", code), "{answer:?}");
    }
}

#[both_engines]
async fn lengths_that_contradict_each_other_are_refused() {
    let two = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n";
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
    match engine() {
        EngineKind::Wire => {
            for answer in [two, both] {
                assert_eq!(
                    refused(answer).await.1,
                    "UND_ERR_RES_CONTENT_LENGTH_MISMATCH",
                    "{answer:?}"
                );
            }
        }
        EngineKind::Reqwest => assert_eq!(refused(two).await.1, "HPE_UNEXPECTED_CONTENT_LENGTH"),
    }
}

fn answer_with_header_of(length: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nx-a: {}\r\ncontent-length: 0\r\n\r\n",
        "a".repeat(length)
    )
}

#[both_engines]
async fn a_head_beyond_the_limit_is_a_headers_overflow() {
    let error = fails_when(|mut connection| async move {
        connection.send(answer_with_header_of(20_000)).await;
        connection
    })
    .await;
    assert_eq!(error.error_code(), "UND_ERR_HEADERS_OVERFLOW");
    // Larger than the engine's own buffer.
    let error = fails_when(|mut connection| async move {
        let _ =
            tokio::io::AsyncWriteExt::write_all(&mut connection.stream, answer_with_header_of(2_000_000).as_bytes())
                .await;
        connection.closed().await;
    })
    .await;
    assert_eq!(error, CoreError::HeadersOverflow);
}

#[both_engines]
async fn the_limit_of_the_head_is_the_callers() {
    for (limit, is_accepted) in [(1000, false), (64 * 1024, true)] {
        let server = RawServer::bind();
        let agent = agent();
        let (handler, mut events) = recorder();
        agent.dispatch(
            DispatchOptions {
                max_header_size: limit,
                ..get(&server.origin())
            },
            handler,
        );
        let _connection = server.answer(answer_with_header_of(20_000)).await;
        assert_eq!(events.finish().await.end.is_ok(), is_accepted, "{limit}");
    }
}

/// A response of 10 bytes under a limit of `max`, sent with its head or after it.
async fn limited(max: u64, is_sent_with_head: bool, framing: &str, body: &str) -> Outcome {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    let mut options = get(&server.origin());
    options.max_response_size = Some(max);
    agent.dispatch(options, handler);
    let (mut connection, _) = server.request().await;
    let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
    if is_sent_with_head {
        connection.send(format!("{head}{body}")).await;
        return events.finish().await;
    }
    connection.send(head).await;
    let start = events.start().await;
    connection.send(body).await;
    let mut outcome = events.finish().await;
    outcome.start = Some(start);
    outcome
}

#[both_engines]
async fn too_many_bytes_are_the_head_and_then_the_error() {
    for is_sent_with_head in [true, false] {
        for (framing, body) in [
            ("content-length: 10", "0123456789"),
            ("transfer-encoding: chunked", "a\r\n0123456789\r\n0\r\n\r\n"),
        ] {
            let outcome = limited(9, is_sent_with_head, framing, body).await;
            assert_eq!(outcome.end.as_ref().unwrap_err(), &CoreError::ResponseExceededMaxSize);
            assert_eq!(
                outcome.start.as_ref().map(|start| start.status),
                Some(200),
                "with head: {is_sent_with_head}, {framing}"
            );
            assert!(outcome.body.is_empty());
            let outcome = limited(10, is_sent_with_head, framing, body).await;
            assert!(outcome.end.is_ok(), "exactly the limit is allowed");
            assert_eq!(outcome.body, b"0123456789");
        }
    }
}

#[both_engines]
async fn a_target_that_makes_no_url_is_an_invalid_argument() {
    let origin = Origin::parse("http://exa mple.test").unwrap();
    let (handler, mut events) = recorder();
    agent().dispatch(DispatchOptions::new(origin, Method::GET, "/"), handler);
    // Engine wire needs no URL: the name is the resolver's to refuse.
    let code = events.error().await.error_code();
    match engine() {
        EngineKind::Reqwest => assert_eq!(code, "UND_ERR_INVALID_ARG"),
        EngineKind::Wire => assert!(matches!(code, "ENOTFOUND" | "EAI_AGAIN"), "{code}"),
    }
}

#[both_engines]
async fn a_stale_idle_connection_is_no_error_of_the_next_request() {
    for is_reset in [false, true] {
        let server = RawServer::bind();
        let agent = agent();
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        let connection = server.answer("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na").await;
        assert!(events.finish().await.end.is_ok());
        if is_reset {
            connection.reset();
        } else {
            drop(connection);
        }
        settle().await;
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        let _connection = server.answer("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb").await;
        assert_eq!(events.finish().await.body, b"b");
    }
}

#[both_engines]
async fn a_local_address_that_is_not_ours_is_eaddrnotavail() {
    let server = RawServer::bind();
    let mut config = sluice_core::AgentConfig::default();
    config.transport.socket.local_address = Some("192.0.2.1".parse().unwrap());
    let (handler, mut events) = recorder();
    agent_with(config).dispatch(get(&server.origin()), handler);
    assert_eq!(events.error().await.error_code(), "EADDRNOTAVAIL");
}

#[both_engines]
async fn a_request_after_a_failed_one_succeeds() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    drop(server.request().await);
    assert!(matches!(events.next().await, Event::Error(_)));
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let _connection = server.answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert!(events.finish().await.end.is_ok());
}
