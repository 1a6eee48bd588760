//! Ends the process when a run takes too long: a test that hangs says nothing.
//!
//! Processor time counts, which a busy machine does not stretch; only what waits for something is
//! measured by the wall.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, gettid};

/// The processor time one run may take. The slowest sound one takes well under a second.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The time one run may take if it computes nothing, or hardly comes to.
const PATIENCE_WAITING: Duration = Duration::from_secs(1800);

/// How often it looks.
const TICK: Duration = Duration::from_millis(100);

/// What each thread is at.
pub(super) struct Watchdog {
    threads: Vec<Mutex<Option<Run>>>,
    finished: AtomicBool,
}

/// A run that has begun.
struct Run {
    what: String,
    clock: ClockId,
    processor: Duration,
    wall: Instant,
}

impl Watchdog {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads: (0..threads).map(|_| Mutex::new(None)).collect(),
            finished: AtomicBool::new(false),
        }
    }

    /// The calling thread, which is number `thread`, begins a run.
    pub(super) fn begin(&self, thread: usize, what: String) {
        let clock = clock_of(gettid());
        let run = Run {
            what,
            clock,
            processor: time(clock),
            wall: Instant::now(),
        };
        self.set(thread, Some(run));
    }

    /// The run is over; gives the processor time that it took.
    pub(super) fn end(&self, thread: usize) -> Duration {
        let run = self.set(thread, None);
        run.map_or(Duration::ZERO, |run| run.taken())
    }

    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }

    /// Looks until [`Watchdog::finish`].
    pub(super) fn watch(&self) {
        while !self.finished.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            for running in self.threads.iter().filter_map(|thread| thread.lock().ok()) {
                if let Some(run) = &*running
                    && run.is_over()
                {
                    eprintln!("no end after {:?}: {}", run.taken(), run.what);
                    std::process::abort();
                }
            }
        }
    }

    fn set(&self, thread: usize, running: Option<Run>) -> Option<Run> {
        let mut place = self.threads.get(thread)?.lock().ok()?;
        std::mem::replace(&mut place, running)
    }
}

impl Run {
    fn taken(&self) -> Duration {
        time(self.clock).saturating_sub(self.processor)
    }

    fn is_over(&self) -> bool {
        self.taken() > PATIENCE || self.wall.elapsed() > PATIENCE_WAITING
    }
}

/// The clock of a thread's processor time, which other threads may read too (Linux,
/// include/linux/posix-timers_types.h: the complement of the thread's number, then
/// `CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED`).
fn clock_of(thread: Pid) -> ClockId {
    const PER_THREAD_SCHED: i32 = 4 | 2;
    ClockId::from_raw((!thread.as_raw() << 3) | PER_THREAD_SCHED)
}

/// What a clock says; zero for a thread that is gone.
fn time(clock: ClockId) -> Duration {
    clock_gettime(clock).unwrap_or(TimeSpec::new(0, 0)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_a_thread_computes_and_not_what_it_waits() {
        let watchdog = Watchdog::new(1);
        watchdog.begin(0, "waits".into());
        std::thread::sleep(Duration::from_millis(300));
        let waited = watchdog.end(0);
        assert!(waited < Duration::from_millis(200), "{waited:?}");
        watchdog.begin(0, "computes".into());
        let own = ClockId::CLOCK_THREAD_CPUTIME_ID;
        let begun = time(own);
        while time(own) - begun < Duration::from_millis(50) {}
        let seen = std::thread::scope(|scope| {
            let read = || {
                watchdog.threads[0]
                    .lock()
                    .unwrap()
                    .as_ref()
                    .unwrap()
                    .taken()
            };
            scope.spawn(read).join().unwrap()
        });
        assert!(seen >= Duration::from_millis(50), "{seen:?}");
    }
}
