//! Runs kpeel on one image and says whether it may end so.

use kpeel_counting::peak_of;
use kpeel_envelope::error::{Class as Blame, Error, Refusal};
use kpeel_envelope::limits::Limits;
use kpeel_envelope::pipeline::{Parser, Request, unfold};
use kpeel_sandbox::{Buffer, Sandbox};

use crate::class::Class;
use crate::extract::{Extractor, Parts};

/// Bounds of runs on small images.
pub const SMALL: Limits = Limits {
    depth: 4,
    image: 8 << 20,
    kernel: 8 << 20,
    initrd: 8 << 20,
    cmdline: 4096,
    memory: 24 << 20,
    instructions: 400_000,
};

/// Bounds of runs on real images.
pub const REAL: Limits = Limits {
    depth: 4,
    image: 128 << 20,
    kernel: 64 << 20,
    initrd: 64 << 20,
    cmdline: 4096,
    memory: 256 << 20,
    instructions: 5_000_000,
};

/// What Rust code may hold besides what the meter counts: tables of decoders (bzip2's block is the
/// largest), the emulated kernel's types, the chunk through which files are read.
pub const BESIDES: u64 = 12 << 20;

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum End {
    /// kpeel opened it, and the extractor found the same.
    Same,
    /// kpeel opened it, and a known [`Difference`] explains why the extractor did not find the same.
    Differs(Difference),
    /// `Malformed`.
    Malformed,
    /// `Unsupported`.
    Unsupported,
    /// `Refused`: over a bound.
    Bound,
    /// `Refused`: not permitted to a loader or parser.
    Permission,
}

/// Why kpeel may rightly open what the extractor does not find.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Difference {
    /// The image's own parser was changed: what it publishes is its own affair.
    OtherParser,
}

impl Difference {
    /// Every difference that is allowed.
    pub const ALL: [Self; 1] = [Self::OtherParser];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OtherParser => "other parser",
        }
    }
}

/// One run.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Most bytes that Rust code held.
    pub peak: u64,
    /// Whether the extractor opened what kpeel refused.
    pub stricter: bool,
}

/// What the caller of a run gives beside the image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller<'a> {
    /// The command line, which may begin with a selector.
    pub cmdline: Option<&'a str>,
    /// The profile that it selects.
    pub profile: usize,
    /// An initrd.
    pub initrd: Option<&'a [u8]>,
    /// Whether a crash kernel is loaded, which changes nothing here.
    pub crash: bool,
}

impl Caller<'_> {
    /// What the image's `parts` come to with the caller's behind them.
    fn joined(&self, mut parts: Parts) -> Parts {
        let line = self
            .cmdline
            .map_or("", |line| line.split_once(' ').map_or("", |(_, rest)| rest));
        if !line.is_empty() {
            let mut whole = parts.cmdline.take().unwrap_or_default();
            if !whole.is_empty() {
                whole.push(b' ');
            }
            whole.extend(line.bytes());
            parts.cmdline = Some(whole);
        }
        if let Some(initrd) = self.initrd {
            let whole = parts.initrd.get_or_insert_default();
            whole.resize(whole.len().next_multiple_of(4), 0);
            whole.extend_from_slice(initrd);
        }
        parts
    }
}

/// Runs kpeel on `image` and compares.
///
/// # Errors
/// What must not be: an error of a wrong class, parts that differ, memory over the budget or not
/// given back.
pub fn judge(
    extractor: &Extractor,
    image: &[u8],
    class: Option<Class>,
    own_parser: bool,
    caller: &Caller<'_>,
    limits: Limits,
) -> Result<Outcome, String> {
    let ((result, held), peak) = peak_of(|| run(image, caller, limits));
    if held != 0 {
        return Err(format!("{held} bytes are still charged"));
    }
    let allowed = limits.memory + BESIDES;
    if peak > allowed {
        return Err(format!("held {peak} bytes, the budget allows {allowed}"));
    }
    let found = || {
        let parts = extractor.parts(image, caller.profile)?;
        Ok(caller.joined(parts))
    };
    let (end, stricter) = match result {
        Ok(parts) => (compare(&parts, found(), class)?, false),
        Err(error) => {
            let own = own_parser || class.is_some_and(Class::changes_parser);
            (blame(&error, own)?, stricter(class, &found))
        }
    };
    Ok(Outcome {
        end,
        peak,
        stricter,
    })
}

/// Whether the extractor opens it, if it is asked.
fn stricter(class: Option<Class>, found: &dyn Fn() -> Result<Parts, String>) -> bool {
    class.is_some_and(Class::asks_whether_stricter) && found().is_ok()
}

fn compare(
    parts: &Parts,
    found: Result<Parts, String>,
    class: Option<Class>,
) -> Result<End, String> {
    match found {
        Ok(found) if found == *parts => Ok(End::Same),
        _ if class.is_some_and(Class::changes_parser) => Ok(End::Differs(Difference::OtherParser)),
        Ok(found) => Err(format!(
            "kpeel found {}, the extractor {}",
            told(parts),
            told(&found)
        )),
        Err(error) => Err(format!(
            "kpeel found {}, the extractor: {error}",
            told(parts)
        )),
    }
}

/// Whether this error may be: never ours, never the system's or the caller's.
fn blame(error: &Error, own_parser: bool) -> Result<End, String> {
    match error.class {
        Blame::Malformed => Ok(End::Malformed),
        Blame::Unsupported => Ok(End::Unsupported),
        Blame::Refused(Refusal::Bound) => Ok(End::Bound),
        // Bundled parsers are sound: only an image's own may ask for what is not allowed.
        Blame::Refused(Refusal::Permission) if own_parser => Ok(End::Permission),
        _ => Err(format!("wrong class: {error}")),
    }
}

fn told(parts: &Parts) -> String {
    let len = |part: &Option<Vec<u8>>| part.as_ref().map(Vec::len);
    let line = parts
        .cmdline
        .as_ref()
        .map(|line| line.escape_ascii().to_string());
    format!(
        "a kernel of {} bytes, an initrd of {:?}, command line {line:?}",
        parts.kernel.len(),
        len(&parts.initrd)
    )
}

/// What kpeel makes of `image`, and what is still charged when all of it is dropped.
fn run(image: &[u8], caller: &Caller<'_>, limits: Limits) -> (Result<Parts, Error>, u64) {
    let mut sandbox = Sandbox::new(limits);
    let meter = sandbox.charge_to().clone();
    let result = open(&mut sandbox, image, caller);
    drop(sandbox);
    (result, meter.held())
}

fn open(sandbox: &mut Sandbox<'_>, image: &[u8], caller: &Caller<'_>) -> Result<Parts, Error> {
    let meter = sandbox.charge_to().clone();
    let bundled = kpeel_parsers::BUNDLED.iter();
    let parsers: Vec<Parser<'_>> = bundled
        .map(|bundled| Parser {
            name: bundled.name,
            carrier: bundled.carrier,
        })
        .collect();
    let input = |bytes: &[u8]| Buffer::from_vec(bytes.to_vec(), &meter);
    let cmdline = caller.cmdline.map(str::as_bytes);
    let request = Request {
        image: Buffer::from_file(image, &meter)?,
        initrd: caller.initrd.map(input).transpose()?,
        cmdline: cmdline.map(input).transpose()?,
        crash: caller.crash,
        enforced: false,
        embedded: true,
        parsers: &parsers,
    };
    let unfolded = unfold(sandbox, request)?;
    let bytes = |buffer: &Buffer| buffer.as_ref().to_vec();
    Ok(Parts {
        kernel: bytes(&unfolded.kernel),
        initrd: unfolded.initrd.as_ref().map(bytes),
        cmdline: unfolded.cmdline.as_ref().map(bytes),
    })
}
