//! Redirects are followed as Fetch §4.4 says.

use std::sync::Arc;

use bytes::Bytes;
use sluice_core::{CoreError, DispatchOptions, FetchOptions, HeaderList, Method, RedirectPolicy, RequestBody};
use sluice_test_macros::{both_engines, on_wire};

use crate::support::raw_server::{Head, RawServer};
use crate::support::{Events, Outcome, agent, get, kept, pattern, recorder, upload};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn fetch(server: &RawServer, method: Method, body: RequestBody) -> DispatchOptions {
    let mut headers = HeaderList::new();
    for (name, value) in [
        ("Authorization", "secret"),
        ("cookie", "a=1"),
        ("proxy-authorization", "secret"),
        ("Content-Type", "text/plain"),
        ("content-language", "de"),
        ("x-kept", "1"),
    ] {
        headers.append(name, value);
    }
    DispatchOptions {
        body,
        headers,
        fetch: Some(FetchOptions::default()),
        ..DispatchOptions::new(server.origin(), method, "/from/here?q")
    }
}

fn redirect(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 3\r\n\r\nold")
}

fn send(options: DispatchOptions) -> Events {
    let (handler, events) = recorder();
    agent().dispatch(options, handler);
    events
}

/// One redirect from a server to itself, and the request that came of it.
async fn once(method: Method, body: RequestBody, status: u16, location: &str) -> (Outcome, Head, RawServer) {
    let server = RawServer::bind();
    let mut events = send(fetch(&server, method, body));
    let (mut connection, first) = server.request().await;
    if first.text.contains("content-length: 4") {
        connection.body(4).await;
    }
    connection.send(redirect(status, location)).await;
    // The redirect's own body was there: the connection serves again.
    let head = connection.head().await;
    if head.text.contains("content-length: 4") {
        assert_eq!(connection.body(4).await, b"data");
    }
    connection.send(OK).await;
    (events.finish().await, head, server)
}

fn data() -> RequestBody {
    RequestBody::Bytes(Bytes::from_static(b"data"))
}

#[both_engines]
async fn the_response_is_the_last_ones_and_says_where_it_came_from() {
    let (outcome, head, server) = once(Method::GET, RequestBody::Empty, 302, "../there?x=%20#part").await;
    assert_eq!(head.request_line(), "GET /there?x=%20 HTTP/1.1");
    assert_eq!((outcome.head().status, &outcome.body[..]), (200, &b"ok"[..]));
    let redirected = outcome.head().redirected.clone().unwrap();
    assert_eq!(redirected.url, format!("{}/there?x=%20", server.origin().as_str()));
    assert!(!redirected.is_cross_origin);
}

#[on_wire]
async fn a_post_becomes_a_get_without_its_body_after_301_302_and_303() {
    for status in [301, 302, 303] {
        let (_, head, _) = once(Method::POST, data(), status, "/").await;
        assert_eq!(head.request_line(), "GET / HTTP/1.1", "{status}");
        for name in ["content-type", "content-language", "content-length"] {
            assert!(!head.text.to_lowercase().contains(name), "{name} after {status}");
        }
        assert!(head.text.contains("x-kept: 1"));
    }
}

#[on_wire]
async fn a_put_stays_one_after_301_and_302_but_not_after_303() {
    for (status, line) in [(301, "PUT"), (302, "PUT"), (303, "GET"), (307, "PUT"), (308, "PUT")] {
        let (_, head, _) = once(Method::PUT, data(), status, "/").await;
        assert_eq!(head.request_line(), format!("{line} / HTTP/1.1"), "{status}");
    }
}

#[on_wire]
async fn a_head_request_stays_one() {
    for status in [301, 302, 303, 307, 308] {
        let server = RawServer::bind();
        let mut events = send(fetch(&server, Method::HEAD, RequestBody::Empty));
        let (mut connection, _) = server.request().await;
        connection
            .send(format!("HTTP/1.1 {status} Moved\r\nlocation: /b\r\n\r\n"))
            .await;
        assert_eq!(connection.head().await.request_line(), "HEAD /b HTTP/1.1", "{status}");
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await;
        assert_eq!(events.finish().await.head().status, 200);
    }
}

#[both_engines]
async fn bytes_are_sent_again_after_307_and_308() {
    for status in [307, 308] {
        let (outcome, head, _) = once(Method::POST, data(), status, "/again").await;
        assert_eq!(head.request_line(), "POST /again HTTP/1.1");
        assert!(head.text.contains("Content-Type: text/plain") || head.text.contains("content-type: text/plain"));
        assert_eq!(outcome.body, b"ok");
    }
}

/// With the first time cut short by the answer.
#[both_engines]
async fn what_its_owner_keeps_is_sent_again_after_307_whole() {
    const LENGTH: usize = 16 * 1024 * 1024;
    let gauge = Arc::default();
    let server = RawServer::with_small_buffers();
    let body = kept(100_000, &gauge, pattern(0, LENGTH));
    let mut events = send(fetch(&server, Method::POST, body));
    let (mut first, _) = server.request().await;
    assert_eq!(first.body(200_000).await, pattern(0, 200_000));
    first.send(redirect(307, "/again")).await;
    let (mut second, head) = server.request().await;
    assert_eq!(head.request_line(), "POST /again HTTP/1.1");
    let mut at = 0;
    while at < LENGTH {
        let piece = second.body((LENGTH - at).min(1024 * 1024)).await;
        assert!(piece == pattern(at, piece.len()), "at {at}");
        at += piece.len();
    }
    second.send(OK).await;
    assert!(events.finish().await.end.is_ok());
    assert_eq!(gauge.held(), 0);
}

#[both_engines]
async fn a_stream_that_was_read_cannot_be_sent_again() {
    for status in [301, 302, 307, 308] {
        let server = RawServer::bind();
        let (queue, _credit) = upload(1024, &Arc::default());
        queue.push(Bytes::from_static(b"data"));
        queue.finish();
        let mut events = send(fetch(
            &server,
            Method::POST,
            RequestBody::Stream { queue, length: Some(4) },
        ));
        let (mut connection, _) = server.request().await;
        connection.body(4).await;
        connection.send(redirect(status, "/")).await;
        match events.error().await {
            CoreError::Redirect(text) => assert!(text.contains(&format!("{status}")), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[both_engines]
async fn a_stream_is_done_with_after_303() {
    let server = RawServer::bind();
    let (queue, _credit) = upload(1024, &Arc::default());
    queue.push(Bytes::from_static(b"data"));
    queue.finish();
    let mut events = send(fetch(
        &server,
        Method::POST,
        RequestBody::Stream { queue, length: Some(4) },
    ));
    let (mut connection, _) = server.request().await;
    connection.body(4).await;
    connection.send(redirect(303, "/")).await;
    assert_eq!(connection.head().await.request_line(), "GET / HTTP/1.1");
    connection.send(OK).await;
    assert_eq!(events.finish().await.body, b"ok");
}

#[both_engines]
async fn secrets_stay_with_their_origin() {
    let (_, head, _) = once(Method::GET, RequestBody::Empty, 302, "/").await;
    for name in ["authorization", "cookie", "proxy-authorization", "x-kept"] {
        assert!(head.text.to_lowercase().contains(&format!("\r\n{name}: ")), "{name}");
    }
    let (first, second) = (RawServer::bind(), RawServer::bind());
    let mut options = fetch(&first, Method::GET, RequestBody::Empty);
    options.host = Some("virtual.test".into());
    let mut events = send(options);
    let location = format!("{}/b", second.origin().as_str());
    let _connection = first.answer(redirect(302, &location)).await;
    let (mut connection, head) = second.request().await;
    for name in ["authorization", "cookie", "proxy-authorization"] {
        assert!(!head.text.to_lowercase().contains(name), "{name}");
    }
    assert!(head.text.contains("x-kept: 1"));
    assert!(
        head.text.contains(&format!("ost: {}", second.origin().authority())),
        "{}",
        head.text
    );
    connection.send(OK).await;
    let redirected = events.finish().await.head().redirected.clone().unwrap();
    assert_eq!((redirected.url, redirected.is_cross_origin), (location, true));
}

#[on_wire]
async fn twenty_redirects_are_followed_and_one_more_is_an_error() {
    for (redirects, is_followed) in [(20, true), (21, false)] {
        let server = RawServer::bind();
        let mut events = send(fetch(&server, Method::GET, RequestBody::Empty));
        let (mut connection, _) = server.request().await;
        for hop in 0..redirects {
            connection.send(redirect(302, &format!("/{hop}"))).await;
            if hop < 20 {
                connection.head().await;
            }
        }
        if is_followed {
            connection.send(OK).await;
        }
        let outcome = events.finish().await;
        assert_eq!(outcome.end.is_ok(), is_followed);
        if let Err(error) = outcome.end {
            assert!(error.to_string().contains("redirect count exceeded"), "{error}");
        }
    }
}

#[on_wire]
async fn a_location_that_cannot_be_followed_is_an_error() {
    for (location, text) in [
        ("ftp://a/b", "scheme"),
        ("data:,a", "scheme"),
        ("//user:secret@127.0.0.1/", "credentials"),
        ("http://127.0.0.1:22/", "bad port"),
        ("http://:99999/", "invalid location"),
    ] {
        let server = RawServer::bind();
        let mut events = send(fetch(&server, Method::GET, RequestBody::Empty));
        let _connection = server.answer(redirect(302, location)).await;
        let error = events.error().await;
        assert!(error.to_string().contains(text), "{location}: {error}");
        assert_eq!(error.error_code(), "SLUICE_ERR_REDIRECT");
    }
}

#[on_wire]
async fn a_redirect_without_location_and_other_statuses_are_plain_responses() {
    for head in [
        "302 Found\r\n",
        "300 Many\r\nlocation: /\r\n",
        "201 Made\r\nlocation: /\r\n",
    ] {
        let server = RawServer::bind();
        let mut events = send(fetch(&server, Method::GET, RequestBody::Empty));
        let answer = format!("HTTP/1.1 {head}content-length: 2\r\n\r\nhi");
        let _connection = server.answer(answer).await;
        let outcome = events.finish().await;
        assert_eq!(outcome.body, b"hi");
        assert_eq!(outcome.head().redirected, None);
    }
}

#[both_engines]
async fn a_location_in_utf8_is_read_as_such() {
    let (_, head, _) = once(Method::GET, RequestBody::Empty, 302, "/\u{e9}?\u{20ac}").await;
    assert_eq!(head.request_line(), "GET /%C3%A9?%E2%82%AC HTTP/1.1");
}

#[both_engines]
async fn manual_gives_the_redirect_and_error_refuses_it() {
    for policy in [RedirectPolicy::Manual, RedirectPolicy::Error] {
        let server = RawServer::bind();
        let mut options = fetch(&server, Method::GET, RequestBody::Empty);
        options.fetch = Some(FetchOptions {
            redirect: policy,
            ..FetchOptions::default()
        });
        let mut events = send(options);
        let _connection = server.answer(redirect(302, "/b")).await;
        let outcome = events.finish().await;
        match outcome.end {
            Ok(_) => assert_eq!(
                (outcome.head().status, &outcome.body[..], policy),
                (302, &b"old"[..], RedirectPolicy::Manual)
            ),
            Err(error) => {
                assert_eq!(error.to_string(), "unexpected redirect (302)");
                assert_eq!(policy, RedirectPolicy::Error);
            }
        }
    }
}

#[both_engines]
async fn a_dispatch_follows_nothing() {
    let server = RawServer::bind();
    let mut events = send(get(&server.origin()));
    let _connection = server.answer(redirect(302, "/b")).await;
    assert_eq!(events.finish().await.head().status, 302);
}
