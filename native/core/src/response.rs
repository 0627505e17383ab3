//! The head of a response.

use bytes::Bytes;
use http::Version;

use crate::header_list::HeaderList;

/// Status line and headers as the server sent them.
#[derive(Debug, Clone)]
pub struct ResponseStart {
    pub status: u16,
    /// The reason phrase as sent (HTTP/1.1); empty on HTTP/2.
    pub reason: Bytes,
    /// As sent; engine reqwest gives the names in lower case and duplicates beside the first.
    pub headers: HeaderList,
    pub version: Version,
    /// Body bytes still to come, where the framing says it.
    pub content_length: Option<u64>,
    /// Where redirects have led.
    pub redirected: Option<RedirectedTo>,
}

/// The end of a chain of redirects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectedTo {
    /// Without fragment.
    pub url: String,
    /// A redirect on the way changed the origin.
    pub is_cross_origin: bool,
}
