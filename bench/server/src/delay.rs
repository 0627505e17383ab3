//! A relay that keeps every byte for a while, in both directions, without lowering the throughput.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::Error;
use crate::serve::{accept, listen};

/// Bytes one direction may keep: more than any of the clients fills in the time.
const IN_FLIGHT: usize = 128 * 1024 * 1024;
/// Bytes of one read.
const PIECE: usize = 256 * 1024;

/// Relays to `port`, later by `one_way` in either direction.
pub async fn relay(port: u16, one_way: Duration) -> Result<u16, Error> {
    let (listener, own) = listen()?;
    accept(listener, move |client| async move {
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
            return;
        };
        let _ = server.set_nodelay(true);
        let (client_in, client_out) = client.into_split();
        let (server_in, server_out) = server.into_split();
        tokio::join!(
            later(client_in, server_out, one_way),
            later(server_in, client_out, one_way)
        );
    });
    Ok(own)
}

struct Piece {
    due: Instant,
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

async fn later(mut from: impl AsyncRead + Unpin + Send, mut to: impl AsyncWrite + Unpin + Send, delay: Duration) {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let (sender, mut receiver) = mpsc::unbounded_channel::<Piece>();
    let read = async move {
        let mut buffer = BytesMut::new();
        loop {
            // One allocation serves many small reads: what is kept is what was read.
            if buffer.capacity() < PIECE / 16 {
                buffer.reserve(PIECE);
            }
            match from.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(size) => {
                    let size = u32::try_from(size).unwrap_or(u32::MAX);
                    let Ok(permit) = Arc::clone(&room).acquire_many_owned(size).await else {
                        return;
                    };
                    let piece = Piece {
                        due: Instant::now() + delay,
                        bytes: buffer.split().freeze(),
                        _room: permit,
                    };
                    if sender.send(piece).is_err() {
                        return;
                    }
                }
            }
        }
    };
    let write = async move {
        while let Some(piece) = receiver.recv().await {
            sleep_until(piece.due).await;
            if to.write_all(&piece.bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
