//! Bodies in every framing, cut in odd places, whole and truncated; trailers.

use sluice_core::CoreError;
use sluice_test_macros::both_engines;

use crate::support::mock::{mock_agent, mock_get};
use crate::support::raw_server::RawServer;
use crate::support::{Event, Outcome, agent, get, pattern, recorder, settle};

enum Then {
    StayOpen,
    Close,
    Reset,
}

/// Sends `pieces` one by one, each after the client has seen the one before (as far as it shows), then closes.
async fn answer_in(pieces: &[&[u8]], then: Then) -> Outcome {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let (mut connection, _) = server.request().await;
    for piece in pieces {
        connection.send(piece).await;
        // The piece is in the client's socket; let the client take it alone.
        settle().await;
    }
    match then {
        Then::StayOpen => {}
        Then::Close => drop(connection),
        Then::Reset => {
            connection.reset();
        }
    }
    events.finish().await
}

fn split(text: &[u8], at: usize) -> [&[u8]; 2] {
    [&text[..at], &text[at..]]
}

#[both_engines]
async fn a_chunked_body_is_whole_wherever_it_is_split() {
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\nA\r\n, chunked!\r\n0\r\nx-sum: 15\r\n\r\n";
    for at in 1..answer.len() {
        let outcome = answer_in(&split(answer, at), Then::StayOpen).await;
        assert_eq!(outcome.body, b"hello, chunked!", "split at {at}");
        assert_eq!(outcome.end.unwrap()["x-sum"], "15", "split at {at}");
    }
}

#[both_engines]
async fn a_sized_body_is_whole_wherever_it_is_split() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello sized";
    for at in 1..answer.len() {
        let outcome = answer_in(&split(answer, at), Then::StayOpen).await;
        assert_eq!(outcome.body, b"hello sized", "split at {at}");
        assert!(outcome.end.is_ok());
    }
}

#[both_engines]
async fn a_body_without_length_ends_with_the_connection() {
    let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello until the end";
    for at in 1..answer.len() {
        let outcome = answer_in(&split(answer, at), Then::Close).await;
        assert_eq!(outcome.body, b"hello until the end", "split at {at}");
        assert!(outcome.end.is_ok());
        assert_eq!(outcome.head().content_length, None);
    }
}

#[both_engines]
async fn a_large_body_of_many_chunks_is_whole() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let (mut connection, _) = server.request().await;
    connection
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let (mut at, mut length) = (0, 1);
    while at < 1_000_000 {
        connection.send(format!("{length:x}\r\n")).await;
        connection.send(pattern(at, length)).await;
        connection.send("\r\n").await;
        at += length;
        length = length * 3 % 65_537;
    }
    connection.send("0\r\n\r\n").await;
    let outcome = events.finish().await;
    assert!(outcome.end.is_ok());
    assert_eq!(outcome.body, pattern(0, at));
}

fn other_side_closed() -> CoreError {
    CoreError::Socket("other side closed".into())
}

/// The head and some data came; then one error.
fn assert_cut(outcome: Outcome, body: &[u8], error: &CoreError) {
    assert_eq!(outcome.body, body);
    assert_eq!(outcome.head().status, 200);
    assert_eq!(&outcome.end.unwrap_err(), error);
}

#[both_engines]
async fn a_sized_body_cut_short_is_its_data_and_one_error() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\nhello";
    assert_cut(answer_in(&[answer], Then::Close).await, b"hello", &other_side_closed());
    let [head, data] = split(answer, answer.len() - 5);
    assert_cut(
        answer_in(&[head, data], Then::Close).await,
        b"hello",
        &other_side_closed(),
    );
}

#[both_engines]
async fn a_small_sized_body_cut_short_is_its_data_and_one_error() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
    assert_cut(answer_in(&[answer], Then::Close).await, b"hello", &other_side_closed());
}

#[both_engines]
async fn a_chunked_body_cut_short_is_its_data_and_one_error() {
    for end in [
        "5\r\nhello\r\n",
        "5\r\nhello\r\n5\r\n",
        "5\r\nhello\r\n0\r\n",
        "9\r\nhello",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{end}");
        assert_cut(
            answer_in(&[answer.as_bytes()], Then::Close).await,
            b"hello",
            &other_side_closed(),
        );
    }
}

#[both_engines]
async fn a_reset_within_the_body_is_read_econnreset() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let connection = server
        .answer("HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\nhello")
        .await;
    events.start().await;
    assert_eq!(events.data().await, "hello");
    connection.reset();
    let error = events.error().await;
    assert_eq!(
        (error.error_code(), error.to_string().as_str()),
        ("ECONNRESET", "read ECONNRESET")
    );
}

#[both_engines]
async fn a_bad_chunk_size_is_a_parser_error() {
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n";
    let outcome = answer_in(&[answer], Then::Reset).await;
    let error = outcome.end.unwrap_err();
    assert_eq!(
        (error.error_name(), error.error_code()),
        ("HTTPParserError", "HPE_INVALID_CHUNK_SIZE")
    );
}

#[both_engines]
async fn trailers_after_a_large_body_come_with_the_end() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let (mut connection, _) = server.request().await;
    connection
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n")
        .await;
    events.start().await;
    connection
        .send("4\r\nbody\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\nx-b: caf")
        .await;
    connection.send(b"\xe9\r\n\r\n").await;
    let outcome = events.finish().await;
    let trailers = outcome.end.unwrap();
    let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
    assert_eq!(sums, ["1", "2"]);
    assert_eq!(trailers["x-b"].as_bytes(), b"caf\xe9");
    assert_eq!(outcome.body, b"body");
}

#[tokio::test]
async fn trailers_that_come_with_the_head_wait_for_an_end_that_comes_later() {
    let (agent, mut requests) = mock_agent();
    let (handler, mut events) = recorder();
    agent.dispatch(mock_get(), handler);
    let server = requests.recv().await.unwrap().respond_with(|server| {
        server.send("body");
        server.send_trailers([("x-sum".parse().unwrap(), "1".parse().unwrap())].into_iter().collect());
        server
    });
    events.start().await;
    assert_eq!(events.data().await, "body");
    drop(server);
    match events.next().await {
        Event::End(trailers) => assert_eq!(trailers["x-sum"], "1"),
        other => panic!("expected the end, got {other:?}"),
    }
}
