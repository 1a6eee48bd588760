//! Why a parser stops: the codes of `bpf_kexec_verdict`.

/// First argument of `bpf_kexec_verdict`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum VerdictCode {
    /// The image is of another format; another parser may try. Must come before any publication.
    NotMine = 1,
    /// The bytes break the format's rules.
    Malformed = 2,
    /// The format is right, but uses something this parser cannot do.
    Unsupported = 3,
    /// Something was left out or looks odd; the load goes on.
    Warn = 4,
}

/// Longest `field` of a verdict, in bytes without its NUL; longer ones are cut.
pub const MAX_FIELD: usize = 31;

impl VerdictCode {
    /// The code with this number.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        [
            Self::NotMine,
            Self::Malformed,
            Self::Unsupported,
            Self::Warn,
        ]
        .into_iter()
        .find(|verdict| *verdict as u32 == code)
    }
}
