//! `loader/loader.conf`: only its `default` pattern matters here.

/// The last `default` pattern, without quotes around it.
pub(crate) fn default_pattern(text: &str) -> Option<String> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(char::is_whitespace));
    pairs
        .filter(|(key, _)| *key == "default")
        .map(|(_, value)| unquoted(value.trim()).to_owned())
        .next_back()
}

/// Without the quotes around it, if both are there, as in systemd-boot.
fn unquoted(value: &str) -> &str {
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(value)
}

/// Shell-style matching with `*` and `?`, without regard to case, as systemd-boot does it.
pub(crate) fn matches(pattern: &str, id: &str) -> bool {
    let lower = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    glob(&lower(pattern), &lower(id))
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

    #[test]
    fn the_last_default_counts() {
        let text = "timeout 3\n#default no\ndefault a*\ndefault debian-*.conf\n";
        assert_eq!(default_pattern(text).as_deref(), Some("debian-*.conf"));
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
