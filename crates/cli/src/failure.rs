//! What ends a command, with the path it concerns.

use std::fmt;
use std::io;
use std::path::Path;

use kpeel_envelope::error::Error;

use crate::exit::Exit;

/// Result of a command's steps.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why a command ended.
#[derive(Debug)]
pub(crate) struct Failure {
    /// File concerned, as the caller named it.
    pub(crate) path: Option<String>,
    /// What happened.
    pub(crate) cause: Cause,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Cause {
    /// An error of the pipeline, a writer or the sandbox.
    Envelope(Error),
    /// A parser object that cannot be linked.
    Link(kpeel_lskel::Error),
    /// A step on a file failed.
    Io {
        /// What was tried, as in "cannot `action`".
        action: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// Arguments that contradict each other or name nothing.
    Usage(String),
    /// A defect of ours.
    Bug(String),
    /// Something told in full, with how the command ends for it.
    Told {
        /// How the command ends.
        exit: Exit,
        /// The message.
        message: String,
    },
}

impl Failure {
    /// An error about a file's contents.
    pub(crate) fn envelope(path: impl Into<String>, error: Error) -> Self {
        Self {
            path: Some(path.into()),
            cause: Cause::Envelope(error),
        }
    }

    /// A failed step on a file.
    pub(crate) fn io(path: &Path, action: &'static str, error: io::Error) -> Self {
        Self {
            path: Some(path.display().to_string()),
            cause: Cause::Io { action, error },
        }
    }

    /// Wrong usage that only shows once the arguments are looked at together.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            path: None,
            cause: Cause::Usage(message.into()),
        }
    }

    /// A policy forbids it.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::told(Exit::Refused, message)
    }

    /// The system failed or lacks something.
    pub(crate) fn system(message: impl Into<String>) -> Self {
        Self::told(Exit::System, message)
    }

    /// A message with how the command ends for it.
    pub(crate) fn told(exit: Exit, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            path: None,
            cause: Cause::Told { exit, message },
        }
    }

    /// The same failure, of this file.
    pub(crate) fn of(self, path: &Path) -> Self {
        Self {
            path: Some(path.display().to_string()),
            ..self
        }
    }

    /// Standard output cannot be written.
    pub(crate) fn stdout(error: io::Error) -> Self {
        let action = "write to standard output";
        Self {
            path: None,
            cause: Cause::Io { action, error },
        }
    }

    /// How the command ends for it.
    pub(crate) fn exit(&self) -> Exit {
        match &self.cause {
            Cause::Envelope(error) => error.class.into(),
            Cause::Link(_) => Exit::Image,
            Cause::Io { .. } => Exit::System,
            Cause::Usage(_) => Exit::Usage,
            Cause::Bug(_) => Exit::Bug,
            Cause::Told { exit, .. } => *exit,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        match &self.cause {
            Cause::Envelope(error) => write!(f, "{error}"),
            Cause::Link(error) => write!(f, "{error}"),
            Cause::Io { action, error } => write!(f, "cannot {action}: {error}"),
            Cause::Usage(message) | Cause::Told { message, .. } => f.write_str(message),
            Cause::Bug(message) => write!(f, "bug in kpeel: {message}"),
        }
    }
}

impl From<kpeel_lskel::Error> for Cause {
    fn from(error: kpeel_lskel::Error) -> Self {
        Self::Link(error)
    }
}
