//! Results as sealed memfds: what was checked cannot change before the kernel reads it.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// What makes a memfd unchangeable.
const SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// How often sealing is tried.
const SEAL_ATTEMPTS: u32 = 20;

/// A memfd named `name` that holds `bytes` and can be neither written, grown nor shrunk, its
/// position at the start.
///
/// # Errors
/// [`Error::System`].
pub fn sealed(name: &str, bytes: &[u8]) -> Result<OwnedFd> {
    let io_error = |source| Error::System {
        what: "writing a memfd",
        source,
    };
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = memfd_create(name, flags).map_err(Error::system("memfd_create"))?;
    let mut file = File::from(fd);
    file.write_all(bytes).map_err(io_error)?;
    file.rewind().map_err(io_error)?;
    seal(&file).map_err(Error::system("sealing a memfd"))?;
    Ok(file.into())
}

/// Seals a memfd against writing, growing, shrinking and other seals.
///
/// The kernel says `EBUSY` while somebody else refers to one of the pages, as reclaim and compaction do for a moment
/// where memory is short. It waits 150 ms for them by itself (Linux, mm/memfd.c, `memfd_wait_for_pins`), so asking
/// again is all there is to do.
///
/// # Errors
/// What the system says, `EBUSY` only after many attempts.
pub fn seal(file: impl AsFd) -> rustix::io::Result<()> {
    for _ in 1..SEAL_ATTEMPTS {
        match fcntl_add_seals(&file, SEALS) {
            Err(Errno::BUSY) => {}
            done => return done,
        }
    }
    fcntl_add_seals(&file, SEALS)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn sealed_memfd_holds_the_bytes_and_refuses_writes() {
        let mut file = File::from(sealed("test", b"kernel").unwrap());
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"kernel");
        assert!(file.write(b"x").is_err());
        assert!(file.set_len(1).is_err());
    }
}
