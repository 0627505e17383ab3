//! What of a body comes with its head.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;

use crate::credit::{ByteGauge, Credit};
use crate::error::CoreError;

/// A body of known length up to this goes to the handler with its head, if it is there already.
const COMPLETE_BODY: u64 = 16 * 1024;
/// A body of unknown length is asked for its next frame, before there is demand, only while it is smaller than this:
/// below one socket read (8 KiB at first), so that a large body stops after the read that brought its head.
const COMPLETE_UNSIZED_BODY: usize = 4 * 1024;

/// What came with the head.
pub struct Prefetched {
    pub data: Bytes,
    /// Of `data`, until the handler has it.
    pub credit: Credit,
    pub trailers: HeaderMap,
    pub end: Option<Result<(), CoreError>>,
}

/// Takes what is there without waiting for the server.
pub async fn prefetch<B: Body<Data = Bytes, Error = CoreError> + Unpin>(
    body: &mut B,
    gauge: &Arc<ByteGauge>,
) -> Prefetched {
    let mut frames: Vec<Bytes> = Vec::new();
    let mut credit = Credit::none(gauge);
    let mut trailers = HeaderMap::new();
    let mut has_yielded = false;
    let end = loop {
        if body.is_end_stream() {
            break Some(Ok(()));
        }
        let wanted = match body.size_hint().exact() {
            Some(left) => left + credit.bytes() as u64 <= COMPLETE_BODY || frames.is_empty(),
            None => credit.bytes() < COMPLETE_UNSIZED_BODY,
        };
        if !wanted {
            break None;
        }
        match body.frame().now_or_never() {
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    credit.grow(data.len());
                    frames.push(data);
                }
                Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
            },
            Some(Some(Err(error))) => break Some(Err(error)),
            Some(None) => break Some(Ok(())),
            // The connection's task moves the bytes it already has only when it runs again.
            None if !has_yielded => {
                has_yielded = true;
                run_others().await;
            }
            None => break None,
        }
    };
    Prefetched {
        data: join(frames),
        credit,
        trailers,
        end,
    }
}

fn join(mut frames: Vec<Bytes>) -> Bytes {
    match frames.len() {
        0 => Bytes::new(),
        1 => frames.swap_remove(0),
        _ => {
            let mut joined = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
            frames.iter().for_each(|frame| joined.extend_from_slice(frame));
            joined.freeze()
        }
    }
}

/// Lets every task that is ready run once. tokio's `yield_now` would ask the operating system for events first.
async fn run_others() {
    let mut has_run = false;
    let others = std::future::poll_fn(|cx| {
        if has_run {
            return Poll::Ready(());
        }
        has_run = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    pin!(others).await;
}
