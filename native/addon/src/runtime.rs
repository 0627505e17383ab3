//! The process's one tokio runtime, on a thread of its own.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sluice_core::Vigil;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio::task::yield_now;
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
    /// The runtime looks by itself and need not be woken. Read and cleared with `waiting` locked in between.
    is_watched: AtomicBool,
}

impl Submissions {
    fn lock(&self) -> MutexGuard<'_, Vec<Submission>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Submission> {
        std::mem::take(&mut *self.lock())
    }
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
        self.submissions.lock().extend(batch);
        if !self.submissions.is_watched.load(Ordering::Acquire) {
            self.submissions.arrived.notify_one();
        }
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
    let mut vigil = Vigil::default();
    let mut tick = pin!(sleep(QUIET));
    let mut started = 0;
    // A vigil takes the only processor from those it waits for.
    let is_alone = std::thread::available_parallelism().is_ok_and(|count| count.get() == 1);
    loop {
        let watched = if started > 0 && !is_alone {
            keep_vigil(&submissions, &mut vigil, started).await
        } else {
            Vec::new()
        };
        started = watched.len();
        if started > 0 {
            quiet.disturb();
            start_all(watched);
            continue;
        }
        tokio::select! {
            biased;
            () = submissions.arrived.notified() => quiet.disturb(),
            () = tick.as_mut(), if quiet.is_watching() => {
                quiet.look();
                tick.as_mut().reset(Instant::now() + QUIET);
                continue;
            }
        }
        let batch = submissions.take();
        started = batch.len();
        start_all(batch);
    }
}

fn start_all(batch: Vec<Submission>) {
    for submission in batch {
        tokio::spawn(submission.run());
    }
}

/// Heads that were told. What a body does is no reason to stay awake: a slow one would keep a processor busy.
static ANSWERS: AtomicU32 = AtomicU32::new(0);

/// A response has come: its caller may have the next request at hand.
pub fn note_answer() {
    ANSWERS.fetch_add(1, Ordering::Relaxed);
}

/// Returns what arrived, or nothing when it is time to sleep. `started` requests have just begun.
async fn keep_vigil(submissions: &Submissions, vigil: &mut Vigil, started: usize) -> Vec<Submission> {
    let now = || (running(), ANSWERS.load(Ordering::Relaxed), std::time::Instant::now());
    let (running, answers, instant) = now();
    if !vigil.begin(running.max(started), answers, instant) {
        return Vec::new();
    }
    submissions.is_watched.store(true, Ordering::Release);
    let mut batch = submissions.take();
    while batch.is_empty() {
        let (running, answers, instant) = now();
        if !vigil.goes_on(running, answers, instant) {
            break;
        }
        // Whoever waits for the processor goes first.
        std::thread::yield_now();
        yield_now().await;
        batch = submissions.take();
    }
    if !batch.is_empty() {
        vigil.catch();
    }
    submissions.is_watched.store(false, Ordering::Release);
    // What came while the flag still stood has woken nobody.
    batch.append(&mut submissions.lock());
    batch
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
