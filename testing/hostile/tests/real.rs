//! Real images: 200 mutations of each, spread over the classes that apply.

use std::time::Instant;

use kpeel_counting::Counting;
use kpeel_hostile::campaign::{self, every_class};
use kpeel_hostile::judge::REAL;
use kpeel_hostile::subject;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Mutations of each image.
const RUNS: u64 = 200;

#[test]
fn mutated_real_images_end_in_an_error_or_in_what_others_find() {
    let subjects = subject::real().unwrap();
    let begun = Instant::now();
    let mut rows = Vec::new();
    for subject in subjects.chunks(1) {
        let classes = every_class(subject, 0, 1, REAL).len() as u64;
        let tasks = every_class(subject, 0, RUNS.div_ceil(classes), REAL);
        rows.extend(campaign::run(&tasks, &|_| {}));
    }
    for row in &rows {
        campaign::tell(format_args!("{}", campaign::line(row)));
    }
    campaign::tell(format_args!("{} s", campaign::seconds(begun)));
    let faults = campaign::faults(&rows);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
