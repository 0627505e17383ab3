//! Which requests go through a proxy, and through which.

use std::sync::Arc;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::no_proxy::NoProxy;
use crate::origin::Origin;

/// Proxies by scheme, as `HTTP_PROXY` and its like name them; empty for none.
#[derive(Debug, Clone, Default)]
pub struct ProxyUrls {
    pub all: String,
    pub http: String,
    pub https: String,
    /// What is reached without (`NO_PROXY`).
    pub none: String,
}

/// Decides for every origin.
#[derive(Debug, Clone)]
pub struct ProxyRules {
    matcher: Arc<Matcher>,
    none: Arc<NoProxy>,
    /// In place of what the proxy's URL says.
    authorization: Option<String>,
    /// Fields for the proxy alone.
    headers: Vec<(String, String)>,
}

/// One proxy, as a connection uses it.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub protocol: ProxyProtocol,
    /// Where it listens; `https` for a proxy that is spoken to over TLS.
    pub origin: Origin,
    /// User and password, for SOCKS.
    pub credentials: Option<(String, String)>,
    /// Complete lines for the proxy, `proxy-authorization` among them.
    pub header_lines: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    Http,
    /// `resolves`: it is given addresses, names otherwise.
    Socks4 {
        resolves: bool,
    },
    Socks5 {
        resolves: bool,
    },
}

impl ProxyRules {
    pub fn new(urls: ProxyUrls) -> Self {
        let matcher = Matcher::builder().all(urls.all).http(urls.http).https(urls.https);
        Self::from_matcher(matcher.build(), NoProxy::parse(&urls.none))
    }

    /// The environment, and the system's settings where it has them (macOS, Windows).
    pub fn system() -> Self {
        Self::from_matcher(Matcher::from_system(), NoProxy::from_environment())
    }

    fn from_matcher(matcher: Matcher, none: NoProxy) -> Self {
        Self {
            matcher: Arc::new(matcher),
            none: Arc::new(none),
            authorization: None,
            headers: Vec::new(),
        }
    }

    /// What every proxy is told: `proxy-authorization`, and other fields, without line breaks.
    #[must_use]
    pub fn telling(mut self, authorization: Option<String>, headers: Vec<(String, String)>) -> Self {
        self.authorization = authorization;
        self.headers = headers;
        self
    }

    /// The proxy for requests to `origin`; `None` connects directly.
    pub fn proxy_for(&self, origin: &Origin) -> Option<Proxy> {
        if self.none.contains(origin) {
            return None;
        }
        let intercept = self.matcher.intercept(&origin.as_str().parse().ok()?)?;
        let uri = intercept.uri();
        let (protocol, scheme, default_port) = match uri.scheme_str()? {
            "http" => (ProxyProtocol::Http, "http", 80),
            "https" => (ProxyProtocol::Http, "https", 443),
            "socks4" => (ProxyProtocol::Socks4 { resolves: true }, "http", 1080),
            "socks4a" => (ProxyProtocol::Socks4 { resolves: false }, "http", 1080),
            "socks5" => (ProxyProtocol::Socks5 { resolves: true }, "http", 1080),
            "socks5h" => (ProxyProtocol::Socks5 { resolves: false }, "http", 1080),
            _ => return None,
        };
        let port = uri.port_u16().unwrap_or(default_port);
        Some(Proxy {
            protocol,
            origin: Origin::parse(&format!("{scheme}://{}:{port}", uri.host()?))?,
            credentials: intercept
                .raw_auth()
                .map(|(user, password)| (user.to_owned(), password.to_owned())),
            header_lines: self.header_lines(&intercept),
        })
    }

    fn header_lines(&self, intercept: &Intercept) -> String {
        let mut lines = String::new();
        let of_url = || Some(intercept.basic_auth()?.to_str().ok()?.to_owned());
        if let Some(authorization) = self.authorization.clone().or_else(of_url) {
            lines.push_str(&format!("proxy-authorization: {authorization}\r\n"));
        }
        for (name, value) in &self.headers {
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(urls: ProxyUrls, origin: &str) -> Option<Proxy> {
        ProxyRules::new(urls).proxy_for(&Origin::parse(origin).unwrap())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_all_stands_in() {
        let urls = || ProxyUrls {
            http: "http://plain.test".into(),
            all: "socks5h://me:s%20x@rest.test:99".into(),
            none: "inside.test, 10.0.0.0/8, odd.test:81".into(),
            ..ProxyUrls::default()
        };
        let plain = proxy(urls(), "http://a.test").unwrap();
        assert_eq!(
            (plain.origin.as_str(), plain.protocol),
            ("http://plain.test:80", ProxyProtocol::Http)
        );
        let rest = proxy(urls(), "https://a.test").unwrap();
        assert_eq!(rest.origin.authority(), "rest.test:99");
        assert_eq!(rest.protocol, ProxyProtocol::Socks5 { resolves: false });
        assert_eq!(rest.credentials, Some(("me".into(), "s x".into())));
        for origin in [
            "https://inside.test",
            "http://x.inside.test:81",
            "http://10.2.3.4",
            "http://odd.test:81",
        ] {
            assert!(proxy(urls(), origin).is_none(), "{origin}");
        }
    }

    #[test]
    fn a_star_leaves_out_all() {
        let urls = || ProxyUrls {
            all: "http://p.test".into(),
            none: "a.test, *".into(),
            ..ProxyUrls::default()
        };
        assert!(proxy(urls(), "http://127.0.0.1").is_none());
        assert!(proxy(urls(), "https://b.test").is_none());
    }

    #[test]
    fn the_url_says_who_one_is_unless_the_caller_does() {
        let urls = || ProxyUrls {
            all: "https://user:pass@p.test".into(),
            ..ProxyUrls::default()
        };
        let told = proxy(urls(), "http://a.test").unwrap();
        assert_eq!(told.header_lines, "proxy-authorization: Basic dXNlcjpwYXNz\r\n");
        assert_eq!(told.origin.as_str(), "https://p.test:443");
        let rules = ProxyRules::new(urls()).telling(Some("Bearer t".into()), vec![("x-a".into(), "1".into())]);
        let told = rules.proxy_for(&Origin::parse("http://a.test").unwrap()).unwrap();
        assert_eq!(told.header_lines, "proxy-authorization: Bearer t\r\nx-a: 1\r\n");
    }
}
