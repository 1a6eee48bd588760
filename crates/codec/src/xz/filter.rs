//! 5.3: filters before LZMA2. Each undoes its conversion over a whole block in place.

use super::{integer, unsupported};
use crate::reader::Reader;
use crate::{Error, Value};

/// 5.3.2 and 5.3.3: filter numbers, the branch filters with the alignment of their instructions.
const DELTA: u64 = 0x03;
const BRANCHES: [(u64, Branch, u32); 8] = [
    (0x04, Branch::X86, 1),
    (0x05, Branch::PowerPc, 4),
    (0x06, Branch::Ia64, 16),
    (0x07, Branch::Arm, 4),
    (0x08, Branch::ArmThumb, 2),
    (0x09, Branch::Sparc, 4),
    (0x0a, Branch::Arm64, 4),
    (0x0b, Branch::RiscV, 2),
];

/// A filter of a block's chain.
pub(super) enum Filter {
    /// Differences to the byte this far back.
    Delta(usize),
    /// Branch targets made absolute; the position of the block's first byte.
    Branch(Branch, u32),
}

/// Whose branch instructions.
#[derive(Clone, Copy)]
pub(super) enum Branch {
    X86,
    PowerPc,
    Ia64,
    Arm,
    ArmThumb,
    Sparc,
    Arm64,
    RiscV,
}

impl Filter {
    /// Reads a filter's number and properties.
    pub(super) fn read(fields: &mut Reader<'_>) -> Result<Self, Error> {
        let at = fields.offset();
        let id = integer(fields, "filter id")?;
        let len = integer(fields, "filter properties size")?;
        if id == DELTA && len == 1 {
            let distance = fields.u8("delta distance")?;
            return Ok(Filter::Delta(usize::from(distance).saturating_add(1)));
        }
        let Some((_, branch, alignment)) = BRANCHES.into_iter().find(|(number, ..)| *number == id)
        else {
            let (found, needed) = (
                Value::Number(id),
                Value::Text("3 (delta) or a branch filter, 4 to 0xb"),
            );
            return Err(unsupported("filter id", at, found, needed));
        };
        let start = match len {
            0 => 0,
            4 => fields.u32_le("branch filter start")?,
            _ => {
                let (found, needed) = (Value::Bytes(len), Value::Text("0 or 4 bytes"));
                return Err(unsupported("filter properties size", at, found, needed));
            }
        };
        if start & alignment.wrapping_sub(1) != 0 {
            let (found, needed) = (
                Value::Number(start.into()),
                Value::Text("a multiple of the instruction alignment"),
            );
            return Err(unsupported("branch filter start", at, found, needed));
        }
        Ok(Filter::Branch(branch, start))
    }

    /// Undoes the filter over a whole block.
    pub(super) fn decode(&self, bytes: &mut [u8]) {
        match *self {
            Filter::Delta(distance) => delta(bytes, distance),
            Filter::Branch(branch, start) => branch.decode(bytes, start),
        }
    }
}

fn delta(bytes: &mut [u8], distance: usize) {
    let mut last = [0_u8; 256];
    for chunk in bytes.chunks_mut(distance) {
        for (byte, last) in chunk.iter_mut().zip(&mut last) {
            *byte = byte.wrapping_add(*last);
            *last = *byte;
        }
    }
}

impl Branch {
    fn decode(self, bytes: &mut [u8], start: u32) {
        match self {
            Branch::X86 => x86(bytes, start),
            Branch::Ia64 => ia64(bytes, start),
            Branch::ArmThumb => arm_thumb(bytes, start),
            Branch::RiscV => risc_v(bytes, start),
            Branch::Arm => words(bytes, start, |word, position| {
                arm(u32::from_le_bytes(word), position).to_le_bytes()
            }),
            Branch::Arm64 => words(bytes, start, |word, position| {
                arm64(u32::from_le_bytes(word), position).to_le_bytes()
            }),
            Branch::PowerPc => words(bytes, start, |word, position| {
                powerpc(u32::from_be_bytes(word), position).to_be_bytes()
            }),
            Branch::Sparc => words(bytes, start, |word, position| {
                sparc(u32::from_be_bytes(word), position).to_be_bytes()
            }),
        }
    }
}

/// Rewrites each aligned word; an incomplete last one stays.
fn words(bytes: &mut [u8], start: u32, convert: impl Fn([u8; 4], u32) -> [u8; 4]) {
    let mut position = start;
    for word in bytes.as_chunks_mut::<4>().0 {
        *word = convert(*word, position);
        position = position.wrapping_add(4);
    }
}

/// BL, condition "always"; targets count from two instructions on.
fn arm(word: u32, position: u32) -> u32 {
    if word >> 24 != 0xeb {
        return word;
    }
    let target = (word << 2).wrapping_sub(position.wrapping_add(8)) >> 2;
    0xeb00_0000 | target & 0x00ff_ffff
}

/// BL, and ADRP within 512 MiB.
fn arm64(word: u32, position: u32) -> u32 {
    if word >> 26 == 0x25 {
        return 0x9400_0000 | word.wrapping_sub(position >> 2) & 0x03ff_ffff;
    }
    if word & 0x9f00_0000 != 0x9000_0000 {
        return word;
    }
    let page = word >> 29 & 3 | word >> 3 & 0x001f_fffc;
    if page.wrapping_add(0x0002_0000) & 0x001c_0000 != 0 {
        return word;
    }
    let page = page.wrapping_sub(position >> 12);
    let sign = 0_u32.wrapping_sub(page & 0x0002_0000) & 0x00e0_0000;
    word & 0x9000_001f | (page & 3) << 29 | (page & 0x0003_fffc) << 3 | sign
}

/// Branch with link, relative.
fn powerpc(word: u32, position: u32) -> u32 {
    if word & 0xfc00_0003 != 0x4800_0001 {
        return word;
    }
    0x4800_0001 | (word & 0x03ff_fffc).wrapping_sub(position) & 0x03ff_fffc
}

/// CALL with a target in reach.
fn sparc(word: u32, position: u32) -> u32 {
    if !matches!(word >> 22, 0x100 | 0x1ff) {
        return word;
    }
    let target = (word << 2).wrapping_sub(position) >> 2;
    0x4000_0000_u32.wrapping_sub(target & 0x0040_0000) | 0x4000_0000 | target & 0x003f_ffff
}

/// The BL pair; targets count from two instructions on.
fn arm_thumb(bytes: &mut [u8], start: u32) {
    let mut at = 0;
    while let Some([b0, b1, b2, b3]) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        if *b1 & 0xf8 == 0xf0 && *b3 & 0xf8 == 0xf8 {
            let high = u32::from(*b1 & 7) << 19 | u32::from(*b0) << 11;
            let target = (high | u32::from(*b3 & 7) << 8 | u32::from(*b2)) << 1;
            let position = start.wrapping_add(at as u32).wrapping_add(4);
            let target = target.wrapping_sub(position) >> 1;
            *b1 = 0xf0 | (target >> 19 & 7) as u8;
            *b0 = (target >> 11) as u8;
            *b3 = 0xf8 | (target >> 8 & 7) as u8;
            *b2 = target as u8;
            at = at.wrapping_add(2);
        }
        at = at.wrapping_add(2);
    }
}

/// CALL and JMP whose target's highest byte says it is one. Opcode bytes shortly before make that doubtful: `recent`
/// remembers which of the last three bytes were such.
#[expect(clippy::indexing_slicing, reason = "tables, by masked indexes")]
fn x86(bytes: &mut [u8], start: u32) {
    const DOUBTFUL: [bool; 8] = [false, false, false, true, false, true, true, true];
    const SHIFT: [u32; 8] = [0, 1, 2, 2, 3, 3, 3, 3];
    let extreme = |byte: u8| matches!(byte, 0 | 0xff);
    let mut recent = 0_usize;
    let mut last = None;
    let mut at = 0_usize;
    while let Some(&[opcode, b0, b1, b2, b3]) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let here = at;
        at = at.wrapping_add(1);
        if opcode & 0xfe != 0xe8 {
            continue;
        }
        let gap = last.map_or(usize::MAX, |last: usize| here.wrapping_sub(last));
        last = Some(here);
        recent = if gap > 3 {
            0
        } else {
            recent << gap.wrapping_sub(1) & 7
        };
        let shift = SHIFT[recent & 7];
        let operand = [b0, b1, b2, b3];
        let checked = operand
            .get(3_usize.wrapping_sub(shift as usize))
            .copied()
            .unwrap_or(0);
        if recent != 0 && (DOUBTFUL[recent & 7] || extreme(checked)) || !extreme(b3) {
            recent = recent << 1 | 1;
            continue;
        }
        let position = start.wrapping_add(here as u32).wrapping_add(5);
        let mut source = u32::from_le_bytes(operand);
        let target = loop {
            let target = source.wrapping_sub(position);
            let byte = (target >> 24_u32.wrapping_sub(shift.wrapping_mul(8))) as u8;
            if recent == 0 || !extreme(byte) {
                break target;
            }
            source = target ^ (1_u32 << 32_u32.wrapping_sub(shift.wrapping_mul(8))).wrapping_sub(1);
        };
        let sign = 0_u32.wrapping_sub(target & 0x0100_0000);
        let target = target & 0x01ff_ffff | sign;
        if let Some(operand) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *operand = target.to_le_bytes();
        }
        at = at.wrapping_add(4);
    }
}

/// IP-relative branches in bundles of three 41-bit slots behind a 5-bit template.
#[expect(clippy::indexing_slicing, reason = "tables, by masked indexes")]
fn ia64(bytes: &mut [u8], start: u32) {
    /// Which slots of a bundle may hold a branch, by template.
    const BRANCH_SLOTS: [u8; 32] = [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 6, 6, 0, 0, 7, 7, 4, 4, 0, 0, 4, 4,
        0, 0,
    ];
    let mut position = start;
    for bundle in bytes.as_chunks_mut::<16>().0 {
        let mut bits = u128::from_le_bytes(*bundle);
        let slots = BRANCH_SLOTS[(bits & 0x1f) as usize];
        for slot in 0..3_u32 {
            let shift = 5 + 41 * slot;
            let instruction = (bits >> shift) as u64;
            let branch = instruction >> 37 & 0xf == 5 && instruction >> 9 & 7 == 0;
            if slots >> slot & 1 == 0 || !branch {
                continue;
            }
            let target = (instruction >> 13 & 0xf_ffff | instruction >> 16 & 0x10_0000) as u32;
            let target = u64::from((target << 4).wrapping_sub(position) >> 4);
            let fields = (target & 0xf_ffff) << 13 | (target & 0x10_0000) << 16;
            let mask = 0x8f_ffff_u128 << 13 << shift;
            bits = bits & !mask | u128::from(fields) << shift;
        }
        *bundle = bits.to_le_bytes();
        position = position.wrapping_add(16);
    }
}

/// JAL, and AUIPC with the instruction that adds the low half.
fn risc_v(bytes: &mut [u8], start: u32) {
    let mut at = 0_usize;
    while let Some(pair) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<8>) {
        let position = start.wrapping_add(at as u32);
        let step = match pair[0] {
            0xef => risc_v_jal(pair, position),
            first if first & 0x7f == 0x17 => risc_v_auipc(pair, position),
            _ => 2,
        };
        at = at.wrapping_add(step);
    }
}

/// JAL to ra or t0; the filter stores the target with its highest bits first.
fn risc_v_jal(pair: &mut [u8; 8], position: u32) -> usize {
    let [_, b1, b2, b3, ..] = pair;
    if *b1 & 0x0d != 0 {
        return 2;
    }
    let stored = u32::from(*b1 & 0xf0) << 13 | u32::from(*b2) << 9 | u32::from(*b3) << 1;
    let target = stored.wrapping_sub(position);
    *b1 = *b1 & 0x0f | (target >> 8) as u8 & 0xf0;
    *b2 = (target >> 16) as u8 & 0x0f | (target >> 7) as u8 & 0x10 | (target << 4) as u8 & 0xe0;
    *b3 = (target >> 4) as u8 & 0x7f | (target >> 13) as u8 & 0x80;
    4
}

/// AUIPC: a pair as the encoder marked it (rd is x0 or x2), or one that only looked so and was swapped.
fn risc_v_auipc(pair: &mut [u8; 8], position: u32) -> usize {
    let [i0, i1, i2, i3, s0, s1, s2, s3] = *pair;
    let first = u32::from_le_bytes([i0, i1, i2, i3]);
    let (first, second) = if first & 0xe80 != 0 {
        let second = u32::from_le_bytes([s0, s1, s2, s3]);
        if (first << 8 ^ second.wrapping_sub(3)) & 0xf_8003 != 0 {
            return 6;
        }
        let address = (first & 0xffff_f000).wrapping_add(second >> 20);
        (0x17 | 2 << 7 | second << 12, address)
    } else {
        let base = first >> 27;
        if first.wrapping_sub(0x3117) << 18 >= base & 0x1d {
            return 4;
        }
        let address = u32::from_be_bytes([s0, s1, s2, s3]).wrapping_sub(position);
        let second = first >> 12 | address << 20;
        (
            0x17 | base << 7 | address.wrapping_add(0x800) & 0xffff_f000,
            second,
        )
    };
    let [i0, i1, i2, i3] = first.to_le_bytes();
    let [s0, s1, s2, s3] = second.to_le_bytes();
    *pair = [i0, i1, i2, i3, s0, s1, s2, s3];
    8
}
