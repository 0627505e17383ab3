//! How much a server may say before it answers.

use crate::error::CoreError;
use crate::response::ResponseStart;

/// Informational responses to one request.
const MOST: usize = 100;
/// Bytes of their reasons and fields together.
const MOST_BYTES: usize = 64 * 1024;

/// The informational responses to one request (RFC 9110 §15.2), which a server may send in any number: each is told to the
/// caller, who keeps it.
#[derive(Debug)]
pub struct Informational {
    expects_continue: bool,
    count: usize,
    bytes: usize,
}

impl Informational {
    pub fn new(expects_continue: bool) -> Self {
        Self {
            expects_continue,
            count: 0,
            bytes: 0,
        }
    }

    /// # Errors
    /// [`CoreError::Socket`] for a 100 that nobody expects, [`CoreError::HeadersOverflow`] for one too many.
    pub fn check(&mut self, start: &ResponseStart) -> Result<(), CoreError> {
        if start.status == 100 && !self.expects_continue {
            return Err(CoreError::Socket("bad response".into()));
        }
        self.count += 1;
        self.bytes += start.reason.len() + start.headers.text().len();
        if self.count > MOST || self.bytes > MOST_BYTES {
            return Err(CoreError::HeadersOverflow);
        }
        Ok(())
    }
}
