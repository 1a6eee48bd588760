//! The sequences of a block (RFC 8878, 3.1.1.3.2): how many literals, then how long a match how far back.

use super::bits::Backward;
use super::fault::{Fault, Result};
use super::fse::Table;

/// Literal lengths: first value and extra bits of each code (3.1.1.3.2.1.1).
const LITERAL_LENGTHS: [(u32, u8); 36] = codes(
    0,
    [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10,
        11, 12, 13, 14, 15, 16,
    ],
);
/// Match lengths.
const MATCH_LENGTHS: [(u32, u8); 53] = codes(
    3,
    [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    ],
);
/// 3.1.1.3.2.2: default distributions.
const LITERAL_LENGTH_COUNTS: [i16; 36] = [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
    -1, -1, -1, -1,
];
const MATCH_LENGTH_COUNTS: [i16; 53] = [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
];
const OFFSET_COUNTS: [i16; 29] = [
    1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
];
/// libzstd's bound for offset codes.
const OFFSET_CODES: usize = 32;

/// Each code's first value follows the last of the code before.
const fn codes<const N: usize>(first: u32, extra: [u8; N]) -> [(u32, u8); N] {
    let mut codes = [(0, 0); N];
    let mut value = first;
    let mut code = 0;
    #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
    while code < N {
        codes[code] = (value, extra[code]);
        value += 1 << extra[code];
        code += 1;
    }
    codes
}

/// One sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) literals: usize,
    pub(super) length: usize,
    pub(super) offset: usize,
}

/// What carries over from block to block.
pub(super) struct Decoder {
    literal_lengths: Option<Table>,
    offsets: Option<Table>,
    match_lengths: Option<Table>,
    /// The last three offsets, the latest first.
    recent: [u64; 3],
}

impl Decoder {
    pub(super) fn new() -> Self {
        Decoder {
            literal_lengths: None,
            offsets: None,
            match_lengths: None,
            recent: [1, 4, 8],
        }
    }

    /// Decodes a sequences section and hands each sequence to `execute`.
    pub(super) fn decode(
        &mut self,
        bytes: &[u8],
        mut execute: impl FnMut(Sequence) -> Result<()>,
    ) -> Result<()> {
        let (count, bytes) = count(bytes)?;
        if count == 0 {
            return if bytes.is_empty() {
                Ok(())
            } else {
                Err(Fault("sequences section size"))
            };
        }
        let stream = self.read_tables(bytes)?;
        const FAULT: Fault = Fault("sequences bit stream");
        let (Some(literal_lengths), Some(offsets), Some(match_lengths)) =
            (&self.literal_lengths, &self.offsets, &self.match_lengths)
        else {
            return Err(FAULT);
        };
        let mut bits = Backward::new(stream).ok_or(FAULT)?;
        let mut literal = literal_lengths.start(&mut bits);
        let mut offset = offsets.start(&mut bits);
        let mut length = match_lengths.start(&mut bits);
        for left in (0..count).rev() {
            bits.refill();
            let code = u32::from(offset.symbol);
            let value = (1_u64 << (code & 63)).wrapping_add(bits.read(code));
            bits.refill();
            let matched = extra(&MATCH_LENGTHS, length.symbol, &mut bits);
            let literals = extra(&LITERAL_LENGTHS, literal.symbol, &mut bits);
            if left > 0 {
                bits.refill();
                literal = literal_lengths.next(literal, &mut bits);
                length = match_lengths.next(length, &mut bits);
                offset = offsets.next(offset, &mut bits);
            }
            if bits.overrun() {
                return Err(FAULT);
            }
            let offset = resolve(&mut self.recent, value, literals == 0)?;
            execute(Sequence {
                literals,
                length: matched,
                offset,
            })?;
        }
        if bits.finished() { Ok(()) } else { Err(FAULT) }
    }

    /// 3.1.1.3.2.1: which tables are used and the descriptions of those that are new; gives the bit stream.
    fn read_tables<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        const FAULT: Fault = Fault("sequences compression modes");
        let (&modes, bytes) = bytes.split_first().ok_or(FAULT)?;
        if modes & 3 != 0 {
            return Err(FAULT);
        }
        let (symbols, defaults) = (LITERAL_LENGTHS.len(), (&LITERAL_LENGTH_COUNTS[..], 6));
        let bytes = table(
            &mut self.literal_lengths,
            modes >> 6,
            bytes,
            (9, symbols),
            defaults,
        )?;
        let defaults = (&OFFSET_COUNTS[..], 5);
        let bytes = table(
            &mut self.offsets,
            modes >> 4,
            bytes,
            (8, OFFSET_CODES),
            defaults,
        )?;
        let (symbols, defaults) = (MATCH_LENGTHS.len(), (&MATCH_LENGTH_COUNTS[..], 6));
        table(
            &mut self.match_lengths,
            modes >> 2,
            bytes,
            (9, symbols),
            defaults,
        )
    }
}

/// Number_of_Sequences and what follows it.
fn count(bytes: &[u8]) -> Result<(u32, &[u8])> {
    let (count, len) = match *bytes {
        [first @ 0..=127, ..] => (first.into(), 1),
        [255, low, high, ..] => (
            u32::from(u16::from_le_bytes([low, high])).wrapping_add(0x7f00),
            3,
        ),
        [first @ 128..=254, second, ..] => (u32::from(first & 0x7f) << 8 | u32::from(second), 2),
        _ => return Err(Fault("number of sequences")),
    };
    Ok((count, bytes.get(len..).unwrap_or_default()))
}

/// Puts the table that the two low bits of `mode` ask for into `slot`; gives what follows its description.
fn table<'a>(
    slot: &mut Option<Table>,
    mode: u8,
    bytes: &'a [u8],
    (max_log, symbols): (u32, usize),
    (counts, log): (&[i16], u32),
) -> Result<&'a [u8]> {
    match mode & 3 {
        0 => {
            *slot = Some(Table::new(counts, log)?);
            Ok(bytes)
        }
        1 => {
            let (&symbol, rest) = bytes.split_first().ok_or(Fault("repeated sequence code"))?;
            if usize::from(symbol) >= symbols {
                return Err(Fault("repeated sequence code"));
            }
            *slot = Some(Table::single(symbol));
            Ok(rest)
        }
        2 => {
            let (table, rest) = Table::read(bytes, max_log, symbols)?;
            *slot = Some(table);
            Ok(rest)
        }
        _ if slot.is_some() => Ok(bytes),
        _ => Err(Fault("repeated table")),
    }
}

/// A length from its code and extra bits.
#[inline(always)]
fn extra(codes: &[(u32, u8)], code: u8, bits: &mut Backward<'_>) -> usize {
    let (value, extra) = codes.get(usize::from(code)).copied().unwrap_or_default();
    (value as usize).wrapping_add(bits.read(extra.into()) as usize)
}

/// 3.1.1.5: values up to 3 name recent offsets, one later when there are no literals.
#[inline(always)]
fn resolve(recent: &mut [u64; 3], value: u64, no_literals: bool) -> Result<usize> {
    let [first, second, third] = *recent;
    let choice = if value > 3 {
        value
    } else {
        value.wrapping_sub(u64::from(!no_literals))
    };
    let offset = match choice {
        0 => first,
        1 => second,
        2 => third,
        3 if value == 3 => first.wrapping_sub(1),
        _ => value.wrapping_sub(3),
    };
    if offset == 0 {
        return Err(Fault("match offset"));
    }
    *recent = match choice {
        0 => [first, second, third],
        1 => [offset, first, third],
        _ => [offset, first, second],
    };
    usize::try_from(offset).map_err(|_| Fault("match offset"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_values_of_the_rfc() {
        assert_eq!(LITERAL_LENGTHS[16], (16, 1));
        assert_eq!(LITERAL_LENGTHS[25], (64, 6));
        assert_eq!(LITERAL_LENGTHS[35], (65536, 16));
        assert_eq!(MATCH_LENGTHS[31], (34, 0));
        assert_eq!(MATCH_LENGTHS[42], (99, 5));
        assert_eq!(MATCH_LENGTHS[43], (131, 7));
        assert_eq!(MATCH_LENGTHS[52], (65539, 16));
    }

    #[test]
    fn recent_offsets_follow_the_rfc() {
        let mut recent = [10, 20, 30];
        assert_eq!(resolve(&mut recent, 1, false), Ok(10));
        assert_eq!(
            (resolve(&mut recent, 2, false), recent),
            (Ok(20), [20, 10, 30])
        );
        assert_eq!(
            (resolve(&mut recent, 2, true), recent),
            (Ok(30), [30, 20, 10])
        );
        assert_eq!(
            (resolve(&mut recent, 3, true), recent),
            (Ok(29), [29, 30, 20])
        );
        assert_eq!(
            (resolve(&mut recent, 8, true), recent),
            (Ok(5), [5, 29, 30])
        );
        assert_eq!(resolve(&mut [1, 2, 3], 3, true), Err(Fault("match offset")));
    }
}
