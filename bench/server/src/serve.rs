//! The listeners of HTTP: plain HTTP/1.1, TLS with either version, and HTTP/2 without TLS.

use std::net::{Ipv4Addr, SocketAddr};

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Error;
use crate::routes::answer;

/// Sockets that may wait to be accepted: the idle-socket scenario opens ten thousand at once.
const BACKLOG: i32 = 16 * 1024;

/// A listener on a port of the system's choice, of the loopback interface only.
pub fn listen() -> Result<(TcpListener, u16), Error> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into())?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Accepts for ever and gives each connection a task. A failed accept (no descriptors left) is tried again later.
pub fn accept<F, T>(listener: TcpListener, serve: F)
where
    F: Fn(TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    // A socket that is gone already says so at its first read.
                    let _ = socket.set_nodelay(true);
                    tokio::spawn(serve(socket));
                }
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    });
}

pub async fn http1() -> Result<u16, Error> {
    let (listener, port) = listen()?;
    accept(listener, serve_http1);
    Ok(port)
}

pub async fn h2c() -> Result<u16, Error> {
    let (listener, port) = listen()?;
    accept(listener, serve_http2);
    Ok(port)
}

pub async fn tls(acceptor: TlsAcceptor) -> Result<u16, Error> {
    let (listener, port) = listen()?;
    accept(listener, move |socket| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(socket).await else {
                return;
            };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                serve_http2(stream).await;
            } else {
                serve_http1(stream).await;
            }
        }
    });
    Ok(port)
}

// How a connection ends is the client's business: the client under test reports what it saw.
async fn serve_http1(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let _ = http1::Builder::new()
        .max_buf_size(1024 * 1024)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
}

async fn serve_http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let _ = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(16 * 1024)
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(64 * 1024 * 1024)
        .max_frame_size(64 * 1024)
        .max_send_buf_size(1024 * 1024)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
}
