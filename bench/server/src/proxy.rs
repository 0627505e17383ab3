//! A forward proxy: requests in absolute form are sent on, `CONNECT` opens a tunnel.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::header::{HOST, HeaderValue};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::Error;
use crate::serve::{accept, listen};

type Body = BoxBody<Bytes, hyper::Error>;
type Sender = client::SendRequest<Incoming>;

/// Bytes a tunnel moves at once.
const TUNNEL: usize = 256 * 1024;

pub async fn forward() -> Result<u16, Error> {
    let (listener, port) = listen()?;
    accept(listener, |socket| async move {
        let upstream = Mutex::new(None);
        let service = service_fn(|request| handle(request, &upstream));
        let _ = server::Builder::new()
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
            .await;
    });
    Ok(port)
}

/// The connection to the origin that a client's connection has used last, and the authority it goes to.
type Upstream = Mutex<Option<(String, Sender)>>;

async fn handle(request: Request<Incoming>, upstream: &Upstream) -> Result<Response<Body>, Infallible> {
    let answer = if request.method() == Method::CONNECT {
        tunnel(request).await
    } else {
        send_on(request, upstream).await
    };
    Ok(answer.unwrap_or_else(|_| {
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }))
}

async fn tunnel(request: Request<Incoming>) -> Result<Response<Body>, Error> {
    let authority = request
        .uri()
        .authority()
        .ok_or("CONNECT without an authority")?
        .to_string();
    let mut server = TcpStream::connect(authority).await?;
    server.set_nodelay(true)?;
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else {
            return;
        };
        let mut client = TokioIo::new(upgraded);
        let _ = copy_bidirectional_with_sizes(&mut client, &mut server, TUNNEL, TUNNEL).await;
    });
    Ok(Response::new(empty()))
}

async fn send_on(mut request: Request<Incoming>, upstream: &Upstream) -> Result<Response<Body>, Error> {
    let authority = request.uri().authority().ok_or("not in absolute form")?.to_string();
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .parse::<Uri>()?;
    *request.uri_mut() = path;
    request.headers_mut().remove("proxy-connection");
    request.headers_mut().insert(HOST, HeaderValue::from_str(&authority)?);
    let mut slot = upstream.lock().await;
    let (mut sender, authority) = match slot.take() {
        Some((open, sender)) if open == authority && !sender.is_closed() => (sender, open),
        _ => (connect(&authority).await?, authority),
    };
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    *slot = Some((authority, sender));
    Ok(response.map(BodyExt::boxed))
}

async fn connect(authority: &str) -> Result<Sender, Error> {
    let socket = TcpStream::connect(authority).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = client::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}
