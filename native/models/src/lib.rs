//! The states that several threads share, on loom's atomics and locks in place of the standard library's: `tests/` runs them
//! in every order that the steps of the threads can take.
//!
//! The files are those of `native/core` themselves, so that what is modelled is what runs. They are compiled here once more,
//! without the rest of the core, whose dependencies loom's own flag would change.
//!
//! `RUSTFLAGS="--cfg sluice_loom" cargo test -p sluice-models --target-dir target/loom`
#![cfg(sluice_loom)]

#[path = "../../core/src/credit.rs"]
pub mod credit;
#[path = "../../core/src/pause.rs"]
pub mod pause;
#[path = "../../core/src/record_queue.rs"]
pub mod record_queue;
pub mod sync;
