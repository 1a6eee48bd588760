//! The words of a job.
//!
//! One step per line; words are parted by blanks; `#` begins a comment line. An ARGUMENT that holds
//! blanks stands between double quotes.
//!
//! | step | succeeds if |
//! |---|---|
//! | `name NAME` | always; must come first, and once |
//! | `module PATH` | the kernel takes the module |
//! | `run PROGRAM ARGUMENT...` | the program exits with 0 |
//! | `refuse CODE PROGRAM ARGUMENT...` | the program exits with exactly this code |
//! | `says PATH CODE PROGRAM ARGUMENT...` | as `refuse`, and its standard error is the file's text, but for blanks around both |
//! | `copy PATH PATH` | the first file's bytes can be written to the second, which may be new |
//! | `cmdline WORD` | the kernel's command line has this word |
//! | `mount TYPE PLACE` | a file system of this type can be mounted there |
//! | `same PATH PATH` | both files have the same bytes |
//! | `elf PATH` | the file begins as ELF files do |
//! | `text PATH TEXT` | the file holds this text, but for blanks around it |
//! | `write PATH TEXT` | the text, as one line, can be written into the file |
//! | `kexec KERNEL INITRD TEXT` | the kernel, with TEXT for its command line, takes over; no later step is taken |
//! | `fail TEXT` | never: the step before should not have come back |

use std::fmt;

/// A job that was understood.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// One step of it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Step {
    Cmdline(String),
    Copy(String, String),
    Elf(String),
    Fail(String),
    Kexec(String, String, String),
    Module(String),
    Mount(String, String),
    Refuse(i32, Vec<String>),
    Run(Vec<String>),
    Same(String, String),
    Says(String, i32, Vec<String>),
    Text(String, String),
    Write(String, String),
}

impl Job {
    /// Reads a job; the error names the line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text
            .lines()
            .map(str::trim)
            .enumerate()
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let name = match lines.next().map(|(_, line)| split(line)) {
            Some(("name", name)) if is_word(name) => name.to_owned(),
            other => return Err(format!("first step: found {other:?}, needed `name NAME`")),
        };
        let steps = lines
            .map(|(index, line)| {
                Step::parse(line).ok_or_else(|| format!("line {}: cannot read {line:?}", index + 1))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { name, steps })
    }
}

impl Step {
    fn parse(line: &str) -> Option<Self> {
        let (verb, rest) = split(line);
        let word = || is_word(rest).then(|| rest.to_owned());
        let pair = || {
            let (path, text) = split(rest);
            (!text.is_empty()).then(|| (path.to_owned(), text.to_owned()))
        };
        let paths = || pair().filter(|(_, second)| is_word(second));
        match verb {
            "cmdline" => Some(Self::Cmdline(word()?)),
            "copy" => paths().map(|(from, to)| Self::Copy(from, to)),
            "elf" => Some(Self::Elf(word()?)),
            "fail" => Some(Self::Fail(rest.to_owned())),
            "kexec" => {
                let (kernel, rest) = split(rest);
                let (initrd, text) = split(rest);
                (!text.is_empty())
                    .then(|| Self::Kexec(kernel.to_owned(), initrd.to_owned(), text.to_owned()))
            }
            "module" => Some(Self::Module(word()?)),
            "mount" => paths().map(|(kind, place)| Self::Mount(kind, place)),
            "refuse" => {
                let (code, command) = split(rest);
                Some(Self::Refuse(code.parse().ok()?, words(command)?))
            }
            "run" => Some(Self::Run(words(rest)?)),
            "same" => paths().map(|(first, second)| Self::Same(first, second)),
            "says" => {
                let (path, rest) = split(rest);
                let (code, command) = split(rest);
                Some(Self::Says(
                    path.to_owned(),
                    code.parse().ok()?,
                    words(command)?,
                ))
            }
            "text" => pair().map(|(path, text)| Self::Text(path, text)),
            "write" => pair().map(|(path, text)| Self::Write(path, text)),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cmdline(word) => write!(f, "cmdline {word}"),
            Self::Copy(from, to) => write!(f, "copy {from} {to}"),
            Self::Elf(path) => write!(f, "elf {path}"),
            Self::Fail(text) => write!(f, "fail {text}"),
            Self::Kexec(kernel, initrd, text) => write!(f, "kexec {kernel} {initrd} {text}"),
            Self::Module(path) => write!(f, "module {path}"),
            Self::Mount(kind, place) => write!(f, "mount {kind} {place}"),
            Self::Refuse(code, command) => write!(f, "refuse {code} {}", line(command)),
            Self::Run(command) => write!(f, "run {}", line(command)),
            Self::Same(first, second) => write!(f, "same {first} {second}"),
            Self::Says(path, code, command) => write!(f, "says {path} {code} {}", line(command)),
            Self::Text(path, text) => write!(f, "text {path} {text}"),
            Self::Write(path, text) => write!(f, "write {path} {text}"),
        }
    }
}

/// First word, and the rest without the blanks between.
fn split(line: &str) -> (&str, &str) {
    line.split_once(char::is_whitespace)
        .map_or((line, ""), |(word, rest)| (word, rest.trim_start()))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// Words at blanks outside of double quotes, which are dropped; `None` for none, or an open quote.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in text.chars() {
        if letter == '"' {
            quoted = !quoted;
            word.get_or_insert_default();
        } else if letter.is_whitespace() && !quoted {
            words.extend(word.take());
        } else {
            word.get_or_insert_default().push(letter);
        }
    }
    words.extend(word);
    (!words.is_empty() && !quoted).then_some(words)
}

/// The inverse of [`words`].
fn line(words: &[String]) -> String {
    let quote = |word: &String| match is_word(word) {
        true => word.clone(),
        false => format!("\"{word}\""),
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_step_and_prints_it_the_same() {
        let steps = [
            "module /stubs.ko",
            "mount efivarfs /sys/firmware/efi/efivars",
            "copy /a /b",
            "run /bin/kpeel inspect /image",
            "refuse 4 /bin/kpeel load /image",
            "says /message 4 /bin/kpeel load \"/an image\" --append \"a b\" \"\"",
            "elf /proc/vmcore",
            "cmdline marker=1",
            "same /a /b",
            "text /proc/sys/kernel/ostype Linux",
            "write /proc/sysrq-trigger c",
            "kexec /vmlinuz /initrd console=ttyS0 panic=-1",
            "fail the kernel should be gone",
        ];
        let job = Job::parse(&format!("# a test\n\nname all\n{}\n", steps.join("\n")))
            .expect("every step is known");
        assert_eq!(job.name, "all");
        let printed: Vec<String> = job.steps.iter().map(ToString::to_string).collect();
        assert_eq!(printed, steps);
    }

    #[test]
    fn rejects_a_job_without_a_name() {
        for text in ["", "run /x", "name", "name two words"] {
            assert!(Job::parse(text).is_err(), "{text:?}");
        }
        assert!(Job::parse("name x").is_ok());
    }

    #[test]
    fn rejects_steps_it_does_not_know_or_that_lack_words() {
        for line in [
            "name again",
            "reboot",
            "run",
            "module",
            "module a b",
            "mount efivarfs",
            "copy /a",
            "copy /a /b /c",
            "refuse /bin/false",
            "refuse 1",
            "kexec /vmlinuz /initrd",
            "run /bin/kpeel \"open",
            "says /message /bin/kpeel",
            "elf",
            "same /a",
            "same /a /b /c",
            "write /a",
        ] {
            let error = Job::parse(&format!("name x\n{line}")).expect_err(line);
            assert!(error.starts_with("line 2: "), "{error}");
        }
    }
}
