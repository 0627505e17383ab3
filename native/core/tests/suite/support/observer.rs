//! What an engine says of its connections.

use sluice_core::{ConnectionEvent, ConnectionEventKind, ConnectionObserver, CoreError};
use tokio::sync::mpsc;

#[derive(Debug)]
pub struct Observer(mpsc::UnboundedSender<Observed>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub kind: ConnectionEventKind,
    pub error: Option<CoreError>,
    pub remote_port: Option<u16>,
}

pub fn observer() -> (Observer, mpsc::UnboundedReceiver<Observed>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Observer(sender), receiver)
}

impl ConnectionObserver for Observer {
    fn notify(&self, event: ConnectionEvent<'_>) {
        let _ = self.0.send(Observed {
            kind: event.kind,
            error: event.error.cloned(),
            remote_port: event.info.and_then(|info| info.remote).map(|remote| remote.port()),
        });
    }
}
