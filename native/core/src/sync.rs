//! What the states that several threads share are made of. The models of `native/models` put loom's in its place.

pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
pub use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use tokio::sync::Notify;
