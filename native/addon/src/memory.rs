//! When memory that nobody uses goes back to the system.
//!
//! A body's buffers are freed and asked for again all the time; given back in between, each would be faulted in and
//! zeroed anew. So the allocator holds on to them while requests come, and gives all back when they have ceased.

use std::ffi::c_long;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libmimalloc_sys::{mi_collect, mi_option_set_default, mi_option_t};

/// `mi_option_purge_delay` of mimalloc 2, which the bindings do not name.
const PURGE_DELAY: mi_option_t = 15;
/// Milliseconds.
const KEEP: c_long = 1000;
/// Requests have ceased when none has come for so long.
pub const QUIET: Duration = Duration::from_secs(1);

static CONFIGURED: Once = Once::new();
static GIVEN_BACK: AtomicUsize = AtomicUsize::new(0);

/// `MIMALLOC_PURGE_DELAY` in the environment wins.
pub fn configure() {
    // SAFETY: the allocator reads the option as one word; `Once` keeps two environments from setting it at a time.
    // Breach: memory goes back at another time.
    CONFIGURED.call_once(|| unsafe { mi_option_set_default(PURGE_DELAY, KEEP) });
}

/// Gives back what the calling thread has free, and what no thread owns.
pub fn give_back() {
    // SAFETY: touches free memory only. Breach: none that the allocator's own work would not be.
    unsafe { mi_collect(true) }
    GIVEN_BACK.fetch_add(1, Ordering::Relaxed);
}

/// How often memory was given back.
pub fn given_back() -> usize {
    GIVEN_BACK.load(Ordering::Relaxed)
}
