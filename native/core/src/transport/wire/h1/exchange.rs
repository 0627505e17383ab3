//! A request on its connection, from before it is sent until its response has ended.

use std::io;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use super::line::Line;
use super::request_writer::{RequestWriter, WriteFault};
use crate::connection::ConnectionInfo;
use crate::error::CoreError;
use crate::transport::failure::{Peer, Phase, classify};
use crate::transport::wire::connection::Connection;
use crate::transport::wire::pool::Pool;
use crate::transport::wire::socket::Socket;
use crate::transport::wire::starvation::HeldByBody;

/// Holds the connection; dropped before the response has ended it closes it.
#[derive(Debug)]
pub struct Exchange {
    pool: Arc<Pool>,
    connection: Arc<Connection>,
    /// Absent once the exchange is over.
    line: Option<Line>,
    socket: Arc<Socket>,
    /// How long the connection may idle after this; `None`: it is not used again.
    keep: Option<Duration>,
    /// The server announced a length and that it would close.
    closes_after_length: bool,
    /// There from the response's head until the connection is given up.
    held: Option<HeldByBody>,
}

impl Exchange {
    pub fn new(pool: &Arc<Pool>, line: Line) -> Self {
        let connection = Arc::clone(line.connection());
        connection.hold();
        Self {
            pool: Arc::clone(pool),
            socket: Arc::clone(line.socket()),
            connection,
            line: Some(line),
            keep: None,
            closes_after_length: false,
            held: None,
        }
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    pub fn info(&self) -> &Arc<ConnectionInfo> {
        &self.connection.info
    }

    /// Whether the connection can take a request that was not meant for it from the beginning.
    pub async fn is_usable(&self) -> bool {
        let Some(line) = &self.line else { return false };
        // What comes first on a new connection answers its first request.
        if line.is_closed() {
            return false;
        }
        // Looked at again afterwards: while the look waits, an abort of the request before may close the connection.
        self.connection.served() == 0 || (line.is_quiet().await && !line.is_closed())
    }

    /// The response has a head: what becomes of the connection when it has ended well.
    pub fn keep(&mut self, keep: Option<Duration>, closes_after_length: bool) {
        self.keep = keep;
        self.closes_after_length = closes_after_length;
        self.held = Some(self.pool.bodies().begin());
    }

    /// The connection is no longer HTTP's; its socket.
    pub fn hand_over(&mut self) -> Option<Arc<Socket>> {
        self.explain(CoreError::Informational("upgrade".into()));
        self.line.take().map(Line::hand_over)
    }

    fn explain(&self, error: CoreError) {
        self.connection.switch.explain(error);
    }

    /// Why nobody may read or write any more; wakes the task when that changes.
    pub fn killed(&self, cx: &Context<'_>) -> Option<CoreError> {
        let switch = &self.connection.switch;
        switch.is_killed(cx).then(|| switch.cause().unwrap_or_else(closed))
    }

    /// The response has ended as it should.
    pub fn finish(&mut self, has_surplus: bool) {
        let Some(line) = self.line.take() else { return };
        self.held = None;
        let is_unwritten = !self.connection.course.ended();
        match self.keep {
            _ if is_unwritten => self.explain(CoreError::Informational("reset".into())),
            Some(keep) if !has_surplus => self.pool.check_in(line, Some(keep)),
            _ => self.explain(CoreError::Informational("reset".into())),
        }
    }

    /// Whether what is left of the response may be read for the sake of the connection.
    pub fn may_be_kept(&self) -> bool {
        self.line.is_some()
            && self.keep.is_some()
            && !self.connection.switch.is_off()
            && self.connection.course.is_written()
    }

    /// The response cannot go on: the connection ends.
    pub fn fail(&mut self, error: CoreError) -> CoreError {
        self.explain(error.clone());
        self.held = None;
        self.line = None;
        if self.closes_after_length && matches!(error, CoreError::Socket(_)) {
            // undici's verdict where the server said that it would close.
            return CoreError::ResponseContentLengthMismatch;
        }
        error
    }

    /// What a failed read of the socket is, or its end (`None`) where more was to come.
    pub fn read_fault(&self, error: Option<io::Error>, awaits_head: bool) -> CoreError {
        let refusal = self.connection.course.take_refusal(error.is_none(), awaits_head);
        match refusal.or(error) {
            Some(error) => self.socket_fault(&error),
            None => closed(),
        }
    }

    /// What a failed read or write of the socket is. Nothing of what a body says is in it, so that the phase is the head's.
    fn socket_fault(&self, error: &io::Error) -> CoreError {
        classify(
            error,
            Phase::Head,
            &Peer {
                origin: &self.pool.route().origin,
                address: self.connection.info.remote.map(|address| address.ip()),
                connect_timeout: None,
            },
        )
    }

    /// The request cannot be written on. `None` where its response may be read all the same.
    pub fn write_fault(&self, fault: WriteFault, writer: &RequestWriter) -> Option<CoreError> {
        match fault {
            WriteFault::Body(error) => Some(crate::transport::upload_error(error)),
            WriteFault::Socket(error) if is_refusal(&error) => {
                if let Some(progress) = writer.progress() {
                    progress.refuse();
                }
                self.connection.course.refuse(error);
                None
            }
            WriteFault::Socket(error) => Some(self.socket_fault(&error)),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            self.explain(CoreError::Informational("aborted".into()));
            self.held = None;
            drop(line);
        }
        self.connection.release();
    }
}

/// The peer takes no more.
pub fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn closed() -> CoreError {
    CoreError::Socket("other side closed".into())
}
