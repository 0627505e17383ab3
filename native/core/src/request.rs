//! What a caller asks for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::origin::Origin;
use crate::upload::UploadQueue;

/// One request, validated by the caller.
#[derive(Debug)]
pub struct DispatchOptions {
    pub origin: Origin,
    pub method: Method,
    /// Path and query, starting with a slash.
    pub target: String,
    pub headers: HeaderMap,
    pub body: RequestBody,
    /// Silence allowed between the end of the upload and the head; `None` is no limit.
    pub headers_timeout: Option<Duration>,
    /// Silence of the server allowed between two frames; `None` is no limit. Does not run while paused.
    pub body_timeout: Option<Duration>,
    /// From dispatch to the last byte; `None` is no limit. Runs while paused too.
    pub timeout: Option<Duration>,
    /// Body bytes on the wire; `None` is no limit.
    pub max_response_size: Option<u64>,
    /// Bytes of header names and values; see undici's `maxHeaderSize`.
    pub max_header_size: usize,
}

impl DispatchOptions {
    pub fn new(origin: Origin, method: Method, target: impl Into<String>) -> Self {
        Self {
            origin,
            method,
            target: target.into(),
            headers: HeaderMap::new(),
            body: RequestBody::Empty,
            headers_timeout: Some(Duration::from_secs(300)),
            body_timeout: Some(Duration::from_secs(300)),
            timeout: None,
            max_response_size: None,
            max_header_size: 16 * 1024,
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
}
