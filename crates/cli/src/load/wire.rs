//! What parent and confined child tell each other: one order, one answer, both JSON.
//!
//! The child may have been taken over by what it opened, so the parent believes nothing of an
//! answer that it can check, and shows none of its text unescaped.

use kpeel_envelope::error::{Class, Detail, Error, Field, Name, Needed, Refusal};
use serde::{Deserialize, Serialize};

use crate::text;
use crate::trust::{KeyFile, Signer};

/// Longest text taken from an answer, in characters.
const TEXT_MAX: usize = 256;

/// What the child is to do. Files are numbers of descriptors that it inherits.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Order {
    /// Process that waits for the answer.
    pub(super) parent: u32,
    pub(super) image: i32,
    pub(super) initrd: Option<i32>,
    /// The caller's command line with its selector.
    pub(super) cmdline: Option<Vec<u8>>,
    /// Where the results go.
    pub(super) results: Results<i32>,
    pub(super) crash: bool,
    pub(super) embedded: bool,
    pub(super) parsers: Vec<Parser>,
    /// Whether to say on standard error what happens.
    pub(super) trace: bool,
    /// Whose signatures count; none where nobody asks.
    pub(super) keys: Option<Vec<KeyFile>>,
}

/// One thing for each result that is too large for an answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Results<T> {
    pub(super) kernel: T,
    pub(super) initrd: T,
    pub(super) dtb: T,
}

/// An offered parser.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Parser {
    pub(super) name: String,
    /// None for a bundled one.
    pub(super) carrier: Option<Vec<u8>>,
}

/// What became of it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Answer {
    /// Also those of a failed attempt.
    pub(super) warnings: Vec<Warning>,
    pub(super) done: Result<Done, Failed>,
}

/// The image is open.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Done {
    /// Bytes of each result; none where the caller's own file is the result, or nothing is.
    pub(super) sizes: Results<Option<u64>>,
    /// Codec of a file that was compressed as a whole.
    pub(super) unpacked: bool,
    pub(super) opened: u32,
    /// Envelope that gave an initrd.
    pub(super) initrd_envelope: Option<u32>,
    /// Envelope that gave a command line.
    pub(super) cmdline_envelope: Option<u32>,
    pub(super) cmdline: Option<Vec<u8>>,
    pub(super) profile: Option<u32>,
    /// Whether the image is sealed against measurements that only firmware makes.
    pub(super) pcrsig: bool,
    /// Whether the kernel has a certificate table.
    pub(super) signed: bool,
    /// Who signed it, trusted or not.
    pub(super) kernel_signer: Option<String>,
    /// Whose signatures counted.
    pub(super) signers: Vec<Signer>,
}

/// A parser's warning.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Warning {
    pub(crate) depth: u32,
    pub(crate) field: String,
    pub(crate) found: u64,
    pub(crate) needed: u64,
}

/// An error of the pipeline.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Failed {
    class: WireClass,
    depth: u32,
    field: String,
    index: Option<u32>,
    detail: WireDetail,
    /// What the sandbox adds.
    pub(super) more: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum WireClass {
    Malformed,
    Unsupported,
    Signature,
    Bound,
    Permission,
    Misuse,
    System(i32),
    Bug,
}

#[derive(Debug, Deserialize, Serialize)]
enum WireDetail {
    Value { found: u64, needed: WireNeeded },
    Absent,
    Reason(String),
}

#[derive(Debug, Deserialize, Serialize)]
enum WireNeeded {
    Exactly(u64),
    AtLeast(u64),
    AtMost(u64),
    MultipleOf(u64),
    PowerOfTwo,
    Given(u64),
    Words(String),
}

impl Parser {
    /// Its own carrier, or that of the bundled parser of its name.
    pub(super) fn carrier(&self) -> Option<&[u8]> {
        let bundled = || kpeel_parsers::by_name(&self.name).map(|bundled| bundled.carrier);
        self.carrier.as_deref().or_else(bundled)
    }
}

impl Failed {
    pub(super) fn new(error: &Error, more: Option<&str>) -> Self {
        Self {
            class: error.class.into(),
            depth: error.depth,
            field: error.field.to_string(),
            index: error.index,
            detail: match error.detail {
                Detail::Value { found, needed } => WireDetail::Value {
                    found,
                    needed: needed.into(),
                },
                Detail::Absent => WireDetail::Absent,
                Detail::Reason(reason) => WireDetail::Reason(reason.to_owned()),
            },
            more: more.map(str::to_owned),
        }
    }

    /// The same, told by a sentence instead.
    pub(super) fn because(self, reason: Option<String>) -> Self {
        match reason {
            Some(reason) => Self {
                detail: WireDetail::Reason(reason),
                ..self
            },
            None => self,
        }
    }

    /// The error again, safe to show.
    pub(super) fn error(&self) -> Error {
        let detail = match &self.detail {
            WireDetail::Value { found, needed } => Detail::Value {
                found: *found,
                needed: needed.needed(),
            },
            WireDetail::Absent => Detail::Absent,
            WireDetail::Reason(reason) => Detail::Reason(keep(reason)),
        };
        let field = if self.field.len() <= Name::MAX {
            Field::Parser(Name::from_bytes(self.field.as_bytes()))
        } else {
            Field::Named(keep(&self.field))
        };
        Error {
            class: self.class.class(),
            depth: self.depth,
            field,
            index: self.index,
            detail,
        }
    }
}

impl Warning {
    /// As a line, safe to show.
    pub(crate) fn line(&self) -> String {
        let Self {
            depth,
            field,
            found,
            needed,
        } = self;
        let field = shown(field);
        format!("warning: envelope {depth}: {field}: found {found} ({found:#x}), needed {needed}")
    }
}

/// Text of the child, bounded and safe to show.
pub(super) fn shown(untrusted: &str) -> String {
    let start: String = untrusted.chars().take(TEXT_MAX).collect();
    text::escape(start.as_bytes())
}

/// The text for as long as the process lives. There is one answer in a process, with at most three
/// texts.
fn keep(untrusted: &str) -> &'static str {
    shown(untrusted).leak()
}

impl From<Class> for WireClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Malformed => Self::Malformed,
            Class::Unsupported => Self::Unsupported,
            Class::Refused(Refusal::Signature) => Self::Signature,
            Class::Refused(Refusal::Bound) => Self::Bound,
            Class::Refused(Refusal::Permission) => Self::Permission,
            Class::Misuse => Self::Misuse,
            Class::System(errno) => Self::System(errno),
            Class::Bug => Self::Bug,
        }
    }
}

impl WireClass {
    fn class(self) -> Class {
        match self {
            Self::Malformed => Class::Malformed,
            Self::Unsupported => Class::Unsupported,
            Self::Signature => Class::Refused(Refusal::Signature),
            Self::Bound => Class::Refused(Refusal::Bound),
            Self::Permission => Class::Refused(Refusal::Permission),
            Self::Misuse => Class::Misuse,
            Self::System(errno) => Class::System(errno),
            Self::Bug => Class::Bug,
        }
    }
}

impl From<Needed> for WireNeeded {
    fn from(needed: Needed) -> Self {
        match needed {
            Needed::Exactly(value) => Self::Exactly(value),
            Needed::AtLeast(value) => Self::AtLeast(value),
            Needed::AtMost(value) => Self::AtMost(value),
            Needed::MultipleOf(value) => Self::MultipleOf(value),
            Needed::PowerOfTwo => Self::PowerOfTwo,
            Needed::Given(value) => Self::Given(value),
            Needed::Words(words) => Self::Words(words.to_owned()),
        }
    }
}

impl WireNeeded {
    fn needed(&self) -> Needed {
        match self {
            Self::Exactly(value) => Needed::Exactly(*value),
            Self::AtLeast(value) => Needed::AtLeast(*value),
            Self::AtMost(value) => Needed::AtMost(*value),
            Self::MultipleOf(value) => Needed::MultipleOf(*value),
            Self::PowerOfTwo => Needed::PowerOfTwo,
            Self::Given(value) => Needed::Given(*value),
            Self::Words(words) => Needed::Words(keep(words)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(error: &Error) -> Error {
        let text = serde_json::to_string(&Failed::new(error, None)).unwrap();
        serde_json::from_str::<Failed>(&text).unwrap().error()
    }

    #[test]
    fn errors_come_through_as_they_were() {
        let mut errors = vec![
            Error::absent(Class::Bug, "kexec:kernel"),
            Error::reason(Class::Unsupported, "kernel", "no parser opens it"),
            Error::verdict(Class::Malformed, Name::from_bytes(b"a field"), 3, 4).at_depth(2),
            Error::malformed(
                "a field whose name is too long to be one of a parser's",
                1,
                Needed::Words("some"),
            )
            .of_entry(3),
        ];
        for needed in [
            Needed::Exactly(1),
            Needed::AtLeast(1),
            Needed::AtMost(1),
            Needed::MultipleOf(1),
            Needed::PowerOfTwo,
            Needed::Given(1),
        ] {
            errors.push(Error::malformed("field", 7, needed));
        }
        for class in [
            Class::Malformed,
            Class::Unsupported,
            Class::Refused(Refusal::Signature),
            Class::Refused(Refusal::Bound),
            Class::Refused(Refusal::Permission),
            Class::Misuse,
            Class::System(12),
            Class::Bug,
        ] {
            errors.push(Error::absent(class, "field"));
        }
        for error in errors {
            let there = through(&error);
            assert_eq!(there.to_string(), error.to_string());
            assert_eq!(there.class, error.class);
        }
    }

    #[test]
    fn text_of_the_child_cannot_reach_the_terminal_raw() {
        let error = Error::reason(Class::Malformed, "field", "\x1b[2Jall is well\u{202e}");
        let shown = through(&error).to_string();
        assert!(!shown.contains(['\x1b', '\u{202e}']), "{shown}");
        let long = "x".repeat(100_000);
        assert_eq!(super::shown(&long).len(), TEXT_MAX);
    }

    /// Bytes of a child that was taken over: an answer with some of them replaced, put in or left
    /// out.
    fn changed(answer: &[u8], seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let pool = b"0189-.eE\"\\/bfnrtu[]{}:, \x00\x1b\x7f\xc3\xe2\xff";
        let mut bytes = answer.to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = pool[random(pool.len())],
                1 => bytes.insert(at, pool[random(pool.len())]),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    }

    #[test]
    fn no_answer_brings_the_parent_down_or_reaches_the_terminal_raw() {
        let needed = WireNeeded::Words("some".to_owned());
        let warning = Warning {
            depth: 1,
            field: "cmd\u{202e}line".to_owned(),
            found: 3,
            needed: 4,
        };
        let failed = Failed {
            detail: WireDetail::Value { found: 7, needed },
            ..Failed::new(&Error::absent(Class::System(5), "field"), Some("more"))
        };
        let signer = Signer {
            envelope: 1,
            subject: "CN=\x1b[2J".to_owned(),
            by: "db".to_owned(),
        };
        let done = Done {
            cmdline: Some(b"quiet".to_vec()),
            kernel_signer: Some("CN=a".to_owned()),
            signers: vec![signer],
            ..Done::default()
        };
        let mut understood = 0;
        for done in [Ok(done), Err(failed)] {
            let warnings = vec![warning.clone()];
            let answer = serde_json::to_vec(&Answer { warnings, done }).unwrap();
            for seed in 0..5000 {
                let Ok(answer) = serde_json::from_slice::<Answer>(&changed(&answer, seed)) else {
                    continue;
                };
                understood += 1;
                let mut texts: Vec<_> = answer.warnings.iter().map(Warning::line).collect();
                match answer.done {
                    Ok(done) => {
                        texts.extend(done.kernel_signer.as_deref().map(super::shown));
                        let signers = done.signers.iter();
                        texts.extend(
                            signers
                                .flat_map(|one| [&one.subject, &one.by])
                                .map(|text| super::shown(text)),
                        );
                    }
                    Err(failed) => {
                        texts.push(failed.error().to_string());
                        texts.extend(failed.more.as_deref().map(super::shown));
                    }
                }
                let raw = |text: &String| text.contains(['\x1b', '\0', '\u{202e}']);
                assert!(!texts.iter().any(raw), "{texts:?}");
            }
        }
        // Else nothing was looked at.
        assert!(understood > 500, "{understood}");
    }
}
