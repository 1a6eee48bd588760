//! One error type: what could not be had, and why.

use std::path::{Path, PathBuf};

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an image could not be fetched, made or taken apart.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done, such as "reading".
        doing: &'static str,
        /// The file it was done to.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A tool could not be started; its Debian package is probably not installed.
    #[error("cannot run {tool}: {source} (Debian package: {package})")]
    NoTool {
        /// The program's name.
        tool: String,
        /// The Debian package that has it.
        package: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A tool ran and failed.
    #[error("{tool} failed ({status}): {stderr}")]
    Tool {
        /// The program and its arguments.
        tool: String,
        /// How it ended.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// The system's apt sources name no archive that has the wanted suite.
    #[error(
        "no apt source for suite {suite}: /etc/apt/sources.list and sources.list.d name no Debian {archive} archive"
    )]
    NoArchive {
        /// The suite that was wanted.
        suite: String,
        /// "main" or "security".
        archive: &'static str,
    },
    /// No suite has a package that matches.
    #[error("no package matches {pattern} (version {version}) for {arch} in {suites}")]
    NoPackage {
        /// The name pattern.
        pattern: String,
        /// The version pattern.
        version: String,
        /// The Debian architecture.
        arch: String,
        /// The suites that were asked, and what each said.
        suites: String,
    },
    /// Same name and version as in the lock file, other bytes.
    #[error("{package} {version}: SHA-256 found {found}, needed {needed} (images.lock)")]
    Hash {
        /// The package's name.
        package: String,
        /// Its version.
        version: String,
        /// The hash of what the archive has.
        found: String,
        /// The hash that the lock file demands.
        needed: String,
    },
    /// The lock file cannot be read.
    #[error("images.lock line {line}: {why}")]
    Lock {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// No item has this name.
    #[error("no item {0:?}; `kpeel-images list` names them")]
    NoItem(String),
    /// An extracted package or an image does not look as expected.
    #[error("{path}: {field}: found {found}, needed {needed}")]
    Unexpected {
        /// The file or directory.
        path: PathBuf,
        /// The part of it.
        field: String,
        /// What is there.
        found: String,
        /// What should be there.
        needed: String,
    },
}

impl Error {
    /// An [`Error::Io`], for `map_err`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
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
        field: impl Into<String>,
        found: impl Into<String>,
        needed: impl Into<String>,
    ) -> Self {
        Self::Unexpected {
            path: path.to_path_buf(),
            field: field.into(),
            found: found.into(),
            needed: needed.into(),
        }
    }
}
