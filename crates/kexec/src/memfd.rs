//! Results as sealed memfds: what was checked cannot change before the kernel reads it.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::error::{Error, Result};

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
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).map_err(Error::system("sealing a memfd"))?;
    Ok(file.into())
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
