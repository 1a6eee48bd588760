//! What can be wrong with a parser object.

use core::fmt::Display;

/// Why an object cannot be linked. `at` names the section, symbol or relocation.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The bytes are no sound BPF relocatable object.
    #[error("malformed parser object: {at}: found {found}, needed {needed}")]
    Malformed {
        /// Where.
        at: String,
        /// What stands there.
        found: String,
        /// What would be right.
        needed: String,
    },
    /// The object is sound, but uses something a carrier of ours does not offer.
    #[error("unsupported in a parser object: {at}: found {found}, needed {needed}")]
    Unsupported {
        /// Where.
        at: String,
        /// What stands there.
        found: String,
        /// What would be accepted.
        needed: String,
    },
}

impl Error {
    pub(crate) fn malformed(at: impl Display, found: impl Display, needed: impl Display) -> Self {
        Self::Malformed {
            at: at.to_string(),
            found: found.to_string(),
            needed: needed.to_string(),
        }
    }

    pub(crate) fn unsupported(at: impl Display, found: impl Display, needed: impl Display) -> Self {
        Self::Unsupported {
            at: at.to_string(),
            found: found.to_string(),
            needed: needed.to_string(),
        }
    }
}
