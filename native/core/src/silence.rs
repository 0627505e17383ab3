//! Servers that say nothing for too long.

use std::time::Duration;

use tokio::time::sleep;

use crate::error::CoreError;
use crate::pause::PauseState;
use crate::upload_progress::UploadProgress;

/// Resolves `limit` after the upload has left: undici's headersTimeout does not run while the request is written.
pub async fn silent_server(progress: &UploadProgress, limit: Option<Duration>) {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    loop {
        progress.finished().await;
        tokio::select! {
            () = sleep(limit) => return,
            () = progress.begun_again() => {}
        }
    }
}

/// Resolves after `limit` without a frame in which the gate was open all the time.
pub async fn silent_body(pause: &PauseState, limit: Option<Duration>) {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    loop {
        pause.wait_if_paused().await;
        let resumes = pause.resumes();
        sleep(limit).await;
        if !pause.is_paused() && pause.resumes() == resumes {
            return;
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
