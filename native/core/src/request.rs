//! What a caller asks for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::file_body::FileBody;
use crate::header_list::HeaderList;
use crate::origin::Origin;
use crate::redirect::RedirectPolicy;
use crate::upload_queue::UploadQueue;

/// One request, validated by the caller.
#[derive(Debug)]
pub struct DispatchOptions {
    pub origin: Origin,
    pub method: Method,
    /// Sent verbatim; each character stands for one byte. `host:port` for CONNECT.
    pub target: String,
    /// Without `host`, `connection`, `upgrade`, `content-length` and `transfer-encoding`, which follow from the rest.
    pub headers: HeaderList,
    /// The `host` header; the origin's authority by default.
    pub host: Option<String>,
    pub body: RequestBody,
    /// Sends `connection: close` and does not use the connection again.
    pub closes: bool,
    /// Does not use the connection again.
    pub is_last: bool,
    /// The protocol to switch to; `tunnel` is then the socket's other direction.
    pub upgrade: Option<String>,
    /// For an upgrade or CONNECT: what is written to the tunnel.
    pub tunnel: Option<Arc<UploadQueue>>,
    /// HTTP/2: the body waits for a final response, for a while. HTTP/1.1: a 100 response is no error.
    pub expects_continue: bool,
    /// The name for SNI and for the certificate; the origin's host by default.
    pub servername: Option<String>,
    /// Never HTTP/2; such requests have connections of their own.
    pub http1_only: bool,
    /// DNS, TCP and TLS together; `None` is the agent's, `Duration::MAX` no limit.
    pub connect_timeout: Option<Duration>,
    /// How long the server may take nothing of the upload, or after that send no head; `None` is no limit.
    pub headers_timeout: Option<Duration>,
    /// Silence of the server allowed between two frames, in which it takes nothing of the upload either; `None` is no
    /// limit. Does not run while paused, nor while the upload's source is slow.
    pub body_timeout: Option<Duration>,
    /// From dispatch to the last byte; `None` is no limit. Runs while paused too.
    pub timeout: Option<Duration>,
    /// Body bytes on the wire; `None` is no limit.
    pub max_response_size: Option<u64>,
    /// Bytes of header names and values; see undici's `maxHeaderSize`.
    pub max_header_size: usize,
    /// What `fetch` asks for beyond one exchange.
    pub fetch: Option<FetchOptions>,
}

/// How a response becomes that of `fetch`.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    pub redirect: RedirectPolicy,
    /// Announces and undoes content codings.
    pub decodes: bool,
    /// Body bytes after decoding; `None` is no limit.
    pub max_decoded_size: Option<u64>,
    /// Bytes after decoding for each on the wire; `None` is no limit.
    pub max_compression_ratio: Option<f64>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            redirect: RedirectPolicy::Follow,
            decodes: true,
            max_decoded_size: None,
            max_compression_ratio: None,
        }
    }
}

impl DispatchOptions {
    pub fn new(origin: Origin, method: Method, target: impl Into<String>) -> Self {
        Self {
            origin,
            method,
            target: target.into(),
            headers: HeaderList::new(),
            host: None,
            body: RequestBody::Empty,
            closes: false,
            is_last: false,
            upgrade: None,
            tunnel: None,
            expects_continue: false,
            servername: None,
            http1_only: false,
            connect_timeout: None,
            headers_timeout: Some(Duration::from_secs(300)),
            body_timeout: Some(Duration::from_secs(300)),
            timeout: None,
            max_response_size: None,
            max_header_size: 16 * 1024,
            fetch: None,
        }
    }
}

/// A request body.
#[derive(Debug, Default)]
pub enum RequestBody {
    #[default]
    Empty,
    Bytes(Bytes),
    /// Chunks that arrive against credit; `length` when it is known, else the body goes chunked.
    Stream {
        queue: Arc<UploadQueue>,
        length: Option<u64>,
    },
    File(FileBody),
}

impl RequestBody {
    /// The same body from its beginning; `None` for a source that is read once.
    pub fn again(&self) -> Option<Self> {
        Some(match self {
            Self::Empty => Self::Empty,
            Self::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Self::Stream { queue, length } if queue.is_kept() => Self::Stream {
                queue: Arc::clone(queue),
                length: *length,
            },
            Self::Stream { .. } => return None,
            Self::File(file) => Self::File(file.clone()),
        })
    }
}
