//! HTTP/1.1 heads: the one that goes out, in undici's order, and the one that came in, field by field.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Version, header};

use super::keep_alive;
use crate::header_list::HeaderList;
use crate::origin::Origin;
use crate::response::ResponseStart;
use crate::transport::{Framing, WireRequest};

/// Start line, `host`, `connection`, the caller's fields, framing; for a proxy, whose lines are `forward`, the whole URL
/// (RFC 9112 §3.2.2).
pub fn request_head(request: &WireRequest, origin: &Origin, closes: bool, forward: Option<&str>) -> Vec<u8> {
    let mut head = Vec::with_capacity(160 + request.target.len() + request.headers.text().len() * 2);
    head.extend_from_slice(request.method.as_str().as_bytes());
    head.push(b' ');
    if forward.is_some() && request.target.starts_with('/') {
        head.extend_from_slice(origin.as_str().as_bytes());
    }
    extend_latin1(&mut head, &request.target);
    head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    match &request.host {
        Some(host) => extend_latin1(&mut head, host),
        None => head.extend_from_slice(origin.authority().as_bytes()),
    }
    match &request.upgrade {
        Some(protocol) => {
            head.extend_from_slice(b"\r\nconnection: upgrade\r\nupgrade: ");
            extend_latin1(&mut head, protocol);
            head.extend_from_slice(b"\r\n");
        }
        None if closes => head.extend_from_slice(b"\r\nconnection: close\r\n"),
        None => head.extend_from_slice(b"\r\nconnection: keep-alive\r\n"),
    }
    head.extend_from_slice(forward.unwrap_or_default().as_bytes());
    for (name, value) in request.headers.iter() {
        head.extend_from_slice(name);
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    match request.framing {
        Framing::None => {}
        Framing::Length(length) => head.extend_from_slice(format!("content-length: {length}\r\n").as_bytes()),
        Framing::Chunked => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Each character stands for one byte.
pub fn extend_latin1(out: &mut Vec<u8>, text: &str) {
    if text.is_ascii() {
        out.extend_from_slice(text.as_bytes());
    } else {
        out.extend(text.chars().map(|character| u8::try_from(character).unwrap_or(b'?')));
    }
}

/// What hyper is told so that it frames the body as the head says.
pub fn framing_headers(request: &WireRequest) -> HeaderMap {
    let mut headers = HeaderMap::new();
    match request.framing {
        Framing::None | Framing::Length(0) => {}
        Framing::Length(length) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        Framing::Chunked => {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            // It writes no trailer that was not announced.
            if let Some(value) = request.headers.get("trailer")
                && let Ok(names) = HeaderValue::from_bytes(value)
            {
                headers.insert(header::TRAILER, names);
            }
        }
    }
    headers
}

/// What of a response's head decides on its connection; gathered while the head is read.
#[derive(Debug, Default)]
pub struct HeadFacts {
    content_lengths: usize,
    /// Every content-length is a number.
    are_lengths_numbers: bool,
    is_length_zero: bool,
    has_transfer_encoding: bool,
    is_chunked: bool,
    says_close: bool,
    says_keep_alive: bool,
    /// The server's `keep-alive: timeout=`.
    pub keep_alive: Option<Duration>,
}

impl HeadFacts {
    pub fn has_content_length(&self) -> bool {
        self.content_lengths > 0
    }

    /// Two lengths that may differ are how responses are smuggled (RFC 9112 §6.3).
    pub fn has_length_and_encoding(&self) -> bool {
        self.has_content_length() && self.has_transfer_encoding
    }

    /// hyper's parser tells lengths that contradict each other from no other bad length.
    pub fn has_two_lengths(&self) -> bool {
        self.content_lengths > 1 && self.are_lengths_numbers
    }

    fn note(&mut self, name: &[u8], value: &[u8]) {
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    self.says_close |= token.eq_ignore_ascii_case(b"close");
                    self.says_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            10 if name.eq_ignore_ascii_case(b"keep-alive") => {
                self.keep_alive = self.keep_alive.or_else(|| keep_alive::hint(value));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let value = value.trim_ascii();
                let is_number = value.iter().all(u8::is_ascii_digit);
                self.are_lengths_numbers = is_number && (self.content_lengths == 0 || self.are_lengths_numbers);
                if self.content_lengths == 0 {
                    self.is_length_zero = value == b"0";
                }
                self.content_lengths += 1;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.has_transfer_encoding = true;
                self.is_chunked = value.trim_ascii_end().to_ascii_lowercase().ends_with(b"chunked");
            }
            _ => {}
        }
    }

    /// Whether the server keeps the connection open after this response (RFC 9112 §9.3).
    pub fn keeps_connection(&self, method: &Method, start: &ResponseStart) -> bool {
        if self.says_close || (start.version == Version::HTTP_10 && !self.says_keep_alive) {
            return false;
        }
        if start.status == 204 {
            // A body that may not be there, but is announced, would be taken for the next response.
            return !self.has_content_length() || self.is_length_zero;
        }
        // Without framing the body ends with the connection.
        method == Method::HEAD || start.status == 304 || self.has_content_length() || self.is_chunked
    }
}

/// Reads a head that hyper's parser has accepted, or is about to. `None` for what is no response head.
pub fn response_start(head: &[u8]) -> Option<(ResponseStart, HeadFacts)> {
    let mut at = 0;
    let mut line = || {
        let rest = head.get(at..).filter(|rest| !rest.is_empty())?;
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        at += end + 1;
        Some(strip_cr(&rest[..end]))
    };
    let first = line()?;
    let version = if first.starts_with(b"HTTP/1.0") {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    let status = std::str::from_utf8(first.get(9..12)?).ok()?.parse().ok()?;
    let reason = Bytes::copy_from_slice(first.get(13..).unwrap_or_default());
    let mut facts = HeadFacts::default();
    let mut text = Vec::with_capacity(head.len());
    // Of the field that may go on in the next line.
    let (mut name_start, mut value_start) = (0, 0);
    while let Some(line) = line() {
        if let [b' ' | b'\t', ..] = line {
            // A folded line goes on with the value before it (RFC 9112 §5.2).
            text.push(b' ');
            text.extend_from_slice(line.trim_ascii());
            continue;
        }
        if !text.is_empty() {
            facts.note(&text[name_start..value_start - 1], &text[value_start..]);
        }
        if line.is_empty() {
            break;
        }
        let colon = memchr::memchr(b':', line)?;
        if !text.is_empty() {
            text.push(0);
        }
        name_start = text.len();
        text.extend_from_slice(line[..colon].trim_ascii());
        text.push(0);
        value_start = text.len();
        // Blanks at the end stay, as llhttp leaves them.
        text.extend_from_slice(line[colon + 1..].trim_ascii_start());
    }
    let start = ResponseStart {
        status,
        reason,
        headers: HeaderList::from_text(text),
        version,
        content_length: None,
        redirected: None,
    };
    Some((start, facts))
}

fn strip_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_keeps_case_order_latin1_and_an_odd_reason() {
        let head = b"HTTP/1.1 299 Na\xefve \r\nX-A: 1\r\nset-Cookie:a\r\nX-a:\t2 \r\nEmpty:\r\n\r\n";
        let (start, _) = response_start(head).unwrap();
        assert_eq!((start.status, start.reason.as_ref()), (299, b"Na\xefve " as &[u8]));
        assert_eq!(
            start.headers.text(),
            b"X-A\x001\x00set-Cookie\x00a\x00X-a\x002 \x00Empty\x00"
        );
    }

    #[test]
    fn a_folded_value_is_one_value() {
        let (start, _) = response_start(b"HTTP/1.1 200 OK\r\na: b\r\n  c\r\n\r\n").unwrap();
        assert_eq!(start.headers.text(), b"a\x00b c");
        assert_eq!(response_start(b"HTTP/1.1 200\r\n\r\n").unwrap().0.reason, "");
    }

    #[test]
    fn a_connection_is_kept_only_if_both_ends_know_where_the_body_ends() {
        let keeps = |head: &str| {
            let (start, facts) = response_start(head.as_bytes()).unwrap();
            facts.keeps_connection(&Method::GET, &start)
        };
        assert!(keeps("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"));
        assert!(keeps("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n"));
        assert!(keeps(
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\n"
        ));
        assert!(!keeps("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n"));
        assert!(!keeps(
            "HTTP/1.1 200 OK\r\nConnection: x, Close\r\ncontent-length: 1\r\n\r\n"
        ));
        assert!(!keeps("HTTP/1.1 200 OK\r\n\r\n"));
        assert!(keeps("HTTP/1.1 204 No Content\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n"));
    }
}
