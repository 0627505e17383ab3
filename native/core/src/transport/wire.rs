//! The engine on hyper-util's client, the layer beneath reqwest: targets byte for byte, nothing added to the headers.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::body::ResponseBody;
use super::connection::KillSwitch;
use super::connector::Connector;
use super::failure::{Peer, Phase, classify};
use super::{Transport, TransportConfig, WireRequest};
use crate::error::CoreError;
use crate::origin::Origin;
use crate::resolve::Resolver;
use crate::upload::{UploadBody, UploadError};

/// hyper-util's pool over our own connector.
#[derive(Debug)]
pub struct WireTransport {
    config: TransportConfig,
    resolver: Resolver,
    client: Client<Connector, OutgoingBody>,
}

impl WireTransport {
    pub fn new(config: TransportConfig) -> Self {
        let resolver = Resolver::default();
        let connector = Connector::new(&config, resolver.clone());
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_only(config.http2_prior_knowledge)
            .http2_initial_stream_window_size(config.http2_stream_window)
            .http2_initial_connection_window_size(config.http2_connection_window);
        match config.keep_alive_timeout {
            Some(timeout) => builder.pool_idle_timeout(timeout),
            None => builder.pool_max_idle_per_host(0),
        };
        let client = builder.build(connector);
        Self {
            config,
            resolver,
            client,
        }
    }

    fn peer<'a>(&self, origin: &'a Origin) -> Peer<'a> {
        Peer {
            origin,
            address: self.resolver.last_address(origin.host()),
            connect_timeout: self.config.connect_timeout,
        }
    }
}

/// A response's body.
pub type WireBody = ResponseBody<Incoming>;

impl Transport for WireTransport {
    type Body = WireBody;

    async fn send(&self, request: WireRequest) -> Result<http::Response<WireBody>, CoreError> {
        let WireRequest {
            origin,
            method,
            target,
            headers,
            body,
            connection,
        } = request;
        let mut wire = http::Request::new(body.map_or(OutgoingBody::Empty, OutgoingBody::Upload));
        *wire.method_mut() = method;
        *wire.uri_mut() = uri(&origin, &target)?;
        *wire.headers_mut() = headers;
        match self.client.request(wire).await {
            Ok(response) => {
                // An HTTP/2 connection outlives its streams, however they end.
                if response.version() < http::Version::HTTP_2
                    && let Some(switch) = response.extensions().get::<KillSwitch>()
                {
                    connection.set(switch.clone());
                }
                let address = self.resolver.last_address(origin.host());
                Ok(response.map(|inner| ResponseBody::new(inner, origin, address)))
            }
            Err(error) => {
                let phase = if error.is_connect() {
                    Phase::Connect
                } else {
                    Phase::Head
                };
                Err(classify(&error, phase, &self.peer(&origin)))
            }
        }
    }
}

fn uri(origin: &Origin, target: &str) -> Result<Uri, CoreError> {
    let invalid = |what: &str| CoreError::InvalidArgument(format!("invalid {what}"));
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if origin.is_https() { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::try_from(origin.authority()).map_err(|_| invalid("origin"))?);
    // A target is latin1; each character stands for one byte.
    let bytes: Vec<u8> = target
        .chars()
        .map(|character| u8::try_from(character).unwrap_or(b'?'))
        .collect();
    let path = PathAndQuery::try_from(bytes.as_slice())
        .or_else(|_| PathAndQuery::try_from(encode(&bytes).as_slice()))
        .map_err(|_| invalid("request path"))?;
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|_| invalid("request path"))
}

/// Percent-encodes what `http::Uri` refuses and undici lets through; a double quote is refused in a query only.
fn encode(target: &[u8]) -> Vec<u8> {
    let query = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
    let mut encoded = Vec::with_capacity(target.len() + 16);
    for (index, &byte) in target.iter().enumerate() {
        let is_refused = matches!(byte, b'<' | b'>' | b'^' | b'`' | b'#') || (byte == b'"' && index > query);
        if is_refused || !(0x21..0x7f).contains(&byte) {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            encoded.push(byte);
        }
    }
    encoded
}

/// A request body, or none, which hyper tells apart by its size.
#[derive(Debug)]
pub enum OutgoingBody {
    Empty,
    Upload(UploadBody),
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Upload(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Upload(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Upload(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_goes_out_as_it_came() {
        let origin = Origin::parse("http://a.test:81").unwrap();
        for target in [
            "/a|b",
            "//x//y",
            "/a/../b",
            "/%2e%2e/b",
            "/a\\b",
            "/?q='",
            "/a%zz",
            "/?",
            "/a{b}",
        ] {
            assert_eq!(uri(&origin, target).unwrap().path_and_query().unwrap().as_str(), target);
        }
    }

    #[test]
    fn what_no_uri_may_hold_is_percent_encoded() {
        let origin = Origin::parse("http://a.test").unwrap();
        assert_eq!(uri(&origin, "/<^`>").unwrap().path(), "/%3C%5E%60%3E");
        assert_eq!(uri(&origin, "/\"?q=\"").unwrap().path_and_query().unwrap(), "/\"?q=%22");
    }
}
