//! What is wrong with the bytes of a response, in the words of llhttp, which undici and Node users know.

use crate::error::CoreError;

/// Why the bytes that a server sent are no HTTP/1.1 response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A head or a trailer section is longer than its limit, or has too many fields.
    TooLarge,
    /// Two framings that contradict each other: how responses are smuggled (RFC 9112 §6.3).
    Framing,
    /// Everything else: llhttp's code and its reason.
    Syntax { code: &'static str, reason: &'static str },
}

macro_rules! syntax {
    ($($name:ident = $code:literal, $reason:literal;)*) => {
        impl Malformed {
            $(pub const $name: Self = Self::Syntax { code: $code, reason: $reason };)*
        }
    };
}

syntax! {
    NO_HTTP = "HPE_INVALID_CONSTANT", "Expected HTTP/";
    VERSION = "HPE_INVALID_VERSION", "Invalid HTTP version";
    STATUS = "HPE_INVALID_STATUS", "Invalid status code";
    STATUS_LINE = "HPE_INVALID_STATUS", "Invalid response status";
    NO_CR = "HPE_CR_EXPECTED", "Missing expected CR before LF";
    NO_LF = "HPE_LF_EXPECTED", "Missing expected LF after CR";
    FIELD_NAME = "HPE_INVALID_HEADER_TOKEN", "Invalid header token";
    FIELD_VALUE = "HPE_INVALID_HEADER_TOKEN", "Invalid header value char";
    FOLDED = "HPE_INVALID_HEADER_TOKEN", "Unexpected whitespace after header value";
    LENGTH = "HPE_INVALID_CONTENT_LENGTH", "Invalid character in Content-Length";
    NO_LENGTH = "HPE_INVALID_CONTENT_LENGTH", "Empty Content-Length";
    LENGTH_OVERFLOW = "HPE_INVALID_CONTENT_LENGTH", "Content-Length overflow";
    LENGTH_WITH_ENCODING = "HPE_UNEXPECTED_CONTENT_LENGTH", "Content-Length can't be present with Transfer-Encoding";
    ENCODING_IN_HTTP_10 = "HPE_INVALID_TRANSFER_ENCODING", "Transfer-Encoding in a response of HTTP/1.0";
    CHUNK_SIZE = "HPE_INVALID_CHUNK_SIZE", "Invalid character in chunk size";
    CHUNK_SIZE_OVERFLOW = "HPE_INVALID_CHUNK_SIZE", "Chunk size overflow";
    CHUNK_EXTENSION = "HPE_INVALID_CHUNK_SIZE", "Invalid character in chunk extensions";
    CHUNK_EXTENSIONS_OVERFLOW = "HPE_CHUNK_EXTENSIONS_OVERFLOW", "Chunk extensions overflow";
    CHUNK_END = "HPE_STRICT", "Expected CRLF after chunk data";
}

impl From<Malformed> for CoreError {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::TooLarge => Self::HeadersOverflow,
            Malformed::Framing => Self::ResponseContentLengthMismatch,
            Malformed::Syntax { code, reason } => Self::HttpParser {
                code,
                detail: reason.into(),
            },
        }
    }
}
