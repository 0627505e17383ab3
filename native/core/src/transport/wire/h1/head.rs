//! The head of a response: its status line (RFC 9112 §4) and its fields.

use bytes::{Buf, Bytes, BytesMut};
use http::Version;

use super::fields::{SectionScan, read_fields};
use super::framing::Facts;
use super::malformed::Malformed;
use crate::response::ResponseStart;

/// Bytes of a head on the wire. What a caller allows of names and values is checked once the head is read; this bounds the
/// buffer of one that never ends.
pub const MOST_HEAD: usize = 512 * 1024;

/// Bytes of empty lines before a head.
const MOST_BLANK: usize = 4 * 1024;

/// What every head begins with, up to its minor version.
const PROTOCOL: &[u8] = b"HTTP/1.";

/// A head while it comes in.
#[derive(Debug, Default)]
pub struct HeadReader {
    scan: SectionScan,
    /// Bytes of empty lines that came before it.
    blank: usize,
}

impl HeadReader {
    /// The head, once its last line is there, taken off the front of `input`; `None` asks for more bytes.
    ///
    /// Empty lines before it are dropped, as llhttp drops them (RFC 9112 §2.2 asks servers to).
    ///
    /// # Errors
    /// As soon as what is there cannot become a head, whatever follows.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<(ResponseStart, Facts)>, Malformed> {
        if self.scan.is_at_start() {
            let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            input.advance(blank);
            self.blank += blank;
            if self.blank > MOST_BLANK {
                return Err(Malformed::TooLarge);
            }
        }
        let known = input.len().min(PROTOCOL.len());
        if input[..known] != PROTOCOL[..known] {
            let is_http = input.starts_with(b"HTTP/");
            return Err(if is_http {
                Malformed::VERSION
            } else {
                Malformed::NO_HTTP
            });
        }
        if self.scan.is_at_start() && known < PROTOCOL.len() {
            return Ok(None);
        }
        let end = self.scan.find_end(input)?;
        if end.unwrap_or(input.len()) > MOST_HEAD {
            return Err(Malformed::TooLarge);
        }
        let Some(end) = end else { return Ok(None) };
        *self = Self::default();
        let head = input.split_to(end);
        // A section has at least its empty line, so that this one ends a line of its own.
        let first = memchr::memchr(b'\n', &head).map_or(end, |line_feed| line_feed + 1);
        let mut start = read_status_line(&head[..first])?;
        let mut facts = Facts::default();
        start.headers = read_fields(&head[first..], |name, value| facts.note(name, value))?;
        Ok(Some((start, facts)))
    }

    /// Whether nothing of a head has come, so that an end of the connection cuts none.
    pub fn is_at_start(&self, input: &BytesMut) -> bool {
        self.scan.is_at_start() && input.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }
}

/// `HTTP/1.1 200 OK\r\n`; the reason, and the blank before it, may be missing.
fn read_status_line(line: &[u8]) -> Result<ResponseStart, Malformed> {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let version = match line.get(PROTOCOL.len()) {
        Some(b'0') => Version::HTTP_10,
        Some(b'1') => Version::HTTP_11,
        _ => return Err(Malformed::VERSION),
    };
    let rest = &line[PROTOCOL.len() + 1..];
    let [b' ', rest @ ..] = rest else {
        return Err(Malformed::VERSION);
    };
    let status = match rest {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
            u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
        }
        _ => return Err(Malformed::STATUS),
    };
    let reason = match &rest[3..] {
        [] => &[],
        [b' ', reason @ ..] => reason,
        _ => return Err(Malformed::STATUS_LINE),
    };
    // A carriage return alone is a line's end to some readers.
    if memchr::memchr2(b'\r', 0, reason).is_some() {
        return Err(Malformed::STATUS_LINE);
    }
    Ok(ResponseStart {
        status,
        reason: Bytes::copy_from_slice(reason),
        headers: Default::default(),
        version,
        content_length: None,
        redirected: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &[u8]) -> Result<Option<ResponseStart>, Malformed> {
        let mut input = BytesMut::from(head);
        Ok(HeadReader::default().read(&mut input)?.map(|(start, _)| start))
    }

    #[test]
    fn a_head_keeps_case_order_latin1_and_an_odd_reason() {
        let start = read(b"HTTP/1.1 299 Na\xefve \r\nX-A: 1\r\nx-a:2\r\n\r\nbody")
            .unwrap()
            .unwrap();
        assert_eq!((start.status, start.reason.as_ref()), (299, b"Na\xefve " as &[u8]));
        assert_eq!(start.headers.text(), b"X-A\x001\x00x-a\x002");
        for (line, reason) in [("200", ""), ("200 ", ""), ("200  OK", " OK"), ("600 x", "x")] {
            let start = read(format!("HTTP/1.1 {line}\r\n\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(start.reason, reason, "{line}");
        }
        assert_eq!(
            read(b"HTTP/1.0 200 OK\r\n\r\n").unwrap().unwrap().version,
            Version::HTTP_10
        );
    }

    #[test]
    fn a_head_is_the_same_however_it_is_cut() {
        let head = b"\r\n\r\nHTTP/1.1 200 OK\r\na: b\r\n\r\n";
        for size in 1..head.len() {
            let mut reader = HeadReader::default();
            let mut input = BytesMut::new();
            let mut found = None;
            for piece in head.chunks(size) {
                assert!(found.is_none());
                input.extend_from_slice(piece);
                found = reader.read(&mut input).unwrap();
            }
            assert_eq!(found.unwrap().0.headers.text(), b"a\x00b", "{size}");
            assert!(input.is_empty());
        }
    }

    #[test]
    fn what_llhttp_refuses_is_refused_by_its_name_as_soon_as_it_is_there() {
        for (head, expected) in [
            ("garbage", Malformed::NO_HTTP),
            ("SSH-2", Malformed::NO_HTTP),
            (" HTTP/1.1", Malformed::NO_HTTP),
            ("\x15\x03\x01", Malformed::NO_HTTP),
            ("HTTP/4", Malformed::VERSION),
            ("HTTP/2.0 200 OK\r\n\r\n", Malformed::VERSION),
            ("HTTP/1.2 200 OK\r\n\r\n", Malformed::VERSION),
            ("HTTP/1.1x200 OK\r\n\r\n", Malformed::VERSION),
            ("HTTP/1.1  200 OK\r\n\r\n", Malformed::STATUS),
            ("HTTP/1.1 xyz OK\r\n\r\n", Malformed::STATUS),
            ("HTTP/1.1 99 OK\r\n\r\n", Malformed::STATUS),
            ("HTTP/1.1 099 OK\r\n\r\n", Malformed::STATUS),
            ("HTTP/1.1\r\n\r\n", Malformed::VERSION),
            ("HTTP/1.1 1000 OK\r\n\r\n", Malformed::STATUS_LINE),
            ("HTTP/1.1 200\tOK\r\n\r\n", Malformed::STATUS_LINE),
            ("HTTP/1.1 200 O\rK\r\n\r\n", Malformed::STATUS_LINE),
            ("HTTP/1.1 200 OK\n", Malformed::NO_CR),
            ("HTTP/1.1 200 OK\r\na: b\n", Malformed::NO_CR),
            ("HTTP/1.1 200 OK\r\n folded: b\r\n\r\n", Malformed::FOLDED),
        ] {
            assert_eq!(read(head.as_bytes()).unwrap_err(), expected, "{head:?}");
        }
    }

    #[test]
    fn empty_lines_before_a_head_have_an_end() {
        let mut reader = HeadReader::default();
        for _ in 0..MOST_BLANK / 2 {
            assert!(reader.read(&mut BytesMut::from("\r\n")).unwrap().is_none());
        }
        assert_eq!(reader.read(&mut BytesMut::from("\n")).unwrap_err(), Malformed::TooLarge);
    }

    #[test]
    fn a_head_that_never_ends_is_too_large() {
        let mut endless = b"HTTP/1.1 200 OK\r\na: ".to_vec();
        endless.resize(MOST_HEAD + 1, b'a');
        assert_eq!(read(&endless).unwrap_err(), Malformed::TooLarge);
        endless.extend_from_slice(b"\r\n\r\n");
        assert_eq!(read(&endless).unwrap_err(), Malformed::TooLarge);
    }
}
