//! Request bodies of every kind.

use bytes::Bytes;
use sluice_core::{CoreError, DispatchOptions, Method, RequestBody, UploadError};
use sluice_test_macros::both_engines;

use crate::support::raw_server::RawServer;
use crate::support::{Outcome, agent, get, pattern, post, recorder, upload};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[both_engines]
async fn bytes_go_out_with_their_length() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(post(&server.origin(), RequestBody::Bytes("hello".into())), handler);
    let (mut connection, head) = server.request().await;
    assert_eq!(head.request_line(), "POST / HTTP/1.1");
    assert_eq!(
        (head.header("content-length"), head.header("transfer-encoding")),
        (Some("5"), None)
    );
    assert_eq!(connection.body(5).await, b"hello");
    connection.send(OK).await;
    assert!(events.finish().await.end.is_ok());
}

#[both_engines]
async fn large_bytes_arrive_whole() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(
        post(&server.origin(), RequestBody::Bytes(pattern(0, 3_000_000).into())),
        handler,
    );
    let (mut connection, head) = server.request().await;
    assert_eq!(head.header("content-length"), Some("3000000"));
    assert_eq!(connection.body(3_000_000).await, pattern(0, 3_000_000));
    connection.send(OK).await;
    assert!(events.finish().await.end.is_ok());
}

#[both_engines]
async fn a_stream_of_unknown_length_goes_out_chunked() {
    let server = RawServer::bind();
    let agent = agent();
    let (queue, _) = upload(1000, agent.gauge());
    let (handler, mut events) = recorder();
    agent.dispatch(
        post(
            &server.origin(),
            RequestBody::Stream {
                queue: queue.clone(),
                length: None,
            },
        ),
        handler,
    );
    queue.push("hello, ".into());
    let (mut connection, head) = server.request().await;
    assert_eq!(
        (head.header("content-length"), head.header("transfer-encoding")),
        (None, Some("chunked"))
    );
    queue.push("stream".into());
    queue.finish();
    assert_eq!(connection.chunked_body().await, b"hello, stream");
    connection.send(OK).await;
    assert!(events.finish().await.end.is_ok());
    assert_eq!(agent.gauge().held(), 0);
}

#[both_engines]
async fn a_stream_of_known_length_goes_out_with_it() {
    let server = RawServer::bind();
    let agent = agent();
    let (queue, _) = upload(1000, agent.gauge());
    let (handler, mut events) = recorder();
    agent.dispatch(
        post(
            &server.origin(),
            RequestBody::Stream {
                queue: queue.clone(),
                length: Some(13),
            },
        ),
        handler,
    );
    queue.push("hello, ".into());
    queue.push("stream".into());
    queue.finish();
    let (mut connection, head) = server.request().await;
    assert_eq!(
        (head.header("content-length"), head.header("transfer-encoding")),
        (Some("13"), None)
    );
    assert_eq!(connection.body(13).await, b"hello, stream");
    connection.send(OK).await;
    assert!(events.finish().await.end.is_ok());
}

#[both_engines]
async fn a_get_with_a_stream_of_unknown_length_sends_it_too() {
    let server = RawServer::bind();
    let agent = agent();
    let (queue, _) = upload(1000, agent.gauge());
    let (handler, mut events) = recorder();
    let body = RequestBody::Stream {
        queue: queue.clone(),
        length: None,
    };
    agent.dispatch(
        DispatchOptions {
            body,
            ..get(&server.origin())
        },
        handler,
    );
    queue.push("query".into());
    queue.finish();
    let (mut connection, head) = server.request().await;
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    assert_eq!(connection.chunked_body().await, b"query");
    connection.send(OK).await;
    assert!(events.finish().await.end.is_ok());
}

#[both_engines]
async fn a_get_with_bytes_sends_them() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(
        DispatchOptions {
            body: RequestBody::Bytes("query".into()),
            ..get(&server.origin())
        },
        handler,
    );
    let (mut connection, head) = server.request().await;
    assert_eq!(head.header("content-length"), Some("5"));
    assert_eq!(connection.body(5).await, b"query");
    connection.send(OK).await;
    assert!(events.finish().await.end.is_ok());
}

#[both_engines]
async fn an_empty_body_announces_zero_where_the_method_expects_one() {
    for (method, length) in [
        (Method::POST, Some("0")),
        (Method::PUT, Some("0")),
        (Method::PATCH, Some("0")),
        (Method::GET, None),
        (Method::HEAD, None),
        (Method::DELETE, None),
        (Method::OPTIONS, None),
    ] {
        let server = RawServer::bind();
        let agent = agent();
        let (handler, mut events) = recorder();
        agent.dispatch(DispatchOptions::new(server.origin(), method.clone(), "/"), handler);
        let (mut connection, head) = server.request().await;
        assert_eq!(
            (head.header("content-length"), head.header("transfer-encoding")),
            (length, None),
            "{method}"
        );
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        assert!(events.finish().await.end.is_ok());
    }
}

#[both_engines]
async fn a_stream_that_is_shorter_or_longer_than_announced_is_a_mismatch() {
    for text in ["short", "a longer text than announced"] {
        let server = RawServer::bind();
        let agent = agent();
        let (queue, _) = upload(1000, agent.gauge());
        let (handler, mut events) = recorder();
        agent.dispatch(
            post(
                &server.origin(),
                RequestBody::Stream {
                    queue: queue.clone(),
                    length: Some(10),
                },
            ),
            handler,
        );
        queue.push(text.into());
        queue.finish();
        server.accept().await.closed().await;
        assert_eq!(events.error().await, CoreError::RequestContentLengthMismatch);
    }
}

#[both_engines]
async fn a_failed_source_ends_the_request_and_drops_the_connection() {
    let server = RawServer::bind();
    let agent = agent();
    let (queue, _) = upload(1000, agent.gauge());
    let (handler, mut events) = recorder();
    agent.dispatch(
        post(
            &server.origin(),
            RequestBody::Stream {
                queue: queue.clone(),
                length: None,
            },
        ),
        handler,
    );
    queue.push("hello".into());
    let (mut connection, _) = server.request().await;
    queue.fail(UploadError::Source);
    connection.closed().await;
    assert_eq!(events.error().await, CoreError::RequestAborted);
    assert_eq!(agent.gauge().held(), 0);
}

#[both_engines]
async fn a_source_that_waits_for_credit_is_told_as_the_socket_drains() {
    let server = RawServer::bind();
    let agent = agent();
    let (queue, mut credit) = upload(64 * 1024, agent.gauge());
    let (handler, mut events) = recorder();
    agent.dispatch(
        post(
            &server.origin(),
            RequestBody::Stream {
                queue: queue.clone(),
                length: None,
            },
        ),
        handler,
    );
    let source = tokio::spawn(async move {
        let mut most_held = 0;
        for at in 0..1000 {
            let left = queue.push(pattern(at * 10_000, 10_000).into());
            most_held = most_held.max(64 * 1024 - left);
            if left <= 0 {
                credit.recv().await.unwrap();
            }
        }
        queue.finish();
        most_held
    });
    let (mut connection, _) = server.request().await;
    assert_eq!(connection.chunked_body().await, pattern(0, 10_000_000));
    connection.send(OK).await;
    assert!(events.finish().await.end.is_ok());
    assert!(source.await.unwrap() <= 64 * 1024 + 10_000);
    assert_eq!(agent.gauge().held(), 0);
}

/// An upload without end whose server answers `head` at once; the answer and the bytes of the upload.
async fn early(answer: &[u8]) -> (Outcome, usize) {
    let server = RawServer::with_small_buffers();
    let agent = agent();
    let (queue, mut credit) = upload(64 * 1024, agent.gauge());
    let (handler, mut events) = recorder();
    agent.dispatch(
        post(
            &server.origin(),
            RequestBody::Stream {
                queue: queue.clone(),
                length: None,
            },
        ),
        handler,
    );
    let source = tokio::spawn(async move {
        loop {
            if queue.push(Bytes::from_static(&[7; 10_000])) <= 0 && credit.recv().await.is_none() {
                return;
            }
        }
    });
    let (mut connection, _) = server.request().await;
    connection.send(answer).await;
    let outcome = events.finish().await;
    // The server goes on reading, but the client has stopped.
    let uploaded = connection.closed().await;
    source.abort();
    let _ = source.await;
    assert_eq!(agent.gauge().held(), 0);
    (outcome, uploaded)
}

#[both_engines]
async fn an_early_response_is_delivered_and_the_upload_stops() {
    let (outcome, _) = early(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\n\r\nbig").await;
    assert!(outcome.end.is_ok());
    assert_eq!((outcome.head().status, &outcome.body[..]), (413, &b"big"[..]));
}

#[both_engines]
async fn an_early_response_with_a_large_body_is_delivered_and_the_upload_stops() {
    let mut answer = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 60000\r\n\r\n".to_vec();
    answer.extend(pattern(0, 60_000));
    let (outcome, _) = early(&answer).await;
    assert!(outcome.end.is_ok(), "{:?}", outcome.end);
    assert_eq!((outcome.head().status, outcome.body), (413, pattern(0, 60_000)));
}

#[both_engines]
async fn a_request_that_is_aborted_drops_its_upload() {
    let server = RawServer::bind();
    let agent = agent();
    let (queue, _) = upload(1000, agent.gauge());
    let (handler, mut events) = recorder();
    let controller = agent.dispatch(
        post(
            &server.origin(),
            RequestBody::Stream {
                queue: queue.clone(),
                length: None,
            },
        ),
        handler,
    );
    queue.push("hello".into());
    let (mut connection, _) = server.request().await;
    controller.abort();
    assert_eq!(events.error().await, CoreError::RequestAborted);
    connection.closed().await;
    // Whatever the source still has goes nowhere and is not held.
    queue.push("more".into());
    assert_eq!(agent.gauge().held(), 0);
}

#[both_engines]
async fn an_upload_of_a_request_that_never_ran_is_not_held() {
    let server = RawServer::bind();
    let agent = agent();
    let (queue, _) = upload(1000, agent.gauge());
    queue.push("hello".into());
    agent.destroy();
    let (handler, mut events) = recorder();
    agent.dispatch(
        post(
            &server.origin(),
            RequestBody::Stream {
                queue: queue.clone(),
                length: None,
            },
        ),
        handler,
    );
    assert_eq!(events.error().await, CoreError::ClientDestroyed);
    assert_eq!(agent.gauge().held(), 0);
}

#[both_engines]
async fn the_server_may_read_the_request_while_it_answers() {
    let server = RawServer::bind();
    let agent = agent();
    let (queue, _) = upload(1000, agent.gauge());
    let (handler, mut events) = recorder();
    agent.dispatch(
        post(
            &server.origin(),
            RequestBody::Stream {
                queue: queue.clone(),
                length: None,
            },
        ),
        handler,
    );
    // The first chunk brings the head along.
    queue.push("one".into());
    let (mut connection, _) = server.request().await;
    connection
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    events.start().await;
    for word in ["one", "two", "three"] {
        if word != "one" {
            queue.push(word.into());
        }
        let echo = connection.body(word.len() + 5).await;
        connection.send(&echo).await;
        assert_eq!(events.data().await, word);
    }
    queue.finish();
    assert_eq!(connection.chunked_body().await, b"");
    connection.send("0\r\n\r\n").await;
    assert!(events.finish().await.end.is_ok());
}
