//! The upload that was begun last on an HTTP/2 connection: who runs it learns here which it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::upload_progress::UploadProgress;

#[derive(Debug, Default)]
pub struct BegunUpload {
    /// Most requests have no body, and need no lock.
    is_some: AtomicBool,
    upload: Mutex<Option<Arc<UploadProgress>>>,
}

impl BegunUpload {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<UploadProgress>>> {
        self.upload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, upload: &Arc<UploadProgress>) {
        *self.lock() = Some(Arc::clone(upload));
        self.is_some.store(true, Ordering::Release);
    }

    /// The engine is done with it.
    pub fn clear(&self, upload: &Arc<UploadProgress>) {
        let mut begun = self.lock();
        if begun.take_if(|begun| Arc::ptr_eq(begun, upload)).is_some() {
            self.is_some.store(false, Ordering::Release);
        }
    }

    pub fn take(&self) -> Option<Arc<UploadProgress>> {
        if !self.is_some.swap(false, Ordering::AcqRel) {
            return None;
        }
        self.lock().take()
    }
}
