//! What a redirect may lead to has a size.

use sluice_core::{CoreError, DispatchOptions, FetchOptions, Method};
use sluice_test_macros::on_wire;

use crate::support::raw_server::RawServer;
use crate::support::{agent, recorder};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn redirect(location: &[u8]) -> Vec<u8> {
    let head = b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: ";
    [&head[..], location, b"\r\n\r\n"].concat()
}

/// The answer to a request whose server redirects it to each of `locations`.
async fn follow(server: RawServer, locations: Vec<Vec<u8>>) -> Result<String, CoreError> {
    let options = DispatchOptions {
        fetch: Some(FetchOptions::default()),
        max_header_size: 256 * 1024,
        ..DispatchOptions::new(server.origin(), Method::GET, "/")
    };
    let (handler, mut events) = recorder();
    agent().dispatch(options, handler);
    let serving = tokio::spawn(async move {
        let (mut connection, _) = server.request().await;
        for location in locations {
            connection.send(redirect(&location)).await;
            connection.head().await;
        }
        connection.send(OK).await;
    });
    let outcome = events.finish().await;
    serving.abort();
    outcome.end.clone()?;
    Ok(outcome.head().redirected.clone().unwrap().url)
}

#[on_wire]
async fn a_url_that_grows_with_every_redirect_ends_in_an_error_that_says_so() {
    let server = RawServer::bind();
    let origin = server.origin();
    // A byte that is no UTF-8 becomes a character of three, each of which is escaped to three more.
    let grows = [&[0xe9; 3000][..], b"/"].concat();
    let CoreError::Redirect(text) = follow(server, vec![grows; 8]).await.unwrap_err() else {
        panic!("another error")
    };
    let expected = format!("the redirect's URL is longer than 65536 bytes: {}", origin.as_str());
    assert_eq!(text, expected);
}

#[on_wire]
async fn a_url_may_have_64_kib_without_its_fragment() {
    for (excess, is_followed) in [(0, true), (1, false)] {
        let server = RawServer::bind();
        let path = 64 * 1024 + excess - server.origin().as_str().len() - 1;
        let location = format!("/{}#{}", "a".repeat(path), "f".repeat(1000));
        let outcome = follow(server, vec![location.into_bytes()]).await;
        assert_eq!(outcome.is_ok(), is_followed, "{excess}");
        assert!(outcome.is_err() || outcome.unwrap().len() == 64 * 1024);
    }
}

#[on_wire]
async fn an_error_shows_no_more_than_the_beginning_of_a_long_host() {
    for prefix in ["ftp://", "http://[::"] {
        let location = [prefix.as_bytes(), &[b'a'; 60_000]].concat();
        let CoreError::Redirect(text) = follow(RawServer::bind(), vec![location]).await.unwrap_err() else {
            panic!("another error")
        };
        assert!(text.len() < 400, "{text}");
    }
}
