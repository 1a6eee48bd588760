//! What happens in the sandbox, told as it happens.

use std::fmt;

use kpeel_abi::VerdictCode;
use kpeel_envelope::error::{Error, Name};

/// Warnings kept of one load; a parser may give more, which are only counted.
const MAX_WARNINGS: usize = 256;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A stage begins; sizes in bytes.
    Stage {
        /// 1 for the outermost envelope.
        depth: u32,
        /// Name of an offered parser, `None` for the image's own.
        parser: Option<String>,
        /// Size of the image as the parser sees it.
        image: u64,
        /// Size of the caller's initrd.
        initrd: Option<u64>,
        /// Size of the caller's command line.
        cmdline: Option<u64>,
    },
    /// The loader issued a command of bpf(2).
    Command {
        /// Envelope.
        depth: u32,
        /// Name of the command.
        name: &'static str,
        /// Its attributes that matter.
        detail: String,
        /// Descriptor, 0, or a negative errno.
        result: i64,
    },
    /// A program called a helper or a kfunc.
    Call {
        /// Envelope.
        depth: u32,
        /// Which program.
        caller: Caller,
        /// Name of the function.
        name: &'static str,
        /// Arguments as given: strings quoted, places named.
        arguments: String,
        /// Register 0 afterwards.
        result: u64,
    },
    /// A program printed a line.
    Print {
        /// Envelope.
        depth: u32,
        /// The line, formatted.
        text: String,
    },
    /// A parser gave a verdict.
    Verdict {
        /// Envelope.
        depth: u32,
        /// Which.
        code: VerdictCode,
        /// Field concerned.
        field: Name,
        /// What stood there.
        found: u64,
        /// What had to stand there.
        needed: u64,
    },
    /// The host refused a call or command, for this reason.
    Refusal {
        /// Envelope.
        depth: u32,
        /// Why.
        error: Error,
    },
    /// A program ended.
    End {
        /// Envelope.
        depth: u32,
        /// Which program.
        caller: Caller,
        /// Instructions it executed.
        instructions: u64,
        /// Register 0, or why it was stopped.
        result: Result<u64, String>,
    },
}

/// Which program acts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caller {
    /// The carrier's loader program.
    Loader,
    /// The program on the first anchor.
    Parser,
    /// The program on the second anchor.
    Post,
}

/// A parser's `WARN` verdict.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Warning {
    /// Envelope it concerns.
    pub depth: u32,
    /// Field concerned.
    pub field: Name,
    /// What stood there.
    pub found: u64,
    /// What had to stand there.
    pub needed: u64,
}

/// Takes events; builds none that nobody listens to.
#[derive(Default)]
pub(crate) struct Trace<'t> {
    sink: Option<Box<dyn FnMut(Event) + 't>>,
    depth: u32,
    pub(crate) warnings: Vec<Warning>,
    /// What the last program that was stopped died of.
    pub(crate) trap: Option<String>,
}

impl<'t> Trace<'t> {
    pub(crate) fn listen(&mut self, sink: impl FnMut(Event) + 't) {
        self.sink = Some(Box::new(sink));
    }

    pub(crate) fn enter(&mut self, depth: u32) {
        self.depth = depth;
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// Tells an event, which `make` builds from the depth.
    pub(crate) fn tell(&mut self, make: impl FnOnce(u32) -> Event) {
        if let Some(sink) = &mut self.sink {
            sink(make(self.depth));
        }
    }

    pub(crate) fn warn(&mut self, warning: Warning) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(warning);
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage {
                depth,
                parser,
                image,
                initrd,
                cmdline,
            } => {
                write!(f, "{depth}: stage: image {image} bytes")?;
                if let Some(size) = initrd {
                    write!(f, ", caller's initrd {size} bytes")?;
                }
                if let Some(size) = cmdline {
                    write!(f, ", caller's command line {size} bytes")?;
                }
                write!(
                    f,
                    ", parser {}",
                    parser.as_deref().unwrap_or("of the image")
                )
            }
            Self::Command {
                depth,
                name,
                detail,
                result,
            } => {
                write!(f, "{depth}: loader: bpf({name}, {detail}) = {result}")
            }
            Self::Call {
                depth,
                caller,
                name,
                arguments,
                result,
            } => {
                write!(f, "{depth}: {caller}: {name}({arguments}) = ")?;
                // Pointers are large, counts and errnos are not.
                match *result as i64 {
                    pointer @ 0x1_0000_0000.. => write!(f, "{pointer:#x}"),
                    value => write!(f, "{value}"),
                }
            }
            Self::Print { depth, text } => write!(f, "{depth}: print: {text}"),
            Self::Verdict {
                depth,
                code,
                field,
                found,
                needed,
            } => write!(
                f,
                "{depth}: verdict: {code:?} {}: found {found:#x}, needed {needed:#x}",
                field.as_str()
            ),
            Self::Refusal { depth, error } => write!(f, "{depth}: refusal: {error}"),
            Self::End {
                depth,
                caller,
                instructions,
                result,
            } => {
                write!(f, "{depth}: {caller}: {instructions} instructions, ")?;
                match result {
                    Ok(value) => write!(f, "returned {}", *value as i64),
                    Err(reason) => write!(f, "stopped: {reason}"),
                }
            }
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loader => "loader",
            Self::Parser => "parser",
            Self::Post => "post parser",
        })
    }
}
