//! `kexec_file_load(2)` and nothing else.
//!
//! UNSAFETY: The call has no other interface.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// Flags of the call (`include/uapi/linux/kexec.h`).
pub(crate) const UNLOAD: libc::c_ulong = 1;
pub(crate) const NO_INITRAMFS: libc::c_ulong = 4;

/// Has the kernel load an image.
pub(crate) fn load(
    image: &File,
    initrd: Option<&File>,
    line: Option<&CStr>,
    flags: libc::c_ulong,
) -> io::Result<()> {
    let line = line.map(CStr::to_bytes_with_nul);
    let flags = match initrd {
        Some(_) => flags,
        None => flags | NO_INITRAMFS,
    };
    // SAFETY: The descriptors are open and the command line's length is that of its bytes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            image.as_raw_fd(),
            initrd.map_or(-1, |file| file.as_raw_fd()),
            line.map_or(0, <[u8]>::len),
            line.map_or(std::ptr::null(), <[u8]>::as_ptr),
            flags,
        )
    };
    done(result)
}

/// Has it let go of what it loaded.
pub(crate) fn unload() -> io::Result<()> {
    // SAFETY: With this flag the kernel looks at no other argument.
    done(unsafe { libc::syscall(libc::SYS_kexec_file_load, -1, -1, 0, 0, UNLOAD) })
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}
