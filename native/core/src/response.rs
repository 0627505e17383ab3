//! The head of a response.

use bytes::Bytes;
use http::{HeaderMap, Version};

/// Status line and headers as the server sent them.
#[derive(Debug, Clone)]
pub struct ResponseStart {
    pub status: u16,
    /// The reason phrase as sent (HTTP/1.1); empty on HTTP/2.
    pub reason: Bytes,
    /// Order of first appearance, every value kept, bytes as sent.
    pub headers: HeaderMap,
    pub version: Version,
    /// Body bytes still to come, where the framing says it.
    pub content_length: Option<u64>,
}
