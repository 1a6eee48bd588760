//! What can be wrong with entries and inputs.

use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no PE image, though it starts as one, or larger than an image may be.
    #[error("{}: {error}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: kpeel_envelope::error::Error,
    },
    /// An entry does not read as it must, or its file is none that is read.
    #[error("{}: {key}: found {found}, needed {needed}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What stood there.
        found: String,
        /// What had to stand there.
        needed: &'static str,
    },
    /// An entry that says what to do, but we cannot.
    #[error("{}: {key} is not supported: {instead}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// No entry bears this id.
    #[error("no boot entry {id}; there are: {}", list(known))]
    NoSuchEntry {
        /// What was asked.
        id: String,
        /// Ids of those there are.
        known: Vec<String>,
    },
    /// No place for entries was found.
    #[error("no boot entries found below {}", list(places))]
    NoEntries {
        /// Where was looked.
        places: Vec<String>,
    },
    /// Inputs that exclude one another.
    #[error("{one} and {other} cannot be used together: {why}")]
    Conflict {
        /// One input.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// Why.
        why: &'static str,
    },
}

impl Error {
    /// What the system says about reading `path`.
    pub(crate) fn read(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Read {
            path: path.to_owned(),
            source,
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}
