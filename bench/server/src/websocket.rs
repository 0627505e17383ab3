//! WebSocket: every message comes back as it came.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::Error;
use crate::serve::{accept, listen};

/// Bytes of a message that are echoed at most.
const LARGEST: usize = 64 * 1024 * 1024;

pub async fn echo() -> Result<u16, Error> {
    let (listener, port) = listen()?;
    accept(listener, |socket| async move {
        let config = WebSocketConfig::default()
            .max_message_size(Some(LARGEST))
            .max_frame_size(Some(LARGEST));
        let Ok(stream) = tokio_tungstenite::accept_async_with_config(socket, Some(config)).await else {
            return;
        };
        let (mut outgoing, mut incoming) = stream.split();
        while let Some(Ok(message)) = incoming.next().await {
            // Pings are answered and a close is completed by the library.
            if (message.is_text() || message.is_binary()) && outgoing.send(message).await.is_err() {
                return;
            }
        }
    });
    Ok(port)
}
