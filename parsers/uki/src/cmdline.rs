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

/// Bytes before the first NUL; the text's own length if there is none in the first `CMDLINE_MAX`.
///
/// Eight bytes at a time: Linux's verifier follows no more than 8192 undecided branches in a row.
#[inline(always)]
fn length(text: Bytes, zero: u64) -> Option<u64> {
    // A length that comparing `text.len()` in the loop teaches the verifier nothing about.
    let len = zero.wrapping_add(text.len());
    let mut end = len & !7;
    let mut word: u64;
    let mut index = 0;
    loop {
        if index + 8 > text.len() {
            // The word's other bytes are 0, and zero is an end like any other.
            word = 0;
            Bytes::new(text.address() + end, len & 7).read_head(&mut word)?;
            break;
        }
        if index == uki::CMDLINE_MAX {
            return Some(len);
        }
        word = Bytes::new(text.address() + index, 8).read(0)?;
        if has_zero_byte(word) {
            end = zero.wrapping_add(index);
            break;
        }
        index += 8;
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

/// Whether one of the eight bytes is zero: only such a byte borrows from its own top bit.
#[inline(always)]
fn has_zero_byte(word: u64) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    word.wrapping_sub(LOW) & !word & LOW << 7 != 0
}
