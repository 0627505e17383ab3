//! The same responses read here and by hyper: what is taken here has the status and the body that hyper finds.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::decoder::tests::{CORPUS, Random, Seen, mutate, see};

/// Status and body, where the response is whole.
type Whole = Option<(u16, Vec<u8>)>;

fn ours(seen: &Seen) -> Whole {
    let is_whole = seen.fault.is_none() && seen.cut.is_none();
    let (status, ..) = seen.head.as_ref().filter(|_| is_whole)?;
    Some((*status, seen.body.clone()))
}

async fn hypers(method: Method, response: &[u8]) -> Whole {
    let (client, mut server) = tokio::io::duplex(64 * 1024);
    let answer = response.to_vec();
    let server = tokio::spawn(async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && server.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
        let _ = server.write_all(&answer).await;
    });
    let io = TokioIo::new(client);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri("/")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let response = sender.try_send_request(request).await;
    let whole = match response {
        Err(_) => None,
        Ok(response) => {
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok();
            body.map(|body| (status, body.to_bytes().to_vec()))
        }
    };
    driver.abort();
    server.abort();
    whole
}

/// Where hyper takes less than llhttp and this: a switch that it has not asked for, half a line break before a head, control
/// characters in a reason.
fn is_stricter_there(seen: &Seen, response: &[u8]) -> bool {
    let has_half = response.windows(2).any(|two| two[0] == b'\r' && two[1] != b'\n');
    let has_control = response
        .iter()
        .any(|&byte| byte.is_ascii_control() && !matches!(byte, b'\r' | b'\n'));
    has_half || has_control || seen.head.as_ref().is_some_and(|(status, ..)| *status == 101)
}

#[tokio::test]
async fn what_is_taken_is_what_hyper_finds() {
    let mut random = Random(0xd1ff);
    let cases = if std::env::var_os("SLUICE_FUZZ_CASES").is_some() {
        1_000_000
    } else {
        1_000
    };
    let mut compared = 0;
    for case in 0..cases {
        let mut response = CORPUS[random.below(CORPUS.len())].to_vec();
        mutate(&mut response, &mut random);
        let method = if random.below(8) == 0 {
            Method::HEAD
        } else {
            Method::GET
        };
        let seen = see(method.clone(), std::iter::once(response.clone()));
        let Some(here) = ours(&seen).filter(|_| !is_stricter_there(&seen, &response)) else {
            continue;
        };
        let text = String::from_utf8_lossy(&response).into_owned();
        compared += 1;
        assert_eq!(hypers(method, &response).await, Some(here), "case {case}: {text:?}");
    }
    assert!(compared > cases / 5, "{compared} of {cases}");
}
