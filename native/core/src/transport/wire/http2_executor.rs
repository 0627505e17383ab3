//! Runs what hyper spawns for an HTTP/2 connection, and ends the sending of a body whose request is over.
//!
//! hyper asks a body for nothing while the peer's window is shut, so that the body cannot say that it has been given up,
//! and its stream would count as open for as long as the window stays so.

use std::sync::Arc;

use hyper::rt::Executor;

use super::begun_upload::BegunUpload;

/// hyper polls a body once itself, and spawns what sends the rest in the same breath.
#[derive(Debug, Clone)]
pub struct Http2Executor(pub Arc<BegunUpload>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Http2Executor {
    fn execute(&self, future: F) {
        let Some(upload) = self.0.take() else {
            tokio::spawn(future);
            return;
        };
        // Dropped halfway it resets its stream.
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = upload.stopped() => {}
                () = future => {}
            }
        });
    }
}
