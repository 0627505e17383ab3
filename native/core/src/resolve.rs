//! Names to addresses, off the runtime's thread.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use crate::address_policy::AddressPolicy;
use crate::embedder::Embedder;
use crate::error::{CoreError, SystemError};

/// A host that has no address to connect to: a failed lookup, as Node's `dns.lookup` reports it, or a refusal.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ResolveError(pub CoreError);

/// How names become addresses.
#[derive(Debug, Clone, Default)]
pub struct DnsOptions {
    /// How long an answer is used again; zero asks anew for every connection. Lookups of one host at the same time are
    /// one lookup in any case.
    pub cache: Duration,
    /// Hosts that are not looked up, by their names in lower case.
    pub hosts: HashMap<String, Vec<IpAddr>>,
    /// Who looks up in place of the system.
    pub lookup: Option<Arc<dyn Embedder>>,
    /// Asked about every answer, and about hosts that are addresses themselves.
    pub policy: AddressPolicy,
}

type Answer = Result<Arc<[SocketAddr]>, CoreError>;

/// Calls the system's resolver on the runtime's blocking threads, and remembers the last answer per host so that a
/// failed connect can name the address it tried. Cheap to clone.
#[derive(Debug, Default, Clone)]
pub struct Resolver(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    options: DnsOptions,
    last: Mutex<HashMap<String, IpAddr>>,
    answers: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    answer: Shared<BoxFuture<'static, Answer>>,
    /// `None` while the lookup is under way.
    expires: Option<Instant>,
}

/// Hosts remembered; a map is emptied when it is full.
const REMEMBERED_HOSTS: usize = 1024;

impl Resolver {
    pub fn new(options: DnsOptions) -> Self {
        Self(Arc::new(Inner {
            options,
            ..Inner::default()
        }))
    }

    /// Not every address may be connected to.
    pub fn has_policy(&self) -> bool {
        !matches!(self.0.options.policy, AddressPolicy::Any)
    }

    /// The addresses to try for `host`, a name or an address, with port 0; at least one.
    ///
    /// # Errors
    /// Node's of `dns.lookup`, or [`CoreError::AddressNotAllowed`].
    pub async fn addresses(&self, host: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, 0)],
            Err(_) => self.lookup(host).await.map_err(ResolveError)?,
        };
        let policy = &self.0.options.policy;
        let allowed = policy.filter(found, host).await.map_err(ResolveError)?;
        if let Some(first) = allowed.first() {
            let mut last = lock(&self.0.last);
            if last.len() >= REMEMBERED_HOSTS {
                last.clear();
            }
            last.insert(host.to_owned(), first.ip());
        }
        Ok(allowed)
    }

    /// The address that `host` stood for when it was last looked up; an IP literal is its own.
    pub fn last_address(&self, host: &str) -> Option<IpAddr> {
        host.parse().ok().or_else(|| lock(&self.0.last).get(host).copied())
    }

    async fn lookup(&self, host: &str) -> Result<Vec<SocketAddr>, CoreError> {
        if !self.0.options.hosts.is_empty()
            && let Some(fixed) = self.0.options.hosts.get(&host.to_ascii_lowercase())
        {
            return Ok(fixed.iter().map(|address| SocketAddr::new(*address, 0)).collect());
        }
        let answer = self.answer(host);
        Ok(answer.await?.to_vec())
    }

    /// The answer that is there, or on its way.
    fn answer(&self, host: &str) -> Shared<BoxFuture<'static, Answer>> {
        let mut answers = lock(&self.0.answers);
        let now = Instant::now();
        if let Some(entry) = answers.get(host)
            && entry.expires.is_none_or(|expires| expires > now)
        {
            return entry.answer.clone();
        }
        if answers.len() >= REMEMBERED_HOSTS {
            answers.retain(|_, entry| entry.expires.is_none_or(|expires| expires > now));
        }
        let (inner, name) = (Arc::clone(&self.0), host.to_owned());
        let answer = async move {
            let answer = inner.ask(&name).await.map(Arc::from);
            inner.finish(&name, answer.is_ok());
            answer
        };
        let answer = answer.boxed().shared();
        answers.insert(
            host.to_owned(),
            Entry {
                answer: answer.clone(),
                expires: None,
            },
        );
        // Whoever asked may go away; the answer is for those who come later too.
        tokio::spawn(answer.clone());
        answer
    }
}

impl Inner {
    async fn ask(&self, host: &str) -> Result<Vec<SocketAddr>, CoreError> {
        if let Some(embedder) = &self.options.lookup {
            let found = embedder.lookup(host).await?;
            if found.is_empty() {
                return Err(not_found(host.to_owned(), "ENOTFOUND", -3008));
            }
            return Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect());
        }
        let name = host.to_owned();
        match tokio::task::spawn_blocking(move || lookup_blocking(&name)).await {
            Ok(result) => result,
            Err(_) => Err(not_found(host.to_owned(), "EAI_FAIL", -3004)),
        }
    }

    /// A failure is nobody's answer but of those who waited for it.
    fn finish(&self, host: &str, is_found: bool) {
        let mut answers = lock(&self.answers);
        if !is_found || self.options.cache.is_zero() || answers.len() > REMEMBERED_HOSTS {
            answers.remove(host);
        } else if let Some(entry) = answers.get_mut(host) {
            entry.expires = Some(Instant::now() + self.options.cache);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lookup_blocking(host: &str) -> Result<Vec<SocketAddr>, CoreError> {
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let answers = getaddrinfo(Some(host), None, Some(hints)).map_err(|error| lookup_error(host, &error))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for answer in answers.flatten() {
        if !addresses.contains(&answer.sockaddr) {
            addresses.push(answer.sockaddr);
        }
    }
    if addresses.is_empty() {
        return Err(not_found(host.to_owned(), "ENOTFOUND", -3008));
    }
    Ok(addresses)
}

/// libuv's names and numbers for getaddrinfo's; "no name" and "no data" are `ENOTFOUND` in Node.
fn lookup_error(host: &str, error: &LookupError) -> CoreError {
    let (code, errno) = match error.kind() {
        LookupErrorKind::Again => ("EAI_AGAIN", -3001),
        LookupErrorKind::Badflags => ("EAI_BADFLAGS", -3002),
        LookupErrorKind::Fail => ("EAI_FAIL", -3004),
        LookupErrorKind::Family => ("EAI_FAMILY", -3005),
        LookupErrorKind::Memory => ("EAI_MEMORY", -3006),
        LookupErrorKind::Service => ("EAI_SERVICE", -3010),
        LookupErrorKind::Socktype => ("EAI_SOCKTYPE", -3011),
        LookupErrorKind::NoData => ("ENOTFOUND", -3007),
        _ => ("ENOTFOUND", -3008),
    };
    not_found(host.to_owned(), code, errno)
}

fn not_found(hostname: String, code: &'static str, errno: i32) -> CoreError {
    CoreError::System(SystemError {
        code,
        errno,
        syscall: "getaddrinfo",
        address: None,
        port: None,
        hostname: Some(hostname),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finds_localhost_and_remembers_it() {
        let resolver = Resolver::default();
        let addresses = resolver.addresses("localhost").await.unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
        assert!(resolver.last_address("localhost").unwrap().is_loopback());
        assert_eq!(resolver.last_address("10.1.2.3").unwrap().to_string(), "10.1.2.3");
    }

    #[tokio::test]
    async fn an_unknown_name_is_a_getaddrinfo_failure() {
        let error = Resolver::default().addresses("nowhere.invalid").await.unwrap_err().0;
        let CoreError::System(error) = error else {
            panic!("{error:?}")
        };
        // A machine without any name server answers EAI_AGAIN, as Node says there too.
        assert!(matches!(error.code, "ENOTFOUND" | "EAI_AGAIN"), "{error}");
        assert_eq!(
            (error.syscall, error.hostname.as_deref()),
            ("getaddrinfo", Some("nowhere.invalid"))
        );
    }
}
