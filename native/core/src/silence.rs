//! Servers that say nothing for too long, and take nothing either.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::error::CoreError;
use crate::pause::PauseState;
use crate::upload_flow::UploadFlow;

/// Resolves after `limit` in which the server took nothing of the upload, or has all of it and does not answer.
pub async fn silent_server(upload: &UploadFlow, limit: Option<Duration>) {
    match limit {
        Some(limit) => upload.silence(Instant::now(), limit).await,
        None => std::future::pending().await,
    }
}

/// Resolves after `limit` without a frame in which the gate was open all the time, and the server took nothing of an
/// upload that is still under way. One whose source is slow leaves the server nothing to answer.
pub async fn silent_body(pause: &PauseState, upload: &UploadFlow, limit: Option<Duration>) {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    let (mut start, mut resumes) = (Instant::now(), pause.resumes());
    loop {
        pause.wait_if_paused().await;
        if pause.resumes() != resumes {
            (start, resumes) = (Instant::now(), pause.resumes());
        }
        let Some(end) = upload.peers_turn(start).await.checked_add(limit) else {
            return std::future::pending().await;
        };
        let is_same = !pause.is_paused() && pause.resumes() == resumes;
        if is_same && Instant::now() >= end {
            return;
        }
        if is_same {
            sleep_until(end).await;
        }
    }
}

pub fn headers_timeout_error(is_http2: bool, limit: Option<Duration>) -> CoreError {
    let timeout_ms = limit.unwrap_or_default().as_millis();
    if is_http2 {
        CoreError::Http2HeadersTimeout { timeout_ms }
    } else {
        CoreError::HeadersTimeout
    }
}

pub fn body_timeout_error(is_http2: bool, limit: Option<Duration>) -> CoreError {
    let timeout_ms = limit.unwrap_or_default().as_millis();
    if is_http2 {
        CoreError::Http2BodyTimeout { timeout_ms }
    } else {
        CoreError::BodyTimeout
    }
}
