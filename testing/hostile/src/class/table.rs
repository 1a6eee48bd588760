//! Mutations of the section table.

use super::number;
use crate::random::Random;
use crate::spans::{ENTRY, Layer};
use crate::write::{copy, get, put, swap};

/// Offset and width of fields of a section header (PE format, "Section Table").
const FIELDS: &[(usize, usize)] = &[
    (8, 4),  // VirtualSize
    (12, 4), // VirtualAddress
    (16, 4), // SizeOfRawData
    (20, 4), // PointerToRawData
    (24, 4), // PointerToRelocations
    (36, 4), // Characteristics
];
const NAME: usize = 8;
const SIZES: [usize; 2] = [8, 16];

/// Changes fields of entries, or whole entries.
pub(super) fn fields(bytes: &mut [u8], layer: &Layer, random: &mut Random) {
    let entry = any(layer, random);
    match random.below(8) {
        0 => number(bytes, entry + random.below(NAME), 1, random),
        1 => swap(bytes, run(entry), run(any(layer, random))),
        2 => copy(bytes, run(any(layer, random)), entry),
        // A field of another entry: sections that overlap.
        3 => {
            if let Some((offset, width)) = random.pick(FIELDS) {
                let other = get(bytes, any(layer, random) + offset, *width);
                put(bytes, entry + offset, *width, other);
            }
        }
        _ => {
            if let Some((offset, width)) = random.pick(FIELDS) {
                number(bytes, entry + offset, *width, random);
            }
        }
    }
}

/// Names that decide over scopes (UAPI.5), and some that do not.
const NAMES: [&[u8; NAME]; 12] = [
    b".linux\0\0",
    b".initrd\0",
    b".cmdline",
    b".ucode\0\0",
    b".profile",
    b".profile",
    b".osrel\0\0",
    b".uname\0\0",
    b".dtbauto",
    b".dtb\0\0\0\0",
    b".pcrsig\0",
    b".text\0\0\0",
];

/// Changes which sections stand in which scope, and how long they are.
pub(super) fn scopes(bytes: &mut [u8], layer: &Layer, random: &mut Random) {
    let entry = any(layer, random);
    let other = any(layer, random);
    match random.below(6) {
        0 | 1 => {
            let name = random.pick(&NAMES).copied().unwrap_or(NAMES[0]);
            put(bytes, entry, NAME, u64::from_le_bytes(*name));
        }
        2 => swap(bytes, entry..entry + NAME, other..other + NAME),
        3 => swap(bytes, run(entry), run(other)),
        4 => copy(bytes, run(other), entry),
        _ => {
            let field = random.pick(&SIZES).copied().unwrap_or(SIZES[0]);
            let size = get(bytes, entry + field, 4);
            let size = match random.below(4) {
                0 => 0,
                1 => size / 2,
                2 => size.wrapping_sub(1),
                _ => 1 + random.number() % 64,
            };
            put(bytes, entry + field, 4, size & 0xffff_ffff);
        }
    }
}

fn any(layer: &Layer, random: &mut Random) -> usize {
    layer.table.start + ENTRY * random.below(layer.table.len() / ENTRY)
}

fn run(entry: usize) -> std::ops::Range<usize> {
    entry..entry + ENTRY
}
