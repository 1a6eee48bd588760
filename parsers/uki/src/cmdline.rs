//! Command lines: the caller's profile selector and the ends of the image's own text.

use kpeel_formats::uki;
use kpeel_parser_kit::{Bytes, Name, unsupported};

/// The profile that `@N ` at the start of the caller's command line selects; 0 without one.
#[inline(always)]
pub fn selected(line: Bytes) -> u64 {
    let mut head = [0_u8; uki::SELECTOR_MAX];
    if line.is_empty() || line.read_head(&mut head).is_none() {
        return 0;
    }
    uki::Selector::parse(&head).map_or(0, |selector| selector.profile)
}

/// `.cmdline` up to its first NUL, without the blanks at its end.
#[inline(always)]
pub fn trimmed(text: Bytes, zero: u64) -> Option<Bytes> {
    let len = length(text.address(), text.len(), zero);
    if len > uki::CMDLINE_MAX {
        return unsupported(Name::new(c".cmdline"), text.len(), uki::CMDLINE_MAX);
    }
    text.sub(0, len)
}

/// Bytes of the text that count; more than `CMDLINE_MAX` if there is no end within that.
///
/// Eight bytes at a time; where the text ends, zeros follow, and zero is an end like any other.
#[inline(always)]
fn length(at: u64, len: u64, zero: u64) -> u64 {
    let mut end = zero;
    for index in (0..uki::CMDLINE_MAX).step_by(8) {
        if index >= len {
            return end;
        }
        let mut word = 0_u64;
        if Bytes::new(at + index, len - index)
            .read_head(&mut word)
            .is_none()
        {
            return end;
        }
        for shift in 0..8 {
            let byte = word as u8;
            word >>= 8;
            if byte == 0 {
                return end;
            }
            if !uki::is_blank(byte) {
                end = index + shift + 1 + zero;
            }
        }
    }
    if len > uki::CMDLINE_MAX { len } else { end }
}
