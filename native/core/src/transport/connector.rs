//! From a URI to a connection: names, TCP with happy eyeballs, TLS.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::TransportConfig;
use super::connection::KillSwitch;
use crate::error::CoreError;
use crate::resolve::{ResolveError, Resolver};
use crate::tls::{TlsOptions, client_config};

/// A connect failed, and core knows why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ConnectFailed(pub CoreError);

/// Connects for hyper-util's pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connector {
    tcp: HttpConnector<Resolver>,
    tls: Arc<Tls>,
    connect_timeout: Option<Duration>,
}

#[derive(Debug)]
struct Tls {
    options: TlsOptions,
    alpn: &'static [&'static [u8]],
    /// Made at the first HTTPS request: loading the platform's roots takes milliseconds.
    config: OnceLock<Result<Arc<ClientConfig>, CoreError>>,
}

impl Connector {
    pub fn new(config: &TransportConfig, resolver: Resolver) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tcp.set_local_address(config.local_address);
        Self {
            tcp,
            tls: Arc::new(Tls {
                options: config.tls.clone(),
                alpn: config.alpn(),
                config: OnceLock::new(),
            }),
            connect_timeout: config.connect_timeout,
        }
    }
}

impl Tls {
    async fn handshake(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, BoxError> {
        let made = self
            .config
            .get_or_init(|| client_config(&self.options, self.alpn).map(Arc::new));
        let config = made.clone().map_err(ConnectFailed)?;
        let name = ServerName::try_from(host.to_owned())?;
        Ok(TlsConnector::from(config).connect(name, stream).await?)
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting = Pin<Box<dyn Future<Output = Result<WireIo, BoxError>> + Send>>;

impl Service<Uri> for Connector {
    type Response = WireIo;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let Self {
            tcp,
            tls,
            connect_timeout,
        } = self.clone();
        let connecting = async move { connect(tcp, &tls, uri).await };
        Box::pin(async move {
            match connect_timeout {
                None => connecting.await,
                Some(limit) => match timeout(limit, connecting).await {
                    Ok(result) => result,
                    Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
                },
            }
        })
    }
}

async fn connect(mut tcp: HttpConnector<Resolver>, tls: &Tls, uri: Uri) -> Result<WireIo, BoxError> {
    let is_https = uri.scheme_str() == Some("https");
    let host = uri
        .host()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let stream = tcp.call(uri).await?;
    if !is_https {
        return Ok(Stream::Plain(stream).into());
    }
    let stream = tls.handshake(&host, stream.into_inner()).await?;
    Ok(Stream::Tls(Box::new(TokioIo::new(stream))).into())
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<std::net::SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move { Ok(resolver.lookup(name.as_str().to_owned()).await?.into_iter()) })
    }
}

/// A connection, with or without TLS, that can be closed from outside.
#[derive(Debug)]
pub struct WireIo {
    stream: Stream,
    switch: KillSwitch,
}

#[derive(Debug)]
enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl From<Stream> for WireIo {
    fn from(stream: Stream) -> Self {
        Self {
            stream,
            switch: KillSwitch::default(),
        }
    }
}

impl Connection for WireIo {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.switch.clone());
        match &self.stream {
            Stream::Tls(stream) if stream.inner().get_ref().1.alpn_protocol() == Some(b"h2") => {
                connected.negotiated_h2()
            }
            Stream::Plain(_) | Stream::Tls(_) => connected,
        }
    }
}

impl Read for WireIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.switch.is_killed(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl Write for WireIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.switch.count_write();
        match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.switch.count_write();
        match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }
}
