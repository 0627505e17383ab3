//! The engine on reqwest.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::OnceCell;

use super::body::ResponseBody;
use super::failure::{Peer, Phase, classify, connect_timeout};
use super::http2_windows::Http2Windows;
use super::{Framing, Route, Transport, TransportBody, TransportConfig, TransportLease, WireRequest, WireResponse};
use crate::connection::ConnectionInfo;
use crate::error::CoreError;
use crate::header_list::HeaderList;
use crate::origin::Origin;
use crate::resolve::Resolver;
use crate::response::ResponseStart;
use crate::tls::client_config;

/// reqwest with everything off that a dispatcher must not do: redirects, decoding, cookies, referer, proxies from the
/// environment. Its retries are of what an HTTP/2 server gave back unprocessed, and stay.
#[derive(Debug)]
pub struct ReqwestTransport {
    config: TransportConfig,
    resolver: Resolver,
    plain: reqwest::Client,
    /// Made at the first HTTPS request: loading the platform's roots takes milliseconds.
    secure: OnceCell<Result<reqwest::Client, CoreError>>,
    secure_http1: OnceCell<Result<reqwest::Client, CoreError>>,
}

impl ReqwestTransport {
    /// # Errors
    /// [`CoreError::InvalidArgument`] for settings that cannot work.
    pub fn new(config: TransportConfig) -> Result<Self, CoreError> {
        let resolver = Resolver::new(config.dns.clone());
        let plain = build(&config, &resolver, unused_tls()?)?;
        Ok(Self {
            config,
            resolver,
            plain,
            secure: OnceCell::new(),
            secure_http1: OnceCell::new(),
        })
    }

    async fn client(&self, route: &Route) -> Result<&reqwest::Client, CoreError> {
        if !route.origin.is_https() {
            return Ok(&self.plain);
        }
        let is_http1 = route.http1_only || !self.config.allow_http2;
        let slot = if is_http1 { &self.secure_http1 } else { &self.secure };
        let make = async || {
            let config = TransportConfig {
                allow_http2: !is_http1,
                http2_prior_knowledge: self.config.http2_prior_knowledge && !is_http1,
                ..self.config.clone()
            };
            build(
                &config,
                &self.resolver,
                client_config(&config.tls, &config.alpn()).await?,
            )
        };
        slot.get_or_init(make).await.as_ref().map_err(Clone::clone)
    }
}

/// The client for `http:` origins never speaks TLS; an empty root store costs nothing to build.
fn unused_tls() -> Result<rustls::ClientConfig, CoreError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| CoreError::InvalidArgument(error.to_string()))?;
    Ok(builder
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

fn build(
    config: &TransportConfig,
    resolver: &Resolver,
    tls: rustls::ClientConfig,
) -> Result<reqwest::Client, CoreError> {
    let windows = Http2Windows::without_budget(config);
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .tls_backend_preconfigured(tls)
        .dns_resolver(resolver.clone())
        .tcp_nodelay(true)
        // How long a server may take nothing is for the caller's timeouts to say; its default is 30 s.
        .tcp_user_timeout(None::<Duration>)
        .http2_initial_stream_window_size(windows.stream)
        .http2_initial_connection_window_size(windows.connection);
    builder = match config.keep_alive.timeout {
        Some(timeout) => builder.pool_idle_timeout(timeout),
        None => builder.pool_max_idle_per_host(0),
    };
    if let Some(timeout) = config.connect_timeout {
        builder = builder.connect_timeout(timeout);
    }
    if config.http2_prior_knowledge {
        builder = builder.http2_prior_knowledge();
    } else if !config.allow_http2 {
        builder = builder.http1_only();
    }
    if let Some(address) = config.socket.local_address {
        builder = builder.local_address(address);
    }
    builder
        .build()
        .map_err(|error| CoreError::InvalidArgument(error.to_string()))
}

/// A response's body.
pub type ReqwestBody = ResponseBody<reqwest::Body>;

impl TransportBody for ReqwestBody {}

impl Transport for ReqwestTransport {
    type Lease = ReqwestLease;

    async fn checkout(&self, route: Route) -> Result<ReqwestLease, CoreError> {
        // An address asks no resolver, and so is not looked at there.
        if self.resolver.has_policy() && route.origin.host().parse::<IpAddr>().is_ok() {
            let checked = self.resolver.addresses(route.origin.host()).await;
            checked.map_err(|error| error.0)?;
        }
        Ok(ReqwestLease {
            client: self.client(&route).await?.clone(),
            origin: route.origin,
            resolver: self.resolver.clone(),
            connect_timeout: self.config.connect_timeout,
        })
    }
}

/// reqwest takes a connection of its own choice when the request is sent.
#[derive(Debug)]
pub struct ReqwestLease {
    client: reqwest::Client,
    origin: Origin,
    resolver: Resolver,
    connect_timeout: Option<Duration>,
}

impl ReqwestLease {
    fn peer(&self) -> Peer<'_> {
        Peer {
            origin: &self.origin,
            address: self.resolver.last_address(self.origin.host()),
            connect_timeout: self.connect_timeout,
        }
    }
}

impl TransportLease for ReqwestLease {
    type Body = ReqwestBody;

    fn info(&self) -> Option<&Arc<ConnectionInfo>> {
        None
    }

    async fn send(
        self,
        request: &mut WireRequest,
        _: &mut (dyn FnMut(ResponseStart) + Send),
    ) -> Result<WireResponse<ReqwestBody>, CoreError> {
        let url = format!("{}{}", self.origin.as_str(), request.target);
        let url = reqwest::Url::parse(&url)
            .map_err(|error| CoreError::InvalidArgument(format!("invalid request path: {error}")))?;
        let headers = headers(request)?;
        let mut wire = reqwest::Request::new(request.method.clone(), url);
        *wire.headers_mut() = headers;
        *wire.body_mut() = request.body.take().map(reqwest::Body::wrap);
        match self.client.execute(wire).await {
            Ok(response) => {
                let mut response = http::Response::<reqwest::Body>::from(response);
                let start = ResponseStart {
                    status: response.status().as_u16(),
                    reason: reason_phrase(&mut response),
                    headers: HeaderList::from(response.headers()),
                    version: response.version(),
                    content_length: None,
                    redirected: None,
                };
                let address = self.resolver.last_address(self.origin.host());
                Ok(WireResponse {
                    body: ResponseBody::new(response.into_body(), self.origin, address, &start),
                    start,
                    upgrade: None,
                })
            }
            Err(error) => {
                // Its text would show the path and the query.
                let error = error.without_url();
                let peer = self.peer();
                if error.is_connect() && error.is_timeout() {
                    return Err(connect_timeout(&peer));
                }
                let phase = if error.is_connect() {
                    Phase::Connect
                } else {
                    Phase::Head
                };
                Err(classify(&error, phase, &peer))
            }
        }
    }
}

/// HTTP/2 sheds what is HTTP/1.1's.
fn headers(request: &WireRequest) -> Result<HeaderMap, CoreError> {
    let mut headers = request.headers.to_map()?;
    if let Some(host) = &request.host {
        let host = HeaderValue::from_str(host).map_err(|_| CoreError::InvalidArgument("invalid host header".into()))?;
        headers.insert(HOST, host);
    }
    if request.closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    match request.framing {
        // hyper drops a body of unknown length from these methods unless its framing is named.
        Framing::Chunked if matches!(request.method, Method::GET | Method::HEAD) => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Framing::None | Framing::Chunked => {}
        Framing::Length(length) => {
            headers.insert(CONTENT_LENGTH, length.into());
        }
    }
    Ok(headers)
}

/// hyper keeps the phrase only where it differs from the canonical one.
fn reason_phrase(response: &mut http::Response<reqwest::Body>) -> Bytes {
    if response.version() >= http::Version::HTTP_2 {
        return Bytes::new();
    }
    match response.extensions_mut().remove::<hyper::ext::ReasonPhrase>() {
        Some(phrase) => phrase.into(),
        None => Bytes::from_static(response.status().canonical_reason().unwrap_or_default().as_bytes()),
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let addresses: Addrs = Box::new(resolver.addresses(&host).await?.into_iter());
            Ok(addresses)
        })
    }
}
