//! The engine on reqwest.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::body::ResponseBody;
use super::failure::{Peer, Phase, classify, connect_timeout};
use super::{Transport, TransportConfig, WireRequest};
use crate::error::CoreError;
use crate::origin::Origin;
use crate::resolve::Resolver;
use crate::tls::client_config;

/// reqwest with everything off that a dispatcher must not do: redirects, decoding, cookies, referer, retries, proxies
/// from the environment.
#[derive(Debug)]
pub struct ReqwestTransport {
    config: TransportConfig,
    resolver: Resolver,
    plain: reqwest::Client,
    /// Made at the first HTTPS request: loading the platform's roots takes milliseconds.
    secure: OnceLock<Result<reqwest::Client, CoreError>>,
}

impl ReqwestTransport {
    /// # Errors
    /// [`CoreError::InvalidArgument`] for settings that cannot work.
    pub fn new(config: TransportConfig) -> Result<Self, CoreError> {
        let resolver = Resolver::default();
        let plain = build(&config, &resolver, unused_tls()?)?;
        Ok(Self {
            config,
            resolver,
            plain,
            secure: OnceLock::new(),
        })
    }

    fn client(&self, origin: &Origin) -> Result<&reqwest::Client, CoreError> {
        if !origin.is_https() {
            return Ok(&self.plain);
        }
        let made = self.secure.get_or_init(|| {
            build(
                &self.config,
                &self.resolver,
                client_config(&self.config.tls, self.config.alpn())?,
            )
        });
        made.as_ref().map_err(Clone::clone)
    }

    fn peer<'a>(&self, origin: &'a Origin) -> Peer<'a> {
        Peer {
            origin,
            address: self.resolver.last_address(origin.host()),
            connect_timeout: self.config.connect_timeout,
        }
    }
}

/// The client for `http:` origins never speaks TLS; an empty root store costs nothing to build.
fn unused_tls() -> Result<rustls::ClientConfig, CoreError> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
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
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .no_proxy()
        .tls_backend_preconfigured(tls)
        .dns_resolver(resolver.clone())
        .tcp_nodelay(true)
        // Its default of 30 s also kills an upload whose server stops reading.
        .tcp_user_timeout(None::<Duration>)
        .http2_initial_stream_window_size(config.http2_stream_window)
        .http2_initial_connection_window_size(config.http2_connection_window);
    builder = match config.keep_alive_timeout {
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
    if let Some(address) = config.local_address {
        builder = builder.local_address(address);
    }
    builder
        .build()
        .map_err(|error| CoreError::InvalidArgument(error.to_string()))
}

/// A response's body.
pub type ReqwestBody = ResponseBody<reqwest::Body>;

impl Transport for ReqwestTransport {
    type Body = ReqwestBody;

    async fn send(&self, request: WireRequest) -> Result<http::Response<ReqwestBody>, CoreError> {
        let WireRequest {
            origin,
            method,
            target,
            headers,
            body,
            ..
        } = request;
        let url = format!("{}{target}", origin.as_str());
        let url = reqwest::Url::parse(&url)
            .map_err(|error| CoreError::InvalidArgument(format!("invalid url {url}: {error}")))?;
        let mut wire = reqwest::Request::new(method, url);
        *wire.headers_mut() = headers;
        *wire.body_mut() = body.map(reqwest::Body::wrap);
        match self.client(&origin)?.execute(wire).await {
            Ok(response) => {
                let response = http::Response::<reqwest::Body>::from(response);
                let address = self.resolver.last_address(origin.host());
                Ok(response.map(|inner| ResponseBody::new(inner, origin, address)))
            }
            Err(error) => {
                let peer = self.peer(&origin);
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

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let addresses: Addrs = Box::new(resolver.lookup(host).await?.into_iter());
            Ok(addresses)
        })
    }
}
