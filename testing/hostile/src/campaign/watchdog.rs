//! Ends the process when a run takes too long: a test that hangs says nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What one run may take. The slowest sound one takes well under a second on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often it looks.
const TICK: Duration = Duration::from_millis(100);

type Running = Option<(Instant, String)>;

/// What each thread is at.
pub(super) struct Watchdog {
    threads: Vec<Mutex<Running>>,
    finished: AtomicBool,
}

impl Watchdog {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads: (0..threads).map(|_| Mutex::new(None)).collect(),
            finished: AtomicBool::new(false),
        }
    }

    pub(super) fn begin(&self, thread: usize, what: impl FnOnce() -> String) {
        self.set(thread, Some((Instant::now(), what())));
    }

    pub(super) fn end(&self, thread: usize) {
        self.set(thread, None);
    }

    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }

    /// Looks until [`Watchdog::finish`].
    pub(super) fn watch(&self) {
        while !self.finished.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            for running in self.threads.iter().filter_map(|thread| thread.lock().ok()) {
                if let Some((since, what)) = &*running
                    && since.elapsed() > PATIENCE
                {
                    eprintln!("no end after {PATIENCE:?}: {what}");
                    std::process::abort();
                }
            }
        }
    }

    fn set(&self, thread: usize, running: Running) {
        if let Some(mut place) = self.threads.get(thread).and_then(|place| place.lock().ok()) {
            *place = running;
        }
    }
}
