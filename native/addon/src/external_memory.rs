//! What V8 is told of the memory that it does not see. A response that nobody reads holds a socket and native memory,
//! and next to nothing of JavaScript's: without being told, V8 sees no reason to collect the dropped ones.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::host::{Raw, symbol};

/// What a response that is not over counts for: what was read of it ahead, its connection's buffers, and the socket's
/// in the kernel.
const RESPONSE_BYTES: i64 = 256 * 1024;
/// What ends is told at once where it adds up to this, and with the next completions otherwise.
const BATCH: i64 = 16 * RESPONSE_BYTES;

/// `napi_adjust_external_memory`, which Neon does not bind.
type Adjust = unsafe extern "C" fn(Raw, i64, *mut i64) -> std::ffi::c_int;

static ADJUST: OnceLock<Option<Adjust>> = OnceLock::new();

fn find() -> Option<Adjust> {
    let found = symbol(c"napi_adjust_external_memory")?;
    // SAFETY: this is the type that node_api.h declares. Breach: the tests of dropped responses crash.
    Some(unsafe { std::mem::transmute::<Raw, Adjust>(found) })
}

/// Of one copy of the package in a JavaScript environment; its thread only.
pub struct ExternalMemory {
    env: Raw,
    adjust: Option<Adjust>,
    responses: Cell<i64>,
    /// Told beside them, so that V8 collects.
    pressure: Cell<i64>,
    told: Cell<i64>,
}

impl ExternalMemory {
    /// `env` is the environment's, and must be valid until [`ExternalMemory::take_back`].
    pub fn new(env: Raw) -> Self {
        Self {
            env,
            adjust: *ADJUST.get_or_init(find),
            responses: Cell::new(0),
            pressure: Cell::new(0),
            told: Cell::new(0),
        }
    }

    /// A head has come whose body has not; told by the next [`ExternalMemory::tell`].
    pub fn add_response(&self) {
        self.responses.set(self.responses.get() + 1);
    }

    pub fn remove_response(&self) {
        let responses = self.responses.get() - 1;
        self.responses.set(responses);
        if responses == 0 || self.told.get() - self.sum() >= BATCH {
            self.tell();
        }
    }

    /// Bytes beside what the responses hold.
    pub fn press(&self, bytes: i64) {
        self.pressure.set(bytes);
        self.tell();
    }

    /// Nothing is held any more: the copy, or its environment, ends.
    pub fn take_back(&self) {
        self.responses.set(0);
        self.press(0);
    }

    /// Bytes that V8 takes for held outside.
    pub fn told(&self) -> i64 {
        self.told.get()
    }

    fn sum(&self) -> i64 {
        self.responses.get() * RESPONSE_BYTES + self.pressure.get()
    }

    /// V8 may collect before this returns. Its finalizers of JavaScript run later.
    pub fn tell(&self) {
        let change = self.sum() - self.told.get();
        if change == 0 {
            return;
        }
        self.told.set(self.sum());
        let Some(adjust) = self.adjust else { return };
        let mut sum = 0;
        // SAFETY: the environment is this thread's and, as said above, not gone; `sum` is a place for the answer. Breach: the
        // worker tests crash.
        unsafe { adjust(self.env, change, &raw mut sum) };
    }
}
