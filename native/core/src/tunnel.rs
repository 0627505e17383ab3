//! A connection after an upgrade or CONNECT: bytes both ways, each with its own backpressure.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::controller::RequestController;
use crate::error::CoreError;
use crate::handler::DispatchHandler;
use crate::upload::UploadQueue;

/// Bytes taken from the socket at once.
const READ: usize = 64 * 1024;

/// What brings a tunnel's bytes.
pub enum TunnelSource<B> {
    Upgraded(OnUpgrade),
    /// A CONNECT that was refused: its body is all there is to read, and nobody reads what is written.
    Refused(B),
}

/// Runs a tunnel until both directions have ended, or one has failed. The handler gets data and exactly one of end and
/// error; `controller` ends it.
pub async fn run_tunnel<B, H>(
    source: TunnelSource<B>,
    outgoing: &UploadQueue,
    controller: &RequestController,
    handler: &mut H,
) -> Result<(), CoreError>
where
    B: Body<Data = Bytes, Error = CoreError> + Send + Unpin,
    H: DispatchHandler,
{
    match source {
        TunnelSource::Upgraded(upgrade) => {
            let io = upgrade.await.map_err(|error| CoreError::Socket(error.to_string()))?;
            let (reader, writer) = tokio::io::split(TokioIo::new(io));
            tokio::try_join!(receive(reader, controller, handler), send(writer, outgoing))?;
            Ok(())
        }
        TunnelSource::Refused(body) => receive_body(body, controller, handler).await,
    }
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

async fn receive_body<B, H>(mut body: B, controller: &RequestController, handler: &mut H) -> Result<(), CoreError>
where
    B: Body<Data = Bytes, Error = CoreError> + Send + Unpin,
    H: DispatchHandler,
{
    loop {
        controller.pause_state().wait_if_paused().await;
        match body.frame().await.transpose()?.map(http_body::Frame::into_data) {
            Some(Ok(data)) if data.is_empty() => {}
            Some(Ok(data)) => handler.on_response_data(data).await,
            Some(Err(_)) => {}
            None => {
                handler.on_response_end(HeaderMap::new()).await;
                return Ok(());
            }
        }
    }
}

fn failed(error: &std::io::Error, syscall: &'static str) -> CoreError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => CoreError::Socket("other side closed".into()),
        _ => CoreError::System(crate::transport::system_error(error, syscall, None)),
    }
}
