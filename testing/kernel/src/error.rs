//! Why a kernel could not be had.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a kernel could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done, such as "reading".
        doing: &'static str,
        /// The file it was done to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Tools or headers that the build needs are not installed.
    #[error("cannot build a kernel without {what}; Debian packages: {packages}")]
    Missing {
        /// The programs and headers.
        what: String,
        /// The Debian packages that have them.
        packages: String,
    },
    /// The source package could not be fetched, or a result could not be taken apart.
    #[error(transparent)]
    Images(#[from] kpeel_images::Error),
    /// A step of the build failed.
    #[error("{step} failed ({status}); the end of {}:\n{tail}", log.display())]
    Step {
        /// What was being done.
        step: String,
        /// How it ended.
        status: ExitStatus,
        /// Everything the build said.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// The kernel's configuration does not have what the fragment asks for.
    #[error(
        "{fragment}: dropped by the kernel's configuration, for want of what they depend on: {lost}"
    )]
    Config {
        /// The fragment.
        fragment: String,
        /// Its lines that did not come true.
        lost: String,
    },
    /// The build gave something other than it should.
    #[error("{}: {field}: found {found}, needed {needed}", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// The part of it.
        field: &'static str,
        /// What is there.
        found: String,
        /// What should be there.
        needed: String,
    },
}

impl Error {
    /// An [`Error::Io`], for `map_err`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    /// An [`Error::Unexpected`].
    pub(crate) fn unexpected(
        path: &Path,
        field: &'static str,
        found: impl Into<String>,
        needed: impl Into<String>,
    ) -> Self {
        Self::Unexpected {
            path: path.to_path_buf(),
            field,
            found: found.into(),
            needed: needed.into(),
        }
    }
}
