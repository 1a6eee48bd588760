//! `loader/loader.conf`: only its `default` pattern matters here.

use std::path::Path;

use crate::error::{Error, Result};

/// Most bytes of a pattern. What it is held against is a file's name, of at most 255 bytes.
const PATTERN_MAX: usize = 1 << 10;

/// A shell-style pattern with `*` and `?`, matched without regard to case, as systemd-boot does it.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// In lower case, made once: a pattern is held against every entry.
    letters: Vec<char>,
}

impl Pattern {
    /// The pattern `text`, which stands in the file at `path`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for one that is too long.
    pub(crate) fn new(path: &Path, text: &str) -> Result<Self> {
        if text.len() > PATTERN_MAX {
            return Err(Error::Malformed {
                path: path.to_owned(),
                key: "default".to_owned(),
                found: format!("{} bytes", text.len()),
                needed: "at most 1024 bytes",
            });
        }
        Ok(Self {
            letters: lower(text),
        })
    }

    pub(crate) fn matches(&self, id: &str) -> bool {
        glob(&self.letters, &lower(id))
    }
}

fn lower(text: &str) -> Vec<char> {
    text.to_lowercase().chars().collect()
}

/// The last `default` pattern, without quotes around it.
pub(crate) fn default_pattern(text: &str) -> Option<&str> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(char::is_whitespace));
    pairs
        .filter(|(key, _)| *key == "default")
        .map(|(_, value)| unquoted(value.trim()))
        .next_back()
}

/// Without the quotes around it, if both are there, as in systemd-boot.
fn unquoted(value: &str) -> &str {
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(value)
}

/// Linear in pattern times text: on a mismatch only the last star is tried one further.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut of) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = text.get(at) {
        match pattern.get(of) {
            Some('*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == letter => {
                (at, of) = (at + 1, of + 1);
            }
            _ => match star {
                Some((place, matched)) => {
                    star = Some((place, matched + 1));
                    (at, of) = (matched + 1, place + 1);
                }
                None => return false,
            },
        }
    }
    pattern
        .get(of..)
        .unwrap_or(&[])
        .iter()
        .all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, id: &str) -> bool {
        Pattern::new(Path::new("/conf"), pattern)
            .unwrap()
            .matches(id)
    }

    #[test]
    fn the_last_default_counts() {
        let text = "timeout 3\n#default no\ndefault a*\ndefault debian-*.conf\n";
        assert_eq!(default_pattern(text), Some("debian-*.conf"));
        assert_eq!(default_pattern("timeout 3"), None);
    }

    #[test]
    fn matches_stars_and_question_marks_without_case() {
        for (pattern, id) in [
            ("debian-*.conf", "Debian-6.12.conf"),
            ("*", ""),
            ("a?c*", "abcd"),
            ("*b*b", "abbab"),
        ] {
            assert!(matches(pattern, id), "{pattern} {id}");
        }
        for (pattern, id) in [("a", "ab"), ("a?", "a"), ("*x", "xy"), ("", "a")] {
            assert!(!matches(pattern, id), "{pattern} {id}");
        }
    }

    #[test]
    fn many_stars_end_in_time() {
        assert!(!matches(&"*a".repeat(60), &"a".repeat(50)));
    }
}
