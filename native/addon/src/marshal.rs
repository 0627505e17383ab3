//! Core's values as bytes that JavaScript decodes.

use sluice_core::{CoreError, HeaderMap};

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
pub fn error_text(error: &CoreError, phase: &str) -> String {
    let mut out = Vec::new();
    write_error(error, phase, "", &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// `CoreErrorInfo` as JSON. `phase` is where the request was; a failed connect says so itself.
pub fn write_error(error: &CoreError, phase: &str, host: &str, out: &mut Vec<u8>) {
    let phase = match error {
        CoreError::ConnectTimeout { .. } | CoreError::Tls { .. } => "connect",
        CoreError::System(system) if matches!(system.syscall, "connect" | "getaddrinfo") => "connect",
        _ => phase,
    };
    let mut json = Json { out, is_first: true };
    json.text("name", error.error_name());
    json.text("code", error.error_code());
    json.text("message", &error.to_string());
    json.text("phase", phase);
    if !host.is_empty() {
        json.text("host", host);
    }
    if let Some(status) = error.status_code() {
        json.number("statusCode", status.into());
    }
    if let CoreError::System(system) = error {
        json.number("errno", system.errno.into());
        json.text("syscall", system.syscall);
        if let Some(address) = &system.address {
            json.text("address", address);
        }
        if let Some(port) = system.port {
            json.number("port", port.into());
        }
        if let Some(hostname) = &system.hostname {
            json.text("hostname", hostname);
        }
    }
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

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.string(value);
    }

    fn number(&mut self, key: &str, value: i64) {
        self.key(key);
        self.out.extend_from_slice(value.to_string().as_bytes());
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
        let text = error_text(&CoreError::Socket("a \"quoted\" \u{e9}\n".into()), "body");
        assert_eq!(
            text,
            r#"{"name":"SocketError","code":"UND_ERR_SOCKET","message":"a \"quoted\" \u00e9\u000a","phase":"body"}"#
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
