//! Everything that can go wrong, under the names and codes that Node users know.

/// What a handler is given.
pub type DispatchError = CoreError;

/// A failure of the operating system or the resolver, as Node reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemError {
    /// `ECONNREFUSED`, `ENOTFOUND`, …
    pub code: &'static str,
    /// libuv's number: the negated errno, or libuv's own for resolver failures.
    pub errno: i32,
    /// `connect`, `read`, `write` or `getaddrinfo`.
    pub syscall: &'static str,
    pub address: Option<String>,
    pub port: Option<u16>,
    pub hostname: Option<String>,
}

impl std::fmt::Display for SystemError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.syscall, self.code)?;
        match (&self.address, self.port, &self.hostname) {
            (Some(address), Some(port), _) => write!(f, " {address}:{port}"),
            (Some(address), None, _) => write!(f, " {address}"),
            (None, _, Some(hostname)) => write!(f, " {hostname}"),
            (None, _, None) => Ok(()),
        }
    }
}

/// One variant per undici error, and those of the network beneath. Texts are undici's; they are no contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoreError {
    #[error("Connect Timeout Error (attempted address: {address}, timeout: {timeout_ms}ms)")]
    ConnectTimeout { address: String, timeout_ms: u128 },
    #[error("Headers Timeout Error")]
    HeadersTimeout,
    #[error("HTTP/2: \"headers timeout after {timeout_ms}\"")]
    Http2HeadersTimeout { timeout_ms: u128 },
    #[error("HTTP/2: \"stream timeout after {timeout_ms}\"")]
    Http2BodyTimeout { timeout_ms: u128 },
    #[error("Headers Overflow Error")]
    HeadersOverflow,
    #[error("Body Timeout Error")]
    BodyTimeout,
    #[error("Request timed out after {timeout_ms}ms")]
    TotalTimeout { timeout_ms: u128 },
    #[error("Response content exceeded max size")]
    ResponseExceededMaxSize,
    #[error("Decoded response content exceeded max size")]
    DecodedSizeExceeded,
    #[error("Response content exceeded max compression ratio")]
    CompressionRatioExceeded,
    /// A content coding; the codes are zlib's.
    #[error("{message}")]
    Decode { code: &'static str, message: String },
    #[error("{0}")]
    Redirect(String),
    #[error("Response Error")]
    Response { status: u16 },
    #[error("Request retry error")]
    RequestRetry { status: u16 },
    #[error("{0}")]
    InvalidArgument(String),
    #[error("{0}")]
    InvalidReturnValue(String),
    #[error("Request aborted")]
    RequestAborted,
    #[error("{0}")]
    Informational(String),
    #[error("Request body length does not match content-length header")]
    RequestContentLengthMismatch,
    #[error("Response body length does not match content-length header")]
    ResponseContentLengthMismatch,
    #[error("The client is destroyed")]
    ClientDestroyed,
    #[error("The client is closed")]
    ClientClosed,
    #[error("{0}")]
    Socket(String),
    #[error("{0}")]
    NotSupported(String),
    #[error("No upstream has been added to the BalancedPool")]
    BalancedPoolMissingUpstream,
    #[error("Response does not match the HTTP/1.1 protocol ({detail})")]
    HttpParser { code: &'static str, detail: String },
    #[error("{0}")]
    System(SystemError),
    /// Every address of a host failed; Node's `AggregateError`.
    #[error("")]
    Connects(Vec<SystemError>),
    #[error("{message}")]
    Tls { code: &'static str, message: String },
    /// The caller's own resolver failed; `ticket` is by what it finds its error again.
    #[error("{message}")]
    Lookup {
        code: String,
        message: String,
        hostname: String,
        ticket: u32,
    },
    #[error("address {address} of {host} is not allowed")]
    AddressNotAllowed { host: String, address: String },
    #[error("Proxy response ({status}) !== 200 when HTTP Tunneling")]
    ProxyRefused { status: u16 },
    #[error("{message}")]
    Socks { code: &'static str, message: String },
    #[error("{message}")]
    Http2 { code: &'static str, message: String },
    #[error("Internal error: {0}")]
    Internal(String),
}

impl CoreError {
    /// The JavaScript class: one of undici's, or `Error` for a raw Node system or TLS error.
    pub fn error_name(&self) -> &'static str {
        self.row().0
    }

    /// `UND_ERR_*`, a Node system code, an OpenSSL-style code or `HPE_*`.
    pub fn error_code(&self) -> &'static str {
        self.row().1
    }

    /// The failure of one address, or of all that were tried, in that order.
    pub fn connects(mut errors: Vec<SystemError>) -> Self {
        if errors.len() == 1 {
            Self::System(errors.swap_remove(0))
        } else {
            Self::Connects(errors)
        }
    }

    /// The response's status, for the errors that stand for a response.
    pub fn status_code(&self) -> Option<u16> {
        match self {
            Self::Response { status } | Self::RequestRetry { status } | Self::ProxyRefused { status } => Some(*status),
            _ => None,
        }
    }

    /// The name and code of every variant: the one table.
    fn row(&self) -> (&'static str, &'static str) {
        match self {
            Self::ConnectTimeout { .. } => ("ConnectTimeoutError", "UND_ERR_CONNECT_TIMEOUT"),
            Self::Http2HeadersTimeout { .. } => ("HeadersTimeoutError", "UND_ERR_HEADERS_TIMEOUT"),
            Self::Http2BodyTimeout { .. } => ("BodyTimeoutError", "UND_ERR_BODY_TIMEOUT"),
            Self::HeadersTimeout => ("HeadersTimeoutError", "UND_ERR_HEADERS_TIMEOUT"),
            Self::HeadersOverflow => ("HeadersOverflowError", "UND_ERR_HEADERS_OVERFLOW"),
            Self::BodyTimeout => ("BodyTimeoutError", "UND_ERR_BODY_TIMEOUT"),
            Self::TotalTimeout { .. } => ("TimeoutError", "SLUICE_ERR_TIMEOUT"),
            Self::ResponseExceededMaxSize => ("ResponseExceededMaxSizeError", "UND_ERR_RES_EXCEEDED_MAX_SIZE"),
            Self::DecodedSizeExceeded => ("DecodedSizeExceededError", "SLUICE_ERR_DECODED_SIZE"),
            Self::CompressionRatioExceeded => ("CompressionRatioExceededError", "SLUICE_ERR_COMPRESSION_RATIO"),
            Self::Decode { code, .. } => ("Error", code),
            Self::Redirect(_) => ("Error", "SLUICE_ERR_REDIRECT"),
            Self::Response { .. } => ("ResponseError", "UND_ERR_RESPONSE"),
            Self::RequestRetry { .. } => ("RequestRetryError", "UND_ERR_REQ_RETRY"),
            Self::InvalidArgument(_) => ("InvalidArgumentError", "UND_ERR_INVALID_ARG"),
            Self::InvalidReturnValue(_) => ("InvalidReturnValueError", "UND_ERR_INVALID_RETURN_VALUE"),
            Self::RequestAborted => ("AbortError", "UND_ERR_ABORTED"),
            Self::Informational(_) => ("InformationalError", "UND_ERR_INFO"),
            Self::RequestContentLengthMismatch => (
                "RequestContentLengthMismatchError",
                "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH",
            ),
            Self::ResponseContentLengthMismatch => (
                "ResponseContentLengthMismatchError",
                "UND_ERR_RES_CONTENT_LENGTH_MISMATCH",
            ),
            Self::ClientDestroyed => ("ClientDestroyedError", "UND_ERR_DESTROYED"),
            Self::ClientClosed => ("ClientClosedError", "UND_ERR_CLOSED"),
            Self::Socket(_) => ("SocketError", "UND_ERR_SOCKET"),
            Self::NotSupported(_) => ("NotSupportedError", "UND_ERR_NOT_SUPPORTED"),
            Self::BalancedPoolMissingUpstream => ("MissingUpstreamError", "UND_ERR_BPL_MISSING_UPSTREAM"),
            Self::HttpParser { code, .. } => ("HTTPParserError", code),
            Self::System(system) => ("Error", system.code),
            Self::Connects(systems) => (
                "AggregateError",
                systems.first().map_or("UNKNOWN", |system| system.code),
            ),
            Self::Tls { code, .. } => ("Error", code),
            // Its own code is the caller's to tell.
            Self::Lookup { .. } => ("Error", "SLUICE_ERR_LOOKUP"),
            Self::AddressNotAllowed { .. } => ("Error", "ERR_ADDRESS_NOT_ALLOWED"),
            Self::ProxyRefused { .. } => ("RequestAbortedError", "UND_ERR_ABORTED"),
            Self::Socks { code, .. } => ("Socks5ProxyError", code),
            Self::Http2 { code, .. } => ("Error", code),
            Self::Internal(_) => ("Error", "SLUICE_ERR_INTERNAL"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_are_undicis() {
        let rows = [
            (
                CoreError::HeadersTimeout,
                "HeadersTimeoutError",
                "UND_ERR_HEADERS_TIMEOUT",
            ),
            (CoreError::RequestAborted, "AbortError", "UND_ERR_ABORTED"),
            (
                CoreError::Socket("other side closed".into()),
                "SocketError",
                "UND_ERR_SOCKET",
            ),
            (CoreError::ClientClosed, "ClientClosedError", "UND_ERR_CLOSED"),
        ];
        for (error, name, code) in rows {
            assert_eq!((error.error_name(), error.error_code()), (name, code));
        }
    }

    #[test]
    fn only_errors_that_stand_for_a_response_have_a_status() {
        assert_eq!(CoreError::Response { status: 404 }.status_code(), Some(404));
        assert_eq!(CoreError::BodyTimeout.status_code(), None);
    }

    #[test]
    fn system_errors_read_as_nodes() {
        let mut error = SystemError {
            code: "ECONNREFUSED",
            errno: -111,
            syscall: "connect",
            address: Some("127.0.0.1".into()),
            port: Some(1),
            hostname: None,
        };
        assert_eq!(error.to_string(), "connect ECONNREFUSED 127.0.0.1:1");
        error = SystemError {
            code: "ENOTFOUND",
            errno: -3008,
            syscall: "getaddrinfo",
            address: None,
            port: None,
            hostname: Some("nowhere.invalid".into()),
        };
        assert_eq!(error.to_string(), "getaddrinfo ENOTFOUND nowhere.invalid");
    }
}
