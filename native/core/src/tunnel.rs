//! A connection after an upgrade or CONNECT: bytes both ways, each with its own backpressure.

use bytes::BytesMut;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::controller::RequestController;
use crate::error::CoreError;
use crate::handler::DispatchHandler;
use crate::transport::TunnelStream;
use crate::upload_queue::UploadQueue;

/// Bytes taken from the socket at once.
const READ: usize = 64 * 1024;

/// Runs a tunnel until both directions have ended, or one has failed. The handler gets data and exactly one of end and
/// error; `controller` pauses it.
pub async fn run_tunnel<H: DispatchHandler>(
    upgrade: TunnelStream,
    outgoing: &UploadQueue,
    controller: &RequestController,
    handler: &mut H,
) -> Result<(), CoreError> {
    let (reader, writer) = tokio::io::split(upgrade);
    tokio::try_join!(receive(reader, controller, handler), send(writer, outgoing))?;
    Ok(())
}

async fn receive<H: DispatchHandler>(
    mut reader: impl AsyncRead + Unpin,
    controller: &RequestController,
    handler: &mut H,
) -> Result<(), CoreError> {
    let mut buffer = BytesMut::new();
    loop {
        controller.pause_state().wait_if_paused().await;
        buffer.reserve(READ);
        let read = reader
            .read_buf(&mut buffer)
            .await
            .map_err(|error| failed(&error, "read"))?;
        if read == 0 {
            handler.on_response_end(HeaderMap::new()).await;
            return Ok(());
        }
        handler.on_response_data(buffer.split().freeze()).await;
    }
}

async fn send(mut writer: impl AsyncWrite + Unpin, outgoing: &UploadQueue) -> Result<(), CoreError> {
    while let Some(chunk) = outgoing.next().await {
        let chunk = chunk.map_err(|_| CoreError::RequestAborted)?;
        writer
            .write_all(&chunk)
            .await
            .map_err(|error| failed(&error, "write"))?;
    }
    // A peer that has gone already needs no farewell.
    let _ = writer.shutdown().await;
    Ok(())
}

fn failed(error: &std::io::Error, syscall: &'static str) -> CoreError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => CoreError::Socket("other side closed".into()),
        _ => CoreError::System(crate::transport::system_error(error, syscall, None)),
    }
}
