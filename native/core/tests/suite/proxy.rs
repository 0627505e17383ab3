//! Proxies: what they are told, byte by byte, and what becomes of their answers. Engine wire, whichever is asked for.

use sluice_core::transport::TransportConfig;
use sluice_core::{Agent, AgentConfig, CoreError, Origin, ProxyRules, ProxyUrls};
use sluice_test_macros::{both_engines, on_wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::certificates::{Authority, trusting};
use crate::support::raw_server::{Connection, RawServer};
use crate::support::{agent_with, get, recorder};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn rules(url: &str) -> ProxyRules {
    ProxyRules::new(ProxyUrls {
        all: url.into(),
        ..ProxyUrls::default()
    })
    .unwrap()
}

fn agent(url: &str) -> Agent {
    agent_with(AgentConfig {
        transport: TransportConfig {
            proxies: Some(rules(url)),
            ..TransportConfig::default()
        },
        ..AgentConfig::default()
    })
}

fn http(proxy: &RawServer) -> String {
    format!("http://user:pass@127.0.0.1:{}", proxy.port())
}

fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

#[both_engines]
async fn a_request_is_passed_on_with_its_whole_url() {
    let proxy = RawServer::bind();
    let agent = agent(&http(&proxy));
    let (handler, mut events) = recorder();
    let mut options = get(&origin("http://name.test:81"));
    options.target = "/a?b=c".into();
    agent.dispatch(options, handler);
    let (mut connection, head) = proxy.request().await;
    assert_eq!(
        head.text,
        "GET http://name.test:81/a?b=c HTTP/1.1\r\nhost: name.test:81\r\nconnection: keep-alive\r\n\
         proxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n"
    );
    connection.send(OK).await;
    assert_eq!(events.finish().await.body, b"ok");
}

#[on_wire]
async fn a_tunnel_is_asked_for_and_tls_runs_through_it() {
    let proxy = RawServer::bind();
    let authority = Authority::new("one");
    let mut config = trusting(authority.pem());
    config.transport.proxies = Some(rules(&http(&proxy)));
    let agent = agent_with(config);
    let (handler, mut events) = recorder();
    agent.dispatch(get(&origin("https://name.test")), handler);
    let (mut connection, head) = proxy.request().await;
    assert_eq!(
        head.text,
        "CONNECT name.test:443 HTTP/1.1\r\nhost: name.test:443\r\nproxy-connection: keep-alive\r\n\
         proxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n"
    );
    connection.send("HTTP/1.1 200 OK\r\nx: y\r\n\r\n").await;
    let acceptor = authority.issue("name.test").acceptor(&[]);
    let mut stream = acceptor.accept(connection.stream).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_buf(&mut head).await.unwrap();
    }
    assert!(head.starts_with(b"GET / HTTP/1.1\r\nhost: name.test\r\n"));
    assert!(!String::from_utf8(head).unwrap().contains("proxy-"));
    stream.write_all(OK.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(events.finish().await.body, b"ok");
}

/// What a request ends with whose CONNECT is answered like this.
async fn refused(answer: &str) -> CoreError {
    let proxy = RawServer::bind();
    let agent = agent(&http(&proxy));
    let (handler, mut events) = recorder();
    agent.dispatch(get(&origin("https://[::1]:44")), handler);
    let (mut connection, head) = proxy.request().await;
    assert_eq!(head.request_line(), "CONNECT [::1]:44 HTTP/1.1");
    connection.send(answer).await;
    drop(connection);
    events.error().await
}

#[on_wire]
async fn a_refused_tunnel_has_the_status_of_the_proxy() {
    for status in [302, 407, 502] {
        let error = refused(&format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n")).await;
        assert_eq!(error.status_code(), Some(status));
        assert_eq!(
            (error.error_name(), error.error_code()),
            ("RequestAbortedError", "UND_ERR_ABORTED")
        );
        assert_eq!(
            error.to_string(),
            format!("Proxy response ({status}) !== 200 when HTTP Tunneling")
        );
    }
}

#[on_wire]
async fn what_is_no_proxy_is_told_from_what_is_one() {
    let socket = |text: &str| CoreError::Socket(text.into());
    assert_eq!(refused("").await, socket("the proxy closed the connection"));
    assert_eq!(
        refused("220 ready\r\n\r\n").await,
        socket("the proxy does not speak HTTP")
    );
    assert_eq!(
        refused("HTTP/1.1 200 OK\r\n\r\nsurprise").await,
        socket("the proxy sent data ahead of the origin")
    );
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(20_000));
    assert_eq!(refused(&endless).await, CoreError::HeadersOverflow);
}

async fn read<const N: usize>(connection: &mut Connection) -> [u8; N] {
    let bytes = connection.body(N).await;
    bytes.try_into().unwrap()
}

#[on_wire]
async fn socks5_is_spoken_with_a_name_and_a_password() {
    let proxy = RawServer::bind();
    let agent = agent(&format!("socks5h://user:pass@127.0.0.1:{}", proxy.port()));
    let (handler, mut events) = recorder();
    agent.dispatch(get(&origin("http://name.test")), handler);
    let mut connection = proxy.accept().await;
    let [version, count] = read(&mut connection).await;
    let methods = connection.body(count.into()).await;
    assert!(version == 5 && methods.contains(&2), "{methods:?}");
    connection.send([5, 2]).await;
    assert_eq!(&read::<11>(&mut connection).await, b"\x01\x04user\x04pass");
    connection.send([1, 0]).await;
    assert_eq!(
        &read::<16>(&mut connection).await,
        b"\x05\x01\x00\x03\x09name.test\x00\x50"
    );
    connection.send([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    let head = connection.head().await;
    assert_eq!(head.request_line(), "GET / HTTP/1.1", "the origin is at the other end");
    connection.send(OK).await;
    assert_eq!(events.finish().await.body, b"ok");
}

#[on_wire]
async fn socks4_is_given_an_address_and_socks4a_a_name() {
    for (scheme, wanted) in [
        ("socks4", b"\x04\x01\x00\x50\x7f\x00\x00\x01me\x00".to_vec()),
        (
            "socks4a",
            b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00name.test\x00".to_vec(),
        ),
    ] {
        let proxy = RawServer::bind();
        let mut config = AgentConfig::default();
        config.transport.proxies = Some(rules(&format!("{scheme}://me@127.0.0.1:{}", proxy.port())));
        let here = vec![[127, 0, 0, 1].into()];
        config.transport.dns.hosts.insert("name.test".into(), here);
        let agent = agent_with(config);
        let (handler, mut events) = recorder();
        agent.dispatch(get(&origin("http://name.test")), handler);
        let mut connection = proxy.accept().await;
        assert_eq!(connection.body(wanted.len()).await, wanted, "{scheme}");
        connection.send([0, 0x5a, 0, 0, 0, 0, 0, 0]).await;
        connection.head().await;
        connection.send(OK).await;
        assert_eq!(events.finish().await.body, b"ok");
    }
}

#[on_wire]
async fn a_refusal_of_socks_has_its_number() {
    let proxy = RawServer::bind();
    let agent = agent(&format!("socks5h://127.0.0.1:{}", proxy.port()));
    let (handler, mut events) = recorder();
    agent.dispatch(get(&origin("http://name.test")), handler);
    let mut connection = proxy.accept().await;
    connection.body(3).await;
    connection.send([5, 0]).await;
    connection.body(16).await;
    connection.send([5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    let error = events.error().await;
    assert_eq!(
        (error.error_name(), error.error_code()),
        ("Socks5ProxyError", "UND_ERR_SOCKS5_REPLY_5")
    );
}
