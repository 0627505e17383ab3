//! Runs what hyper spawns for an HTTP/2 connection, and ends the sending of a body whose request is over.
//!
//! hyper asks a body for nothing while the peer's window is shut, so that the body cannot say that it has been given up,
//! and its stream would count as open for as long as the window stays so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::rt::Executor;

use crate::upload::UploadProgress;

/// The upload that was begun last on a connection. hyper polls a body once itself, and spawns what sends the rest in
/// the same breath.
#[derive(Debug, Default)]
pub struct BegunUpload(Mutex<Option<Arc<UploadProgress>>>);

impl BegunUpload {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<UploadProgress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, upload: &Arc<UploadProgress>) {
        *self.lock() = Some(Arc::clone(upload));
    }

    /// It was sent whole, and nothing is spawned for it.
    pub fn clear(&self, upload: &Arc<UploadProgress>) {
        self.lock().take_if(|begun| Arc::ptr_eq(begun, upload));
    }

    fn take(&self) -> Option<Arc<UploadProgress>> {
        self.lock().take()
    }
}

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
