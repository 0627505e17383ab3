//! Hosts that are reached without a proxy.

use std::collections::BTreeMap;

use hyper_util::client::proxy::matcher::Matcher;

use crate::origin::Origin;

/// A list as `NO_PROXY` has it: domains, addresses, networks and `*`, each with or without a port, between commas or
/// blanks.
#[derive(Debug, Default)]
pub struct NoProxy {
    /// By port; `None` is any.
    rules: BTreeMap<Option<u16>, Hosts>,
}

#[derive(Debug)]
enum Hosts {
    All,
    Listed(Box<Matcher>),
}

impl NoProxy {
    pub fn parse(list: &str) -> Self {
        let mut entries: BTreeMap<Option<u16>, Vec<&str>> = BTreeMap::new();
        for entry in list.split(|separator: char| separator == ',' || separator.is_whitespace()) {
            let (host, port) = split_port(entry);
            if !host.is_empty() {
                entries.entry(port).or_default().push(host);
            }
        }
        Self {
            rules: entries
                .into_iter()
                .map(|(port, hosts)| (port, Hosts::new(&hosts)))
                .collect(),
        }
    }

    /// The environment's, of either case; the lower case one counts, as for curl.
    pub fn from_environment() -> Self {
        let read = |name| std::env::var(name).ok().filter(|list| !list.is_empty());
        Self::parse(&read("no_proxy").or_else(|| read("NO_PROXY")).unwrap_or_default())
    }

    pub fn contains(&self, origin: &Origin) -> bool {
        [None, Some(origin.port())]
            .iter()
            .filter_map(|port| self.rules.get(port))
            .any(|hosts| hosts.contain(origin))
    }
}

impl Hosts {
    fn new(hosts: &[&str]) -> Self {
        if hosts.contains(&"*") {
            return Self::All;
        }
        let list = hosts.iter().map(|host| plain(host)).collect::<Vec<_>>().join(",");
        // What it leaves to no proxy is what is listed.
        Self::Listed(Box::new(Matcher::builder().all("http://any.invalid").no(list).build()))
    }

    fn contain(&self, origin: &Origin) -> bool {
        match self {
            Self::All => true,
            Self::Listed(matcher) => origin
                .as_str()
                .parse()
                .is_ok_and(|uri: http::Uri| matcher.intercept(&uri).is_none()),
        }
    }
}

/// `host:80`, `[::1]:80`; `::1` has no port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let split = entry
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':') || host.ends_with(']'))
        .and_then(|(host, port)| Some((host, Some(port.parse().ok()?))));
    split.unwrap_or((entry, None))
}

/// In the matcher's own spelling: `*.a.test` is `.a.test`, `a.test.` is `a.test`, `[::1]` is `::1`.
fn plain(host: &str) -> &str {
    let host = host
        .strip_prefix('*')
        .filter(|rest| rest.starts_with('.'))
        .unwrap_or(host);
    let host = host.strip_suffix('.').unwrap_or(host);
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(list: &str, origin: &str) -> bool {
        NoProxy::parse(list).contains(&Origin::parse(origin).unwrap())
    }

    #[test]
    fn a_domain_stands_for_itself_and_what_is_below() {
        for list in [
            "shop.test",
            ".shop.test",
            "*.shop.test",
            "SHOP.test.",
            "a.test, shop.test",
            "a.test shop.test",
        ] {
            assert!(contains(list, "http://www.shop.test"), "{list}");
            assert!(contains(list, "https://shop.test:8443"), "{list}");
            assert!(!contains(list, "http://workshop.test"), "{list}");
        }
    }

    #[test]
    fn a_port_is_that_port_alone() {
        assert!(contains("shop.test:8080", "http://www.shop.test:8080"));
        assert!(!contains("shop.test:8080", "http://shop.test"));
        assert!(contains("shop.test:443", "https://shop.test"));
        assert!(contains("*:81", "http://any.test:81"));
        assert!(!contains("*:81", "http://any.test"));
        assert!(contains("10.0.0.1:81", "http://10.0.0.1:81"));
        assert!(contains("[::1]:81", "http://[::1]:81"));
        assert!(!contains("[::1]:81", "http://[::1]"));
    }

    #[test]
    fn addresses_and_networks_are_those_written_out() {
        for (list, origin) in [
            ("10.0.0.0/8", "http://10.1.2.3"),
            ("::1", "http://[::1]:81"),
            ("[::1]", "http://[::1]:81"),
            ("fd00::/8", "http://[fd00::1]"),
            ("*", "http://10.1.2.3"),
        ] {
            assert!(contains(list, origin), "{list}");
            assert!(!contains(list, "http://11.1.2.3") || list == "*", "{list}");
        }
    }

    #[test]
    fn nothing_is_nobody() {
        for list in ["", " , ", ":", ":80"] {
            assert!(!contains(list, "http://a.test"), "{list}");
        }
    }
}
