//! What keeps a key, a certificate, a store or an image from being used.

use kpeel_envelope::error::{Class, Error as ImageError};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be used. A signature that does not hold is no error: see
/// [`Reason`](crate::Reason).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image cannot be read or written as PE.
    #[error("{0}")]
    Image(ImageError),
    /// A key, certificate, signature list or token.
    #[error("{class}: {what}: {why}")]
    Input {
        /// Who is to blame.
        class: Class,
        /// What it is.
        what: &'static str,
        /// What was found there and what was needed.
        why: String,
    },
}

impl Error {
    /// Who is to blame.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Image(error) => error.class,
            Self::Input { class, .. } => *class,
        }
    }

    /// A passphrase could not be had.
    #[must_use]
    pub fn passphrase(why: &str) -> Self {
        Self::misuse("passphrase", why)
    }

    pub(crate) fn new(class: Class, what: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        Self::Input { class, what, why }
    }

    pub(crate) fn malformed(what: &'static str, why: impl Into<String>) -> Self {
        Self::new(Class::Malformed, what, why)
    }

    pub(crate) fn unsupported(what: &'static str, why: impl Into<String>) -> Self {
        Self::new(Class::Unsupported, what, why)
    }

    pub(crate) fn misuse(what: &'static str, why: impl Into<String>) -> Self {
        Self::new(Class::Misuse, what, why)
    }
}

// The reader's errors are plain data without `std`.
impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}
