//! What an engine says of its connections.

use sluice_core::{ConnectionEvent, ConnectionEventKind, ConnectionObserver, CoreError, Starvation};
use tokio::sync::mpsc;

#[derive(Debug)]
pub struct Observer {
    events: mpsc::UnboundedSender<Observed>,
    pub starvations: Option<mpsc::UnboundedSender<Starved>>,
}

/// What is said of requests that wait while responses hold every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starved {
    pub round: u32,
    pub waiting: usize,
    pub held: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub kind: ConnectionEventKind,
    pub error: Option<CoreError>,
    pub remote_port: Option<u16>,
}

pub fn observer() -> (Observer, mpsc::UnboundedReceiver<Observed>) {
    let (events, receiver) = mpsc::unbounded_channel();
    let observer = Observer {
        events,
        starvations: None,
    };
    (observer, receiver)
}

impl ConnectionObserver for Observer {
    fn notify(&self, event: ConnectionEvent<'_>) {
        let _ = self.events.send(Observed {
            kind: event.kind,
            error: event.error.cloned(),
            remote_port: event.info.and_then(|info| info.remote).map(|remote| remote.port()),
        });
    }

    fn starvation(&self, starvation: Starvation<'_>) {
        if let Some(starvations) = &self.starvations {
            let _ = starvations.send(Starved {
                round: starvation.round,
                waiting: starvation.waiting,
                held: starvation.held,
            });
        }
    }
}
