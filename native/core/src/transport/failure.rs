//! What went wrong beneath an engine, as Node names it.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use crate::error::{CoreError, SystemError};
use crate::origin::Origin;
use crate::resolve::ResolveError;
use crate::tls::CertificateRefused;
use crate::upload::UploadError;

/// What is known of the request that failed.
pub struct Peer<'a> {
    pub origin: &'a Origin,
    pub address: Option<IpAddr>,
    pub connect_timeout: Option<Duration>,
}

/// In which part of a request the engine failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Connect,
    Head,
    Body,
}

/// Finds the innermost cause that has a name of its own; the one table from engine errors to Node's codes.
pub fn classify(error: &(dyn Error + 'static), phase: Phase, peer: &Peer<'_>) -> CoreError {
    let chain = Chain(Some(error));
    let mut fallback = None;
    for cause in chain {
        if let Some(upload) = cause.downcast_ref::<UploadError>() {
            return upload_error(*upload);
        }
        if let Some(resolve) = cause.downcast_ref::<ResolveError>() {
            return resolve.0.clone();
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return tls_error(tls, peer);
        }
        if let Some(h2) = cause.downcast_ref::<h2::Error>()
            && let Some(error) = h2_error(h2)
        {
            return error;
        }
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            fallback = hyper_error(hyper).or(fallback);
        }
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && let Some(error) = io_error(io, phase, peer)
        {
            return error;
        }
    }
    fallback.unwrap_or_else(|| CoreError::Socket(innermost(error)))
}

/// The HTTP/2 server has said that it did not process the request: it may be sent again, whatever its method (RFC 9113
/// §6.8, §8.7). A GOAWAY fails only the streams above its last one; with an error in it, the client is at fault.
pub fn refusal(error: &(dyn Error + 'static)) -> Option<Refusal> {
    let h2 = Chain(Some(error)).find_map(|cause| cause.downcast_ref::<h2::Error>())?;
    let is = |reason| h2.is_remote() && h2.reason() == Some(reason);
    if h2.is_go_away() && is(h2::Reason::NO_ERROR) {
        Some(Refusal::Connection)
    } else if h2.is_reset() && is(h2::Reason::REFUSED_STREAM) {
        Some(Refusal::Stream)
    } else {
        None
    }
}

/// What an HTTP/2 server has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// More requests on this connection, which it ends; another may take them at once.
    Connection,
    /// This request, now.
    Stream,
}

/// Walks sources; looks into an `io::Error` first, whose `source()` skips the error it wraps.
struct Chain<'a>(Option<&'a (dyn Error + 'static)>);

impl<'a> Iterator for Chain<'a> {
    type Item = &'a (dyn Error + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        let current = self.0?;
        let wrapped = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        self.0 = match wrapped {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => current.source(),
        };
        Some(current)
    }
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    Chain(Some(error)).last().map(ToString::to_string).unwrap_or_default()
}

fn io_error(error: &io::Error, phase: Phase, peer: &Peer<'_>) -> Option<CoreError> {
    if let Some(errno) = error.raw_os_error() {
        return system(errno, error.kind(), phase, peer);
    }
    match error.kind() {
        io::ErrorKind::TimedOut if phase == Phase::Connect => Some(connect_timeout(peer)),
        io::ErrorKind::UnexpectedEof if phase == Phase::Connect && peer.origin.is_https() => Some(CoreError::Tls {
            code: "ECONNRESET",
            message: "Client network socket disconnected before secure TLS connection was established".into(),
        }),
        io::ErrorKind::UnexpectedEof if error.get_ref().is_none_or(|inner| inner.source().is_none()) => {
            Some(CoreError::Socket("other side closed".into()))
        }
        io::ErrorKind::ConnectionReset => Some(reset()),
        io::ErrorKind::BrokenPipe => Some(CoreError::Socket("other side closed".into())),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if phase == Phase::Body && !wraps_tls(error) => {
            Some(CoreError::HttpParser {
                code: "HPE_INVALID_CHUNK_SIZE",
                detail: "Invalid chunk size".into(),
            })
        }
        _ => None,
    }
}

/// The same kind of error as for chunks that hyper cannot read.
fn wraps_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

fn reset() -> CoreError {
    CoreError::System(SystemError {
        code: "ECONNRESET",
        errno: -104,
        syscall: "read",
        address: None,
        port: None,
        hostname: None,
    })
}

/// A failed call of the operating system, as libuv reports it.
pub fn system_error(error: &io::Error, syscall: &'static str, address: Option<SocketAddr>) -> SystemError {
    let errno = error.raw_os_error().unwrap_or(0);
    SystemError {
        code: code_of(errno, error.kind()).unwrap_or("UNKNOWN"),
        errno: -errno,
        syscall,
        address: address.map(|address| address.ip().to_string()),
        port: address.map(|address| address.port()).filter(|port| *port > 0),
        hostname: None,
    }
}

fn code_of(errno: i32, kind: io::ErrorKind) -> Option<&'static str> {
    Some(match kind {
        io::ErrorKind::ConnectionRefused => "ECONNREFUSED",
        io::ErrorKind::ConnectionReset => "ECONNRESET",
        io::ErrorKind::ConnectionAborted => "ECONNABORTED",
        io::ErrorKind::HostUnreachable => "EHOSTUNREACH",
        io::ErrorKind::NetworkUnreachable => "ENETUNREACH",
        io::ErrorKind::NetworkDown => "ENETDOWN",
        io::ErrorKind::TimedOut => "ETIMEDOUT",
        io::ErrorKind::AddrInUse => "EADDRINUSE",
        io::ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
        io::ErrorKind::BrokenPipe => "EPIPE",
        io::ErrorKind::PermissionDenied => "EACCES",
        io::ErrorKind::NotConnected => "ENOTCONN",
        io::ErrorKind::NotFound => "ENOENT",
        _ => match errno {
            24 => "EMFILE",
            23 => "ENFILE",
            105 => "ENOBUFS",
            112 => "EHOSTDOWN",
            22 => "EINVAL",
            _ => return None,
        },
    })
}

fn system(errno: i32, kind: io::ErrorKind, phase: Phase, peer: &Peer<'_>) -> Option<CoreError> {
    let code = code_of(errno, kind)?;
    let connect = phase == Phase::Connect;
    let syscall = if connect {
        "connect"
    } else if code == "EPIPE" {
        "write"
    } else {
        "read"
    };
    let address = if connect {
        peer.address.map(|address| address.to_string())
    } else {
        None
    };
    Some(CoreError::System(SystemError {
        code,
        errno: -errno,
        syscall,
        port: address.as_ref().map(|_| peer.origin.port()),
        address,
        hostname: None,
    }))
}

pub fn connect_timeout(peer: &Peer<'_>) -> CoreError {
    CoreError::ConnectTimeout {
        address: format!("{}:{}", peer.origin.host(), peer.origin.port()),
        timeout_ms: peer.connect_timeout.map_or(0, |timeout| timeout.as_millis()),
    }
}

/// What hyper itself says; a cause further down may say more.
fn hyper_error(error: &hyper::Error) -> Option<CoreError> {
    if error.is_incomplete_message() || error.is_closed() {
        return Some(CoreError::Socket("other side closed".into()));
    }
    if error.is_parse() || error.is_parse_status() {
        let text = error.to_string();
        // The predicate for it exists in hyper's server builds only.
        if text.contains("too large") {
            return Some(CoreError::HeadersOverflow);
        }
        let (code, detail) = PARSER_CODES
            .iter()
            .find(|(part, ..)| text.contains(part))
            .map_or(("HPE_INVALID_CONSTANT", "Expected HTTP/"), |&(_, code, detail)| {
                (code, detail)
            });
        return Some(CoreError::HttpParser {
            code,
            detail: detail.into(),
        });
    }
    if error.is_user() && error.is_body_write_aborted() {
        return Some(CoreError::RequestContentLengthMismatch);
    }
    if error.is_canceled() {
        return Some(CoreError::Socket("closed".into()));
    }
    None
}

/// hyper tells its parse errors apart by their text only; llhttp's code and reason beside it.
const PARSER_CODES: [(&str, &str, &str); 6] = [
    ("status", "HPE_INVALID_STATUS", "Invalid status code"),
    ("version", "HPE_INVALID_CONSTANT", "Expected HTTP/"),
    (
        "content-length",
        "HPE_UNEXPECTED_CONTENT_LENGTH",
        "Content-Length can't be present with Transfer-Encoding",
    ),
    (
        "transfer-encoding",
        "HPE_INVALID_TRANSFER_ENCODING",
        "Invalid transfer encoding",
    ),
    ("header", "HPE_INVALID_HEADER_TOKEN", "Invalid header value char"),
    ("token", "HPE_INVALID_HEADER_TOKEN", "Invalid header token"),
];

fn h2_error(error: &h2::Error) -> Option<CoreError> {
    let reason = error.reason()?;
    if error.is_go_away() {
        return Some(CoreError::Socket(format!(
            "HTTP/2: GOAWAY with code {}",
            u32::from(reason)
        )));
    }
    if error.is_reset() {
        return Some(stream_error(reason));
    }
    Some(CoreError::Http2 {
        code: "ERR_HTTP2_SESSION_ERROR",
        message: format!("Session closed with error code NGHTTP2_{reason:?}"),
    })
}

pub fn upload_error(error: UploadError) -> CoreError {
    match error {
        UploadError::LengthMismatch => CoreError::RequestContentLengthMismatch,
        UploadError::File(errno) => CoreError::System(system_error(&io::Error::from_raw_os_error(errno), "read", None)),
        UploadError::Source | UploadError::ResponseEnded => CoreError::RequestAborted,
    }
}

fn stream_error(reason: h2::Reason) -> CoreError {
    CoreError::Http2 {
        code: "ERR_HTTP2_STREAM_ERROR",
        message: format!("Stream closed with error code NGHTTP2_{reason:?}"),
    }
}

/// hyper takes a reset with NO_ERROR for the end of a body wherever it comes; it is that only behind a whole response
/// (RFC 9113 §8.1).
pub fn cut_stream() -> CoreError {
    stream_error(h2::Reason::NO_ERROR)
}

fn tls_error(error: &rustls::Error, peer: &Peer<'_>) -> CoreError {
    let (code, message) = match error {
        rustls::Error::InvalidCertificate(certificate) => return certificate_error(certificate, peer),
        rustls::Error::AlertReceived(alert) => alert_code(*alert),
        rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => {
            ("ERR_SSL_WRONG_VERSION_NUMBER", "wrong version number")
        }
        rustls::Error::PeerIncompatible(_) => ("ERR_SSL_UNSUPPORTED_PROTOCOL", "unsupported protocol"),
        rustls::Error::NoCertificatesPresented => (
            "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE",
            "peer did not return a certificate",
        ),
        _ => ("ERR_SSL_SSL_HANDSHAKE_FAILURE", "ssl handshake failure"),
    };
    CoreError::Tls {
        code,
        message: format!("{message} ({error})"),
    }
}

fn certificate_error(error: &CertificateError, peer: &Peer<'_>) -> CoreError {
    let (code, message) = match error {
        CertificateError::Other(other) => match other.0.downcast_ref::<CertificateRefused>() {
            Some(refused) => (refused.code, refused.message.to_owned()),
            None => (
                "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
                format!("unable to verify the first certificate ({other})"),
            ),
        },
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("CERT_HAS_EXPIRED", "certificate has expired".to_owned())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("CERT_NOT_YET_VALID", "certificate is not yet valid".to_owned())
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "ERR_TLS_CERT_ALTNAME_INVALID",
            format!(
                "Hostname/IP does not match certificate's altnames: {}",
                peer.origin.host()
            ),
        ),
        CertificateError::Revoked => ("CERT_REVOKED", "certificate revoked".to_owned()),
        CertificateError::BadSignature => ("CERT_SIGNATURE_FAILURE", "certificate signature failure".to_owned()),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            ("INVALID_PURPOSE", "unsupported certificate purpose".to_owned())
        }
        CertificateError::UnknownIssuer => (
            "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
            "unable to get local issuer certificate".to_owned(),
        ),
        other => (
            "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
            format!("unable to verify the first certificate ({other:?})"),
        ),
    };
    CoreError::Tls { code, message }
}

fn alert_code(alert: AlertDescription) -> (&'static str, &'static str) {
    match alert {
        AlertDescription::HandshakeFailure => {
            ("ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE", "sslv3 alert handshake failure")
        }
        AlertDescription::BadCertificate => ("ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE", "sslv3 alert bad certificate"),
        AlertDescription::CertificateUnknown => (
            "ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN",
            "sslv3 alert certificate unknown",
        ),
        AlertDescription::CertificateRequired => (
            "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
            "tlsv13 alert certificate required",
        ),
        AlertDescription::UnknownCA => ("ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", "tlsv1 alert unknown ca"),
        AlertDescription::ProtocolVersion => ("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION", "tlsv1 alert protocol version"),
        AlertDescription::UnrecognisedName => ("ERR_SSL_TLSV1_UNRECOGNIZED_NAME", "tlsv1 unrecognized name"),
        AlertDescription::NoApplicationProtocol => (
            "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
            "tlsv1 alert no application protocol",
        ),
        AlertDescription::InternalError => ("ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR", "tlsv1 alert internal error"),
        _ => ("ERR_SSL_SSL_ALERT", "ssl alert"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(error: io::Error, phase: Phase) -> CoreError {
        let origin = Origin::parse("http://example.test:81").unwrap();
        let peer = Peer {
            origin: &origin,
            address: "10.0.0.1".parse().ok(),
            connect_timeout: None,
        };
        classify(&error, phase, &peer)
    }

    #[test]
    fn a_refused_connect_names_the_address_it_tried() {
        let error = map(io::Error::from_raw_os_error(111), Phase::Connect);
        assert_eq!(error.to_string(), "connect ECONNREFUSED 10.0.0.1:81");
        assert_eq!(error.error_code(), "ECONNREFUSED");
    }

    #[test]
    fn a_reset_while_reading_is_nodes_read_econnreset() {
        assert_eq!(
            map(io::Error::from_raw_os_error(104), Phase::Body).to_string(),
            "read ECONNRESET"
        );
    }

    #[test]
    fn a_tls_error_is_found_beneath_two_io_errors() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let nested = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert_eq!(map(nested, Phase::Connect).error_code(), "CERT_HAS_EXPIRED");
    }

    #[test]
    fn a_tls_error_within_a_body_is_no_bad_chunk() {
        let tls = rustls::Error::DecryptError;
        let error = map(io::Error::new(io::ErrorKind::InvalidData, tls), Phase::Body);
        assert!(matches!(error, CoreError::Tls { .. }), "{error:?}");
    }

    #[test]
    fn a_cut_body_is_other_side_closed() {
        let error = map(io::Error::from(io::ErrorKind::UnexpectedEof), Phase::Body);
        assert_eq!(error, CoreError::Socket("other side closed".into()));
    }
}
