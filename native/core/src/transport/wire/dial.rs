//! From a route to a stream: directly or through a proxy, names, TCP or a unix socket, TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::handshake::Tls;
use super::proxy_tunnel::{connect_through, socks};
use super::stream::Stream;
use super::tcp::{SocketOptions, connect_unix};
use crate::error::CoreError;
use crate::origin::Origin;
use crate::proxy::{Proxy, ProxyProtocol, ProxyRules};
use crate::resolve::Resolver;
use crate::transport::failure::{Peer, connect_timeout};
use crate::transport::{Route, TransportConfig};

/// A stream that is ready to speak HTTP.
#[derive(Debug)]
pub struct Dialed {
    pub stream: Stream,
    pub local: Option<SocketAddr>,
    pub remote: Option<SocketAddr>,
    pub is_http2: bool,
    /// A proxy is at the other end, which is sent whole URLs, and these lines with every request.
    pub forward: Option<Arc<str>>,
}

/// Opens streams for every pool of an agent.
#[derive(Debug)]
pub struct Dialer {
    resolver: Resolver,
    socket: SocketOptions,
    connect_timeout: Option<Duration>,
    proxies: Option<ProxyRules>,
    /// An `http` origin is spoken to in HTTP/2, which a proxy cannot pass on.
    tunnels_all: bool,
    negotiating: Tls,
    http1: Tls,
}

impl Dialer {
    pub fn new(config: &TransportConfig) -> Self {
        Self {
            resolver: Resolver::new(config.dns.clone()),
            socket: config.socket.clone(),
            connect_timeout: config.connect_timeout,
            proxies: config.proxies.clone(),
            tunnels_all: config.http2_prior_knowledge,
            negotiating: Tls::new(config.tls.clone(), config.alpn()),
            http1: Tls::new(config.tls.clone(), vec![b"http/1.1"]),
        }
    }

    pub fn has_proxies(&self) -> bool {
        self.proxies.is_some()
    }

    pub fn offers_http2(&self) -> bool {
        self.negotiating.offers_http2()
    }

    /// `limit` is the request's own; `None` is the agent's.
    ///
    /// # Errors
    /// Node's errors: of the resolver, of `connect` (one per address tried), of TLS; those of a proxy; or the timeout.
    pub async fn dial(&self, route: &Route, limit: Option<Duration>) -> Result<Dialed, CoreError> {
        let limit = limit.or(self.connect_timeout).filter(|limit| *limit != Duration::MAX);
        let Some(limit) = limit else {
            return self.dial_unbounded(route).await;
        };
        match timeout(limit, self.dial_unbounded(route)).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(&route.origin, limit)),
        }
    }

    /// Names the proxy too: it may be the one that is silent.
    fn timed_out(&self, origin: &Origin, limit: Duration) -> CoreError {
        let mut error = connect_timeout(&Peer {
            origin,
            address: None,
            connect_timeout: Some(limit),
        });
        if let CoreError::ConnectTimeout { address, .. } = &mut error
            && let Some(proxy) = self.proxy_for(origin)
        {
            let proxy = proxy.origin;
            *address = format!("{address} through proxy {}:{}", proxy.host(), proxy.port());
        }
        error
    }

    fn proxy_for(&self, origin: &Origin) -> Option<Proxy> {
        self.proxies.as_ref()?.proxy_for(origin)
    }

    async fn dial_unbounded(&self, route: &Route) -> Result<Dialed, CoreError> {
        let origin = &route.origin;
        let mut dialed = self.open(route).await?;
        if origin.is_https() {
            let tls = if route.http1_only {
                &self.http1
            } else {
                &self.negotiating
            };
            let host = route.servername.as_deref().unwrap_or(origin.host());
            dialed.stream = tls.handshake(origin, host, dialed.stream).await?;
            dialed.is_http2 = dialed.stream.alpn() == Some(b"h2");
        }
        Ok(dialed)
    }

    /// A stream whose other end is the origin, or a proxy that passes requests on.
    async fn open(&self, route: &Route) -> Result<Dialed, CoreError> {
        let origin = &route.origin;
        if let Some(path) = &self.socket.socket_path {
            return Ok(Dialed {
                stream: connect_unix(path).await?,
                local: None,
                remote: None,
                is_http2: false,
                forward: None,
            });
        }
        let proxy = self.proxy_for(origin);
        let tcp = self
            .connect_tcp(proxy.as_ref().map_or(origin, |proxy| &proxy.origin))
            .await?;
        let dialed = Dialed {
            local: tcp.local_addr().ok(),
            remote: tcp.peer_addr().ok(),
            stream: Stream::Tcp(tcp),
            is_http2: false,
            forward: None,
        };
        match proxy {
            Some(proxy) => self.pass(dialed, route, proxy).await,
            None => Ok(dialed),
        }
    }

    /// Asks the proxy at the other end for a connection to `origin`, unless it is to pass on requests one by one.
    async fn pass(&self, mut dialed: Dialed, route: &Route, proxy: Proxy) -> Result<Dialed, CoreError> {
        let origin = &route.origin;
        if proxy.origin.is_https() {
            let host = proxy.origin.host();
            dialed.stream = self.http1.handshake(&proxy.origin, host, dialed.stream).await?;
        }
        match proxy.protocol {
            ProxyProtocol::Http if origin.is_https() || self.tunnels_all || route.tunnels => {
                connect_through(&mut dialed.stream, origin, &proxy).await?;
            }
            ProxyProtocol::Http => dialed.forward = Some(proxy.header_lines.into()),
            ProxyProtocol::Socks4 { resolves } | ProxyProtocol::Socks5 { resolves } => {
                let address = if resolves || origin.host().parse::<IpAddr>().is_ok() {
                    let found = self.resolver.addresses(origin.host()).await.map_err(|error| error.0)?;
                    // SOCKS4 has no way to write an IPv6 address.
                    let is_v4 = matches!(proxy.protocol, ProxyProtocol::Socks4 { .. });
                    let usable = found.iter().find(|address| !is_v4 || address.is_ipv4());
                    usable.or(found.first()).copied()
                } else {
                    None
                };
                socks(&mut dialed.stream, origin, address, &proxy).await?;
            }
        }
        Ok(dialed)
    }

    async fn connect_tcp(&self, origin: &Origin) -> Result<TcpStream, CoreError> {
        let addresses = self.resolver.addresses(origin.host()).await.map_err(|error| error.0)?;
        self.socket.connect_tcp(addresses, origin.port()).await
    }
}
