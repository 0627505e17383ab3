//! Hosts that are reached without a proxy.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::origin::Origin;

/// A list as `NO_PROXY` has it: domains, addresses, networks and `*`, each with or without a port, between commas or
/// blanks. What is none of these matches nothing.
#[derive(Debug, Default)]
pub struct NoProxy {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    hosts: Hosts,
    /// `None` is any.
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    All,
    Network(IpNet),
    /// And all below it.
    Domain(String),
}

impl NoProxy {
    pub fn parse(list: &str) -> Self {
        let words = list.split(|separator: char| separator == ',' || separator.is_whitespace());
        Self {
            entries: words.filter_map(Entry::parse).collect(),
        }
    }

    pub fn contains(&self, origin: &Origin) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        let host = Host::parse(origin.host());
        self.entries
            .iter()
            .any(|entry| entry.port.is_none_or(|port| port == origin.port()) && entry.hosts.contain(&host))
    }
}

impl Entry {
    fn parse(word: &str) -> Option<Self> {
        let (host, port) = split_port(word);
        Some(Self {
            hosts: Hosts::parse(host)?,
            port,
        })
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Ok(network) = text.replace(['[', ']'], "").parse() {
            return Some(Self::Network(network));
        }
        // `.a.test` and `*.a.test` are `a.test`.
        let text = text
            .strip_prefix('*')
            .filter(|rest| rest.starts_with('.'))
            .unwrap_or(text);
        match Host::parse(text.trim_start_matches('.')) {
            Host::Address(address) => Some(Self::Network(address.into())),
            Host::Name(name) if name.is_empty() => None,
            Host::Name(name) => Some(Self::Domain(name)),
        }
    }

    fn contain(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Network(network), Host::Address(address)) => network.contains(address),
            (Self::Domain(domain), Host::Name(name)) => name
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            _ => false,
        }
    }
}

/// A host in the one spelling that all of its spellings have.
enum Host {
    Address(IpAddr),
    /// ASCII (IDNA), lower case, without the dot that ends a fully qualified name.
    Name(String),
}

impl Host {
    fn parse(text: &str) -> Self {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Self::Address(address);
        }
        match url::Host::parse(text) {
            Ok(url::Host::Ipv4(address)) => Self::Address(address.into()),
            Ok(url::Host::Ipv6(address)) => Self::Address(address.into()),
            Ok(url::Host::Domain(name)) => Self::Name(without_dot(&name)),
            // Equal to itself at least.
            Err(_) => Self::Name(without_dot(&text.to_lowercase())),
        }
    }
}

fn without_dot(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

/// `host:80`, `[::1]:80`; `::1` has no port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let split = entry
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':') || host.ends_with(']'))
        .and_then(|(host, port)| Some((host, Some(port.parse().ok()?))));
    split.unwrap_or((entry, None))
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

    #[test]
    fn a_name_is_the_same_with_a_dot_behind_it_and_in_either_script() {
        for entry in [
            "bücher.test",
            "BÜCHER.test.",
            "xn--bcher-kva.test",
            ".xn--bcher-kva.test.",
            "*.bücher.test",
        ] {
            for host in [
                "bücher.test",
                "xn--bcher-kva.test",
                "XN--bcher-KVA.test.",
                "www.bücher.test.",
            ] {
                assert!(contains(entry, &format!("https://{host}:81")), "{entry} {host}");
            }
            assert!(!contains(entry, "http://cher.test"), "{entry}");
        }
    }

    #[test]
    fn a_name_that_no_url_has_matches_itself_and_a_star() {
        assert!(contains("a|b.test", "http://A|b.test"));
        assert!(contains("*", "http://a|b.test"));
        assert!(!contains("b.test, 10.0.0.0/8", "http://a|b.tes"));
    }
}
