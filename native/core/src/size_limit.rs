//! How large a response body may become.

use crate::error::CoreError;

/// Bytes that may still come, on the wire and after decoding.
#[derive(Debug, Default)]
pub struct SizeLimit {
    pub wire: Option<u64>,
    pub decoded: Option<u64>,
}

impl SizeLimit {
    /// # Errors
    /// [`CoreError::ResponseExceededMaxSize`] and [`CoreError::DecodedSizeExceeded`].
    pub fn count(&mut self, bytes: usize) -> Result<(), CoreError> {
        subtract(&mut self.wire, bytes).ok_or(CoreError::ResponseExceededMaxSize)?;
        subtract(&mut self.decoded, bytes).ok_or(CoreError::DecodedSizeExceeded)
    }

    /// Whether a body of at most `bytes` stays within.
    pub fn covers(&self, bytes: Option<u64>) -> bool {
        let covers = |limit: Option<u64>| limit.is_none_or(|limit| bytes.is_some_and(|bytes| bytes <= limit));
        covers(self.wire) && covers(self.decoded)
    }

    /// The part that whoever sees the wire has to keep.
    pub fn take_wire(&mut self) -> Self {
        Self {
            wire: self.wire.take(),
            decoded: None,
        }
    }
}

fn subtract(left: &mut Option<u64>, bytes: usize) -> Option<()> {
    if let Some(left) = left {
        *left = left.checked_sub(bytes as u64)?;
    }
    Some(())
}
