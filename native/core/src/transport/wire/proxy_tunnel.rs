//! Through a proxy to an origin: CONNECT, and SOCKS.

use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_socks::TargetAddr;
use tokio_socks::tcp::{Socks4Stream, Socks5Stream};

use super::h1::{HeadReader, Malformed};
use super::stream::Stream;
use crate::error::CoreError;
use crate::origin::Origin;
use crate::proxy::{Proxy, ProxyProtocol};
use crate::transport::failure::{Peer, Phase, classify};

/// A proxy's answer to CONNECT is read whole.
const MAX_ANSWER: usize = 16 * 1024;

/// Makes `stream` a connection to `origin` (RFC 9110 §9.3.6).
///
/// # Errors
/// [`CoreError::ProxyRefused`] with the proxy's status, or that of the connection to it.
pub async fn connect_through(stream: &mut Stream, origin: &Origin, proxy: &Proxy) -> Result<(), CoreError> {
    let failed = |error: std::io::Error| {
        classify(
            &error,
            Phase::Head,
            &Peer {
                origin: &proxy.origin,
                address: None,
                connect_timeout: None,
            },
        )
    };
    let host = origin.host();
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let port = origin.port();
    let head = format!(
        "CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\nproxy-connection: keep-alive\r\n{}\r\n",
        proxy.header_lines
    );
    stream.write_all(head.as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    // Without TLS the origin may speak first, behind the answer: nothing of that may be taken.
    let step = if origin.is_https() { 1024 } else { 1 };
    let mut answer = BytesMut::new();
    let mut reader = HeadReader::default();
    let status = loop {
        match reader.read(&mut answer) {
            Ok(Some((start, _))) => break start.status,
            Ok(None) if answer.len() <= MAX_ANSWER => {}
            Ok(None) | Err(Malformed::TooLarge) => return Err(CoreError::HeadersOverflow),
            Err(_) => return Err(CoreError::Socket("the proxy does not speak HTTP".into())),
        }
        if (&mut *stream).take(step).read_buf(&mut answer).await.map_err(failed)? == 0 {
            return Err(CoreError::Socket("the proxy closed the connection".into()));
        }
    };
    if !(200..300).contains(&status) {
        return Err(CoreError::ProxyRefused { status });
    }
    if !answer.is_empty() {
        // In TLS the origin waits for the client: nobody can have said this but the proxy.
        return Err(CoreError::Socket("the proxy sent data ahead of the origin".into()));
    }
    Ok(())
}

/// The same by SOCKS (RFC 1928, RFC 1929); the proxy is given `address` where there is one, the host's name otherwise.
///
/// # Errors
/// [`CoreError::Socks`] under undici's codes.
pub async fn socks(
    stream: &mut Stream,
    origin: &Origin,
    address: Option<SocketAddr>,
    proxy: &Proxy,
) -> Result<(), CoreError> {
    let target = match address {
        Some(address) => TargetAddr::Ip(SocketAddr::new(address.ip(), origin.port())),
        None => TargetAddr::Domain(origin.host().to_owned().into(), origin.port()),
    };
    let credentials = proxy.credentials.as_ref();
    let is_socks4 = matches!(proxy.protocol, ProxyProtocol::Socks4 { .. });
    let outcome = match (is_socks4, credentials) {
        (true, Some((user, _))) => Socks4Stream::connect_with_userid_and_socket(stream, target, user)
            .await
            .map(drop),
        (true, None) => Socks4Stream::connect_with_socket(stream, target).await.map(drop),
        (false, Some((user, password))) => {
            Socks5Stream::connect_with_password_and_socket(stream, target, user, password)
                .await
                .map(drop)
        }
        (false, None) => Socks5Stream::connect_with_socket(stream, target).await.map(drop),
    };
    outcome.map_err(|error| socks_error(&error, &proxy.origin))
}

/// undici's codes; a reply's number is in its own (RFC 1928 §6).
fn socks_error(error: &tokio_socks::Error, origin: &Origin) -> CoreError {
    use tokio_socks::Error;
    let code = match error {
        Error::Io(io) => {
            let peer = Peer {
                origin,
                address: None,
                connect_timeout: None,
            };
            return classify(io, Phase::Head, &peer);
        }
        Error::InvalidResponseVersion => "UND_ERR_SOCKS5_VERSION",
        Error::NoAcceptableAuthMethods | Error::AuthorizationRequired => "UND_ERR_SOCKS5_AUTH_REJECTED",
        Error::UnknownAuthMethod => "UND_ERR_SOCKS5_AUTH_METHOD",
        Error::PasswordAuthFailure(_) | Error::IdentdAuthFailure | Error::InvalidUserIdAuthFailure => {
            "UND_ERR_SOCKS5_AUTH_FAILED"
        }
        Error::UnknownAddressType => "UND_ERR_SOCKS5_ADDR_TYPE",
        Error::GeneralSocksServerFailure => "UND_ERR_SOCKS5_REPLY_1",
        Error::ConnectionNotAllowedByRuleset => "UND_ERR_SOCKS5_REPLY_2",
        Error::NetworkUnreachable => "UND_ERR_SOCKS5_REPLY_3",
        Error::HostUnreachable => "UND_ERR_SOCKS5_REPLY_4",
        Error::ConnectionRefused => "UND_ERR_SOCKS5_REPLY_5",
        Error::TtlExpired => "UND_ERR_SOCKS5_REPLY_6",
        Error::CommandNotSupported => "UND_ERR_SOCKS5_REPLY_7",
        Error::AddressTypeNotSupported => "UND_ERR_SOCKS5_REPLY_8",
        _ => "UND_ERR_SOCKS5",
    };
    CoreError::Socks {
        code,
        message: format!("SOCKS proxy: {error}"),
    }
}
