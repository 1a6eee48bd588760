//! Loading through `kexec_file_load(2)`.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use crate::error::Result;
use crate::syscall::{FILE_DEBUG, FILE_NO_INITRAMFS, FILE_ON_CRASH, FILE_UNLOAD, kexec_file_load};

/// What `kexec_file_load(2)` takes.
#[derive(Clone, Copy, Debug)]
pub struct FileLoad<'a> {
    /// The kernel: the original file when nothing was unpacked, so that IMA sees its signature.
    pub kernel: BorrowedFd<'a>,
    /// The initrd.
    pub initrd: Option<BorrowedFd<'a>>,
    /// The command line.
    pub cmdline: &'a CStr,
    /// Load as the crash (kdump) kernel.
    pub crash: bool,
    /// Let the kernel tell in its log what it loads (Linux 6.8 and later).
    pub debug: bool,
}

/// Loads; an earlier loaded kernel of the same kind is replaced.
///
/// # Errors
/// [`crate::Error::Call`].
pub fn file_load(load: &FileLoad<'_>) -> Result<()> {
    let mut flags = 0;
    if load.crash {
        flags |= FILE_ON_CRASH;
    }
    if load.debug {
        flags |= FILE_DEBUG;
    }
    if load.initrd.is_none() {
        flags |= FILE_NO_INITRAMFS;
    }
    kexec_file_load(Some(load.kernel), load.initrd, load.cmdline, flags)
}

/// Unloads the loaded kernel, or the crash kernel.
///
/// # Errors
/// [`crate::Error::Call`].
pub fn file_unload(crash: bool) -> Result<()> {
    let flags = FILE_UNLOAD | if crash { FILE_ON_CRASH } else { 0 };
    kexec_file_load(None, None, c"", flags)
}
