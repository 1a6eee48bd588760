//! Sealed files in memory.
#![expect(
    unsafe_code,
    reason = "mapping a descriptor into memory is a raw system call"
)]

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Bytes that nobody can change any more: a private, read-only mapping of a sealed memfd.
pub(crate) struct Sealed {
    start: NonNull<u8>,
    len: NonZeroUsize,
}

// SAFETY: the mapping is read-only for everybody and owned by this value alone.
unsafe impl Send for Sealed {}
// SAFETY: as above; shared reads of memory that never changes race with nothing.
unsafe impl Sync for Sealed {}

impl Sealed {
    /// Maps a memfd that somebody else has filled and sealed; `None` for an empty one.
    pub(crate) fn map(file: &File) -> io::Result<Option<Self>> {
        let needed = SealFlags::WRITE | SealFlags::SHRINK;
        if !fcntl_get_seals(file)?.contains(needed) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let len = usize::try_from(fstat(file)?.st_size).unwrap_or(0);
        let Some(len) = NonZeroUsize::new(len) else {
            return Ok(None);
        };
        // SAFETY: a fresh mapping at an address the system chooses disturbs no other memory. The
        // seals checked above cannot be taken off again: the file keeps `len` bytes and nobody
        // can write to it, so the memory never changes and never raises SIGBUS.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                len.get(),
                ProtFlags::READ,
                MapFlags::PRIVATE,
                file.as_fd(),
                0,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Some(Self { start, len }))
    }
}

impl AsRef<[u8]> for Sealed {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `start` is a readable mapping of `len` bytes that stays until drop and that
        // nobody can change.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len.get()) }
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone and every borrow of it has ended.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len.get()) };
        debug_assert!(unmapped.is_ok());
    }
}
