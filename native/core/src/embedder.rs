//! What the core asks of the program it is part of, which may answer in its own time.

use std::net::IpAddr;

use futures_util::future::BoxFuture;

use crate::error::CoreError;

/// Answers questions from the runtime's thread. Must not block; a question that is no longer of interest is dropped.
pub trait Embedder: std::fmt::Debug + Send + Sync {
    /// The addresses of a host, in order of preference.
    fn lookup(&self, host: &str) -> BoxFuture<'static, Result<Vec<IpAddr>, CoreError>>;

    /// Whether each of these addresses of `host` may be connected to; what is missing is refused.
    fn allows(&self, addresses: &[IpAddr], host: &str) -> BoxFuture<'static, Vec<bool>>;

    /// PEM certificates to trust besides the platform's.
    fn extra_roots(&self) -> BoxFuture<'static, Option<String>> {
        Box::pin(std::future::ready(None))
    }

    /// PEM certificates to trust on a machine that has none.
    fn roots(&self) -> BoxFuture<'static, Option<String>>;
}
