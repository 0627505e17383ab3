//! Where the body of a response ends (RFC 9112 §6.3), and whether its connection can be used again (§9.3).

use std::time::Duration;

use http::{Method, Version};

use super::malformed::Malformed;
use crate::transport::wire::keep_alive;

/// How the end of a response's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is none, whatever the head announces.
    Empty,
    Length(u64),
    Chunked,
    /// It ends with the connection.
    UntilClose,
    /// What follows the head is not HTTP's: a switch of protocols, or a tunnel.
    Switched,
}

/// What the fields of a head say of the message and of its connection; gathered while they are read.
#[derive(Debug, Default)]
pub struct Facts {
    length: Option<u64>,
    encoding: Encoding,
    says_close: bool,
    says_keep_alive: bool,
    /// The server's `keep-alive: timeout=`.
    pub keep_alive: Option<Duration>,
    fault: Option<Malformed>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    #[default]
    None,
    Chunked,
    /// The last coding is another one.
    Other,
}

impl Facts {
    pub fn note(&mut self, name: &[u8], value: &[u8]) {
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
            14 if name.eq_ignore_ascii_case(b"content-length") => match parse_length(value) {
                _ if self.length.is_some() => self.refuse(Malformed::Framing),
                _ if self.encoding != Encoding::None => self.refuse(Malformed::LENGTH_WITH_ENCODING),
                Ok(length) => self.length = Some(length),
                Err(fault) => self.refuse(fault),
            },
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.length.is_some() {
                    self.refuse(Malformed::Framing);
                }
                let last = value.rsplit(|&byte| byte == b',').next().unwrap_or_default();
                self.encoding = if last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    Encoding::Chunked
                } else {
                    Encoding::Other
                };
            }
            _ => {}
        }
    }

    fn refuse(&mut self, fault: Malformed) {
        self.fault.get_or_insert(fault);
    }

    pub fn has_content_length(&self) -> bool {
        self.length.is_some()
    }

    /// # Errors
    /// For framings that contradict each other or that cannot be read: where the body ends is unknown.
    pub fn framing(&self, method: &Method, version: Version, status: u16) -> Result<BodyFraming, Malformed> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if version == Version::HTTP_10 && self.encoding != Encoding::None {
            return Err(Malformed::ENCODING_IN_HTTP_10);
        }
        if status == 101 || (method == Method::CONNECT && (200..300).contains(&status)) {
            return Ok(BodyFraming::Switched);
        }
        if method == Method::HEAD || status < 200 || matches!(status, 204 | 304) {
            return Ok(BodyFraming::Empty);
        }
        Ok(match (self.encoding, self.length) {
            (Encoding::Chunked, _) => BodyFraming::Chunked,
            (Encoding::None, Some(0)) => BodyFraming::Empty,
            (Encoding::None, Some(length)) => BodyFraming::Length(length),
            // A length is no framing beside a transfer coding, and both together were refused.
            (Encoding::Other | Encoding::None, _) => BodyFraming::UntilClose,
        })
    }

    /// Whether the server keeps the connection open behind a response that is framed so.
    pub fn keeps_connection(&self, version: Version, status: u16, framing: BodyFraming) -> bool {
        if self.says_close || (version == Version::HTTP_10 && !self.says_keep_alive) {
            return false;
        }
        if status == 204 && (self.length.is_some_and(|length| length > 0) || self.encoding != Encoding::None) {
            // A body that may not be there, but is announced, would be taken for the next response.
            return false;
        }
        !matches!(framing, BodyFraming::UntilClose | BodyFraming::Switched)
    }
}

/// A length is digits and nothing else, within 64 bits.
fn parse_length(value: &[u8]) -> Result<u64, Malformed> {
    let digits = value.trim_ascii();
    if digits.is_empty() {
        return Err(Malformed::NO_LENGTH);
    }
    if digits.contains(&b',') {
        // A list of lengths, equal or not: of two readers of the message each may believe another one.
        return Err(Malformed::Framing);
    }
    let mut length: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(Malformed::LENGTH);
        }
        length = length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(digit - b'0')))
            .ok_or(Malformed::LENGTH_OVERFLOW)?;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(fields: &[(&str, &str)]) -> Facts {
        let mut facts = Facts::default();
        for (name, value) in fields {
            facts.note(name.as_bytes(), value.as_bytes());
        }
        facts
    }

    fn framing(fields: &[(&str, &str)]) -> Result<BodyFraming, Malformed> {
        facts(fields).framing(&Method::GET, Version::HTTP_11, 200)
    }

    const LENGTH: &str = "Content-Length";
    const ENCODING: &str = "Transfer-Encoding";

    #[test]
    fn one_length_or_a_last_coding_of_chunked_frames_a_body() {
        assert_eq!(framing(&[(LENGTH, "5 ")]), Ok(BodyFraming::Length(5)));
        assert_eq!(framing(&[(LENGTH, "0005")]), Ok(BodyFraming::Length(5)));
        assert_eq!(
            framing(&[(LENGTH, "18446744073709551615")]),
            Ok(BodyFraming::Length(u64::MAX))
        );
        assert_eq!(framing(&[(LENGTH, "0")]), Ok(BodyFraming::Empty));
        assert_eq!(framing(&[(ENCODING, "gzip, Chunked ")]), Ok(BodyFraming::Chunked));
        assert_eq!(
            framing(&[(ENCODING, "gzip"), (ENCODING, "chunked")]),
            Ok(BodyFraming::Chunked)
        );
        for other in ["gzip", "chunked, gzip", "xchunked", "identity", "chunked;q=1", ""] {
            assert_eq!(framing(&[(ENCODING, other)]), Ok(BodyFraming::UntilClose), "{other}");
        }
        assert_eq!(framing(&[]), Ok(BodyFraming::UntilClose));
    }

    #[test]
    fn lengths_that_contradict_each_other_or_a_coding_are_refused() {
        for fields in [
            [(LENGTH, "5"), (LENGTH, "5")],
            [(LENGTH, "5"), (LENGTH, "6")],
            [(LENGTH, "5"), (ENCODING, "chunked")],
            [(LENGTH, "5"), (ENCODING, "gzip")],
        ] {
            assert_eq!(framing(&fields), Err(Malformed::Framing), "{fields:?}");
        }
        assert_eq!(framing(&[(LENGTH, "5, 5")]), Err(Malformed::Framing));
        let fields = [(ENCODING, "chunked"), (LENGTH, "5")];
        assert_eq!(framing(&fields), Err(Malformed::LENGTH_WITH_ENCODING));
    }

    #[test]
    fn a_length_that_is_no_number_is_said_to_be_none() {
        for value in ["x", "+5", "-5", "1 2", "0x5", "5.0", "\u{661}"] {
            assert_eq!(framing(&[(LENGTH, value)]), Err(Malformed::LENGTH), "{value}");
        }
        assert_eq!(framing(&[(LENGTH, " ")]), Err(Malformed::NO_LENGTH));
        assert_eq!(
            framing(&[(LENGTH, "18446744073709551616")]),
            Err(Malformed::LENGTH_OVERFLOW)
        );
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_announce() {
        let announced = facts(&[(LENGTH, "5")]);
        for (method, status, expected) in [
            (Method::HEAD, 200, BodyFraming::Empty),
            (Method::GET, 204, BodyFraming::Empty),
            (Method::GET, 304, BodyFraming::Empty),
            (Method::GET, 103, BodyFraming::Empty),
            (Method::GET, 205, BodyFraming::Length(5)),
            (Method::GET, 101, BodyFraming::Switched),
            (Method::CONNECT, 200, BodyFraming::Switched),
            (Method::CONNECT, 407, BodyFraming::Length(5)),
        ] {
            assert_eq!(
                announced.framing(&method, Version::HTTP_11, status),
                Ok(expected),
                "{method} {status}"
            );
        }
    }

    #[test]
    fn http_1_0_has_no_transfer_codings() {
        let coded = facts(&[(ENCODING, "chunked")]);
        let framing = coded.framing(&Method::GET, Version::HTTP_10, 200);
        assert_eq!(framing, Err(Malformed::ENCODING_IN_HTTP_10));
    }

    #[test]
    fn a_connection_is_kept_only_if_both_ends_know_where_the_body_ends() {
        let keeps = |version, status, fields: &[(&str, &str)]| {
            let facts = facts(fields);
            let framing = facts.framing(&Method::GET, version, status).unwrap();
            facts.keeps_connection(version, status, framing)
        };
        let (one, zero) = (Version::HTTP_11, Version::HTTP_10);
        assert!(keeps(one, 200, &[(LENGTH, "1")]));
        assert!(keeps(one, 200, &[(ENCODING, "gzip, Chunked")]));
        assert!(keeps(zero, 200, &[("connection", "keep-alive"), (LENGTH, "1")]));
        assert!(!keeps(zero, 200, &[(LENGTH, "1")]));
        assert!(!keeps(one, 200, &[("Connection", "x, Close"), (LENGTH, "1")]));
        assert!(!keeps(one, 200, &[]));
        assert!(keeps(one, 204, &[]));
        assert!(keeps(one, 204, &[(LENGTH, "0")]));
        assert!(!keeps(one, 204, &[(LENGTH, "5")]));
        assert!(!keeps(one, 204, &[(ENCODING, "chunked")]));
        assert!(keeps(one, 304, &[(LENGTH, "5")]));
    }
}
