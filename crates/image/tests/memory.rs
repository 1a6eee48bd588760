//! What detaching holds, whatever an image says about the one before.

mod support;

use kpeel_counting::{Counting, peak_of};
use kpeel_envelope::pe::Pe;
use kpeel_image::{DetachOptions, detach};
use support::judge::{attached, full_headers};
use support::{Maker, assert_same, part, put};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sections of some bytes before one of all the others.
const SMALL: usize = 40;
const BIG: usize = 4 << 20;
/// The record's length of the headers of before, and the headers.
const HEADERS_LEN: usize = 12;
const HEADERS: usize = 16;
const SECTION_HEADER_SIZE: usize = 40;
const POINTER_TO_RAW_DATA: usize = 20;

/// Ranges that overlap would be copied once for each section.
#[test]
fn an_undo_record_of_overlapping_ranges_is_not_followed() {
    let mut maker = Maker {
        headers: 0x1000,
        first: 0x1000,
        ..full_headers(SMALL)
    };
    maker.parts.push(part(".big", BIG));
    let image = maker.make();
    let honest = attached(&image);
    let bound = 8 * image.len() as u64;
    let (bare, peak) = peak_of(|| detach(&honest, DetachOptions::default()).unwrap());
    assert_same(&bare, &image);
    assert!(peak < bound, "{peak} for {}", image.len());

    let mut forged = honest.clone();
    let mut windows = honest.windows(8);
    let record = windows.rposition(|window| window == b"kpeelund").unwrap();
    let len = honest[record + HEADERS_LEN..][..4].try_into().unwrap();
    let end = record + HEADERS + u32::from_le_bytes(len) as usize;
    let table = end - (SMALL + 1) * SECTION_HEADER_SIZE;
    // Each section but the last reaches up to where the next one is said to have begun.
    for number in 0..=SMALL {
        let at = table + number * SECTION_HEADER_SIZE + POINTER_TO_RAW_DATA;
        let begin = number * (BIG - 0x10000);
        put(&mut forged, at, &(begin as u32).to_le_bytes());
    }
    let (bare, peak) = peak_of(|| detach(&forged, DetachOptions::default()).unwrap());
    assert!(peak < bound, "{peak} for {}", image.len());
    let pe = Pe::parse(&bare).unwrap();
    assert_eq!(pe.sections().count(), SMALL + 1);
    assert_eq!(pe.find(".bpf").count(), 0);
}
