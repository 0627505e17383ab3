//! The connection that serves a request, for those who must be sure that it goes.

use std::sync::{Arc, OnceLock};

use hyper_util::client::legacy::connect::CaptureConnection;

/// Holds the HTTP/1 connection of a response, once there is one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ConnectionSlot(Arc<OnceLock<CaptureConnection>>);

impl ConnectionSlot {
    pub(super) fn set(&self, connection: CaptureConnection) {
        // One request has one connection.
        let _ = self.0.set(connection);
    }

    /// The connection serves no further request, also if the rest of this response is buffered already.
    pub fn poison(&self) {
        if let Some(connection) = self.0.get()
            && let Some(connected) = connection.connection_metadata().as_ref()
        {
            connected.poison();
        }
    }
}
