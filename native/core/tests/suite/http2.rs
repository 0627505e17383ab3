//! HTTP/2, by prior knowledge and by negotiation.

use std::sync::Arc;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use sluice_core::transport::EngineKind;
use sluice_core::{Agent, AgentConfig, CoreError, HeaderMap, RequestBody};
use sluice_test_macros::{both_engines, on_wire};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::certificates::{Authority, agent_trusting};
use crate::support::raw_server::RawServer;
use crate::support::reader::dispatch;
use crate::support::{SHORT, agent_with, get, pattern, post, recorder, upload};

type Exchange = (Request<RecvStream>, SendResponse<Bytes>);

fn h2_agent() -> Agent {
    let mut config = AgentConfig::default();
    config.transport.http2_prior_knowledge = true;
    // One connection for all, however many there are.
    config.transport.http2_max_streams = 1000;
    agent_with(config)
}

/// Speaks HTTP/2 on `stream` and hands out its requests.
async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> mpsc::UnboundedReceiver<Exchange> {
    let mut connection: Connection<S, Bytes> = h2::server::handshake(stream).await.unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(exchange)) = connection.accept().await {
            let _ = sender.send(exchange);
        }
    });
    receiver
}

async fn accept(server: &RawServer) -> mpsc::UnboundedReceiver<Exchange> {
    let stream: TcpStream = server.accept().await.stream;
    serve(stream).await
}

fn head(status: u16) -> Response<()> {
    Response::builder()
        .status(status)
        .header("x-a", "1")
        .header("x-b", "2")
        .header("x-a", "3")
        .body(())
        .unwrap()
}

/// The requests of every connection there will be.
fn accept_all(server: Arc<RawServer>) -> mpsc::UnboundedReceiver<Exchange> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let mut requests = accept(&server).await;
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(exchange) = requests.recv().await {
                    let _ = sender.send(exchange);
                }
            });
        }
    });
    receiver
}

/// Sends everything, as the client's window allows.
async fn send_all(stream: &mut SendStream<Bytes>, mut bytes: Bytes, is_end: bool) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap()?;
        let piece = bytes.split_to(capacity.min(bytes.len()));
        stream.send_data(piece, is_end && bytes.is_empty())?;
    }
    Ok(())
}

async fn reset_reason(stream: &mut SendStream<Bytes>) -> Reason {
    std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap()
}

#[both_engines]
async fn prior_knowledge_brings_head_body_and_trailers() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut requests = accept(&server).await;
    let (request, mut respond) = requests.recv().await.unwrap();
    assert_eq!((request.method().as_str(), request.uri().path()), ("GET", "/"));
    let mut stream = respond.send_response(head(200), false).unwrap();
    send_all(&mut stream, "hello".into(), false).await.unwrap();
    stream
        .send_trailers([("x-sum".parse().unwrap(), "5".parse().unwrap())].into_iter().collect())
        .unwrap();
    let outcome = events.finish().await;
    assert_eq!(
        (outcome.head().status, outcome.head().version),
        (200, http::Version::HTTP_2)
    );
    assert!(outcome.head().reason.is_empty());
    let values: Vec<_> = outcome.head().headers.get_all("x-a").collect();
    assert_eq!(values, [b"1", b"3"]);
    assert_eq!(outcome.body, b"hello");
    assert_eq!(outcome.end.unwrap()["x-sum"], "5");
}

#[both_engines]
async fn alpn_chooses_http2_where_the_server_has_it() {
    let authority = Authority::new("one");
    let server = RawServer::bind();
    let agent = agent_trusting(authority.pem());
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.https_origin("localhost")), handler);
    let stream = authority
        .issue("localhost")
        .accept(&server, &[b"h2", b"http/1.1"])
        .await
        .unwrap();
    let mut requests = serve(stream).await;
    let (_request, mut respond) = requests.recv().await.unwrap();
    respond.send_response(head(204), true).unwrap();
    let outcome = events.finish().await;
    assert_eq!(
        (outcome.head().status, outcome.head().version),
        (204, http::Version::HTTP_2)
    );
    assert!(outcome.end.is_ok() && outcome.is_complete);
}

#[both_engines]
async fn a_small_response_is_one_event() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut requests = accept(&server).await;
    let (_request, mut respond) = requests.recv().await.unwrap();
    let mut stream = respond.send_response(head(200), false).unwrap();
    stream.send_data("hello".into(), true).unwrap();
    assert!(events.finish().await.is_complete);
}

#[both_engines]
async fn a_large_body_is_whole() {
    const LENGTH: usize = 5_000_000;
    let server = RawServer::bind();
    let agent = h2_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut requests = accept(&server).await;
    let (_request, mut respond) = requests.recv().await.unwrap();
    let mut stream = respond.send_response(head(200), false).unwrap();
    tokio::spawn(async move { send_all(&mut stream, pattern(0, LENGTH).into(), true).await });
    let outcome = events.finish().await;
    assert!(outcome.end.is_ok());
    assert!(outcome.body == pattern(0, LENGTH));
}

#[both_engines]
async fn uploads_of_every_kind_arrive() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let (queue, _) = upload(1000, agent.gauge());
    queue.push("hello, ".into());
    queue.push("stream".into());
    queue.finish();
    let (sized, _) = upload(1000, agent.gauge());
    sized.push("sized".into());
    sized.finish();
    let (of_get, _) = upload(1000, agent.gauge());
    of_get.push("query".into());
    of_get.finish();
    let of_get = RequestBody::Stream {
        queue: of_get,
        length: None,
    };
    let rows = [
        (
            post(&server.origin(), RequestBody::Bytes("bytes".into())),
            "bytes",
            Some("5"),
        ),
        (
            post(&server.origin(), RequestBody::Stream { queue, length: None }),
            "hello, stream",
            None,
        ),
        (
            post(
                &server.origin(),
                RequestBody::Stream {
                    queue: sized,
                    length: Some(5),
                },
            ),
            "sized",
            Some("5"),
        ),
        (post(&server.origin(), RequestBody::Empty), "", Some("0")),
        (
            sluice_core::DispatchOptions {
                body: of_get,
                ..get(&server.origin())
            },
            "query",
            None,
        ),
    ];
    let mut requests = None;
    for (options, text, length) in rows {
        let (handler, mut events) = recorder();
        agent.dispatch(options, handler);
        if requests.is_none() {
            requests = Some(accept(&server).await);
        }
        let (request, mut respond) = requests.as_mut().unwrap().recv().await.unwrap();
        let (parts, mut body) = request.into_parts();
        assert_eq!(
            parts.headers.get("content-length").map(|value| value.to_str().unwrap()),
            length,
            "{text}"
        );
        assert!(!parts.headers.contains_key("transfer-encoding"));
        let mut received = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            received.extend(data);
        }
        assert_eq!(received, text.as_bytes());
        respond.send_response(head(200), true).unwrap();
        assert!(events.finish().await.end.is_ok());
    }
    assert_eq!(agent.gauge().held(), 0);
}

#[both_engines]
async fn a_reset_stream_is_a_stream_error_before_and_within_the_body() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut requests = accept(&server).await;
    let (_request, mut respond) = requests.recv().await.unwrap();
    respond.send_reset(Reason::INTERNAL_ERROR);
    assert_stream_error(&events.error().await);

    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let (_request, mut respond) = requests.recv().await.unwrap();
    let mut stream = respond.send_response(head(200), false).unwrap();
    send_all(&mut stream, "hello".into(), false).await.unwrap();
    events.start().await;
    assert_eq!(events.data().await, "hello");
    stream.send_reset(Reason::CANCEL);
    assert_stream_error(&events.error().await);
}

fn assert_stream_error(error: &CoreError) {
    assert_eq!(
        (error.error_name(), error.error_code()),
        ("Error", "ERR_HTTP2_STREAM_ERROR"),
        "{error:?}"
    );
}

#[both_engines]
async fn an_abort_resets_its_stream_and_leaves_the_connection() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let (handler, mut before_head) = recorder();
    let controller = agent.dispatch(get(&server.origin()), handler);
    let mut requests = accept(&server).await;
    let (_first, mut respond) = requests.recv().await.unwrap();
    controller.abort();
    assert_eq!(before_head.error().await, CoreError::RequestAborted);
    assert_eq!(
        std::future::poll_fn(|cx| respond.poll_reset(cx)).await.unwrap(),
        Reason::CANCEL
    );

    let (handler, mut within_body) = recorder();
    let controller = agent.dispatch(get(&server.origin()), handler);
    let (_second, mut respond) = requests.recv().await.unwrap();
    let mut stream = respond.send_response(head(200), false).unwrap();
    within_body.start().await;
    controller.abort();
    assert_eq!(within_body.error().await, CoreError::RequestAborted);
    assert_eq!(reset_reason(&mut stream).await, Reason::CANCEL);

    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let (_third, mut respond) = requests.recv().await.unwrap();
    respond.send_response(head(200), true).unwrap();
    assert!(events.finish().await.end.is_ok());
}

#[both_engines]
async fn a_paused_body_takes_no_more_than_its_stream_window() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let mut reader = dispatch(&agent, get(&server.origin()));
    let mut requests = accept(&server).await;
    let (_request, mut respond) = requests.recv().await.unwrap();
    let mut stream = respond.send_response(head(200), false).unwrap();
    reader.events.start().await;
    let window = agent.config().transport.http2_stream_window as usize;
    send_all(&mut stream, pattern(0, window).into(), false).await.unwrap();
    reader.pushed().await;
    // What the reader has not taken is not asked for again.
    stream.reserve_capacity(window);
    let sent_more = tokio::time::timeout(SHORT, std::future::poll_fn(|cx| stream.poll_capacity(cx))).await;
    let more = sent_more.map_or(0, |capacity| capacity.unwrap().unwrap());
    assert!(more <= reader.taken(), "{more} bytes more for {} taken", reader.taken());
    assert!(
        reader.taken() <= 32 * 1024,
        "{} bytes taken before any demand",
        reader.taken()
    );
    if agent.config().engine == EngineKind::Wire {
        // What the HTTP/2 library holds counts too; reqwest does not show it.
        assert_eq!(agent.gauge().held(), window);
    }
    let sending = tokio::spawn(async move {
        send_all(&mut stream, pattern(window, 1_000_000).into(), true)
            .await
            .unwrap();
    });
    let mut body = Vec::new();
    reader.read_all(|bytes| body.extend_from_slice(bytes)).await.unwrap();
    assert!(body == pattern(0, window + 1_000_000));
    assert_eq!(agent.gauge().held(), 0);
    sending.await.unwrap();
}

#[both_engines]
async fn a_hundred_unread_responses_do_not_stall_another_request() {
    let server = Arc::new(RawServer::bind());
    // As many streams as there are by default, on as many connections as that takes.
    let mut config = AgentConfig::default();
    config.transport.http2_prior_knowledge = true;
    let agent = agent_with(config);
    let mut requests = accept_all(Arc::clone(&server));
    let mut unread = Vec::new();
    let window = agent.config().transport.http2_stream_window as usize;
    for _ in 0..100 {
        let mut reader = dispatch(&agent, get(&server.origin()));
        let (_request, mut respond) = requests.recv().await.unwrap();
        let mut stream = respond.send_response(head(200), false).unwrap();
        reader.events.start().await;
        // To the last byte that it may: what was sent has left the window of the connection.
        send_all(&mut stream, vec![0; window].into(), false).await.unwrap();
        unread.push((reader, stream));
    }
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let (_request, mut respond) = requests.recv().await.unwrap();
    let mut stream = respond.send_response(head(200), false).unwrap();
    send_all(&mut stream, pattern(0, 1_000_000).into(), true).await.unwrap();
    let outcome = events.finish().await;
    assert!(outcome.end.is_ok());
    assert!(outcome.body == pattern(0, 1_000_000));
    if agent.config().engine == EngineKind::Wire {
        assert!(agent.gauge().held() >= 100 * window, "{} bytes", agent.gauge().held());
    }
}

#[on_wire]
async fn unread_responses_stall_nobody_on_their_own_connection() {
    let server = RawServer::bind();
    let mut config = AgentConfig {
        // Two and a half windows: two streams.
        max_buffered: 2048 * 1024,
        ..AgentConfig::default()
    };
    config.transport.http2_prior_knowledge = true;
    let agent = agent_with(config);
    let window = agent.config().transport.http2_stream_window as usize;
    let mut unread = dispatch(&agent, get(&server.origin()));
    let mut first = accept(&server).await;
    let (_request, mut respond) = first.recv().await.unwrap();
    let mut stream = respond.send_response(head(200), false).unwrap();
    unread.events.start().await;
    send_all(&mut stream, vec![0; window].into(), false).await.unwrap();
    for body in [&pattern(0, 1_000_000), &pattern(7, 3_000_000)] {
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        let (_request, mut respond) = first.recv().await.unwrap();
        let mut stream = respond.send_response(head(200), false).unwrap();
        send_all(&mut stream, body.clone().into(), true).await.unwrap();
        assert!(events.finish().await.body == *body);
    }
    // A third stream has no room beside two that are not read.
    let _second = dispatch(&agent, get(&server.origin()));
    let (_request, _respond) = first.recv().await.unwrap();
    let _third = dispatch(&agent, get(&server.origin()));
    accept(&server).await.recv().await.unwrap();
}

#[both_engines]
async fn a_server_that_speaks_http1_is_a_socket_error() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut connection = server.accept().await;
    connection.stream.readable().await.unwrap();
    connection
        .send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await;
    let error = events.error().await;
    assert!(
        matches!(error.error_code(), "UND_ERR_SOCKET" | "ERR_HTTP2_SESSION_ERROR"),
        "{error:?}"
    );
}

#[both_engines]
async fn a_lost_connection_ends_every_stream_with_one_error() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let (handler, mut first) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut connection: Connection<_, Bytes> = h2::server::handshake(server.accept().await.stream).await.unwrap();
    let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
    let _stream = respond.send_response(head(200), false).unwrap();
    let (handler, mut second) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let _other = connection.accept().await.unwrap().unwrap();
    first.start().await;
    drop(connection);
    for events in [&mut first, &mut second] {
        let error = events.error().await;
        assert!(
            matches!(error.error_code(), "UND_ERR_SOCKET" | "ECONNRESET"),
            "{error:?}"
        );
    }
}

#[both_engines]
async fn early_trailers_only_responses_are_complete() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut requests = accept(&server).await;
    let (_request, mut respond) = requests.recv().await.unwrap();
    let mut stream = respond.send_response(head(200), false).unwrap();
    stream
        .send_trailers(HeaderMap::from_iter([(
            "grpc-status".parse().unwrap(),
            "0".parse().unwrap(),
        )]))
        .unwrap();
    let outcome = events.finish().await;
    assert!(outcome.body.is_empty());
    assert_eq!(outcome.end.unwrap()["grpc-status"], "0");
}

#[both_engines]
async fn a_body_that_is_not_as_long_as_announced_is_that_error() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let mut requests = None;
    for text in ["short", "a longer text than announced"] {
        let (queue, _) = upload(1000, agent.gauge());
        let (handler, mut events) = recorder();
        let body = RequestBody::Stream {
            queue: queue.clone(),
            length: Some(10),
        };
        agent.dispatch(post(&server.origin(), body), handler);
        queue.push(text.into());
        queue.finish();
        if requests.is_none() {
            requests = Some(accept(&server).await);
        }
        assert_eq!(events.error().await, CoreError::RequestContentLengthMismatch);
    }
}
