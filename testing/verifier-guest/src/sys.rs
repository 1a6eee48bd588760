//! bpf(2).
#![expect(unsafe_code, reason = "the standard library has no bpf(2)")]

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use crate::attr::Attr;

/// Issues a command; the result is its descriptor or 0.
///
/// Addresses in `attr` must point to what the command expects: the callers take them from slices
/// that live across the call.
pub(crate) fn bpf(command: u32, attr: &mut Attr) -> io::Result<i32> {
    // SAFETY: the pointer and the size describe `attr`'s own bytes, which the kernel may write;
    // the addresses inside are of live slices by the rule above.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), attr.size()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(result).expect("descriptors fit"))
}

/// Issues a command that opens a descriptor.
pub(crate) fn open(command: u32, attr: &mut Attr) -> io::Result<OwnedFd> {
    bpf(command, attr).map(own)
}

/// Takes over a descriptor that was opened for this process and that nobody else will close: it
/// comes from the kernel, or from a loader program that has ended.
pub(crate) fn own(fd: i32) -> OwnedFd {
    // SAFETY: `fd` is open and has no other owner, by the rule above.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
