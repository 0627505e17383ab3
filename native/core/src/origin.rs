//! Where a request goes.

use std::sync::Arc;

/// Scheme, host and port, as in `http://example.com:8080`; no path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    text: Arc<str>,
    scheme_len: usize,
    host: (usize, usize),
    port: u16,
}

/// Bytes; a name of the DNS has 253 at most.
const MOST_BYTES: usize = 64 * 1024;

impl Origin {
    /// Parses `scheme://host[:port]`; `None` for anything else, and for what no host is called.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MOST_BYTES {
            return None;
        }
        let scheme_len = text.find("://")?;
        let default_port = match &text[..scheme_len] {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let start = scheme_len + 3;
        let authority = &text[start..];
        if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
            return None;
        }
        let (host_end, port) = match authority.rfind(':') {
            Some(colon) if !authority[colon..].contains(']') => (start + colon, authority[colon + 1..].parse().ok()?),
            _ => (text.len(), default_port),
        };
        if host_end == start {
            return None;
        }
        Some(Self {
            text: text.into(),
            scheme_len,
            host: (start, host_end),
            port,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host and port as written, an IPv6 address in its brackets.
    pub fn authority(&self) -> &str {
        &self.text[self.host.0..]
    }

    pub fn is_https(&self) -> bool {
        self.scheme_len == 5
    }

    /// The host; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.text[self.host.0..self.host.1]
            .trim_start_matches('[')
            .trim_end_matches(']')
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_host_and_port() {
        let origin = Origin::parse("http://localhost:8080").unwrap();
        assert_eq!(
            (origin.host(), origin.port(), origin.is_https()),
            ("localhost", 8080, false)
        );
        let origin = Origin::parse("https://[::1]").unwrap();
        assert_eq!((origin.host(), origin.port(), origin.is_https()), ("::1", 443, true));
        let origin = Origin::parse("https://[::1]:99").unwrap();
        assert_eq!((origin.host(), origin.port()), ("::1", 99));
    }

    #[test]
    fn refuses_what_is_no_origin() {
        for text in [
            "",
            "http://",
            "ftp://a",
            "http://a/b",
            "http://a:x",
            "http://:80",
            "http://u@a",
            "a:80",
        ] {
            assert!(Origin::parse(text).is_none(), "{text}");
        }
    }
}
