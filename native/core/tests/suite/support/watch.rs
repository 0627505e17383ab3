//! Ends a run in which a test waits for something that never comes.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{LazyLock, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Of one test, from the last request that it prepared. Many times what the slowest takes.
const LIMIT: Duration = Duration::from_secs(120);

/// The tests that run: by thread, their names and when they last prepared a request.
static RUNNING: LazyLock<Mutex<HashMap<ThreadId, (String, Instant)>>> = LazyLock::new(|| {
    // A thread of its own, so that tokio's clock does not matter.
    thread::spawn(watch);
    Mutex::default()
});

struct Watched;

thread_local! {
    /// Dropped with the thread, which ends with its test.
    static WATCHED: Watched = const { Watched };
}

impl Drop for Watched {
    fn drop(&mut self) {
        RUNNING.lock().unwrap().remove(&thread::current().id());
    }
}

/// The test on this thread is alive.
pub fn alive() {
    let thread = thread::current();
    let name = thread.name().unwrap_or("a test").to_owned();
    RUNNING.lock().unwrap().insert(thread.id(), (name, Instant::now()));
    WATCHED.with(|_| {});
}

fn watch() {
    loop {
        thread::sleep(Duration::from_secs(1));
        let running = RUNNING.lock().unwrap();
        for (name, since) in running.values() {
            if since.elapsed() > LIMIT {
                // Past the capture of what tests print, which is told only of tests that end.
                let _ = writeln!(std::io::stderr(), "\n{name} hangs");
                std::process::abort();
            }
        }
    }
}
