//! Core's values as bytes that JavaScript decodes.

use std::net::{IpAddr, SocketAddr};

use sluice_core::{ConnectionEvent, ConnectionEventKind, ConnectionInfo, CoreError, HeaderMap, SystemError};

/// UTF-16 units of one text of an error: what a server or a caller has said may be of any length, and the record that
/// carries it may not.
const MOST_UNITS: usize = 4096;
/// Bytes beyond which an error of many addresses lists no further one.
const LIST_BYTES: usize = 256 * 1024;

/// Names and values, in order, each ended by NUL but the last. Bytes stand for U+00XX (latin1). HTTP allows no NUL in
/// either.
pub fn headers_text(headers: &HeaderMap, out: &mut Vec<u8>) {
    let start = out.len();
    for (name, value) in headers {
        if out.len() > start {
            out.push(0);
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.push(0);
        out.extend_from_slice(value.as_bytes());
    }
}

/// `CoreErrorInfo` as JSON.
pub fn error_text(error: &CoreError, phase: &str, connection: Option<&ConnectionInfo>) -> String {
    let mut out = Vec::new();
    write_error(error, phase, "", connection, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// `CoreErrorInfo` as JSON. `phase` is where the request was; a failed connect says so itself.
pub fn write_error(error: &CoreError, phase: &str, host: &str, connection: Option<&ConnectionInfo>, out: &mut Vec<u8>) {
    let mut json = Json { out, is_first: true };
    json.error(error, phase, host, connection);
}

/// `ConnectionEvent` as JSON.
pub fn write_connection_event(event: &ConnectionEvent<'_>, out: &mut Vec<u8>) {
    let mut json = Json { out, is_first: true };
    let name = match event.kind {
        ConnectionEventKind::Connect => "connect",
        ConnectionEventKind::Disconnect => "disconnect",
        ConnectionEventKind::ConnectionError => "connectionError",
    };
    json.text("event", name);
    // By it JavaScript finds the pool: it is never cut.
    json.key("origin");
    json.string(event.origin.as_str());
    json.flag("http1Only", event.http1_only);
    json.flag("isHttp2", event.info.is_some_and(|info| info.is_http2));
    if let Some(info) = event.info {
        if let Some(count) = info.max_streams {
            json.number("maxStreams", i64::try_from(count).unwrap_or(i64::MAX));
        }
        json.socket(info);
    }
    if let Some(error) = event.error {
        json.key("error");
        let mut inner = Json {
            out: json.out,
            is_first: true,
        };
        inner.error(error, "connect", "", event.info);
    }
    json.end();
}

/// A question of the core as JSON.
pub fn write_question(question: &str, host: &str, addresses: &[IpAddr], out: &mut Vec<u8>) {
    let mut json = Json { out, is_first: true };
    json.text("ask", question);
    // Somebody decides by it: it is never cut.
    json.key("host");
    json.string(host);
    json.key("addresses");
    for (index, address) in addresses.iter().enumerate() {
        json.out.push(if index == 0 { b'[' } else { b',' });
        json.string(&address.to_string());
    }
    json.out
        .extend_from_slice(if addresses.is_empty() { b"[]" } else { b"]" });
    json.end();
}

struct Json<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
}

impl Json<'_> {
    fn key(&mut self, key: &str) {
        self.out.push(if self.is_first { b'{' } else { b',' });
        self.is_first = false;
        self.string(key);
        self.out.push(b':');
    }

    /// A long value is cut, and ends in an ellipsis then.
    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        let mut units = 0;
        let mut is_within = |character: char| {
            units += character.len_utf16();
            units <= MOST_UNITS
        };
        let end = value.find(|character| !is_within(character)).unwrap_or(value.len());
        if end == value.len() {
            self.string(value);
        } else {
            self.string(&format!("{}\u{2026}", &value[..end]));
        }
    }

    fn number(&mut self, key: &str, value: i64) {
        self.key(key);
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A whole object.
    fn error(&mut self, error: &CoreError, phase: &str, host: &str, connection: Option<&ConnectionInfo>) {
        let phase = match error {
            CoreError::ConnectTimeout { .. }
            | CoreError::Tls { .. }
            | CoreError::Connects(_)
            | CoreError::Lookup { .. }
            | CoreError::AddressNotAllowed { .. }
            | CoreError::ProxyRefused { .. }
            | CoreError::Socks { .. } => "connect",
            CoreError::System(system) if matches!(system.syscall, "connect" | "getaddrinfo" | "bind") => "connect",
            _ => phase,
        };
        self.text("name", error.error_name());
        match error {
            CoreError::Lookup { code, .. } => self.text("code", code),
            _ => self.text("code", error.error_code()),
        }
        self.text("message", &error.to_string());
        self.text("phase", phase);
        if !host.is_empty() {
            self.text("host", host);
        }
        if let Some(status) = error.status_code() {
            self.number("statusCode", status.into());
        }
        match error {
            CoreError::System(system) => self.system(system),
            CoreError::Connects(systems) => {
                self.key("errors");
                self.out.push(b'[');
                let start = self.out.len();
                for (index, system) in systems.iter().enumerate() {
                    if self.out.len() - start > LIST_BYTES {
                        break;
                    }
                    if index > 0 {
                        self.out.push(b',');
                    }
                    let mut inner = Json {
                        out: self.out,
                        is_first: true,
                    };
                    inner.error(&CoreError::System(system.clone()), phase, "", None);
                }
                self.out.push(b']');
            }
            CoreError::Lookup { hostname, ticket, .. } => {
                self.text("hostname", hostname);
                self.number("ticket", (*ticket).into());
            }
            CoreError::AddressNotAllowed { host, address } => {
                self.text("address", address);
                self.text("hostname", host);
            }
            CoreError::Socket(_) => {
                if let Some(connection) = connection {
                    self.socket(connection);
                }
            }
            _ => {}
        }
        self.out.push(b'}');
    }

    fn system(&mut self, system: &SystemError) {
        self.number("errno", system.errno.into());
        self.text("syscall", system.syscall);
        if let Some(address) = &system.address {
            self.text("address", address);
        }
        if let Some(port) = system.port {
            self.number("port", port.into());
        }
        if let Some(hostname) = &system.hostname {
            self.text("hostname", hostname);
        }
    }

    fn socket(&mut self, info: &ConnectionInfo) {
        self.key("socket");
        let mut inner = Json {
            out: self.out,
            is_first: true,
        };
        inner.address(info.local, "localAddress", "localPort");
        inner.address(info.remote, "remoteAddress", "remotePort");
        if let Some(remote) = info.remote {
            inner.text("remoteFamily", if remote.is_ipv4() { "IPv4" } else { "IPv6" });
        }
        inner.number("bytesWritten", i64::try_from(info.bytes_written()).unwrap_or(i64::MAX));
        inner.number("bytesRead", i64::try_from(info.bytes_read()).unwrap_or(i64::MAX));
        inner.end();
    }

    fn address(&mut self, address: Option<SocketAddr>, name: &str, port: &str) {
        if let Some(address) = address {
            self.text(name, &address.ip().to_string());
            self.number(port, address.port().into());
        }
    }

    /// ASCII only, so that it reads the same as latin1 and as UTF-8.
    fn string(&mut self, value: &str) {
        self.out.push(b'"');
        for unit in value.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte @ (b'"' | b'\\')) => self.out.extend_from_slice(&[b'\\', byte]),
                Ok(byte @ 0x20..=0x7e) => self.out.push(byte),
                _ => self.out.extend_from_slice(format!("\\u{unit:04x}").as_bytes()),
            }
        }
        self.out.push(b'"');
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_ascii_json_with_only_what_is_known() {
        let text = error_text(&CoreError::Socket("a \"quoted\" \u{e9}\n".into()), "body", None);
        assert_eq!(
            text,
            r#"{"name":"SocketError","code":"UND_ERR_SOCKET","message":"a \"quoted\" \u00e9\u000a","phase":"body"}"#
        );
    }

    #[test]
    fn an_error_has_a_largest_size_whatever_was_said() {
        let long = "\u{1f30a}".repeat(20_000);
        let system = SystemError {
            code: "ENOTFOUND",
            errno: -3008,
            syscall: "getaddrinfo",
            address: Some(long.clone()),
            port: Some(1),
            hostname: Some(long.clone()),
        };
        let lookup = CoreError::Lookup {
            code: long.clone(),
            message: long.clone(),
            hostname: long.clone(),
            ticket: 1,
        };
        let refused = CoreError::AddressNotAllowed {
            host: long.clone(),
            address: long.clone(),
        };
        let errors = [
            CoreError::Redirect(long.clone()),
            CoreError::Connects(vec![system.clone(); 100]),
            CoreError::System(system),
            lookup,
            refused,
        ];
        for error in errors {
            let mut out = Vec::new();
            write_error(&error, "headers", &long, None, &mut out);
            // The buffer that JavaScript reads it from has 1 MiB.
            assert!(out.len() < 512 * 1024, "{} bytes", out.len());
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = |length: usize| {
            let mut out = Vec::new();
            let mut json = Json {
                out: &mut out,
                is_first: true,
            };
            json.text("a", &"x".repeat(length));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(MOST_UNITS), format!("{{\"a\":\"{}\"", "x".repeat(MOST_UNITS)));
        assert_eq!(
            text(MOST_UNITS + 1),
            format!("{{\"a\":\"{}\\u2026\"", "x".repeat(MOST_UNITS))
        );
    }

    #[test]
    fn headers_are_latin1_and_keep_every_value() {
        let mut headers = HeaderMap::new();
        headers.append("a", "1".parse().unwrap());
        headers.append("b", http::HeaderValue::from_bytes(b"\xe9").unwrap());
        headers.append("a", "2".parse().unwrap());
        let mut out = Vec::new();
        headers_text(&headers, &mut out);
        assert_eq!(out, b"a\x001\x00a\x002\x00b\x00\xe9");
    }
}
