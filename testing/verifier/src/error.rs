//! Why nothing could be verified. A carrier that is refused is no error but a result.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file is no carrier.
    #[error("carrier {name}: {reason}")]
    Carrier { name: String, reason: String },
    /// The console could not tell two carriers apart.
    #[error("two carriers are called {name}")]
    SameName { name: String },
    /// The module did not build.
    #[error("building the module failed with {status}; needed: gcc-12, make, pahole\n{output}")]
    Module { status: ExitStatus, output: String },
    /// A file operation or a start of a program failed.
    #[error("{what} {}: {source}", path.display())]
    System {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The kernel's packages could not be had.
    #[error(transparent)]
    Images(#[from] kpeel_images::Error),
    /// The guest could not be run, or ended badly.
    #[error(transparent)]
    Guest(#[from] kpeel_vm::Error),
}

impl Error {
    pub(crate) fn system(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System {
            what,
            path: path.to_owned(),
            source,
        }
    }
}
