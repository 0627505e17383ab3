//! Servers that answer before they have read the request: the response is delivered, the upload goes no further, and
//! what carried it is given up.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use sluice_core::transport::EngineKind;
use sluice_core::{Agent, AgentConfig, ConnectionEventKind, CoreError, Origin, RequestBody};
use sluice_test_macros::{both_engines, on_wire};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::observer::{Observed, observer};
use crate::support::raw_server::{Connection as RawConnection, RawServer};
use crate::support::{
    Events, Outcome, SHORT, agent_with, engine, get, kept, pattern, post, recorder, settle, temporary_path, upload,
};

const WINDOW: usize = 64 * 1024;
/// Whether a write or a read meets the reset first is chance.
const ROUNDS: usize = 100;

/// An upload without end.
struct Endless {
    events: Events,
    controller: sluice_core::RequestController,
    /// Ends when the request asks for nothing more.
    source: JoinHandle<()>,
}

fn send_endless(agent: &Agent, origin: &Origin) -> Endless {
    let (queue, mut credit) = upload(WINDOW, agent.gauge());
    let (handler, events) = recorder();
    let body = RequestBody::Stream {
        queue: Arc::clone(&queue),
        length: None,
    };
    let controller = agent.dispatch(post(origin, body), handler);
    let source = tokio::spawn(async move {
        // Without credit it waits: for ever, once the request has ended.
        while queue.push(Bytes::from_static(&[7; 10_000])) > 0 || credit.recv().await.is_some() {}
    });
    Endless {
        events,
        controller,
        source,
    }
}

impl Endless {
    /// The response, after which nothing of the upload is held.
    async fn finish(mut self, agent: &Agent) -> Outcome {
        let outcome = self.events.finish().await;
        while agent.gauge().held() > 0 {
            tokio::task::yield_now().await;
        }
        self.source.abort();
        outcome
    }
}

/// reqwest shows nothing of its connections, and closes this one when the server reads on.
#[on_wire]
async fn on_http1_a_connection_whose_server_reads_no_further_is_closed() {
    let server = RawServer::with_small_buffers();
    let mut config = AgentConfig::default();
    let (observer, mut connections) = observer();
    config.transport.observer = Some(Arc::new(observer));
    let agent = agent_with(config);
    let endless = send_endless(&agent, &server.origin());
    let (mut connection, _) = server.request().await;
    connection
        .send("HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\n\r\nbig")
        .await;
    let outcome = endless.finish(&agent).await;
    assert!(outcome.end.is_ok(), "{:?}", outcome.end);
    assert_eq!((outcome.head().status, &outcome.body[..]), (413, &b"big"[..]));
    assert_eq!(connections.recv().await.unwrap().kind, ConnectionEventKind::Connect);
    assert_eq!(connections.recv().await.unwrap().kind, ConnectionEventKind::Disconnect);
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    server.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(events.finish().await.body, b"ok");
}

/// Says `answer` to each of `ROUNDS` connections as soon as there is a head, and drops it with the rest unread: a reset
/// follows.
fn answer_and_reset(answer: &'static [u8]) -> Origin {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = Origin::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || {
        for _ in 0..ROUNDS {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            stream.read_exact(&mut head).unwrap();
            stream.write_all(answer).unwrap();
        }
    });
    origin
}

/// Connections of reqwest write beneath hyper, and a failed write ends them.
#[on_wire]
async fn a_response_is_read_whose_connection_takes_no_more() {
    let origin =
        answer_and_reset(b"HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig");
    let agent = agent_with(AgentConfig::default());
    for round in 0..ROUNDS {
        let outcome = send_endless(&agent, &origin).finish(&agent).await;
        assert!(outcome.end.is_ok(), "in round {round}: {:?}", outcome.end);
        assert_eq!((outcome.head().status, &outcome.body[..]), (413, &b"big"[..]));
    }
}

#[both_engines]
async fn a_connection_that_takes_no_more_and_says_nothing_is_one_error() {
    let origin = answer_and_reset(b"");
    let agent = agent_with(AgentConfig::default());
    for _ in 0..ROUNDS {
        match send_endless(&agent, &origin).finish(&agent).await.end {
            Err(CoreError::System(error)) => assert!(["ECONNRESET", "EPIPE"].contains(&error.code), "{error:?}"),
            Err(CoreError::Socket(text)) => assert_eq!(text, "other side closed"),
            other => panic!("{other:?}"),
        }
    }
}

#[cfg(unix)]
#[on_wire]
async fn a_server_that_takes_no_more_has_its_time_to_answer_and_no_longer() {
    let (listener, agent, _) = unix_agent();
    let (handler, mut events) = recorder();
    let mut options = post(
        &Origin::parse("http://early.test").unwrap(),
        kept(WINDOW, agent.gauge(), vec![7; 10_000_000]),
    );
    options.headers_timeout = Some(SHORT);
    agent.dispatch(options, handler);
    let stream = listener.accept().await.unwrap().0.into_std().unwrap();
    stream.shutdown(Shutdown::Read).unwrap();
    assert_eq!(events.error().await, CoreError::HeadersTimeout);
}

/// An agent on a unix socket, whose size bounds what a server that reads nothing has taken.
#[cfg(unix)]
fn unix_agent() -> (tokio::net::UnixListener, Agent, mpsc::UnboundedReceiver<Observed>) {
    let path = temporary_path();
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let (observer, connections) = observer();
    let mut config = AgentConfig::default();
    config.transport.socket.socket_path = Some(path);
    config.transport.observer = Some(Arc::new(observer));
    (listener, agent_with(config), connections)
}

/// What the socket does not take is the engine's, which has the response.
#[cfg(unix)]
#[on_wire]
async fn a_connection_that_takes_no_more_ends_with_its_response() {
    let (listener, agent, mut connections) = unix_agent();
    for length in [100_000, 300_000, 450_000, 600_000] {
        let (handler, mut events) = recorder();
        let origin = Origin::parse("http://early.test").unwrap();
        agent.dispatch(post(&origin, RequestBody::Bytes(pattern(0, length).into())), handler);
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.readable().await.unwrap();
        // The engine writes what it can.
        settle().await;
        stream
            .write_all(b"HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig")
            .await
            .unwrap();
        drop(stream);
        assert_eq!(events.finish().await.body, b"big", "of {length} bytes");
        assert_eq!(connections.recv().await.unwrap().kind, ConnectionEventKind::Connect);
        assert_eq!(connections.recv().await.unwrap().kind, ConnectionEventKind::Disconnect);
    }
}

fn h2_agent() -> Agent {
    let mut config = AgentConfig::default();
    config.transport.http2_prior_knowledge = true;
    agent_with(config)
}

type Exchange = (Request<RecvStream>, SendResponse<Bytes>);

/// The requests of one connection, whose bodies the client may send as far as the windows go that are granted.
async fn accept(server: &RawServer) -> mpsc::UnboundedReceiver<Exchange> {
    let stream = server.accept().await.stream;
    let mut connection: Connection<TcpStream, Bytes> = h2::server::handshake(stream).await.unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(exchange)) = connection.accept().await {
            let _ = sender.send(exchange);
        }
    });
    receiver
}

fn head(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

/// What a client that has given up its upload says of it.
fn given_up() -> Reason {
    match engine() {
        EngineKind::Wire => Reason::CANCEL,
        // hyper's word for a body that fails.
        EngineKind::Reqwest => Reason::INTERNAL_ERROR,
    }
}

/// Why the client has given up what it was sending.
async fn reset_reason(stream: &mut h2::SendStream<Bytes>) -> Reason {
    std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap()
}

/// One more request, on the same connection.
async fn assert_kept(agent: &Agent, server: &RawServer, requests: &mut mpsc::UnboundedReceiver<Exchange>) {
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let (_request, mut respond) = requests.recv().await.unwrap();
    respond.send_response(head(204), true).unwrap();
    assert_eq!(events.finish().await.head().status, 204);
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// RFC 7541 §6.2.2: a literal whose name is `:status`, the eighth of the static table.
const STATUS_413: &[u8] = b"\x08\x03413";
/// RFC 7541 §6.1: `:status: 204`, the ninth.
const STATUS_204: &[u8] = b"\x89";

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Reads to the head of a request; its stream.
async fn request_stream(connection: &mut RawConnection) -> u32 {
    loop {
        let header = connection.body(9).await;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        connection.body(length as usize).await;
        if header[3] == HEADERS {
            return u32::from_be_bytes(header[5..].try_into().unwrap());
        }
    }
}

/// An upload whose server answers with `frames`, all at once, and then serves another request.
async fn answered_with(frames: impl Fn(u32) -> Vec<u8>) -> Outcome {
    let server = RawServer::bind();
    let agent = h2_agent();
    let endless = send_endless(&agent, &server.origin());
    let mut connection = server.accept().await;
    connection.send(frame(SETTINGS, 0, 0, b"")).await;
    connection.body(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()).await;
    let stream = request_stream(&mut connection).await;
    connection.send(frames(stream)).await;
    let outcome = endless.finish(&agent).await;
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let next = request_stream(&mut connection).await;
    connection
        .send(frame(HEADERS, END_HEADERS | END_STREAM, next, STATUS_204))
        .await;
    assert_eq!(events.finish().await.head().status, 204);
    outcome
}

fn no_error(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &0_u32.to_be_bytes())
}

#[both_engines]
async fn on_http2_a_reset_without_error_behind_the_response_is_none() {
    // RFC 9113 §8.1: so a server asks its client to stop.
    for length in [0, 3, 10_000] {
        let body = pattern(0, length);
        let outcome = answered_with(|stream| {
            [
                frame(HEADERS, END_HEADERS, stream, STATUS_413),
                frame(DATA, END_STREAM, stream, &body),
                no_error(stream),
            ]
            .concat()
        })
        .await;
        assert!(outcome.end.is_ok(), "{length}: {:?}", outcome.end);
        assert_eq!((outcome.head().status, outcome.body), (413, body));
    }
}

#[both_engines]
async fn on_http2_a_reset_without_error_within_the_response_is_an_error() {
    for body in ["", "cut"] {
        let outcome = answered_with(|stream| {
            [
                frame(HEADERS, END_HEADERS, stream, STATUS_413),
                frame(DATA, 0, stream, body.as_bytes()),
                no_error(stream),
            ]
            .concat()
        })
        .await;
        let error = outcome.end.expect_err("a cut body must not pass for a whole one");
        assert_eq!(error.error_code(), "ERR_HTTP2_STREAM_ERROR", "{error:?}");
    }
}

/// HTTP/2 of reqwest asks a body for nothing while the server's window is shut, and cannot be told that it is over.
#[on_wire]
async fn on_http2_a_stream_that_the_server_leaves_open_is_reset() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let endless = send_endless(&agent, &server.origin());
    let mut requests = accept(&server).await;
    // Nothing is read of it: the client waits for the window to open.
    let (_request, mut respond) = requests.recv().await.unwrap();
    let mut stream = respond.send_response(head(413), false).unwrap();
    stream.send_data(pattern(0, 10_000).into(), true).unwrap();
    let outcome = endless.finish(&agent).await;
    assert!(outcome.end.is_ok(), "{:?}", outcome.end);
    assert_eq!((outcome.head().status, outcome.body), (413, pattern(0, 10_000)));
    assert_eq!(reset_reason(&mut stream).await, Reason::CANCEL);
    assert_kept(&agent, &server, &mut requests).await;
}

#[both_engines]
async fn on_http2_an_upload_that_waits_for_its_source_is_reset_too() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let (queue, _credit) = upload(WINDOW, agent.gauge());
    let (handler, mut events) = recorder();
    let body = RequestBody::Stream {
        queue: Arc::clone(&queue),
        length: None,
    };
    agent.dispatch(post(&server.origin(), body), handler);
    queue.push("one".into());
    let mut requests = accept(&server).await;
    let (_request, mut respond) = requests.recv().await.unwrap();
    let mut stream = respond.send_response(head(200), false).unwrap();
    stream.send_data("early".into(), true).unwrap();
    assert_eq!(events.finish().await.body, b"early");
    assert_eq!(reset_reason(&mut stream).await, given_up());
    assert_kept(&agent, &server, &mut requests).await;
}

/// HTTP/2 of reqwest asks a body for nothing while the server's window is shut, and cannot be told that it is over.
#[on_wire]
async fn on_http2_an_abort_reaches_an_upload_that_waits_for_the_window() {
    let server = RawServer::bind();
    let agent = h2_agent();
    let mut endless = send_endless(&agent, &server.origin());
    let mut requests = accept(&server).await;
    let (_request, mut respond) = requests.recv().await.unwrap();
    let mut stream = respond.send_response(head(200), false).unwrap();
    stream.send_data("begun".into(), false).unwrap();
    endless.events.start().await;
    endless.controller.abort();
    assert_eq!(reset_reason(&mut stream).await, Reason::CANCEL);
    assert!(endless.finish(&agent).await.end.is_err());
    assert_kept(&agent, &server, &mut requests).await;
}

/// HTTP/2 of reqwest asks a body for nothing while the server's window is shut, and cannot be told that it is over.
#[on_wire]
async fn on_http2_uploads_given_up_leave_no_stream_behind() {
    const STREAMS: usize = 20;
    let server = RawServer::bind();
    let mut config = AgentConfig::default();
    config.transport.http2_prior_knowledge = true;
    config.transport.http2_max_streams = STREAMS;
    let agent = agent_with(config);
    let mut requests = None;
    let mut open = Vec::new();
    for _ in 0..2 * STREAMS {
        let endless = send_endless(&agent, &server.origin());
        if requests.is_none() {
            requests = Some(accept(&server).await);
        }
        let (request, mut respond) = requests.as_mut().unwrap().recv().await.unwrap();
        respond.send_response(head(413), true).unwrap();
        assert_eq!(endless.finish(&agent).await.head().status, 413);
        open.push((request, respond));
    }
    assert_kept(&agent, &server, requests.as_mut().unwrap()).await;
}
