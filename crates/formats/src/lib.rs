//! Layouts and rules of the two boot formats this project opens: EFI zboot and Unified Kernel
//! Images.
//!
//! The BPF programs in `parsers/` share the constants and tables; writers and `kpeel inspect` use
//! the same rules as plain functions over bytes and section lists. Nothing here reads PE headers:
//! that is `kpeel-envelope`'s work alone.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod uki;
pub mod zboot;

/// `bytes` (at most eight) as the little-endian word they are in a NUL-padded field.
///
/// Both formats hold names in NUL-padded fields, and comparing words is the one comparison that
/// costs a BPF program a single instruction.
#[must_use]
pub const fn word(bytes: &[u8]) -> u64 {
    let mut value = 0;
    let mut rest = bytes;
    let mut shift = 0;
    while let Some((byte, tail)) = rest.split_first() {
        if shift < u64::BITS {
            value |= (*byte as u64) << shift;
            shift += 8;
        }
        rest = tail;
    }
    value
}
