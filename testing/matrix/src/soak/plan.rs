//! What is asked for, and which part of it comes next.

use std::path::PathBuf;

use kpeel_kernel::Variant;
use kpeel_matrix::soak::{Image, Images};

use crate::record::Record;

/// Damaged streams that one load decompresses: as many as the parser takes.
const BATCH: u32 = 64;
/// Damaged streams of zeros, in the first guest only: each unpacks to a hundred times its size and more.
const ZEROS: u32 = 4;
/// Loads between two looks at the kernel's health.
const EVERY: u32 = 100;

/// The image that must load after one whose allocation failed; a parser of few instructions, so it is soon verified.
const NEXT: &str = "zboot-gzip";

/// What is done again and again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum What {
    /// Loads while locks, leaks and sleeps are watched.
    Loads,
    /// Loads while accesses to memory are watched.
    Sanitized,
    /// Loads that lack memory.
    Faults,
    /// Loads that decompress damaged streams, accesses to memory being watched.
    Streams,
}

/// What is asked for.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Plan {
    pub(crate) what: What,
    pub(crate) kernel: Option<PathBuf>,
    pub(crate) count: u32,
    pub(crate) boot: u32,
    out: Option<PathBuf>,
    /// The image whose allocations fail.
    image: String,
    /// Words for the kernel's command line.
    pub(crate) append: String,
    /// A codec whose streams are left out.
    pub(crate) without: Option<String>,
}

impl What {
    const ALL: [Self; 4] = [Self::Loads, Self::Sanitized, Self::Faults, Self::Streams];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Loads => "loads",
            Self::Sanitized => "loads-sanitize",
            Self::Faults => "faults",
            Self::Streams => "streams",
        }
    }

    /// The kernel that looks after it.
    pub(crate) fn variant(self) -> Variant {
        match self {
            Self::Loads | Self::Faults => Variant::KpeelDebug,
            Self::Sanitized | Self::Streams => Variant::KpeelSanitize,
        }
    }

    /// The guest's name.
    pub(crate) fn row(self) -> &'static str {
        match self {
            Self::Loads => "x86_64-soak-loads",
            Self::Sanitized => "x86_64-soak-loads-sanitize",
            Self::Faults => "x86_64-soak-faults",
            Self::Streams => "x86_64-soak-streams",
        }
    }

    /// Words for the kernel's command line: all checks of SLUB, but no stack traces, which find nothing by themselves and
    /// mean a walk for each allocation and another for each free.
    fn append(self) -> &'static str {
        match self {
            Self::Loads | Self::Faults => "slub_debug=FZP",
            Self::Sanitized | Self::Streams => "",
        }
    }

    /// How many altogether, and in one guest.
    fn counts(self) -> (u32, u32) {
        match self {
            Self::Loads => (1000, 200),
            Self::Sanitized => (100, 100),
            Self::Faults => (500, 250),
            Self::Streams => (2000, 512),
        }
    }
}

impl Plan {
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let (name, mut rest) = words.split_first()?;
        let what = What::ALL.into_iter().find(|what| what.name() == *name)?;
        let (count, boot) = what.counts();
        let mut plan = Self {
            what,
            kernel: None,
            count,
            boot,
            out: None,
            image: NEXT.to_owned(),
            append: what.append().to_owned(),
            without: None,
        };
        let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
        while let [option, value, others @ ..] = rest {
            match *option {
                "--kernel" => plan.kernel = Some(PathBuf::from(value)),
                "--count" => plan.count = number(value)?,
                "--boot" => plan.boot = number(value)?,
                "--without" => plan.without = Some((*value).to_owned()),
                "--append" => plan.append = (*value).to_owned(),
                "--image" => plan.image = (*value).to_owned(),
                "--out" => plan.out = Some(PathBuf::from(value)),
                _ => return None,
            }
            rest = others;
        }
        rest.is_empty().then_some(plan)
    }

    /// The record's file.
    pub(crate) fn out(&self) -> PathBuf {
        let name = match self.what {
            What::Faults => format!("faults-{}", self.image),
            what => what.name().to_owned(),
        };
        let file = || PathBuf::from(format!("target/soak/{name}.json"));
        self.out.clone().unwrap_or_else(file)
    }

    /// The first number and how many of them the next guest does; `None` when all is done.
    pub(crate) fn next(&self, record: &Record) -> Option<(u32, u32)> {
        let done = record.done();
        if record.exhausted() || done >= self.count {
            return None;
        }
        Some((done, self.boot.min(self.count - done)))
    }

    /// The files that the guest gets.
    pub(crate) fn images<'a>(&self, images: &'a Images, intact: &'a [Image]) -> Vec<&'a Image> {
        match self.what {
            What::Loads | What::Sanitized => images.all.iter().collect(),
            What::Faults => {
                let named = |name| images.all.iter().find(|image| image.name == name);
                let image = named(self.image.as_str());
                let next = named(NEXT).filter(|_| self.image != NEXT);
                image.into_iter().chain(next).collect()
            }
            What::Streams => std::iter::once(&images.streams).chain(intact).collect(),
        }
    }

    /// What kpeel-soak is to do in the guest.
    pub(crate) fn commands(&self, intact: &[Image], first: u32, count: u32) -> Vec<String> {
        match self.what {
            What::Loads | What::Sanitized => vec![format!("loads {first} {count} {EVERY} /list")],
            // The first allocation is number 1.
            What::Faults => vec![format!("faults {} {count} /list", first + 1)],
            What::Streams => intact
                .iter()
                .filter_map(|image| {
                    let zeros = image.name.ends_with("-zeros");
                    let (count, batch) = if zeros { (ZEROS, 1) } else { (count, BATCH) };
                    (!zeros || first == 0).then(|| {
                        format!("streams {first} {count} {batch} /{} /streams", image.name)
                    })
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn reads_what_is_asked_for() {
        let plan = Plan::parse(&["faults", "--count", "7", "--kernel", "/k"]).unwrap();
        assert_eq!((plan.what, plan.count, plan.boot), (What::Faults, 7, 250));
        assert_eq!(plan.kernel, Some(PathBuf::from("/k")));
        assert_eq!(plan.out(), Path::new("target/soak/faults-zboot-gzip.json"));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for words in [
            &["walks"][..],
            &["loads", "--count", "0"],
            &["loads", "--fast"],
            &[],
        ] {
            assert_eq!(Plan::parse(words), None, "{words:?}");
        }
    }
}
