//! Which open files a child gets.
//!
//! UNSAFETY: no crate of ours has a safe wrapper for close_range(2).
#![expect(unsafe_code, reason = "close_range is a raw system call")]

/// First descriptor that is no standard stream.
const FIRST: libc::c_uint = 3;

/// Keeps every file that is open now, but the standard streams, from children started later.
///
/// Whoever started this process may have left files open; a confined child that is taken over
/// could write to them. Kernels before Linux 5.11 cannot do it: then children get what they always
/// got.
pub fn inherit_no_files() {
    // SAFETY: with this flag the call takes numbers and only marks descriptors close-on-exec; it
    // closes none, so every owner keeps what it owns.
    let _ = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
}
