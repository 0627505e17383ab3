//! A request's URI for HTTP/2, whose pseudo-headers hyper takes from `http::Uri`.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use super::head::extend_latin1;
use crate::error::CoreError;
use crate::origin::Origin;

/// # Errors
/// [`CoreError::InvalidArgument`] for what no URI can hold.
pub fn uri(origin: &Origin, host: Option<&str>, target: &str) -> Result<Uri, CoreError> {
    let invalid = |what: &str| CoreError::InvalidArgument(format!("invalid {what}"));
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if origin.is_https() { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority =
        Some(Authority::try_from(host.unwrap_or(origin.authority())).map_err(|_| invalid("host header"))?);
    let mut bytes = Vec::with_capacity(target.len());
    extend_latin1(&mut bytes, target);
    let path = PathAndQuery::try_from(bytes.as_slice())
        .or_else(|_| PathAndQuery::try_from(encode(&bytes).as_slice()))
        .map_err(|_| invalid("request path"))?;
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|_| invalid("request path"))
}

/// Percent-encodes what `http::Uri` refuses and undici lets through; a double quote is refused in a query only.
fn encode(target: &[u8]) -> Vec<u8> {
    let query = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
    let mut encoded = Vec::with_capacity(target.len() + 16);
    for (index, &byte) in target.iter().enumerate() {
        let is_refused = matches!(byte, b'<' | b'>' | b'^' | b'`' | b'#') || (byte == b'"' && index > query);
        if is_refused || !(0x21..0x7f).contains(&byte) {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            encoded.push(byte);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_goes_out_as_it_came() {
        let origin = Origin::parse("http://a.test:81").unwrap();
        for target in [
            "/a|b",
            "//x//y",
            "/a/../b",
            "/%2e%2e/b",
            "/a\\b",
            "/?q='",
            "/a%zz",
            "/?",
            "/a{b}",
        ] {
            let uri = uri(&origin, None, target).unwrap();
            assert_eq!(uri.path_and_query().unwrap().as_str(), target);
        }
    }

    #[test]
    fn what_no_uri_may_hold_is_percent_encoded() {
        let origin = Origin::parse("http://a.test").unwrap();
        assert_eq!(uri(&origin, None, "/<^`>").unwrap().path(), "/%3C%5E%60%3E");
        let quoted = uri(&origin, None, "/\"?q=\"").unwrap();
        assert_eq!(quoted.path_and_query().unwrap(), "/\"?q=%22");
    }
}
