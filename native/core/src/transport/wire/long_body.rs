//! Bodies of known length that are too long to come with their heads.

use std::ops::Range;

/// Where a head announces the length of its body, and what it announces.
#[derive(Debug, PartialEq, Eq)]
pub struct LongBody {
    digits: Range<usize>,
    length: u64,
    /// Where a field begins that says that the connection ends with the response.
    close: Option<usize>,
}

/// A shorter rest is hyper's to read.
const WORTH: u64 = 64 * 1024;
/// No more digits than a number of JavaScript's has.
const MOST_DIGITS: usize = 15;

impl LongBody {
    /// Of a response to a request that may have a body in its response. `None` for any head that leaves a doubt: what
    /// hyper would refuse is left for it to see.
    pub fn find(head: &[u8]) -> Option<Self> {
        let mut lines = Lines { head, at: 0 };
        let status = lines.next()?;
        let status = head.get(status)?;
        let code = status.get(9..12)?;
        if !status.starts_with(b"HTTP/1.1 ") || code.first() == Some(&b'1') || code == b"204" || code == b"304" {
            return None;
        }
        let (mut found, mut close) = (None, None);
        for line in lines {
            let text = head.get(line.clone())?;
            if text.is_empty() {
                break;
            }
            if text.starts_with(b" ") || text.starts_with(b"\t") {
                return None;
            }
            let colon = memchr::memchr(b':', text)?;
            match colon {
                10 if text[..colon].eq_ignore_ascii_case(b"connection") => {
                    let value = text[colon + 1..].trim_ascii();
                    if value.eq_ignore_ascii_case(b"close") && close.is_none() {
                        close = Some(line.start);
                    } else if !value.eq_ignore_ascii_case(b"keep-alive") {
                        return None;
                    }
                }
                14 if text[..colon].eq_ignore_ascii_case(b"content-length") => {
                    if found.is_some() {
                        return None;
                    }
                    found = Some(length(text, colon + 1, line.start)?);
                }
                17 if text[..colon].eq_ignore_ascii_case(b"transfer-encoding") => return None,
                _ => {}
            }
        }
        let (digits, length) = found?;
        Some(Self { digits, length, close })
    }

    /// Bytes to come beyond `here`, if they are worth a way of their own.
    pub fn beyond(&self, here: usize) -> Option<u64> {
        self.length.checked_sub(here as u64).filter(|&left| left >= WORTH)
    }

    /// Makes the head announce `here` bytes, which is less, on a connection that stays open: hyper would close it behind
    /// them.
    pub fn shorten(&self, head: &mut [u8], here: usize) {
        let mut rest = here;
        for digit in head[self.digits.clone()].iter_mut().rev() {
            *digit = b"0123456789"[rest % 10];
            rest /= 10;
        }
        if let Some(close) = self.close {
            head[close] = b'x';
        }
    }
}

/// Where in the head the digits of a field's value are, and their number.
fn length(line: &[u8], value: usize, line_start: usize) -> Option<(Range<usize>, u64)> {
    let blanks = line[value..].len() - line[value..].trim_ascii_start().len();
    let digits = line[value + blanks..].trim_ascii_end();
    if digits.len() > MOST_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let start = line_start + value + blanks;
    Some((start..start + digits.len(), length))
}

/// Where the lines of a head are, without what ends them.
struct Lines<'a> {
    head: &'a [u8],
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = self.head.get(self.at..)?;
        let end = self.at + memchr::memchr(b'\n', rest)?;
        let start = std::mem::replace(&mut self.at, end + 1);
        let is_crlf = end > start && self.head[end - 1] == b'\r';
        Some(start..if is_crlf { end - 1 } else { end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortened(head: &str, here: usize) -> Option<String> {
        let found = LongBody::find(head.as_bytes())?;
        found.beyond(here)?;
        let mut bytes = head.as_bytes().to_vec();
        found.shorten(&mut bytes, here);
        String::from_utf8(bytes).ok()
    }

    #[test]
    fn announces_what_is_here_in_place_of_the_whole() {
        let head = |length: &str| format!("HTTP/1.1 200 OK\r\na: 1\r\nContent-Length:  {length} \r\nb: 2\r\n\r\n");
        assert_eq!(shortened(&head("2000000"), 8042), Some(head("0008042")));
        assert_eq!(shortened(&head("2000000"), 0), Some(head("0000000")));
        assert_eq!(shortened(&head("73577"), 8042), None, "65535 bytes are not worth it");
        assert_eq!(shortened(&head("73578"), 8042), Some(head("08042")));
        assert_eq!(shortened(&head("100"), 100), None);
    }

    #[test]
    fn leaves_every_head_alone_that_it_may_misread() {
        let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
        assert!(shortened(&head("content-length: 2000000"), 0).is_some());
        assert!(shortened(&head("connection: Keep-Alive\r\ncontent-length: 2000000"), 0).is_some());
        for lines in [
            "x: y",
            "content-length: 2000000\r\ncontent-length: 2000000",
            "content-length: 2000000\r\ntransfer-encoding: chunked",
            "content-length: 2000000\r\nconnection: close, foo",
            "connection: close\r\ncontent-length: 2000000\r\nconnection: close",
            "content-length: 2000000\r\nconnection: keep-alive, upgrade",
            "content-length: 2000000\r\n folded",
            "content-length: 2000000, 2000000",
            "content-length: +2000000",
            "content-length: -2000000",
            "content-length: 2e9",
            "content-length:",
            "content-length : 2000000",
            "content-length: 2000000000000000",
            "no colon\r\ncontent-length: 2000000",
        ] {
            assert_eq!(shortened(&head(lines), 0), None, "{lines}");
        }
        for status in [
            "HTTP/1.0 200 OK",
            "HTTP/1.1 304 N",
            "HTTP/1.1 204 N",
            "HTTP/1.1 101 S",
            "HTTP/1.1 1",
        ] {
            let head = format!("{status}\r\ncontent-length: 2000000\r\n\r\n");
            assert_eq!(shortened(&head, 0), None, "{status}");
        }
    }

    #[test]
    fn hides_that_the_connection_ends_with_the_body() {
        let head =
            |name: &str, length: &str| format!("HTTP/1.1 200 OK\r\n{name}: Close\r\ncontent-length: {length}\r\n\r\n");
        assert_eq!(
            shortened(&head("Connection", "2000000"), 7),
            Some(head("xonnection", "0000007"))
        );
    }

    #[test]
    fn reads_lines_that_end_in_lf_alone() {
        let head = "HTTP/1.1 200 OK\ncontent-length: 2000000\n\n";
        assert_eq!(shortened(head, 7), Some(head.replace("2000000", "0000007")));
    }
}
