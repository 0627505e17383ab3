//! What a plain response looks like to its handler.

use sluice_core::transport::EngineKind;
use sluice_core::{CoreError, DispatchOptions, Method};
use sluice_test_macros::both_engines;

use crate::support::raw_server::RawServer;
use crate::support::{Outcome, agent, engine, get, pattern, recorder};

/// The answer to one request, and the request line the server saw.
async fn exchange(method: Method, answer: &[u8]) -> (Outcome, String) {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(DispatchOptions::new(server.origin(), method, "/a/path?q=1"), handler);
    let (mut connection, head) = server.request().await;
    connection.send(answer).await;
    let line = head.request_line().to_owned();
    (events.finish().await, line)
}

#[both_engines]
async fn a_get_brings_status_reason_headers_and_body() {
    let (outcome, line) = exchange(
        Method::GET,
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: 1\r\n\r\nhello",
    )
    .await;
    assert_eq!(line, "GET /a/path?q=1 HTTP/1.1");
    assert_eq!((outcome.head().status, &outcome.head().reason[..]), (200, &b"OK"[..]));
    assert_eq!(outcome.head().version, http::Version::HTTP_11);
    assert_eq!(outcome.head().content_length, Some(5));
    assert_eq!(outcome.header("x-a"), "1");
    assert_eq!(outcome.body, b"hello");
    assert!(outcome.end.unwrap().is_empty());
}

#[both_engines]
async fn a_small_complete_response_is_one_event() {
    let (outcome, _) = exchange(Method::GET, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    assert!(outcome.is_complete);
    let (outcome, _) = exchange(
        Method::GET,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n",
    )
    .await;
    assert!(outcome.is_complete, "chunked, with trailers");
    assert_eq!(
        (&outcome.body[..], &outcome.end.unwrap()["x-t"]),
        (&b"hello"[..], &"1".parse().unwrap())
    );
    let (outcome, _) = exchange(Method::GET, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert!(outcome.is_complete, "empty");
}

#[both_engines]
async fn the_answer_to_a_head_request_keeps_its_content_length_and_has_no_body() {
    let (outcome, line) = exchange(Method::HEAD, b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n").await;
    assert_eq!(line, "HEAD /a/path?q=1 HTTP/1.1");
    assert_eq!(outcome.header("content-length"), "5000");
    assert!(outcome.end.is_ok() && outcome.body.is_empty());
}

#[both_engines]
async fn a_204_has_no_body() {
    let (outcome, _) = exchange(Method::DELETE, b"HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(outcome.head().status, 204);
    assert!(outcome.end.is_ok() && outcome.body.is_empty());
}

#[both_engines]
async fn a_304_with_a_content_length_has_no_body() {
    let (outcome, _) = exchange(
        Method::GET,
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\netag: x\r\n\r\n",
    )
    .await;
    assert_eq!((outcome.head().status, outcome.header("content-length")), (304, "77"));
    assert!(outcome.end.is_ok() && outcome.body.is_empty());
}

#[both_engines]
async fn redirects_and_encoded_bodies_come_as_they_are() {
    let answer = b"HTTP/1.1 302 Found\r\nlocation: /b\r\nset-cookie: a=1\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc";
    let (outcome, _) = exchange(Method::GET, answer).await;
    assert_eq!((outcome.head().status, outcome.header("location")), (302, "/b"));
    assert_eq!(
        (outcome.header("content-encoding"), &outcome.body[..]),
        ("gzip", &b"abc"[..])
    );
}

#[both_engines]
async fn statuses_outside_the_usual_range_come_through() {
    let (outcome, _) = exchange(Method::GET, b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!((outcome.head().status, &outcome.head().reason[..]), (999, &b"Odd"[..]));
}

#[both_engines]
async fn informational_responses_are_not_the_answer() {
    let answer = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (outcome, _) = exchange(Method::GET, answer).await;
    assert_eq!((outcome.head().status, &outcome.body[..]), (200, &b"ok"[..]));
}

#[both_engines]
async fn the_reason_phrase_is_what_the_server_sent() {
    for (line, reason) in [
        ("HTTP/1.1 200 Fine by me", "Fine by me"),
        ("HTTP/1.1 404 Not Found", "Not Found"),
        ("HTTP/1.1 200 ", ""),
        ("HTTP/1.1 200", ""),
        ("HTTP/1.1 599 ", ""),
    ] {
        let (outcome, _) = exchange(Method::GET, format!("{line}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
        assert_eq!(String::from_utf8_lossy(&outcome.head().reason), reason, "{line}");
    }
}

#[both_engines]
async fn headers_keep_their_order_their_duplicates_and_their_bytes() {
    let answer = b"HTTP/1.1 200 OK\r\nX-B: 1\r\nSet-Cookie: a=1\r\nx-a: caf\xe9\r\nset-cookie: b=2\r\nSet-Cookie: c=3\r\ncontent-length: 0\r\n\r\n";
    let (outcome, _) = exchange(Method::GET, answer).await;
    let headers = &outcome.head().headers;
    let mut names: Vec<&[u8]> = headers.iter().map(|(name, _)| name).collect();
    if engine() == EngineKind::Reqwest {
        // Its header map puts duplicates beside the first.
        assert_eq!(names[1..4], [b"set-cookie"; 3]);
        names = vec![
            b"X-B",
            b"Set-Cookie",
            b"x-a",
            b"set-cookie",
            b"Set-Cookie",
            b"content-length",
        ];
    }
    let wanted: [&[u8]; 6] = [
        b"X-B",
        b"Set-Cookie",
        b"x-a",
        b"set-cookie",
        b"Set-Cookie",
        b"content-length",
    ];
    assert_eq!(names, wanted);
    let cookies: Vec<&[u8]> = headers.get_all("set-cookie").collect();
    assert_eq!(cookies, [b"a=1", b"b=2", b"c=3"]);
    assert_eq!(headers.get("X-A"), Some(b"caf\xe9" as &[u8]));
}

#[both_engines]
async fn header_values_go_out_as_the_bytes_they_are() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    let mut options = get(&server.origin());
    options.headers.append("x-a", b"caf\xe9");
    options.headers.append("x-two", "1");
    options.headers.append("x-two", "2");
    agent.dispatch(options, handler);
    let mut connection = server.accept().await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        tokio::io::AsyncReadExt::read_buf(&mut connection.stream, &mut head)
            .await
            .unwrap();
    }
    let has = |line: &[u8]| head.windows(line.len()).any(|part| part == line);
    assert!(has(b"\r\nx-a: caf\xe9\r\n"));
    assert!(has(b"\r\nx-two: 1\r\nx-two: 2\r\n"));
    connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert!(events.finish().await.end.is_ok());
}

#[both_engines]
async fn a_body_larger_than_one_read_comes_as_start_data_and_end() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let (mut connection, _) = server.request().await;
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n")
        .await;
    assert_eq!(events.start().await.content_length, Some(300_000));
    connection.send(pattern(0, 300_000)).await;
    let mut body = Vec::new();
    while body.len() < 300_000 {
        body.extend(events.data().await);
    }
    assert_eq!(body, pattern(0, 300_000));
    let rest = events.finish().await;
    assert_eq!((rest.body.len(), rest.end.unwrap().len()), (0, 0));
}

#[both_engines]
async fn one_connection_serves_one_request_after_another() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    let mut connection = server.answer("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na").await;
    assert_eq!(events.finish().await.body, b"a");
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.origin()), handler);
    connection.head().await;
    connection.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb").await;
    assert_eq!(events.finish().await.body, b"b");
}

#[both_engines]
async fn a_response_may_have_many_headers() {
    let limit = if engine() == EngineKind::Reqwest { 100 } else { 512 };
    for (count, is_accepted) in [(limit, true), (limit + 1, false)] {
        let mut answer = String::from("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n");
        (1..count).for_each(|at| answer.push_str(&format!("x-{at}: {at}\r\n")));
        let (outcome, _) = exchange(Method::GET, (answer + "\r\n").as_bytes()).await;
        assert_eq!(outcome.end.is_ok(), is_accepted, "{count}");
        if let Err(error) = outcome.end {
            assert_eq!(error, CoreError::HeadersOverflow);
        }
    }
}
