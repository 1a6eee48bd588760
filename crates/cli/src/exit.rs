//! The one place where outcomes become exit codes.

use std::process::ExitCode;

use kpeel_envelope::error::Class;

/// How the command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Done,
    /// An image, carrier or object is malformed or unsupported.
    Image,
    /// The caller asked for something that makes no sense.
    Usage,
    /// The system failed.
    System,
    /// A policy forbids it.
    Refused,
    /// A defect of ours; `EX_SOFTWARE` of sysexits.h.
    Bug,
}

impl Exit {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Image => 1,
            Self::Usage => 2,
            Self::System => 3,
            Self::Refused => 4,
            Self::Bug => 70,
        }
    }
}

impl From<Class> for Exit {
    fn from(class: Class) -> Self {
        match class {
            Class::Malformed | Class::Unsupported => Self::Image,
            Class::Refused(_) => Self::Refused,
            Class::Misuse => Self::Usage,
            Class::System(_) => Self::System,
            Class::Bug => Self::Bug,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kpeel_envelope::error::Refusal;

    #[test]
    fn every_class_has_its_code() {
        let codes = [
            (Class::Malformed, 1),
            (Class::Unsupported, 1),
            (Class::Misuse, 2),
            (Class::System(12), 3),
            (Class::Refused(Refusal::Bound), 4),
            (Class::Refused(Refusal::Signature), 4),
            (Class::Refused(Refusal::Permission), 4),
            (Class::Bug, 70),
        ];
        for (class, code) in codes {
            assert_eq!(Exit::from(class).code(), code);
        }
    }
}
