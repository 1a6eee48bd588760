//! bpf(2).
#![expect(unsafe_code, reason = "the standard library has no bpf(2)")]

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use crate::attr::Attr;

/// Issues a command; the result is its descriptor or 0.
///
/// Sizes in `attr` must be those of the memory whose addresses stand beside them.
pub(crate) fn bpf(command: u32, attr: &mut Attr<'_>) -> io::Result<i32> {
    // SAFETY: the pointer and the size describe `attr`'s own bytes, which the kernel may write; by
    // its invariant the addresses inside are of memory that is borrowed meanwhile.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), attr.size()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(result).expect("descriptors fit"))
}

/// Issues a command that opens a descriptor.
pub(crate) fn open(command: u32, attr: &mut Attr<'_>) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: the kernel has just opened it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes over a descriptor.
///
/// # Safety
/// It is open, and nothing else in this process owns it.
pub(crate) unsafe fn own(fd: i32) -> OwnedFd {
    // SAFETY: the caller's promise.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
