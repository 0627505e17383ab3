//! The rest of a request whose response has begun.

use std::future::poll_fn;
use std::sync::Arc;

use super::exchange::is_refusal;
use super::request_writer::{RequestWriter, WriteFault};
use crate::error::CoreError;
use crate::transport::upload_error;
use crate::transport::wire::connection::Connection;
use crate::transport::wire::socket::Socket;

/// Writes on while the response is read elsewhere, until the response has ended. Whoever reads learns of a fault by the
/// end of the connection.
pub fn write_rest(mut writer: RequestWriter, socket: Arc<Socket>, connection: Arc<Connection>) {
    let Some(progress) = writer.progress().map(Arc::clone) else {
        // A head alone, which its server has answered before all of it was there: it needs no more of it, and the connection
        // closes behind the response, since its request was not written.
        return;
    };
    tokio::spawn(async move {
        let write = poll_fn(|cx| writer.poll(cx, &socket, &connection.info));
        let written = tokio::select! {
            biased;
            () = progress.stopped() => return,
            written = write => written,
        };
        match written {
            Ok(()) => connection.course.written(),
            Err(WriteFault::Body(error)) => connection.switch.kill(upload_error(error)),
            Err(WriteFault::Socket(error)) if is_refusal(&error) => {
                progress.refuse();
                connection.course.refuse(error);
            }
            Err(WriteFault::Socket(error)) => connection.switch.kill(CoreError::Socket(error.to_string())),
        }
    });
}
