//! The caller's command line, from its parts.

use crate::error::{Error, Result};

/// What the caller gave, in the order the parts are joined.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CmdlineInputs {
    /// The whole line (`--command-line`).
    pub whole: Option<String>,
    /// The running kernel's line (`--reuse-cmdline`), as `/proc/cmdline` gives it.
    pub running: Option<String>,
    /// The boot entry's options.
    pub entry: Option<String>,
    /// Parts added (`--append`).
    pub append: Vec<String>,
    /// Whether this is a crash (kdump) load.
    pub crash: bool,
}

/// Where a part comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// `--command-line`.
    Whole,
    /// `--reuse-cmdline`.
    Running,
    /// The boot entry.
    Entry,
    /// `--append`.
    Append,
}

/// One part of the line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// Where it comes from.
    pub origin: Origin,
    /// Its text.
    pub text: String,
}

/// The parts of the caller's line, in order; joined by one space each they are the line.
///
/// # Errors
/// [`Error::Conflict`] when the whole line is given beside the running one.
pub fn compose(inputs: &CmdlineInputs) -> Result<Vec<Part>> {
    if inputs.whole.is_some() && inputs.running.is_some() {
        return Err(Error::Conflict {
            one: "--command-line",
            other: "--reuse-cmdline",
            why: "each of them is the whole line",
        });
    }
    let running = inputs
        .running
        .as_ref()
        .map(|line| reuse(line, inputs.crash));
    let single = [
        (Origin::Whole, inputs.whole.clone()),
        (Origin::Running, running),
        (Origin::Entry, inputs.entry.clone()),
    ];
    let appended = inputs
        .append
        .iter()
        .map(|text| (Origin::Append, Some(text.clone())));
    let parts = single
        .into_iter()
        .chain(appended)
        .filter_map(|(origin, text)| {
            let text = text?.trim().to_owned();
            (!text.is_empty()).then_some(Part { origin, text })
        });
    Ok(parts.collect())
}

/// The running kernel's line without what only concerned its own boot: `BOOT_IMAGE`, which a boot
/// loader added, and for a crash kernel `crashkernel`, which would reserve memory again.
#[must_use]
pub fn reuse(running: &str, crash: bool) -> String {
    let keep = |word: &&str| {
        let key = word.split('=').next().unwrap_or(word);
        key != "BOOT_IMAGE" && !(crash && key == "crashkernel")
    };
    words(running)
        .into_iter()
        .filter(keep)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Words as the kernel splits them: at white space outside double quotes
/// (`lib/cmdline.c`, `next_arg`).
fn words(line: &str) -> Vec<&str> {
    let mut quoted = false;
    let split = line.split(|letter: char| {
        quoted ^= letter == '"';
        letter.is_ascii_whitespace() && !quoted
    });
    split.filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parts: &[Part]) -> String {
        parts
            .iter()
            .map(|part| part.text.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn joins_parts_in_order_and_keeps_their_origin() {
        let parts = compose(&CmdlineInputs {
            running: Some("BOOT_IMAGE=/vmlinuz root=/dev/vda ro\n".into()),
            entry: Some(" quiet ".into()),
            append: vec!["a=1".into(), String::new(), "b".into()],
            ..CmdlineInputs::default()
        })
        .unwrap();
        assert_eq!(text(&parts), "root=/dev/vda ro quiet a=1 b");
        assert_eq!(parts[0].origin, Origin::Running);
        assert_eq!(parts[3].origin, Origin::Append);
    }

    #[test]
    fn a_whole_line_excludes_the_running_one_only() {
        let whole = CmdlineInputs {
            whole: Some("quiet".into()),
            ..CmdlineInputs::default()
        };
        assert_eq!(text(&compose(&whole).unwrap()), "quiet");
        let both = CmdlineInputs {
            running: Some("ro".into()),
            ..whole
        };
        assert!(matches!(compose(&both), Err(Error::Conflict { .. })));
    }

    #[test]
    fn reuse_drops_every_crashkernel_for_a_crash_load_only() {
        let line = "crashkernel=256M,high ro crashkernel=64M,low";
        assert_eq!(reuse(line, false), line);
        assert_eq!(reuse(line, true), "ro");
    }

    #[test]
    fn reuse_keeps_quoted_words_whole() {
        let line = "BOOT_IMAGE=x dyndbg=\"file a.c  +p; BOOT_IMAGE=no\" ro";
        assert_eq!(
            reuse(line, false),
            "dyndbg=\"file a.c  +p; BOOT_IMAGE=no\" ro"
        );
    }
}
