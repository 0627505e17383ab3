//! Attributes that say on which engine a test of `sluice-core` runs, in place of `#[tokio::test]`.
//!
//! ```ignore
//! #[both_engines]
//! async fn a_get_brings_a_body() { … }
//! ```
//!
//! keeps the function and puts beside it
//!
//! ```ignore
//! mod a_get_brings_a_body {
//!     #[tokio::test]
//!     async fn reqwest() { crate::support::engine::on(EngineKind::Reqwest, super::a_get_brings_a_body()).await }
//!     #[tokio::test]
//!     async fn wire() { crate::support::engine::on(EngineKind::Wire, super::a_get_brings_a_body()).await }
//! }
//! ```
//!
//! so that the tests are called `a_get_brings_a_body::reqwest` and `a_get_brings_a_body::wire`. Arguments are those of
//! `#[tokio::test]`. An attribute `#[cfg]` goes above.

use proc_macro::{TokenStream, TokenTree};

const REQWEST: (&str, &str) = ("reqwest", "Reqwest");
const WIRE: (&str, &str) = ("wire", "Wire");

/// One test per engine.
#[proc_macro_attribute]
pub fn both_engines(arguments: TokenStream, test: TokenStream) -> TokenStream {
    with_tests(&[REQWEST, WIRE], &arguments, test)
}

/// One test, on engine wire.
#[proc_macro_attribute]
pub fn on_wire(arguments: TokenStream, test: TokenStream) -> TokenStream {
    with_tests(&[WIRE], &arguments, test)
}

fn with_tests(engines: &[(&str, &str)], arguments: &TokenStream, test: TokenStream) -> TokenStream {
    let Some(name) = name(&test) else {
        return parsed("compile_error!(\"a test is an async function\");");
    };
    let mut tests = String::new();
    for (engine, kind) in engines {
        tests.push_str(&format!(
            "#[::tokio::test({arguments})]
            async fn {engine}() {{
                crate::support::engine::on(::sluice_core::transport::EngineKind::{kind}, super::{name}()).await
            }}"
        ));
    }
    let mut all = test;
    all.extend(parsed(&format!("mod {name} {{ {tests} }}")));
    all
}

fn name(function: &TokenStream) -> Option<String> {
    let mut tokens = function.clone().into_iter();
    tokens.find(|token| matches!(token, TokenTree::Ident(word) if word.to_string() == "fn"))?;
    Some(tokens.next()?.to_string())
}

#[allow(clippy::expect_used, reason = "a panic of a macro is an error of the compiler")]
fn parsed(code: &str) -> TokenStream {
    code.parse().expect("it is Rust")
}
