//! One byte changed after signing: in every field and region that a signature covers, and in the
//! fields that it leaves out.

use super::{Maker, Reason, Verdict};
use crate::pe::{Image, coff, optional, section};

const CHANGED: Verdict = Verdict::Refused(Reason::Digest);
const COVERED: &str = "a covered byte differs from what was signed";

/// `TimeDateStamp` and its like: fields whose every value is well formed, and bits to flip.
const FIELDS: &[(&str, usize, u8)] = &[
    ("linker-version", optional::LINKER_VERSION, 1),
    ("size-of-code", optional::SIZE_OF_CODE, 1),
    ("entry-point", optional::ENTRY_POINT, 1),
    ("base-of-code", optional::BASE_OF_CODE, 1),
    ("image-base", optional::IMAGE_BASE + 3, 1),
    ("system-version", optional::OPERATING_SYSTEM_VERSION, 1),
    ("size-of-image", optional::SIZE_OF_IMAGE + 2, 0x10),
    ("dll-characteristics", optional::DLL_CHARACTERISTICS + 1, 1),
    ("stack-reserve", optional::SIZE_OF_STACK_RESERVE, 1),
    ("loader-flags", optional::LOADER_FLAGS, 1),
];

pub(super) fn add(maker: &mut Maker<'_>) {
    headers(maker);
    section_table(maker);
    contents(maker);
    maker.change(
        "check-sum",
        Verdict::Accepted,
        "CheckSum is not covered, and nothing depends on it",
        |image| image.flip(image.check_sum(), 0xff),
    );
}

fn headers(maker: &mut Maker<'_>) {
    let mut flip = |name: &str, at: &dyn Fn(&Image) -> usize, bits: u8| {
        maker.change(name, CHANGED, COVERED, |image| image.flip(at(image), bits));
    };
    flip("dos-header", &|_| 2, 1);
    flip("dos-stub", &|_| 0x41, 1);
    flip("time", &|image| image.coff() + coff::TIME_DATE_STAMP, 1);
    flip(
        "characteristics",
        &|image| image.coff() + coff::CHARACTERISTICS,
        0x20,
    );
    flip(
        "symbol-count",
        &|image| image.coff() + coff::NUMBER_OF_SYMBOLS,
        1,
    );
    for (name, at, bits) in FIELDS {
        flip(name, &|image| image.optional() + at, *bits);
    }
    // The exception directory: no image here has one.
    flip("other-directory", &|image| image.directory(3), 1);
    flip(
        "header-padding",
        &|image| image.u32(image.size_of_headers()) as usize - 1,
        1,
    );
}

fn section_table(maker: &mut Maker<'_>) {
    let last = |image: &Image| image.section(image.sections() - 1);
    let mut flip = |name: &str, at: usize, bits: u8| {
        maker.change(name, CHANGED, COVERED, |image| {
            image.flip(last(image) + at, bits);
        });
    };
    flip("section-name", 1, 1);
    flip("section-virtual-size", section::VIRTUAL_SIZE, 1);
    flip(
        "section-characteristics",
        section::CHARACTERISTICS + 3,
        0x10,
    );
}

/// First and last byte of every section, and what lies behind the sections.
fn contents(maker: &mut Maker<'_>) {
    let image = maker.signed();
    for index in 0..image.sections() {
        let (start, len) = image.raw(index);
        if len == 0 {
            continue;
        }
        for (which, at) in [("first", start), ("last", start + len - 1)] {
            maker.change(
                &format!("section-{index}-{which}-byte"),
                CHANGED,
                COVERED,
                |image| image.flip(at, 1),
            );
        }
    }
    let symbols = image.u32(image.coff() + coff::POINTER_TO_SYMBOL_TABLE) as usize;
    if symbols != 0 {
        maker.change("symbol-table", CHANGED, COVERED, |image| {
            image.flip(symbols + 8, 1);
        });
    }
    let end = image.table().map_or(image.bytes.len(), |(start, _)| start);
    if image.end_of_sections() < end {
        maker.change("overlay", CHANGED, COVERED, |image| image.flip(end - 1, 1));
    }
}
