//! What is served, over every version of HTTP:
//!
//! | path | answer |
//! |---|---|
//! | `/` | 26 bytes of JSON |
//! | `/bytes/N` | N bytes with a content-length |
//! | `/chunked/N` | N bytes without one |
//! | `/latency/MS` | as `/`, after MS milliseconds |
//! | `/slow/N/MS` | N KiB, one every MS milliseconds |
//! | `/gather/N` | as `/`, once N requests wait for it |
//! | `/upload` | the count of bytes received, as JSON |
//! | `/echo` | the request's body, as it comes |
//! | `/gzip/N` | N bytes of text, gzip-encoded |

use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Mutex, watch};

use crate::bodies::{Answer, Filler, Slow, full, gzip};

const HELLO: &str = r#"{"message":"hello, world"}"#;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

pub async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches('/').split('/');
    let route = parts.next().unwrap_or_default();
    let numbers: Vec<u64> = parts.map_while(|part| part.parse().ok()).collect();
    Ok(match (route, numbers.as_slice()) {
        ("", []) => {
            drain(request).await;
            hello()
        }
        ("bytes", [size]) => with_type(BINARY, Answer::Filler(Filler::sized(*size))),
        ("chunked", [size]) => with_type(BINARY, Answer::Filler(Filler::unsized_(*size))),
        ("latency", [ms]) => {
            tokio::time::sleep(Duration::from_millis(*ms)).await;
            hello()
        }
        ("slow", [count, ms]) => with_type(
            BINARY,
            Answer::Slow(Slow::new(*count, Duration::from_millis((*ms).max(1)))),
        ),
        ("gather", [count]) => {
            gather(*count).await;
            hello()
        }
        ("upload", []) => match count(request.into_body()).await {
            Some(bytes) => with_type(JSON, full(format!(r#"{{"bytes":{bytes}}}"#))),
            None => status(StatusCode::BAD_REQUEST),
        },
        ("echo", []) => with_type(BINARY, Answer::Echo(request.into_body())),
        ("gzip", [size]) => match gzip(*size) {
            Ok(encoded) => {
                let mut response = with_type(BINARY, full(encoded));
                response
                    .headers_mut()
                    .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                response
            }
            Err(_) => status(StatusCode::INTERNAL_SERVER_ERROR),
        },
        _ => status(StatusCode::NOT_FOUND),
    })
}

fn hello() -> Response<Answer> {
    with_type(JSON, full(Bytes::from_static(HELLO.as_bytes())))
}

fn with_type(value: HeaderValue, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

fn status(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// A POST to `/` is answered after its body, as servers do.
async fn drain(request: Request<Incoming>) {
    if request.method() != Method::GET {
        count(request.into_body()).await;
    }
}

/// The bytes of a body; none when it breaks off.
async fn count(mut body: Incoming) -> Option<u64> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.ok()?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Some(bytes)
}

/// The gathering under way: those who wait, and the signal that lets them go.
struct Gathering {
    waiting: u64,
    release: watch::Sender<bool>,
}

static GATHERING: LazyLock<Mutex<Gathering>> = LazyLock::new(|| {
    Mutex::new(Gathering {
        waiting: 0,
        release: watch::channel(false).0,
    })
});

async fn gather(wanted: u64) {
    let mut released = {
        let mut gathering = GATHERING.lock().await;
        gathering.waiting += 1;
        if gathering.waiting >= wanted {
            gathering.waiting = 0;
            let next = watch::channel(false).0;
            let _ = std::mem::replace(&mut gathering.release, next).send(true);
            return;
        }
        gathering.release.subscribe()
    };
    let _ = released.wait_for(|is_released| *is_released).await;
}
