//! Command lines: the caller's profile selector and where the image's own text ends.

use kpeel_formats::uki;
use kpeel_parser_kit::{Bytes, Name, unsupported};

/// The profile that `@N ` at the start of the caller's command line selects; 0 without one.
#[inline(always)]
pub fn selected(line: Bytes) -> Option<u64> {
    let mut head = [0_u8; uki::SELECTOR_MAX];
    line.read_head(&mut head)?;
    let selector = uki::Selector::parse(&head);
    Some(selector.map_or(0, |selector| selector.profile))
}

/// `.cmdline` up to its first NUL. Blanks at its end are the host's to cut.
#[inline(always)]
pub fn terminated(text: Bytes, zero: u64) -> Option<Bytes> {
    let len = length(text, zero)?;
    if len > uki::CMDLINE_MAX {
        return unsupported(Name::new(c".cmdline"), len, uki::CMDLINE_MAX);
    }
    Some(Bytes::new(text.address(), len))
}

/// Words read at once.
const WORDS: usize = 8;
/// Bytes of them.
const BLOCK: u64 = 8 * WORDS as u64;

/// Bytes before the first NUL; the text's own length if that is neither in the first `CMDLINE_MAX`
/// bytes nor in the block after them.
///
/// A block at a time: each turn has branches that Linux's verifier must come back to.
#[inline(always)]
fn length(text: Bytes, zero: u64) -> Option<u64> {
    // A length that comparing `text.len()` in the loop teaches the verifier nothing about.
    let len = zero.wrapping_add(text.len());
    let mut end = len & !(BLOCK - 1);
    let mut block = [0; WORDS];
    let mut index = 0;
    loop {
        if index + BLOCK > text.len() {
            // The block's other bytes are 0, and zero is an end like any other.
            block = [0; WORDS];
            Bytes::new(text.address() + end, len & (BLOCK - 1)).read_head(&mut block)?;
            break;
        }
        if index > uki::CMDLINE_MAX {
            return Some(len);
        }
        Bytes::new(text.address() + index, BLOCK).read_head(&mut block)?;
        if any_zero_byte(block) {
            end = zero.wrapping_add(index);
            break;
        }
        index += BLOCK;
    }
    let mut word = 0;
    for next in &block {
        word = *next;
        if zero_bytes(word) != 0 {
            break;
        }
        end += 8;
    }
    for _ in 0..8 {
        if word as u8 == 0 {
            break;
        }
        word >>= 8;
        end += 1;
    }
    Some(end)
}

/// Not 0 if one of the eight bytes is: only such a byte borrows from its own top bit.
#[inline(always)]
const fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    word.wrapping_sub(LOW) & !word & LOW << 7
}

/// Whether a byte of the block is 0, without a branch before all are looked at.
#[inline(always)]
const fn any_zero_byte([a, b, c, d, e, f, g, h]: [u64; WORDS]) -> bool {
    let first = zero_bytes(a) | zero_bytes(b) | zero_bytes(c) | zero_bytes(d);
    let last = zero_bytes(e) | zero_bytes(f) | zero_bytes(g) | zero_bytes(h);
    first | last != 0
}
