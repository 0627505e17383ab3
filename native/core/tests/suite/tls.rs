//! Certificates good and bad, under the codes that Node has for them.

use sluice_core::{Agent, AgentConfig, CoreError, DispatchOptions, TlsOptions, TlsVersions};
use sluice_test_macros::both_engines;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::certificates::{Authority, Identity, agent_trusting, trusting};
use crate::support::raw_server::RawServer;
use crate::support::{agent, agent_with, get, recorder};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// One request to a server that shows `identity`; what it ends with.
async fn ask(agent: &Agent, identity: &Identity, host: &str) -> Result<Vec<u8>, CoreError> {
    let server = RawServer::bind();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.https_origin(host)), handler);
    if let Ok(mut stream) = identity.accept(&server, &[]).await {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|count| count > 0) {}
        // A client that has refused the certificate is gone by now.
        let _ = stream.write_all(OK).await;
        let _ = stream.flush().await;
        let outcome = events.finish().await;
        return outcome.end.map(|_| outcome.body);
    }
    Err(events.error().await)
}

async fn refused(agent: &Agent, identity: &Identity, host: &str) -> &'static str {
    let error = ask(agent, identity, host).await.unwrap_err();
    assert_eq!(error.error_name(), "Error");
    error.error_code()
}

#[both_engines]
async fn a_certificate_of_a_trusted_authority_is_accepted() {
    let authority = Authority::new("one");
    let agent = agent_trusting(authority.pem());
    assert_eq!(
        ask(&agent, &authority.issue("localhost"), "localhost").await.unwrap(),
        b"ok"
    );
    assert_eq!(
        ask(&agent, &authority.issue("127.0.0.1"), "127.0.0.1").await.unwrap(),
        b"ok"
    );
}

#[both_engines]
async fn a_self_signed_leaf_given_as_ca_is_accepted() {
    let identity = Identity::self_signed("localhost");
    assert_eq!(
        ask(&agent_trusting(identity.pem()), &identity, "localhost")
            .await
            .unwrap(),
        b"ok"
    );
    let identity = Identity::self_signed_marked_as_authority("localhost");
    assert_eq!(
        ask(&agent_trusting(identity.pem()), &identity, "localhost")
            .await
            .unwrap(),
        b"ok"
    );
}

#[both_engines]
async fn a_self_signed_leaf_given_as_ca_must_still_be_valid_and_of_that_name() {
    for identity in [
        Identity::self_signed("other.test"),
        Identity::self_signed_marked_as_authority("other.test"),
    ] {
        let agent = agent_trusting(identity.pem());
        assert_eq!(
            refused(&agent, &identity, "localhost").await,
            "ERR_TLS_CERT_ALTNAME_INVALID"
        );
    }
    let identity = Identity::self_signed_expired("localhost");
    assert_eq!(
        refused(&agent_trusting(identity.pem()), &identity, "localhost").await,
        "CERT_HAS_EXPIRED"
    );
}

#[both_engines]
async fn an_expired_certificate_is_cert_has_expired() {
    let authority = Authority::new("one");
    let agent = agent_trusting(authority.pem());
    assert_eq!(
        refused(&agent, &authority.issue_expired("localhost"), "localhost").await,
        "CERT_HAS_EXPIRED"
    );
}

#[both_engines]
async fn a_self_signed_certificate_is_depth_zero_self_signed_cert() {
    let trusts_another = agent_trusting(Authority::new("another").pem());
    for agent in [&trusts_another, &agent()] {
        for identity in [
            Identity::self_signed("localhost"),
            Identity::self_signed_marked_as_authority("localhost"),
        ] {
            assert_eq!(
                refused(agent, &identity, "localhost").await,
                "DEPTH_ZERO_SELF_SIGNED_CERT"
            );
        }
    }
}

#[both_engines]
async fn a_certificate_of_another_name_is_err_tls_cert_altname_invalid() {
    let authority = Authority::new("one");
    let agent = agent_trusting(authority.pem());
    let error = ask(&agent, &authority.issue("other.test"), "localhost")
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), "ERR_TLS_CERT_ALTNAME_INVALID");
    assert!(error.to_string().contains("localhost"), "{error}");
}

#[both_engines]
async fn an_unknown_issuer_is_told_as_openssl_does() {
    let authority = Authority::new("one");
    let agent = agent_trusting(Authority::new("another").pem());
    assert_eq!(
        refused(&agent, &authority.issue("localhost"), "localhost").await,
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
    );
    let with_chain = authority.issue_with_chain("localhost");
    assert_eq!(
        refused(&agent, &with_chain, "localhost").await,
        "SELF_SIGNED_CERT_IN_CHAIN"
    );
}

#[both_engines]
async fn any_certificate_is_accepted_when_the_caller_says_so() {
    let tls = TlsOptions {
        accept_invalid: true,
        ..TlsOptions::default()
    };
    let mut config = AgentConfig::default();
    config.transport.tls = tls;
    let agent = agent_with(config);
    for identity in [
        Identity::self_signed_expired("other.test"),
        Authority::new("one").issue("other.test"),
    ] {
        assert_eq!(ask(&agent, &identity, "localhost").await.unwrap(), b"ok");
    }
}

#[both_engines]
async fn a_server_of_plain_http_is_err_ssl_wrong_version_number() {
    for answer in [
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        "nonsense, and more than a few bytes of it",
    ] {
        let server = RawServer::bind();
        let agent = agent();
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.https_origin("localhost")), handler);
        let mut connection = server.accept().await;
        connection.stream.readable().await.unwrap();
        connection.send(answer).await;
        assert_eq!(
            events.error().await.error_code(),
            "ERR_SSL_WRONG_VERSION_NUMBER",
            "{answer}"
        );
    }
}

#[both_engines]
async fn a_server_that_closes_within_the_handshake_is_a_reset() {
    let server = RawServer::bind();
    let agent = agent();
    for is_reset in [false, true] {
        let (handler, mut events) = recorder();
        agent.dispatch(get(&server.https_origin("localhost")), handler);
        let mut connection = server.accept().await;
        let mut hello = [0; 8192];
        assert!(connection.stream.read(&mut hello).await.unwrap() > 0);
        if is_reset {
            connection.reset();
        } else {
            drop(connection);
        }
        let error = events.error().await;
        assert!(
            matches!(error.error_code(), "ECONNRESET" | "UND_ERR_SOCKET"),
            "{error:?}"
        );
    }
}

#[both_engines]
async fn no_protocol_in_common_is_an_alert() {
    let authority = Authority::new("one");
    let identity = authority.issue("localhost");
    let server = RawServer::bind();
    let mut config = trusting(authority.pem());
    config.transport.allow_http2 = false;
    let agent = agent_with(config);
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.https_origin("localhost")), handler);
    identity.accept(&server, &[b"h2"]).await.unwrap_err();
    assert_eq!(
        events.error().await.error_code(),
        "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL"
    );
}

#[both_engines]
async fn a_bad_ca_is_an_invalid_argument() {
    for ca in [
        "",
        "no PEM at all",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let server = RawServer::bind();
        let (handler, mut events) = recorder();
        agent_trusting(ca.into()).dispatch(get(&server.https_origin("localhost")), handler);
        assert_eq!(events.error().await.error_code(), "UND_ERR_INVALID_ARG", "{ca}");
    }
}

#[both_engines]
async fn a_body_cut_without_close_notify_is_an_error() {
    let authority = Authority::new("one");
    let server = RawServer::bind();
    let agent = agent_trusting(authority.pem());
    let (handler, mut events) = recorder();
    agent.dispatch(
        DispatchOptions {
            body_timeout: None,
            ..get(&server.https_origin("localhost"))
        },
        handler,
    );
    let mut stream = authority.issue("localhost").accept(&server, &[]).await.unwrap();
    stream
        .write_all(b"HTTP/1.1 200 OK\r\n\r\nno length, so the end must be told")
        .await
        .unwrap();
    stream.flush().await.unwrap();
    let mut head = [0; 4096];
    assert!(stream.read(&mut head).await.unwrap() > 0);
    // The socket's end without TLS's own: somebody may have cut it.
    drop(stream.into_inner().0);
    assert_eq!(events.error().await, CoreError::Socket("other side closed".into()));
}

/// A request to a server that wants a certificate of the client: its outcome, and how many the server was shown.
async fn ask_mutual(shows: bool, versions: TlsVersions) -> (Result<Vec<u8>, CoreError>, Option<usize>) {
    let authority = Authority::new("servers");
    let clients = Authority::new("clients");
    let mut config = trusting(authority.pem());
    if shows {
        config.transport.tls.identities = vec![clients.issue("client.test").as_client()];
    }
    config.transport.tls.versions = versions;
    let agent = agent_with(config);
    let server = RawServer::bind();
    let (handler, mut events) = recorder();
    agent.dispatch(get(&server.https_origin("localhost")), handler);
    let acceptor = authority.issue("localhost").mutual_acceptor(&clients);
    let accepted = acceptor.accept(server.accept().await.stream).await;
    let Ok(mut stream) = accepted else {
        return (Err(events.error().await), None);
    };
    let shown = stream.get_ref().1.peer_certificates().map(<[_]>::len);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|count| count > 0) {}
    stream.write_all(OK).await.unwrap();
    stream.flush().await.unwrap();
    let outcome = events.finish().await;
    (outcome.end.map(|_| outcome.body), shown)
}

#[both_engines]
async fn a_server_that_asks_is_shown_the_certificate_of_the_client() {
    for versions in [TlsVersions::Only12, TlsVersions::Only13] {
        let (outcome, shown) = ask_mutual(true, versions).await;
        assert_eq!((outcome.unwrap().as_slice(), shown), (b"ok" as &[u8], Some(1)));
    }
}

#[both_engines]
async fn a_server_that_is_shown_none_says_so_by_an_alert() {
    let (outcome, _) = ask_mutual(false, TlsVersions::Only13).await;
    assert_eq!(
        outcome.unwrap_err().error_code(),
        "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED"
    );
}

#[both_engines]
async fn a_key_of_another_certificate_is_an_invalid_argument() {
    let authority = Authority::new("one");
    let mut config = trusting(authority.pem());
    let mut identity = authority.issue("a.test").as_client();
    identity.key = authority.issue("b.test").as_client().key;
    config.transport.tls.identities = vec![identity];
    let server = RawServer::bind();
    let (handler, mut events) = recorder();
    agent_with(config).dispatch(get(&server.https_origin("localhost")), handler);
    assert_eq!(events.error().await.error_code(), "UND_ERR_INVALID_ARG");
}
