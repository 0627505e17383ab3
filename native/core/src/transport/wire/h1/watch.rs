//! Who notices that the server has closed an idle connection.

use std::future::poll_fn;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::error::CoreError;
use crate::transport::failure::{Peer, Phase, classify};
use crate::transport::wire::connection::Connection;
use crate::transport::wire::pool::Pool;
use crate::transport::wire::socket::Socket;

/// A task for one idle connection, which ends when this is dropped.
#[derive(Debug)]
pub struct Watch(AbortHandle);

impl Watch {
    /// `None` outside of the runtime.
    pub fn start(connection: &Arc<Connection>, socket: &Arc<Socket>, pool: &Weak<Pool>) -> Option<Self> {
        let runtime = Handle::try_current().ok()?;
        let task = run(Arc::clone(connection), Arc::clone(socket), Weak::clone(pool));
        Some(Self(runtime.spawn(task).abort_handle()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(connection: Arc<Connection>, socket: Arc<Socket>, pool: Weak<Pool>) {
    let gone = poll_fn(|cx| socket.poll_noise(cx)).await;
    let Some(pool) = pool.upgrade() else { return };
    connection.switch.explain(match &gone {
        Ok(()) => CoreError::Socket("other side closed".into()),
        Err(error) => classify(
            error,
            Phase::Head,
            &Peer {
                origin: &pool.route().origin,
                address: connection.info.remote.map(|address| address.ip()),
                connect_timeout: None,
            },
        ),
    });
    pool.drop_idle(connection.id);
}
