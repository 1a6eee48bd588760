//! What can go wrong between a result and a loaded kernel.

use std::io;
use std::path::PathBuf;

use crate::syscall::Call;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of loading.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system call itself failed; [`crate::explain`] tells what its errno means here.
    #[error("{call} failed: {source}")]
    Call {
        /// Which call.
        call: Call,
        /// Its errno.
        source: io::Error,
    },
    /// A file of the system could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something of the system, not of a file, failed.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// What is to be loaded does not read as it must.
    #[error("{field}: found {found}, needed {needed}")]
    Given {
        /// Which part of it.
        part: Part,
        /// The field.
        field: &'static str,
        /// What stood there.
        found: String,
        /// What had to stand there.
        needed: String,
    },
    /// Something of the running system does not read as it must.
    #[error("{field}: found {found}, needed {needed}")]
    Malformed {
        /// The field.
        field: &'static str,
        /// What stood there.
        found: String,
        /// What had to stand there.
        needed: String,
    },
    /// Memory for one part is nowhere to be had.
    #[error(
        "no room for the {part}: needed {needed:#x} bytes in one piece, largest free {largest:#x}"
    )]
    NoRoom {
        /// Which part.
        part: &'static str,
        /// Bytes needed.
        needed: u64,
        /// Largest free piece that fits its alignment and window.
        largest: u64,
    },
    /// `/proc/iomem` shows zeros to those without `CAP_SYS_ADMIN`.
    #[error("/proc/iomem hides its addresses: reading them needs CAP_SYS_ADMIN")]
    IomemHidden,
    /// A crash load without memory reserved for it.
    #[error(
        "no memory is reserved for a crash kernel: boot with crashkernel=SIZE on the command line"
    )]
    NoCrashReservation,
    /// The call cannot do what was asked.
    #[error("{call} cannot take {what}: {instead}")]
    Unsupported {
        /// Which call.
        call: Call,
        /// What was asked.
        what: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
}

/// What is given to be loaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The kernel.
    Kernel,
    /// A device tree that is not the running system's.
    Tree,
}

impl Error {
    /// The same error, of something that is to be loaded.
    pub(crate) fn given(self, part: Part) -> Self {
        match self {
            Self::Malformed {
                field,
                found,
                needed,
            } => Self::Given {
                part,
                field,
                found,
                needed,
            },
            other => other,
        }
    }

    /// A file of the system that could not be read.
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    /// Something of the system that failed.
    pub(crate) fn system(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |source| Self::System {
            what,
            source: source.into(),
        }
    }

    /// A field that does not read as it must.
    pub(crate) fn malformed(
        field: &'static str,
        found: impl ToString,
        needed: impl ToString,
    ) -> Self {
        Self::Malformed {
            field,
            found: found.to_string(),
            needed: needed.to_string(),
        }
    }
}
