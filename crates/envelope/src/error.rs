//! What went wrong, by blame, as plain data.

use core::fmt;

/// Result of this crate.
pub type Result<T> = core::result::Result<T, Error>;

/// One failure: who is to blame, where, what stood there and what had to stand there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Error {
    /// Who is to blame.
    pub class: Class,
    /// Envelope it happened in, 1 for the outermost; 0 where no envelope was open yet.
    pub depth: u32,
    /// The field, resource or bound concerned.
    pub field: Field,
    /// Which of several, where the field stands in a table (a section's index).
    pub index: Option<u32>,
    /// What was wrong with it.
    pub detail: Detail,
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// The bytes break their format's rules.
    Malformed,
    /// The bytes are right, but a format or feature is not supported.
    Unsupported,
    /// A policy forbids it.
    Refused(Refusal),
    /// The caller asked for something that makes no sense.
    Misuse,
    /// The system failed; a positive errno.
    System(i32),
    /// A defect of this project.
    Bug,
}

/// Which policy refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Signatures: absent, bad, or not covering.
    Signature,
    /// A bound on depth, size, memory or instructions.
    Bound,
    /// The host does not allow the operation (loader commands, helpers, lockdown).
    Permission,
}

/// Name of a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Field {
    /// One of ours, spelled as its specification spells it.
    Named(&'static str),
    /// One a parser named in its verdict.
    Parser(Name),
}

/// What was wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detail {
    /// A value against what it had to be.
    Value {
        /// What stood there.
        found: u64,
        /// What had to stand there.
        needed: Needed,
    },
    /// Something that must be there is not.
    Absent,
    /// A plain statement.
    Reason(&'static str),
}

/// What a value had to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Needed {
    /// This value.
    Exactly(u64),
    /// This or more.
    AtLeast(u64),
    /// This or less.
    AtMost(u64),
    /// A multiple of this.
    MultipleOf(u64),
    /// A power of two.
    PowerOfTwo,
    /// As a parser's verdict gave it: its meaning is the parser's.
    Given(u64),
    /// Something words say better.
    Words(&'static str),
}

/// A short name held by value: printable ASCII, at most 31 bytes.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Name {
    bytes: [u8; Name::MAX],
    len: u8,
}

impl Error {
    /// A failure with a value, at depth 0 (the pipeline fills the depth in).
    #[must_use]
    pub const fn value(class: Class, field: &'static str, found: u64, needed: Needed) -> Self {
        Self::new(class, Field::Named(field), Detail::Value { found, needed })
    }

    /// A failure told by a sentence.
    #[must_use]
    pub const fn reason(class: Class, field: &'static str, reason: &'static str) -> Self {
        Self::new(class, Field::Named(field), Detail::Reason(reason))
    }

    /// A failure because something is missing.
    #[must_use]
    pub const fn absent(class: Class, field: &'static str) -> Self {
        Self::new(class, Field::Named(field), Detail::Absent)
    }

    /// `Malformed` with a value.
    #[must_use]
    pub const fn malformed(field: &'static str, found: u64, needed: Needed) -> Self {
        Self::value(Class::Malformed, field, found, needed)
    }

    /// A bound that was passed: `asked` against `allowed`.
    #[must_use]
    pub const fn bound(bound: &'static str, asked: u64, allowed: u64) -> Self {
        Self::value(
            Class::Refused(Refusal::Bound),
            bound,
            asked,
            Needed::AtMost(allowed),
        )
    }

    /// What a parser's verdict says.
    #[must_use]
    pub const fn verdict(class: Class, field: Name, found: u64, needed: u64) -> Self {
        let detail = Detail::Value {
            found,
            needed: Needed::Given(needed),
        };
        Self::new(class, Field::Parser(field), detail)
    }

    /// A failure at depth 0 without index.
    #[must_use]
    pub const fn new(class: Class, field: Field, detail: Detail) -> Self {
        Self {
            class,
            depth: 0,
            field,
            index: None,
            detail,
        }
    }

    /// The same failure, told to stand at `depth` unless it already says where.
    #[must_use]
    pub const fn at_depth(self, depth: u32) -> Self {
        if self.depth == 0 {
            Self { depth, ..self }
        } else {
            self
        }
    }

    /// The same failure, of entry `index` of a table.
    #[must_use]
    pub const fn of_entry(self, index: u32) -> Self {
        Self {
            index: Some(index),
            ..self
        }
    }

    /// The positive errno of the failure, the one place where classes become numbers.
    ///
    /// Source: `include/uapi/asm-generic/errno-base.h`, `errno.h`.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        const EPERM: i32 = 1;
        const E2BIG: i32 = 7;
        const ENOEXEC: i32 = 8;
        const EFAULT: i32 = 14;
        const EINVAL: i32 = 22;
        const EOPNOTSUPP: i32 = 95;
        const EKEYREJECTED: i32 = 129;
        match self.class {
            Class::Malformed => ENOEXEC,
            Class::Unsupported => EOPNOTSUPP,
            Class::Refused(Refusal::Signature) => EKEYREJECTED,
            Class::Refused(Refusal::Bound) => E2BIG,
            Class::Refused(Refusal::Permission) => EPERM,
            Class::Misuse => EINVAL,
            Class::System(errno) => errno,
            Class::Bug => EFAULT,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.class)?;
        if self.depth != 0 {
            write!(f, "envelope {}: ", self.depth)?;
        }
        write!(f, "{}", self.field)?;
        if let Some(index) = self.index {
            write!(f, " of entry {index}")?;
        }
        match self.detail {
            Detail::Value { found, needed } => {
                write!(f, ": found {found} ({found:#x}), needed {needed}")
            }
            Detail::Absent => f.write_str(": found nothing, needed one"),
            Detail::Reason(reason) => write!(f, ": {reason}"),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("malformed"),
            Self::Unsupported => f.write_str("unsupported"),
            Self::Refused(Refusal::Signature) => f.write_str("refused (signature)"),
            Self::Refused(Refusal::Bound) => f.write_str("refused (bound)"),
            Self::Refused(Refusal::Permission) => f.write_str("refused (permission)"),
            Self::Misuse => f.write_str("misuse"),
            Self::System(errno) => write!(f, "system error {errno}"),
            Self::Bug => f.write_str("bug in kpeel"),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Parser(name) => f.write_str(name.as_str()),
        }
    }
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(value) | Self::Given(value) => write!(f, "{value} ({value:#x})"),
            Self::AtLeast(value) => write!(f, "at least {value} ({value:#x})"),
            Self::AtMost(value) => write!(f, "at most {value} ({value:#x})"),
            Self::MultipleOf(value) => write!(f, "a multiple of {value}"),
            Self::PowerOfTwo => f.write_str("a power of two"),
            Self::Words(words) => f.write_str(words),
        }
    }
}

impl Name {
    /// Longest name in bytes.
    pub const MAX: usize = 31;

    /// The printable ASCII start of `bytes`, up to the first NUL, cut at [`Name::MAX`]; other
    /// bytes become `?`, so that a name is safe to print.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut name = Self {
            bytes: [0; Self::MAX],
            len: 0,
        };
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
        for (to, from) in name.bytes.iter_mut().zip(text) {
            *to = if matches!(from, b' '..=b'~') {
                *from
            } else {
                b'?'
            };
            name.len = name.len.saturating_add(1);
        }
        name
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("?")
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn names_depth_field_found_and_needed() {
        let error = Error::malformed("SizeOfRawData", 5000, Needed::AtMost(0x1000))
            .of_entry(3)
            .at_depth(2);
        assert_eq!(
            error.to_string(),
            "malformed: envelope 2: SizeOfRawData of entry 3: found 5000 (0x1388), \
             needed at most 4096 (0x1000)"
        );
    }

    #[test]
    fn keeps_the_depth_that_was_told_first() {
        assert_eq!(
            Error::absent(Class::Malformed, "x")
                .at_depth(1)
                .at_depth(2)
                .depth,
            1
        );
    }

    #[test]
    fn names_are_cut_and_made_printable() {
        assert_eq!(
            Name::from_bytes(b"payload\x1b\xff\0rest").as_str(),
            "payload??"
        );
        assert_eq!(Name::from_bytes(&[b'a'; 99]).as_str().len(), Name::MAX);
    }

    #[test]
    fn every_class_has_an_errno_of_its_own() {
        let classes = [
            Class::Malformed,
            Class::Unsupported,
            Class::Refused(Refusal::Signature),
            Class::Refused(Refusal::Bound),
            Class::Refused(Refusal::Permission),
            Class::Misuse,
            Class::System(12),
            Class::Bug,
        ];
        let mut numbers = classes.map(|class| Error::absent(class, "x").errno());
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
