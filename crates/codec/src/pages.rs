//! Large pages under large results, and under large files in memory.
//!
//! A result is touched for the first time while it is unpacked. Under pages of 4 KiB that costs a page fault for
//! each, which took 5 to 10 % of the time of a fast decoder; under large ones (Linux, Documentation/admin-guide/mm/
//! transhuge.rst) next to nothing. A file that is read into memory costs the same. Only whole large pages inside the
//! block are used, so it takes no more memory.
//!
//! UNSAFETY: `madvise` is unsafe since some kinds of advice throw contents away; this one changes only the size of
//! the pages that back them.
#![cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "madvise is a system call on raw addresses")
)]

/// Smaller blocks are left alone: they hardly hold a large page.
const WORTH: usize = 4 << 20;

/// The largest base page of any machine, which is aligned for all of them. Asking for this one's may take a system call
/// that a confined process cannot make.
const ALIGNMENT: usize = 64 << 10;

/// Kernels unpack to this many times their packed size, or to hardly less.
const USUAL_RATIO: u64 = 3;

/// Asks for large pages under the room of `bytes` for what `packed` bytes unpack to, before it is touched.
///
/// Where the size is not `known`, only what is surely used gets them: a large page that is used in part takes memory
/// for nothing.
pub(crate) fn advise_large(bytes: &mut Vec<u8>, packed: usize, known: Option<u64>) {
    advise_large_pages(
        bytes,
        known.unwrap_or((packed as u64).saturating_mul(USUAL_RATIO)),
    );
}

/// Asks for large pages under the first `used` bytes of the room of `bytes`, before they are touched. Whether there are
/// any is up to the system; no byte changes.
#[cfg(target_os = "linux")]
pub fn advise_large_pages(bytes: &mut Vec<u8>, used: u64) {
    let used = usize::try_from(used)
        .unwrap_or(usize::MAX)
        .min(bytes.capacity());
    let start = bytes.as_mut_ptr();
    let before = start.align_offset(ALIGNMENT);
    let Some(whole) = used
        .checked_sub(before)
        .map(|rest| rest / ALIGNMENT * ALIGNMENT)
    else {
        return;
    };
    if whole < WORTH {
        return;
    }
    // SAFETY: `before` is at most `used`, which is at most the capacity, so the sum stays within the vector's block.
    let first = unsafe { start.add(before) };
    // SAFETY: these are whole pages of one block that `bytes` owns and nobody else looks at meanwhile; the advice
    // keeps their contents.
    let advised =
        unsafe { rustix::mm::madvise(first.cast(), whole, rustix::mm::Advice::LinuxHugepage) };
    // Kernels without large pages refuse it; small ones do as well.
    let _ = advised;
}

/// Other systems choose by themselves.
#[cfg(not(target_os = "linux"))]
pub fn advise_large_pages(_bytes: &mut Vec<u8>, _used: u64) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_changes_no_byte_of_blocks_of_any_size() {
        for len in [0, 1, 4095, WORTH - 1, WORTH, 3 * WORTH + 17] {
            for known in [None, Some(0), Some(len as u64), Some(u64::MAX)] {
                let mut bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
                advise_large(&mut bytes, len / 2, known);
                assert!(bytes.iter().enumerate().all(|(n, &byte)| byte == n as u8));
            }
        }
    }
}
