//! The calls themselves.
//!
//! UNSAFETY: no crate wraps these two system calls; each wrapper here converts borrowed Rust
//! values to the kernel's arguments and back, and nothing else.
#![expect(
    unsafe_code,
    reason = "kexec_load and kexec_file_load have no safe wrapper anywhere"
)]

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::error::{Error, Result};

/// `KEXEC_FILE_UNLOAD`.
pub(crate) const FILE_UNLOAD: libc::c_ulong = 1;
/// `KEXEC_FILE_ON_CRASH`.
pub(crate) const FILE_ON_CRASH: libc::c_ulong = 2;
/// `KEXEC_FILE_NO_INITRAMFS`.
pub(crate) const FILE_NO_INITRAMFS: libc::c_ulong = 4;
/// `KEXEC_FILE_DEBUG`, since Linux 6.8.
pub(crate) const FILE_DEBUG: libc::c_ulong = 8;
/// `KEXEC_ON_CRASH`.
pub(crate) const ON_CRASH: libc::c_ulong = 1;
/// `KEXEC_ARCH_AARCH64`: the ELF machine in the high half.
pub(crate) const ARCH_AARCH64: libc::c_ulong = 183 << 16;

/// Which of the two system calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call {
    /// `kexec_file_load(2)`.
    File,
    /// `kexec_load(2)`.
    Segments,
}

/// `struct kexec_segment`: bytes of ours and the physical memory they go to.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawSegment {
    buf: *const libc::c_void,
    bufsz: libc::size_t,
    mem: *const libc::c_void,
    memsz: libc::size_t,
}

impl RawSegment {
    /// A segment of these bytes at `mem`, followed by zeros up to `memsz`.
    pub(crate) fn new(bytes: &[u8], mem: u64, memsz: u64) -> Self {
        Self {
            buf: bytes.as_ptr().cast(),
            bufsz: bytes.len(),
            mem: mem as *const libc::c_void,
            memsz: memsz as libc::size_t,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "kexec_file_load",
            Self::Segments => "kexec_load",
        })
    }
}

/// Whether the running kernel has the call at all. Nothing is loaded or unloaded.
///
/// The kernel counts every attempt of a capable caller against `kexec_load_limit_reboot` and
/// `kexec_load_limit_panic`, and under lockdown it logs them. So this asks from a thread that has
/// given up its capabilities, which is turned away before either.
#[must_use]
pub fn supported(call: Call) -> bool {
    let ask = move || {
        // Giving capabilities up is always allowed; they are those of this thread alone.
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, none).is_ok_and(|()| attempt(call))
    };
    let thread = thread::Builder::new().spawn(ask);
    thread.is_ok_and(|thread| thread.join().unwrap_or(false))
}

/// Calls with arguments that no kernel takes; whether it is there to refuse them.
fn attempt(call: Call) -> bool {
    // Flags no kernel knows, for those that look at them first.
    const NO_FLAGS: libc::c_ulong = 0xffff;
    let answer = match call {
        // SAFETY: takes numbers and a null string of length 0; the flags make it fail before
        // any of them is used.
        Call::File => unsafe {
            libc::syscall(
                libc::SYS_kexec_file_load,
                -1,
                -1,
                0_usize,
                0_usize,
                NO_FLAGS,
            )
        },
        // SAFETY: as above; there are no segments.
        Call::Segments => unsafe {
            libc::syscall(libc::SYS_kexec_load, 0_usize, 0_usize, 0_usize, NO_FLAGS)
        },
    };
    answer == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

/// `kexec_file_load(2)`.
pub(crate) fn kexec_file_load(
    kernel: Option<BorrowedFd<'_>>,
    initrd: Option<BorrowedFd<'_>>,
    cmdline: &CStr,
    flags: libc::c_ulong,
) -> Result<()> {
    let raw = |fd: Option<BorrowedFd<'_>>| fd.map_or(-1, |fd| fd.as_raw_fd());
    let cmdline = cmdline.to_bytes_with_nul();
    // SAFETY: the descriptors are borrowed for the call and `cmdline` is readable for its length;
    // the kernel copies from both and keeps neither.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            raw(kernel),
            raw(initrd),
            cmdline.len(),
            cmdline.as_ptr(),
            flags,
        )
    };
    check(Call::File, answer)
}

/// `kexec_load(2)`; without segments it unloads.
///
/// `bytes` are what the segments point into: borrowed here so that they outlive the call.
pub(crate) fn kexec_load(
    entry: u64,
    segments: &[RawSegment],
    bytes: &[&[u8]],
    flags: libc::c_ulong,
) -> Result<()> {
    debug_assert!(bytes.len() >= segments.len());
    // SAFETY: `segments` is an array of `struct kexec_segment` of the given length, whose buffers
    // point into `bytes`, borrowed for the call; the kernel copies from them.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_kexec_load,
            entry as usize,
            segments.len(),
            segments.as_ptr(),
            flags,
        )
    };
    check(Call::Segments, answer)
}

/// Starts the loaded kernel at once, without shutting anything down. Returns only on failure.
///
/// # Errors
/// [`Error::System`].
pub fn reboot() -> Result<()> {
    use rustix::system::{RebootCommand, reboot};
    reboot(RebootCommand::Kexec).map_err(Error::system("reboot(LINUX_REBOOT_CMD_KEXEC)"))
}

fn check(call: Call, answer: libc::c_long) -> Result<()> {
    if answer == 0 {
        return Ok(());
    }
    Err(Error::Call {
        call,
        source: io::Error::last_os_error(),
    })
}
