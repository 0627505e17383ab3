//! From a route to a stream: names, TCP with happy eyeballs or a unix socket, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::io::Stream;
use crate::error::{CoreError, SystemError};
use crate::origin::Origin;
use crate::resolve::Resolver;
use crate::tls::{TlsOptions, client_config};
use crate::transport::failure::{Peer, Phase, classify, connect_timeout, system_error};
use crate::transport::{Route, TransportConfig};

/// A stream that is ready to speak HTTP.
#[derive(Debug)]
pub struct Dialed {
    pub stream: Stream,
    pub local: Option<SocketAddr>,
    pub remote: Option<SocketAddr>,
    pub is_http2: bool,
}

/// What is done to every socket.
#[derive(Debug, Clone)]
pub struct SocketOptions {
    pub local_address: Option<IpAddr>,
    /// Connects to this unix socket instead of the origin's host.
    pub socket_path: Option<PathBuf>,
    /// Tries the addresses of both families; only the first address otherwise.
    pub auto_select_family: bool,
    /// How long one address is tried before the next is tried beside it (RFC 8305 §5).
    pub attempt_delay: Duration,
    /// TCP keep-alive probes after so much silence; `None` sends none.
    pub keep_alive: Option<Duration>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            local_address: None,
            socket_path: None,
            auto_select_family: true,
            attempt_delay: Duration::from_millis(250),
            keep_alive: Some(Duration::from_secs(60)),
        }
    }
}

/// Opens streams for every pool of an agent.
#[derive(Debug)]
pub struct Dialer {
    resolver: Resolver,
    socket: SocketOptions,
    connect_timeout: Option<Duration>,
    negotiating: Tls,
    http1: Tls,
}

#[derive(Debug)]
struct Tls {
    options: TlsOptions,
    alpn: Vec<&'static [u8]>,
    /// Made at the first HTTPS request: loading the platform's roots takes milliseconds.
    config: OnceLock<Result<Arc<ClientConfig>, CoreError>>,
}

impl Dialer {
    pub fn new(config: &TransportConfig) -> Self {
        let tls = |alpn| Tls {
            options: config.tls.clone(),
            alpn,
            config: OnceLock::new(),
        };
        Self {
            resolver: Resolver::default(),
            socket: config.socket.clone(),
            connect_timeout: config.connect_timeout,
            negotiating: tls(config.alpn()),
            http1: tls(vec![b"http/1.1"]),
        }
    }

    pub fn offers_http2(&self) -> bool {
        self.negotiating.alpn.contains(&(b"h2" as &[u8]))
    }

    /// `limit` is the request's own; `None` is the agent's.
    ///
    /// # Errors
    /// Node's errors: of the resolver, of `connect` (one per address tried), of TLS; or the timeout.
    pub async fn dial(&self, route: &Route, limit: Option<Duration>) -> Result<Dialed, CoreError> {
        let limit = limit.or(self.connect_timeout).filter(|limit| *limit != Duration::MAX);
        let Some(limit) = limit else {
            return self.dial_unbounded(route).await;
        };
        match timeout(limit, self.dial_unbounded(route)).await {
            Ok(result) => result,
            Err(_) => Err(connect_timeout(&Peer {
                origin: &route.origin,
                address: None,
                connect_timeout: Some(limit),
            })),
        }
    }

    async fn dial_unbounded(&self, route: &Route) -> Result<Dialed, CoreError> {
        let origin = &route.origin;
        let (stream, local, remote) = match &self.socket.socket_path {
            Some(path) => (connect_unix(path).await?, None, None),
            None => {
                let stream = self.connect_tcp(origin).await?;
                let (local, remote) = (stream.local_addr().ok(), stream.peer_addr().ok());
                (Stream::Tcp(stream), local, remote)
            }
        };
        let stream = if origin.is_https() {
            let tls = if route.http1_only {
                &self.http1
            } else {
                &self.negotiating
            };
            let host = route.servername.as_deref().unwrap_or(origin.host());
            tls.handshake(origin, host, stream).await?
        } else {
            stream
        };
        Ok(Dialed {
            is_http2: stream.alpn() == Some(b"h2"),
            stream,
            local,
            remote,
        })
    }

    async fn connect_tcp(&self, origin: &Origin) -> Result<TcpStream, CoreError> {
        let addresses = match origin.host().parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, 0)],
            Err(_) => self
                .resolver
                .lookup(origin.host().to_owned())
                .await
                .map_err(|error| CoreError::System(error.0))?,
        };
        let with_port = |address: SocketAddr| SocketAddr::new(address.ip(), origin.port());
        let addresses: Vec<SocketAddr> = interleave(addresses.into_iter().map(with_port).collect());
        let count = if self.socket.auto_select_family {
            addresses.len()
        } else {
            1
        };
        self.race(&addresses[..count.min(addresses.len())]).await
    }

    /// One address after the other, the next as soon as the one before has failed or has taken too long.
    async fn race(&self, addresses: &[SocketAddr]) -> Result<TcpStream, CoreError> {
        let mut attempts = FuturesUnordered::new();
        let mut left = addresses.iter();
        let mut errors: Vec<SystemError> = Vec::new();
        loop {
            if let Some(address) = left.next() {
                attempts.push(self.connect(*address));
            }
            let has_more = left.len() > 0;
            tokio::select! {
                Some(attempt) = attempts.next() => match attempt {
                    Ok(stream) => return Ok(stream),
                    Err(error) => errors.push(error),
                },
                () = sleep(self.socket.attempt_delay), if has_more => {}
            }
            if attempts.is_empty() && left.len() == 0 {
                return Err(CoreError::connects(errors));
            }
        }
    }

    async fn connect(&self, address: SocketAddr) -> Result<TcpStream, SystemError> {
        let failed = |error: io::Error| system_error(&error, "connect", Some(address));
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }
        .map_err(failed)?;
        if let Some(local) = self.socket.local_address {
            socket
                .bind(SocketAddr::new(local, 0))
                .map_err(|error| system_error(&error, "bind", Some(SocketAddr::new(local, 0))))?;
        }
        let stream = socket.connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        if let Some(delay) = self.socket.keep_alive {
            // Without it a dead peer is found later; no reason to fail.
            let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(delay));
        }
        Ok(stream)
    }
}

impl Tls {
    async fn handshake(&self, origin: &Origin, host: &str, stream: Stream) -> Result<Stream, CoreError> {
        let made = self
            .config
            .get_or_init(|| client_config(&self.options, &self.alpn).map(Arc::new));
        let config = made.clone()?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| CoreError::InvalidArgument(format!("invalid servername {host}")))?;
        match TlsConnector::from(config).connect(name, stream).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(CoreError::Tls {
                code: "ECONNRESET",
                message: "Client network socket disconnected before secure TLS connection was established".into(),
            }),
            Err(error) => Err(classify(
                &error,
                Phase::Connect,
                &Peer {
                    origin,
                    address: None,
                    connect_timeout: None,
                },
            )),
        }
    }
}

#[cfg(unix)]
async fn connect_unix(path: &std::path::Path) -> Result<Stream, CoreError> {
    let connected = tokio::net::UnixStream::connect(path).await;
    connected.map(Stream::Unix).map_err(|error| {
        let mut error = system_error(&error, "connect", None);
        error.address = Some(path.to_string_lossy().into_owned());
        CoreError::System(error)
    })
}

#[cfg(not(unix))]
async fn connect_unix(_: &std::path::Path) -> Result<Stream, CoreError> {
    Err(CoreError::NotSupported(
        "socketPath is not supported on this platform".into(),
    ))
}

/// The family of the first address, then the other, in turns (RFC 8305 §4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else {
        return addresses;
    };
    let (preferred, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv4() == first);
    let mut mixed = Vec::with_capacity(preferred.len() + other.len());
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    loop {
        let pair = [preferred.next(), other.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_from_the_first() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let given = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"].map(parse).to_vec();
        let wanted = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"].map(parse).to_vec();
        assert_eq!(interleave(given), wanted);
    }
}
