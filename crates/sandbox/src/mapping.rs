//! A file read once into sealed memory.
#![expect(
    unsafe_code,
    reason = "mapping a descriptor into memory is a raw system call"
)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Bytes that nobody can change any more: a private, read-only mapping of a sealed memfd.
pub(crate) struct Sealed {
    start: NonNull<u8>,
    len: NonZeroUsize,
}

/// A memfd that is still being filled.
pub(crate) struct Filling {
    file: File,
    len: usize,
}

// SAFETY: the mapping is read-only for everybody and owned by this value alone.
unsafe impl Send for Sealed {}
// SAFETY: as above; shared reads of memory that never changes race with nothing.
unsafe impl Sync for Sealed {}

impl Filling {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd: OwnedFd = memfd_create(c"kpeel", flags)?;
        Ok(Self {
            file: File::from(fd),
            len: 0,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.len = self.len.saturating_add(bytes.len());
        Ok(())
    }

    /// Seals and maps what was written; `None` for nothing, which cannot be mapped.
    pub(crate) fn seal(self) -> io::Result<Option<Sealed>> {
        let Some(len) = NonZeroUsize::new(self.len) else {
            return Ok(None);
        };
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&self.file, seals)?;
        // SAFETY: a fresh mapping at an address the system chooses disturbs no other memory. The
        // seals taken above hold: the file keeps `len` bytes and nobody can write to it, so the
        // memory never changes and never raises SIGBUS.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                len.get(),
                ProtFlags::READ,
                MapFlags::PRIVATE,
                self.file.as_fd(),
                0,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Some(Sealed { start, len }))
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

/// Reads up to `chunk.len()` bytes, fewer only at the end.
pub(crate) fn read_chunk(from: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
