//! HTTP/2 requests that a server gives back: sent again when it has not looked at them, one clear error otherwise.

use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Connection, SendResponse};
use http::{Request, Response};
use sluice_core::transport::EngineKind;
use sluice_core::{Agent, AgentConfig, CoreError, Method, RequestBody};
use sluice_test_macros::{both_engines, on_wire};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::raw_server::RawServer;
use crate::support::{agent_with, engine, get, kept, pattern, post, recorder, settle, upload};

/// A request, the number of its connection, and how to answer it.
struct Arrived {
    connection: usize,
    request: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
}

impl Arrived {
    fn answer(mut self) {
        self.respond.send_response(Response::new(()), true).unwrap();
    }

    fn reset(mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }
}

/// Takes connections for ever; `leaves` are told GOAWAY as soon as their first request is there, which is above the last
/// stream that it names.
fn serve(server: Arc<RawServer>, leaves: &'static [usize]) -> mpsc::UnboundedReceiver<Arrived> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let stream: TcpStream = server.accept().await.stream;
            let sender = sender.clone();
            tokio::spawn(async move {
                if leaves.contains(&number) {
                    leave(stream).await;
                    return;
                }
                let mut connection: Connection<TcpStream, Bytes> = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    let _ = sender.send(Arrived {
                        connection: number,
                        request,
                        respond,
                    });
                }
            });
        }
    });
    receiver
}

/// A server that says `GOAWAY(last stream 0, NO_ERROR)` when the head of a request has come, byte by byte.
async fn leave(mut stream: TcpStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    stream.write_all(SETTINGS).await.unwrap();
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        const HEADERS: u8 = 1;
        if head[3] == HEADERS {
            stream.write_all(GOAWAY).await.unwrap();
        }
    }
}

fn h2_agent() -> Agent {
    let mut config = AgentConfig::default();
    config.transport.http2_prior_knowledge = true;
    agent_with(config)
}

#[both_engines]
async fn a_refused_stream_goes_out_again_whatever_its_method() {
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let server = Arc::new(RawServer::bind());
        let mut arrived = serve(Arc::clone(&server), &[]);
        let agent = h2_agent();
        let (handler, mut events) = recorder();
        let mut options = get(&server.origin());
        options.method = method.clone();
        agent.dispatch(options, handler);
        arrived.recv().await.unwrap().reset(Reason::REFUSED_STREAM);
        let again = arrived.recv().await.unwrap();
        assert_eq!(again.request.method(), method);
        if engine() == EngineKind::Wire {
            assert_eq!(again.connection, 1, "the one that refused is left alone");
        }
        again.answer();
        assert_eq!(events.finish().await.head().status, 200);
    }
}

#[both_engines]
async fn a_request_above_the_last_stream_of_a_goaway_goes_out_on_another_connection() {
    let server = Arc::new(RawServer::bind());
    let mut arrived = serve(Arc::clone(&server), &[0]);
    let agent = h2_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let again = arrived.recv().await.unwrap();
    assert_eq!(again.connection, 1);
    again.answer();
    assert_eq!(events.finish().await.head().status, 200);
}

/// reqwest sends again twice.
#[on_wire]
async fn a_request_outlives_many_connections_that_end_before_it_is_served() {
    const LEAVES: [usize; 20] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
    let server = Arc::new(RawServer::bind());
    let mut arrived = serve(Arc::clone(&server), &LEAVES);
    let agent = h2_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let again = arrived.recv().await.unwrap();
    assert_eq!(again.connection, LEAVES.len());
    again.answer();
    assert_eq!(events.finish().await.head().status, 200);
}

/// Reads to the end, or until there are so many bytes.
async fn receive(stream: &mut h2::RecvStream, count: usize) -> Vec<u8> {
    let mut received = Vec::new();
    while received.len() < count
        && let Some(chunk) = stream.data().await
    {
        let chunk = chunk.unwrap();
        stream.flow_control().release_capacity(chunk.len()).unwrap();
        received.extend_from_slice(&chunk);
    }
    received
}

/// `body` is made of bytes, for the agent.
async fn sent_again_whole(body: impl Fn(Vec<u8>, &Agent) -> RequestBody) {
    let bytes = pattern(0, 200_000);
    // Of the first time some has left, or all.
    for count in [1, bytes.len()] {
        let server = Arc::new(RawServer::bind());
        let mut arrived = serve(Arc::clone(&server), &[]);
        let agent = h2_agent();
        let (handler, mut events) = recorder();
        agent.dispatch(post(&server.origin(), body(bytes.clone(), &agent)), handler);
        let mut first = arrived.recv().await.unwrap();
        receive(first.request.body_mut(), count).await;
        settle().await;
        first.reset(Reason::REFUSED_STREAM);
        let mut again = arrived.recv().await.unwrap();
        let received = receive(again.request.body_mut(), usize::MAX).await;
        assert!(received == bytes, "after {count} bytes");
        again.answer();
        assert_eq!(events.finish().await.head().status, 200);
        assert_eq!(agent.gauge().held(), 0);
    }
}

/// Retries of reqwest know only requests without a body.
#[on_wire]
async fn a_body_of_bytes_is_sent_again_whole() {
    sent_again_whole(|bytes, _| RequestBody::Bytes(bytes.into())).await;
}

#[on_wire]
async fn a_body_that_its_owner_keeps_is_sent_again_whole() {
    sent_again_whole(|bytes, agent| kept(1024, agent.gauge(), bytes)).await;
}

#[both_engines]
async fn a_body_that_can_be_read_once_ends_in_one_clear_error() {
    let server = Arc::new(RawServer::bind());
    let mut arrived = serve(Arc::clone(&server), &[]);
    let agent = h2_agent();
    let (queue, _credit) = upload(1024, agent.gauge());
    queue.push(Bytes::from_static(b"once"));
    let (handler, mut events) = recorder();
    let body = RequestBody::Stream { queue, length: None };
    agent.dispatch(post(&server.origin(), body), handler);
    let mut first = arrived.recv().await.unwrap();
    assert_eq!(first.request.body_mut().data().await.unwrap().unwrap(), "once");
    first.reset(Reason::REFUSED_STREAM);
    let error = events.error().await;
    assert_eq!(error.error_code(), "ERR_HTTP2_STREAM_ERROR");
    assert_eq!(
        error.to_string(),
        "Stream closed with error code NGHTTP2_REFUSED_STREAM"
    );
    assert!(arrived.try_recv().is_err());
}

#[both_engines]
async fn a_server_that_always_refuses_is_asked_a_few_times() {
    let server = Arc::new(RawServer::bind());
    let mut arrived = serve(Arc::clone(&server), &[]);
    let agent = h2_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let refusing = tokio::spawn(async move {
        let mut count = 0;
        while let Some(request) = arrived.recv().await {
            count += 1;
            request.reset(Reason::REFUSED_STREAM);
            if count == 10 {
                break;
            }
        }
        count
    });
    assert_eq!(
        events.error().await.to_string(),
        "Stream closed with error code NGHTTP2_REFUSED_STREAM"
    );
    assert!(!refusing.is_finished(), "it is asked fewer than ten times");
}

#[both_engines]
async fn any_other_reset_is_an_error_with_its_code_and_nothing_is_sent_again() {
    for (reason, name) in [
        (Reason::INTERNAL_ERROR, "INTERNAL_ERROR"),
        (Reason::ENHANCE_YOUR_CALM, "ENHANCE_YOUR_CALM"),
        (Reason::HTTP_1_1_REQUIRED, "HTTP_1_1_REQUIRED"),
    ] {
        let server = Arc::new(RawServer::bind());
        let mut arrived = serve(Arc::clone(&server), &[]);
        let agent = h2_agent();
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.origin()), handler);
        arrived.recv().await.unwrap().reset(reason);
        let error = events.error().await;
        assert_eq!(
            error,
            CoreError::Http2 {
                code: "ERR_HTTP2_STREAM_ERROR",
                message: format!("Stream closed with error code NGHTTP2_{name}"),
            }
        );
        assert!(arrived.try_recv().is_err());
    }
}
