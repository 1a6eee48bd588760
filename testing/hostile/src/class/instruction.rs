//! Mutations of BPF programs: whole instructions, and their fields.

use std::ops::Range;

use super::number;
use crate::random::Random;
use crate::spans::SLOT;
use crate::write::{copy, get, put, swap};

/// One opcode of each kind (RFC 9669, section 4 and 5): what mutations turn others into.
const OPCODES: &[u8] = &[
    0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x57, 0x5f, 0x67, 0x6f, 0x77, 0x7f,
    0x87, 0x97, 0x9f, 0xa7, 0xaf, 0xb7, 0xbf, 0xc7, 0xcf, 0xd7, 0x04, 0x0c, 0x14, 0x1c, 0x24, 0x34,
    0x3c, 0x54, 0x64, 0x74, 0x84, 0x94, 0xb4, 0xbc, 0xc4, 0xd4, 0xdc, 0x05, 0x06, 0x15, 0x1d, 0x25,
    0x2d, 0x35, 0x45, 0x55, 0x5d, 0x65, 0x75, 0xa5, 0xb5, 0xc5, 0xd5, 0x16, 0x26, 0x56, 0x85, 0x95,
    0x18, 0x61, 0x69, 0x71, 0x79, 0x81, 0x89, 0x91, 0x62, 0x6a, 0x72, 0x7a, 0x63, 0x6b, 0x73, 0x7b,
    0xc3, 0xdb,
];

/// Changes one instruction of the program at `program`.
pub(super) fn change(bytes: &mut [u8], program: &Range<usize>, random: &mut Random) {
    let slots = program.len() / SLOT;
    let slot = program.start + SLOT * random.below(slots);
    let other = program.start + SLOT * random.below(slots);
    match random.below(9) {
        0 => {
            let opcode = random.pick(OPCODES).copied().unwrap_or(0x95);
            put(bytes, slot, 1, opcode.into());
        }
        1 => put(bytes, slot + 1, 1, random.number() & 0xff),
        // A jump or an access some way off.
        2 => {
            let near = get(bytes, slot + 2, 2).wrapping_add(random.number() % 9);
            put(bytes, slot + 2, 2, near.wrapping_sub(4) & 0xffff);
        }
        3 => number(bytes, slot + 2, 2, random),
        4 => number(bytes, slot + 4, 4, random),
        5 => swap(bytes, slot..slot + SLOT, other..other + SLOT),
        6 => copy(bytes, other..other + SLOT, slot),
        // `r0 = r0`: an instruction, often a check, is gone.
        7 => put(bytes, slot, 8, 0xbf),
        _ => number(bytes, slot + random.below(SLOT), 1, random),
    }
}
