//! Which requests go through a proxy, and through which.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::error::CoreError;
use crate::no_proxy::NoProxy;
use crate::origin::Origin;
use crate::proxy_url::{ProxySetting, ProxyUrl};
use crate::system_proxy::add_system;

/// Proxies by scheme, as `HTTP_PROXY` and its like name them.
#[derive(Debug, Clone, Default)]
pub struct ProxyUrls {
    pub all: ProxySetting,
    pub http: ProxySetting,
    pub https: ProxySetting,
    /// What is reached without (`NO_PROXY`).
    pub none: String,
    /// The settings of macOS or Windows stand in where these are empty.
    pub or_system: bool,
}

/// Decides for every origin.
#[derive(Clone)]
pub struct ProxyRules {
    http: Option<ProxyUrl>,
    https: Option<ProxyUrl>,
    none: Arc<NoProxy>,
    /// In place of what the proxy's URL says.
    authorization: Option<String>,
    /// Fields for the proxy alone.
    headers: Vec<(String, String)>,
}

/// Without what proxies are told.
impl fmt::Debug for ProxyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyRules")
            .field("http", &self.http)
            .field("https", &self.https)
            .field("none", &self.none)
            .finish_non_exhaustive()
    }
}

/// One proxy, as a connection uses it.
#[derive(Clone)]
pub struct Proxy {
    pub protocol: ProxyProtocol,
    /// Where it listens; `https` for a proxy that is spoken to over TLS.
    pub origin: Origin,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// Complete lines for the proxy, `proxy-authorization` among them.
    pub header_lines: String,
}

/// Without what it is told.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("protocol", &self.protocol)
            .field("origin", &self.origin.as_str())
            .finish_non_exhaustive()
    }
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
    /// # Errors
    /// [`CoreError::InvalidArgument`] naming the first value that cannot be a proxy, also where it would not be used.
    pub fn new(urls: ProxyUrls) -> Result<Self, CoreError> {
        let urls = if urls.or_system { add_system(urls)? } else { urls };
        let all = ProxyUrl::parse(&urls.all)?;
        Ok(Self {
            http: ProxyUrl::parse(&urls.http)?.or_else(|| all.clone()),
            https: ProxyUrl::parse(&urls.https)?.or(all),
            none: Arc::new(NoProxy::parse(&urls.none)),
            authorization: None,
            headers: Vec::new(),
        })
    }

    /// What every proxy is told: `proxy-authorization`, and other fields, without line breaks.
    #[must_use]
    pub fn telling(mut self, authorization: Option<String>, headers: Vec<(String, String)>) -> Self {
        self.authorization = authorization;
        self.headers = headers;
        self
    }

    /// The proxy for requests to `origin`; `None` connects directly, which nothing leads to but that there is no proxy for
    /// its scheme, or that it was left out by name.
    pub fn proxy_for(&self, origin: &Origin) -> Option<Proxy> {
        let url = if origin.is_https() { &self.https } else { &self.http };
        let url = url.as_ref().filter(|_| !self.none.contains(origin))?;
        Some(Proxy {
            protocol: url.protocol,
            origin: url.origin.clone(),
            credentials: url.credentials.clone(),
            header_lines: self.header_lines(url),
        })
    }

    fn header_lines(&self, url: &ProxyUrl) -> String {
        let mut lines = String::new();
        // RFC 7617 §2, in UTF-8.
        let of_url = || {
            let (user, password) = url.credentials.as_ref()?;
            Some(format!(
                "Basic {}",
                BASE64_STANDARD.encode(format!("{user}:{password}"))
            ))
        };
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
        ProxyRules::new(urls)
            .unwrap()
            .proxy_for(&Origin::parse(origin).unwrap())
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
        let rules = ProxyRules::new(urls())
            .unwrap()
            .telling(Some("Bearer t".into()), vec![("x-a".into(), "1".into())]);
        let told = rules.proxy_for(&Origin::parse("http://a.test").unwrap()).unwrap();
        assert_eq!(told.header_lines, "proxy-authorization: Bearer t\r\nx-a: 1\r\n");
    }

    #[test]
    fn a_host_that_no_parser_knows_has_the_proxy_of_its_scheme() {
        for origin in [
            "http://a{b}.test",
            "https://a|b.test",
            "http://ä.test",
            "http://a b",
            "https://[::1",
            "http://%",
        ] {
            let urls = ProxyUrls {
                all: "http://p.test".into(),
                none: "b.test, 10.0.0.0/8".into(),
                ..ProxyUrls::default()
            };
            assert_eq!(
                proxy(urls, origin).map(|proxy| proxy.origin.port()),
                Some(80),
                "{origin}"
            );
        }
    }

    #[test]
    fn a_value_that_is_no_proxy_is_an_error_also_where_another_would_be_used() {
        let urls = ProxyUrls {
            all: ProxySetting {
                name: "all_proxy".into(),
                value: "http://me:SECRET@".into(),
            },
            http: "http://a.test".into(),
            https: "http://b.test".into(),
            none: "*".into(),
            ..ProxyUrls::default()
        };
        let error = ProxyRules::new(urls).unwrap_err();
        assert!(matches!(&error, CoreError::InvalidArgument(text) if text.starts_with("invalid all_proxy: ")));
        assert!(!error.to_string().contains("SECRET"));
    }

    #[test]
    fn what_is_shown_of_a_proxy_is_where_it_listens() {
        let urls = ProxyUrls {
            all: "http://me:SECRET@p.test:9".into(),
            ..ProxyUrls::default()
        };
        let rules = ProxyRules::new(urls.clone()).unwrap();
        let rules = rules.telling(Some("Bearer SECRET".into()), vec![("x-a".into(), "SECRET".into())]);
        let proxy = rules.proxy_for(&Origin::parse("http://a.test").unwrap()).unwrap();
        let shown = format!("{urls:?} {rules:?} {proxy:?}");
        assert!(shown.contains("p.test:9") && !shown.contains("SECRET"), "{shown}");
    }
}
