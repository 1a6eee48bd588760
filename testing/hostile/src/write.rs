//! Little-endian numbers in a byte string, for mutations: what lies outside is left alone.

use std::ops::Range;

/// The number of `width` bytes at `at`; 0 where it does not lie inside.
pub(crate) fn get(bytes: &[u8], at: usize, width: usize) -> u64 {
    let field = bytes.get(at..at.saturating_add(width)).unwrap_or(&[]);
    field
        .iter()
        .rev()
        .fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// Puts a number there.
pub(crate) fn put(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    if let Some(field) = bytes.get_mut(at..at.saturating_add(width)) {
        field.copy_from_slice(&value.to_le_bytes()[..width]);
    }
}

/// Exchanges two runs of the same length that do not overlap.
pub(crate) fn swap(bytes: &mut [u8], a: Range<usize>, b: Range<usize>) {
    let (Some(first), Some(second)) = (
        bytes.get(a.clone()).map(<[u8]>::to_vec),
        bytes.get(b.clone()).map(<[u8]>::to_vec),
    ) else {
        return;
    };
    if first.len() == second.len() {
        bytes[a].copy_from_slice(&second);
        bytes[b].copy_from_slice(&first);
    }
}

/// Copies one run over another of the same length.
pub(crate) fn copy(bytes: &mut [u8], from: Range<usize>, to: usize) {
    let Some(run) = bytes.get(from).map(<[u8]>::to_vec) else {
        return;
    };
    if let Some(place) = bytes.get_mut(to..to.saturating_add(run.len())) {
        place.copy_from_slice(&run);
    }
}
