//! Images made to hold more than the budget is charged for.
#![expect(clippy::unwrap_used, reason = "tests")]

use kpeel_counting::Counting;
use kpeel_hostile::extract::Extractor;
use kpeel_hostile::judge::{Caller, End, SMALL, judge};

#[path = "../../../crates/envelope/tests/support/mod.rs"]
mod support;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A call of the function that starts with the program, from slot `at`.
fn call_of_the_start(at: i32) -> [u8; 8] {
    let [a, b, c, d] = (-at - 1).to_le_bytes();
    [0x85, 0x10, 0, 0, a, b, c, d]
}

const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

/// Of a call the decoder notes most: the instruction, where it goes, and what starts there.
fn calls(count: i32) -> Vec<u8> {
    let mut code: Vec<u8> = (0..count).flat_map(call_of_the_start).collect();
    code.extend(EXIT);
    code
}

#[test]
fn what_decoding_a_loader_takes_is_charged() {
    let extractor = Extractor::default();
    let mut most = 0;
    for count in (100_000..=700_000).step_by(50_000) {
        let carrier = support::carrier(&calls(count), &[0; 8]);
        let image = support::image(&[(".linux", b"none"), (".bpf", &carrier)]);
        let outcome = judge(&extractor, &image, None, true, &Caller::default(), SMALL).unwrap();
        // It is too long, or calls itself too deep.
        assert_eq!(outcome.end, End::Bound);
        assert!(outcome.peak < SMALL.memory, "{count}: {}", outcome.peak);
        most = most.max(outcome.peak);
    }
    assert!(most > SMALL.memory / 2, "none was decoded: {most}");
}
