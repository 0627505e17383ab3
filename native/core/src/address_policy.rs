//! Which addresses may be connected to: the guard against requests that are made to reach inside a network.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use crate::embedder::Embedder;
use crate::error::CoreError;

/// A question has a bounded size, and a host any number of addresses.
const ASKED_AT_ONCE: usize = 1024;

/// Asked about every address before a connection to it is tried, whether a name stood for it or it was written out.
#[derive(Debug, Clone, Default)]
pub enum AddressPolicy {
    #[default]
    Any,
    /// An address must be in one of `allow`, unless that is empty, and in none of `deny`.
    Networks {
        allow: Vec<IpNet>,
        deny: Vec<IpNet>,
    },
    Ask(Arc<dyn Embedder>),
}

impl AddressPolicy {
    /// `10.0.0.0/8`, or one address. Networks of IPv4 within IPv6 are IPv4's.
    pub fn parse_network(text: &str) -> Option<IpNet> {
        let network = text
            .parse::<IpNet>()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
        let IpNet::V6(inner) = network else {
            return Some(network);
        };
        match inner.addr().to_ipv4_mapped() {
            Some(address) if inner.prefix_len() >= 96 => {
                Some(IpNet::V4(Ipv4Net::new(address, inner.prefix_len() - 96).ok()?))
            }
            _ => Some(network),
        }
    }

    /// Those of a host's addresses that may be connected to.
    ///
    /// # Errors
    /// [`CoreError::AddressNotAllowed`] when there is none.
    pub async fn filter(&self, addresses: Vec<SocketAddr>, host: &str) -> Result<Vec<SocketAddr>, CoreError> {
        let plain: Vec<IpAddr> = addresses.iter().map(|address| address.ip().to_canonical()).collect();
        let verdicts: Vec<bool> = match self {
            Self::Any => return Ok(addresses),
            Self::Networks { allow, deny } => plain
                .iter()
                .map(|address| {
                    let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(address));
                    (allow.is_empty() || is_in(allow)) && !is_in(deny)
                })
                .collect(),
            Self::Ask(embedder) => {
                let mut verdicts = Vec::with_capacity(plain.len());
                for part in plain.chunks(ASKED_AT_ONCE) {
                    let mut told = embedder.allows(part, host).await;
                    told.resize(part.len(), false);
                    verdicts.extend(told);
                }
                verdicts
            }
        };
        let refused = plain.first().map(ToString::to_string).unwrap_or_default();
        let allowed: Vec<SocketAddr> = addresses
            .into_iter()
            .zip(verdicts)
            .filter_map(|(address, is_allowed)| is_allowed.then_some(address))
            .collect();
        if allowed.is_empty() {
            return Err(CoreError::AddressNotAllowed {
                host: host.to_owned(),
                address: refused,
            });
        }
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_allowed(allow: &[&str], deny: &[&str], address: &str) -> bool {
        let networks = |list: &[&str]| {
            list.iter()
                .map(|text| AddressPolicy::parse_network(text).unwrap())
                .collect()
        };
        let policy = AddressPolicy::Networks {
            allow: networks(allow),
            deny: networks(deny),
        };
        let address = SocketAddr::new(address.parse().unwrap(), 0);
        policy.filter(vec![address], "a.test").await.is_ok()
    }

    #[tokio::test]
    async fn an_address_is_in_what_is_allowed_and_not_in_what_is_denied() {
        assert!(is_allowed(&["10.0.0.0/8"], &[], "10.1.2.3").await);
        assert!(!is_allowed(&["10.0.0.0/8"], &[], "11.1.2.3").await);
        assert!(!is_allowed(&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.2.3").await);
        assert!(is_allowed(&[], &["10.1.0.0/16"], "10.2.0.1").await);
        assert!(is_allowed(&["::1"], &[], "::1").await);
    }

    #[tokio::test]
    async fn ipv4_within_ipv6_is_ipv4() {
        assert!(!is_allowed(&[], &["127.0.0.0/8"], "::ffff:127.0.0.1").await);
        assert!(!is_allowed(&[], &["::ffff:127.0.0.0/104"], "127.0.0.1").await);
        assert!(is_allowed(&["127.0.0.1"], &[], "::ffff:127.0.0.1").await);
    }

    /// Allows the addresses whose last byte is even, and says nothing of the last one it is asked about.
    #[derive(Debug, Default)]
    struct Even(std::sync::Mutex<Vec<usize>>);

    impl Embedder for Even {
        fn lookup(&self, _: &str) -> futures_util::future::BoxFuture<'static, Result<Vec<IpAddr>, CoreError>> {
            Box::pin(std::future::ready(Ok(Vec::new())))
        }

        fn allows(&self, addresses: &[IpAddr], _: &str) -> futures_util::future::BoxFuture<'static, Vec<bool>> {
            self.0.lock().unwrap().push(addresses.len());
            let is_even = |address: &IpAddr| matches!(address, IpAddr::V4(address) if address.octets()[3] % 2 == 0);
            let verdicts = addresses[..addresses.len() - 1].iter().map(is_even).collect();
            Box::pin(std::future::ready(verdicts))
        }

        fn roots(&self) -> futures_util::future::BoxFuture<'static, Option<String>> {
            Box::pin(std::future::ready(None))
        }
    }

    #[tokio::test]
    async fn any_number_of_addresses_is_asked_about_in_questions_of_a_bounded_size() {
        let embedder = Arc::new(Even::default());
        let policy = AddressPolicy::Ask(Arc::<Even>::clone(&embedder));
        let address = |index: u32| SocketAddr::new(IpAddr::V4(index.into()), 0);
        let allowed = policy.filter((0..2049).map(address).collect(), "a.test").await.unwrap();
        assert_eq!(allowed, (0..2048).step_by(2).map(address).collect::<Vec<_>>());
        assert_eq!(*embedder.0.lock().unwrap(), [1024, 1024, 1]);
    }

    #[test]
    fn what_is_no_network_is_none() {
        for text in ["", "10.0.0.0/33", "localhost", "10.0.0"] {
            assert!(AddressPolicy::parse_network(text).is_none(), "{text}");
        }
    }
}
