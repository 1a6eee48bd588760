//! Why a guest could not be run, or did not pass.

use std::io;
use std::path::PathBuf;

use crate::judge::Failure;

/// What went wrong with a run or with what it needs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is not installed.
    #[error("{program} is not installed (Debian package {package})")]
    Missing {
        /// The program.
        program: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A file operation or a start of a program failed.
    #[error("{what}: {source}")]
    System {
        /// What was being done, with the path or the program.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A build of a guest's program failed; the compiler's messages went to standard error.
    #[error("building {package} for {target} failed with {status}")]
    Build {
        /// Package asked for.
        package: String,
        /// Target triple.
        target: &'static str,
        /// The builder's exit status.
        status: std::process::ExitStatus,
    },
    /// The guest ran, and did not pass.
    #[error("{failure}\nlast lines of {}:\n{tail}", log.display())]
    Failed {
        /// Which rule was broken.
        failure: Failure,
        /// The whole serial log.
        log: PathBuf,
        /// Its end, and what QEMU itself said.
        tail: String,
    },
}

impl Error {
    /// Wraps an I/O error, saying what was being done.
    pub fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}
