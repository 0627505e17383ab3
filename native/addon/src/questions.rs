//! What the core asks of JavaScript, for one agent. An answer is lines of text, as `streams/questions.ts` writes it.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use neon::prelude::*;
use sluice_core::{CoreError, Embedder};

use crate::completions::CompletionQueue;
use crate::environment::Environment;
use crate::marshal::write_question;
use crate::request_handle::id_argument;

/// Asks the environment that an agent belongs to.
pub struct AgentEmbedder {
    pub agent: u32,
    pub completions: Arc<CompletionQueue>,
}

impl std::fmt::Debug for AgentEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentEmbedder")
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

impl AgentEmbedder {
    fn ask(&self, question: &str, host: &str, addresses: &[IpAddr]) -> BoxFuture<'static, Option<String>> {
        let answer = self
            .completions
            .ask(self.agent, |out| write_question(question, host, addresses, out));
        async move { answer.await.ok() }.boxed()
    }
}

impl Embedder for AgentEmbedder {
    fn lookup(&self, host: &str) -> BoxFuture<'static, Result<Vec<IpAddr>, CoreError>> {
        let answer = self.ask("lookup", host, &[]);
        let host = host.to_owned();
        async move {
            let answer = answer.await.ok_or(CoreError::ClientDestroyed)?;
            read_lookup(&answer, host)
        }
        .boxed()
    }

    fn allows(&self, addresses: &[IpAddr], host: &str) -> BoxFuture<'static, Vec<bool>> {
        let answer = self.ask("allow", host, addresses);
        async move {
            let answer = answer.await.unwrap_or_default();
            answer.bytes().map(|verdict| verdict == b'1').collect()
        }
        .boxed()
    }

    fn extra_roots(&self) -> BoxFuture<'static, Option<String>> {
        self.ask("extraRoots", "", &[])
    }

    fn roots(&self) -> BoxFuture<'static, Option<String>> {
        self.ask("roots", "", &[])
    }
}

/// `found`, then an address a line; or `failed`, the error's ticket, its code and its message.
fn read_lookup(answer: &str, hostname: String) -> Result<Vec<IpAddr>, CoreError> {
    if answer.is_empty() {
        return Err(CoreError::Internal(format!("nobody looked {hostname} up")));
    }
    let mut lines = answer.splitn(4, '\n');
    if lines.next() == Some("found") {
        return Ok(answer.lines().skip(1).filter_map(|line| line.parse().ok()).collect());
    }
    let ticket = lines.next().and_then(|line| line.parse().ok()).unwrap_or_default();
    let code = lines.next().unwrap_or_default().to_owned();
    let message = lines.next().unwrap_or_default().to_owned();
    Err(CoreError::Lookup {
        code,
        message,
        hostname,
        ticket,
    })
}

/// `questionAnswer(number, text)`
pub fn answer<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    let number = id_argument(&mut cx)?;
    let text = cx.argument::<JsString>(1)?.value(&mut cx);
    environment.completions.answer(number, text);
    Ok(cx.undefined())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_has_addresses_or_an_error_of_many_lines() {
        let found = read_lookup("found\n1.2.3.4\n::1", "a.test".into()).unwrap();
        assert_eq!(found.len(), 2);
        let error = read_lookup("failed\n7\nEX\none\ntwo", "a.test".into()).unwrap_err();
        let CoreError::Lookup {
            code, message, ticket, ..
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((code.as_str(), message.as_str(), ticket), ("EX", "one\ntwo", 7));
        let unanswered = read_lookup("", "a.test".into()).unwrap_err();
        assert_eq!(unanswered.error_code(), "SLUICE_ERR_INTERNAL");
    }
}
