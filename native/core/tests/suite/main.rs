//! Everything that `sluice_core` does, as its callers see it: one binary, one module per behaviour.
//!
//! A test that needs an engine says which: `#[both_engines]` makes the tests `NAME::reqwest` and `NAME::wire` of it,
//! `#[on_wire]` makes `NAME::wire`. A test of a layer above the engines, or of what engine wire alone can do, runs on
//! engine wire. `#[tokio::test]` is for those without an engine, on a mock transport. See [`support::engine`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

mod abort;
mod address_policy;
mod body_queue;
mod codec;
mod decoding;
mod dns;
mod early_responses;
mod errors;
mod expect_continue;
mod faults;
mod file_body;
mod file_sink;
mod framing;
mod goaway;
mod http2;
mod keep_alive;
mod long_body;
mod pause;
mod pool;
mod proxy;
mod redirect_limits;
mod redirects;
mod responses;
mod rest;
mod timeouts;
mod tls;
mod tunnel;
mod upload_stalls;
mod uploads;
mod wire;
