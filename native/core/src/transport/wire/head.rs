//! The head of an HTTP/1.1 request, in undici's order.

use crate::origin::Origin;
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
