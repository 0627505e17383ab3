//! The process's one tokio runtime, on a thread of its own.

use std::io;
use std::pin::pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::memory::{QUIET, give_back};
use crate::submission::{Submission, running};

/// Hands work to the runtime. A `current_thread` runtime costs less per request than a worker pool and makes larger
/// batches of completions.
pub struct Runtime {
    handle: Handle,
    submissions: Arc<Submissions>,
}

/// What JavaScript has submitted since the runtime last looked: one wake-up for a batch.
#[derive(Default)]
struct Submissions {
    waiting: Mutex<Vec<Submission>>,
    arrived: Notify,
}

static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();

impl Runtime {
    /// The runtime, started at the first call.
    pub fn get() -> Result<&'static Self, &'static str> {
        RUNTIME
            .get_or_init(|| start().map_err(|error| format!("the runtime cannot start: {error}")))
            .as_ref()
            .map_err(String::as_str)
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Starts a batch of requests with one wake-up of the runtime's thread.
    pub fn submit(&self, batch: impl IntoIterator<Item = Submission>) {
        self.submissions
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(batch);
        self.submissions.arrived.notify_one();
    }
}

fn start() -> io::Result<Runtime> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .thread_name("sluice-blocking")
        .build()?;
    let submissions = Arc::new(Submissions::default());
    let (sender, receiver) = mpsc::sync_channel(1);
    let served = Arc::clone(&submissions);
    std::thread::Builder::new().name("sluice".into()).spawn(move || {
        let _ = sender.send(runtime.handle().clone());
        runtime.block_on(serve(served));
    })?;
    let handle = receiver.recv().map_err(io::Error::other)?;
    Ok(Runtime { handle, submissions })
}

async fn serve(submissions: Arc<Submissions>) {
    let mut quiet = Quiet::default();
    let mut tick = pin!(sleep(QUIET));
    loop {
        tokio::select! {
            biased;
            () = submissions.arrived.notified() => quiet.disturb(),
            () = tick.as_mut(), if quiet.is_watching() => {
                quiet.look();
                tick.as_mut().reset(Instant::now() + QUIET);
                continue;
            }
        }
        let batch = std::mem::take(&mut *submissions.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for submission in batch {
            tokio::spawn(submission.run());
        }
    }
}

/// Finds the moments to give memory back.
struct Quiet {
    has_work: bool,
    /// Requests that ran when memory was given back; `None` if work has come since.
    given_back: Option<usize>,
}

impl Default for Quiet {
    fn default() -> Self {
        Self {
            has_work: false,
            given_back: Some(0),
        }
    }
}

impl Quiet {
    fn disturb(&mut self) {
        self.has_work = true;
        self.given_back = None;
    }

    /// What runs may still end, and leave memory.
    fn is_watching(&self) -> bool {
        self.given_back != Some(0)
    }

    fn look(&mut self) {
        if std::mem::take(&mut self.has_work) {
            return;
        }
        let running = running();
        if self.given_back.replace(running) != Some(running) {
            give_back();
        }
    }
}
