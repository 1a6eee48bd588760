//! Many runs, watched: rows of image and class, each with its counts.

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kpeel_envelope::limits::Limits;
use serde::{Deserialize, Serialize};

use crate::class::{Class, mutate};
use crate::extract::Extractor;
use crate::judge::{Caller, End, judge};
use crate::subject::Subject;

mod watchdog;

pub use watchdog::PATIENCE;
use watchdog::Watchdog;

/// The caller's initrd of every other run.
const INITRD: &[u8] = b"caller's initrd";

/// Runs of one class on one image.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Row {
    /// The image.
    pub image: String,
    /// The class, or `truncation`.
    pub class: String,
    /// The first mutation's number: its seed, with the names of image and class.
    pub first: u64,
    /// How many runs.
    pub runs: u64,
    /// How many ended in which way.
    pub ends: BTreeMap<String, u64>,
    /// Runs that kpeel refused and the extractor would have opened.
    pub stricter: u64,
    /// Most bytes that Rust code held in one run.
    pub peak: u64,
    /// The longest run in milliseconds of processor time.
    pub slowest_ms: u64,
    /// What must not be: the mutation's number, and what happened.
    pub faults: Vec<(u64, String)>,
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The image.
    pub subject: &'a Subject,
    /// What is changed; `None` cuts the image off after as many bytes as the run's number says.
    pub class: Option<Class>,
    /// The first mutation's number.
    pub first: u64,
    /// How many.
    pub runs: u64,
    /// The load's bounds.
    pub limits: Limits,
}

/// Runs `tasks` on all processors; `done` gets each row as it is finished.
///
/// A run over [`PATIENCE`] ends the process with its name.
pub fn run(tasks: &[Task<'_>], done: &(dyn Fn(&Row) + Sync)) -> Vec<Row> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let extractor = Extractor::default();
    let watchdog = Watchdog::new(threads);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (next, rows, extractor, watchdog) = (&next, &rows, &extractor, &watchdog);
                scope.spawn(move || {
                    while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let row = row(task, extractor, watchdog, thread);
                        done(&row);
                        if let Ok(mut rows) = rows.lock() {
                            rows.push(row);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| watchdog.watch());
        for worker in workers {
            // A worker catches what runs do; if it panics itself, the test must fail with it.
            if let Err(panic) = worker.join() {
                watchdog.finish();
                std::panic::resume_unwind(panic);
            }
        }
        watchdog.finish();
    });
    rows.into_inner().unwrap_or_default()
}

/// The tasks of `runs` mutations of every class that applies to each subject.
#[must_use]
pub fn every_class<'a>(
    subjects: &'a [Subject],
    first: u64,
    runs: u64,
    limits: Limits,
) -> Vec<Task<'a>> {
    let classes = |subject: &'a Subject| {
        let classes = Class::ALL.into_iter();
        let classes = classes.filter(move |class| class.applies(subject));
        classes.map(move |class| Task {
            subject,
            class: Some(class),
            first,
            runs,
            limits,
        })
    };
    subjects.iter().flat_map(classes).collect()
}

fn row(task: &Task<'_>, extractor: &Extractor, watchdog: &Watchdog, thread: usize) -> Row {
    let subject = task.subject;
    let mut row = Row {
        image: subject.name.clone(),
        class: task.class.map_or("truncation", Class::name).to_owned(),
        first: task.first,
        runs: task.runs,
        ..Row::default()
    };
    for number in task.first..task.first + task.runs {
        let bytes = match task.class {
            Some(class) => mutate(subject, class, number),
            None => truncated(subject, number),
        };
        watchdog.begin(thread, format!("{} {} {number}", row.image, row.class));
        let end = guarded(task, extractor, &bytes, number);
        let took = watchdog.end(thread);
        row.slowest_ms = row.slowest_ms.max(took.as_millis() as u64);
        match end {
            Ok(outcome) => {
                *row.ends.entry(name(outcome.end)).or_default() += 1;
                row.peak = row.peak.max(outcome.peak);
                row.stricter += u64::from(outcome.stricter);
            }
            Err(fault) => row.faults.push((number, fault)),
        }
    }
    row
}

fn guarded(
    task: &Task<'_>,
    extractor: &Extractor,
    bytes: &[u8],
    number: u64,
) -> Result<crate::judge::Outcome, String> {
    let subject = task.subject;
    let caller = Caller {
        cmdline: subject.cmdline.as_deref(),
        profile: subject.profile,
        initrd: (number % 2 == 1).then_some(INITRD),
        crash: number % 3 == 2,
    };
    let own = subject.layers.iter().any(|layer| layer.carrier.is_some());
    let run = || judge(extractor, bytes, task.class, own, &caller, task.limits);
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

fn truncated(subject: &Subject, len: u64) -> Vec<u8> {
    let len = (len as usize).min(subject.bytes.len());
    subject.bytes[..len].to_vec()
}

fn name(end: End) -> String {
    match end {
        End::Same => "same".into(),
        End::Differs(difference) => difference.name().into(),
        End::Malformed => "malformed".into(),
        End::Unsupported => "unsupported".into(),
        End::Bound => "bound".into(),
        End::Permission => "permission".into(),
    }
}

/// Writes a line past the test harness, which shows what a test prints only when it fails: seeds and counts are to be seen
/// always.
pub fn tell(line: std::fmt::Arguments<'_>) {
    let mut stderr = std::io::stderr();
    // Nothing depends on its being read.
    let _ = writeln!(stderr, "{line}");
}

/// Counts, as one line.
#[must_use]
pub fn line(row: &Row) -> String {
    let ends: Vec<String> = row
        .ends
        .iter()
        .map(|(end, count)| format!("{end} {count}"))
        .collect();
    format!(
        "{:24} {:14} {} runs from {}: {}; stricter {}; peak {} KiB; slowest {} ms",
        row.image,
        row.class,
        row.runs,
        row.first,
        ends.join(", "),
        row.stricter,
        row.peak >> 10,
        row.slowest_ms
    )
}

/// Sums over all images, one line for each class.
#[must_use]
pub fn sums(rows: &[Row]) -> Vec<Row> {
    let mut sums: BTreeMap<&str, Row> = BTreeMap::new();
    for row in rows {
        let sum = sums.entry(&row.class).or_insert_with(|| Row {
            image: "all".into(),
            class: row.class.clone(),
            first: row.first,
            ..Row::default()
        });
        sum.runs += row.runs;
        sum.stricter += row.stricter;
        sum.peak = sum.peak.max(row.peak);
        sum.slowest_ms = sum.slowest_ms.max(row.slowest_ms);
        for (end, count) in &row.ends {
            *sum.ends.entry(end.clone()).or_default() += count;
        }
        sum.faults.extend(row.faults.iter().cloned());
    }
    sums.into_values().collect()
}

/// Every fault, with what makes it again.
#[must_use]
pub fn faults(rows: &[Row]) -> Vec<String> {
    let fault = |row: &Row| {
        let (image, class) = (row.image.clone(), row.class.clone());
        let faults = row.faults.clone().into_iter();
        faults.map(move |(number, fault)| format!("{image} {class} {number}: {fault}"))
    };
    rows.iter().flat_map(fault).collect()
}

/// Rows of which no run was refused: mutations that reach nothing would prove nothing. Contents of
/// a UKI's sections are handed on as they are, whatever they hold.
#[must_use]
pub fn toothless(rows: &[Row]) -> Vec<&Row> {
    let refused = |row: &Row| {
        ["malformed", "unsupported", "bound", "permission"]
            .iter()
            .any(|end| row.ends.contains_key(*end))
    };
    let plain = |row: &Row| row.class == Class::Payload.name() && row.image.starts_with("uki");
    rows.iter()
        .filter(|row| !refused(row) && !plain(row))
        .collect()
}

/// The time since `begun`, for the last line.
#[must_use]
pub fn seconds(begun: Instant) -> u64 {
    begun.elapsed().max(Duration::ZERO).as_secs()
}
