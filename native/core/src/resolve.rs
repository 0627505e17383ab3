//! Names to addresses, off the runtime's thread.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};

use crate::error::SystemError;

/// A failed lookup, as Node's `dns.lookup` reports it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ResolveError(pub SystemError);

/// Calls the system's resolver on the runtime's blocking threads, and remembers the last answer per host so that a
/// failed connect can name the address it tried.
#[derive(Debug, Default, Clone)]
pub struct Resolver {
    last: Arc<Mutex<HashMap<String, IpAddr>>>,
}

/// Hosts remembered for error messages; the map is emptied when it is full.
const REMEMBERED_HOSTS: usize = 1024;

impl Resolver {
    pub async fn lookup(&self, host: String) -> Result<Vec<SocketAddr>, ResolveError> {
        let name = host.clone();
        let found = tokio::task::spawn_blocking(move || lookup_blocking(&name)).await;
        let addresses = match found {
            Ok(result) => result?,
            Err(_) => return Err(not_found(host, "EAI_FAIL", -3004)),
        };
        if let Some(first) = addresses.first() {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.len() >= REMEMBERED_HOSTS {
                last.clear();
            }
            last.insert(host, first.ip());
        }
        Ok(addresses)
    }

    /// The address that `host` stood for when it was last looked up; an IP literal is its own.
    pub fn last_address(&self, host: &str) -> Option<IpAddr> {
        host.parse().ok().or_else(|| {
            self.last
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(host)
                .copied()
        })
    }
}

fn lookup_blocking(host: &str) -> Result<Vec<SocketAddr>, ResolveError> {
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
fn lookup_error(host: &str, error: &LookupError) -> ResolveError {
    let (code, errno) = match error.kind() {
        LookupErrorKind::Again => ("EAI_AGAIN", -3001),
        LookupErrorKind::Badflags => ("EAI_BADFLAGS", -3002),
        LookupErrorKind::Fail => ("EAI_FAIL", -3004),
        LookupErrorKind::Family => ("EAI_FAMILY", -3005),
        LookupErrorKind::Memory => ("EAI_MEMORY", -3006),
        LookupErrorKind::Service => ("EAI_SERVICE", -3010),
        LookupErrorKind::Socktype => ("EAI_SOCKTYPE", -3011),
        _ => ("ENOTFOUND", -3008),
    };
    not_found(host.to_owned(), code, errno)
}

fn not_found(hostname: String, code: &'static str, errno: i32) -> ResolveError {
    ResolveError(SystemError {
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
        let addresses = resolver.lookup("localhost".into()).await.unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
        assert!(resolver.last_address("localhost").unwrap().is_loopback());
        assert_eq!(resolver.last_address("10.1.2.3").unwrap().to_string(), "10.1.2.3");
    }

    #[tokio::test]
    async fn an_unknown_name_is_a_getaddrinfo_failure() {
        let error = Resolver::default()
            .lookup("nowhere.invalid".into())
            .await
            .unwrap_err()
            .0;
        // A machine without any name server answers EAI_AGAIN, as Node says there too.
        assert!(matches!(error.code, "ENOTFOUND" | "EAI_AGAIN"), "{error}");
        assert_eq!(
            (error.syscall, error.hostname.as_deref()),
            ("getaddrinfo", Some("nowhere.invalid"))
        );
    }
}
