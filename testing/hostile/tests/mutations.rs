//! Small images: 300 mutations of every class, and every truncation of the first 4 KiB.

use std::time::Instant;

use kpeel_counting::{Counting, process_peak};
use kpeel_hostile::campaign::{self, Row, Task, every_class};
use kpeel_hostile::judge::{BESIDES, Difference, SMALL};
use kpeel_hostile::subject;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Mutations of each class and image.
const RUNS: u64 = 300;
/// Every shorter image is tried.
const TRUNCATIONS: u64 = 4096;
/// A dictionary or window that a C library keeps, which the meter does not count.
const WINDOW: u64 = 129 << 20;

// One test: the peak is that of the whole process.
#[test]
fn mutated_images_end_in_an_error_or_in_what_others_find() {
    let subjects = subject::small().unwrap();
    for subject in &subjects {
        assert!(!subject.layers.is_empty(), "{}", subject.name);
        let own = subject.layers.iter().any(|layer| layer.carrier.is_some());
        assert_eq!(own, subject.name.ends_with("+bpf"), "{}", subject.name);
    }
    let sound = |subject| Task {
        subject,
        class: None,
        first: u64::MAX - 1,
        runs: 1,
        limits: SMALL,
    };
    let before = process_peak().unwrap();
    let sound = campaign::run(&subjects.iter().map(sound).collect::<Vec<_>>(), &|_| {});
    for row in &sound {
        assert_eq!(row.ends.get("same"), Some(&1), "{row:?}");
    }
    let mut tasks = every_class(&subjects, 0, RUNS, SMALL);
    tasks.extend(subjects.iter().map(|subject| Task {
        subject,
        class: None,
        first: 0,
        runs: TRUNCATIONS + 1,
        limits: SMALL,
    }));
    let begun = Instant::now();
    let rows = campaign::run(&tasks, &|_| {});
    report(&rows, begun);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let (peak, allowed) = (
        process_peak().unwrap() - before,
        threads * (SMALL.memory + WINDOW + BESIDES),
    );
    campaign::tell(format_args!(
        "the process grew by {peak} bytes at most, {allowed} allowed"
    ));
    assert!(peak <= allowed, "{peak} bytes, {allowed} allowed");
}

fn report(rows: &[Row], begun: Instant) {
    for difference in Difference::ALL {
        let count = rows
            .iter()
            .filter_map(|row| row.ends.get(difference.name()));
        campaign::tell(format_args!(
            "{}: {} runs",
            difference.name(),
            count.sum::<u64>()
        ));
    }
    campaign::tell(format_args!(
        "a run's seed is the image, the class and a number: 0..{RUNS} in each row, of truncations 0..={TRUNCATIONS}"
    ));
    for row in campaign::sums(rows) {
        campaign::tell(format_args!("{}", campaign::line(&row)));
    }
    let runs: u64 = rows.iter().map(|row| row.runs).sum();
    campaign::tell(format_args!(
        "{runs} runs in {} s",
        campaign::seconds(begun)
    ));
    let faults = campaign::faults(rows);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let toothless = campaign::toothless(rows);
    assert!(toothless.is_empty(), "{toothless:?}");
}
