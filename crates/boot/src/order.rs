//! The order of entries in menus; the first is what boots without other wish.
//!
//! Source: UAPI.1, "Sorting".

use std::cmp::Ordering;

use uapi_version::Version;

use crate::entry::Entry;

/// Sorts: entries known to be bad last; then by sort key, machine id, newest version; entries
/// without sort key behind those with one; then by descending file name.
pub(crate) fn sort(entries: &mut [Entry]) {
    entries.sort_by(compare);
}

fn compare(one: &Entry, other: &Entry) -> Ordering {
    let bad = |entry: &Entry| entry.tries_left == Some(0);
    let by_key = match (&one.sort_key, &other.sort_key) {
        (Some(first), Some(second)) => first
            .cmp(second)
            .then_with(|| one.machine_id.cmp(&other.machine_id))
            .then_with(|| newest_first(one.version.as_ref(), other.version.as_ref())),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    };
    let name = |entry: &Entry| {
        entry
            .source
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    bad(one)
        .cmp(&bad(other))
        .then(by_key)
        .then_with(|| newest_first(name(one).as_ref(), name(other).as_ref()))
        .then_with(|| one.profile.cmp(&other.profile))
        .then_with(|| one.tries_left.cmp(&other.tries_left).reverse())
}

fn newest_first(one: Option<&String>, other: Option<&String>) -> Ordering {
    let version = |text: Option<&String>| {
        Version::from(without_leading_zeros(text.map_or("", String::as_str)))
    };
    version(other).cmp(&version(one))
}

/// UAPI.10 takes 00123 and 123 for equal; `uapi_version` skips a zero only before another one.
fn without_leading_zeros(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    let mut in_number = false;
    while let Some(letter) = letters.next() {
        let leads = letter == '0' && !in_number && letters.peek().is_some_and(char::is_ascii_digit);
        if !leads {
            kept.push(letter);
            in_number = letter.is_ascii_digit();
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::entry::Kind;

    fn entry(name: &str, sort_key: Option<&str>, version: &str) -> Entry {
        let path = PathBuf::from(name);
        let mut entry = Entry::new(name.into(), Kind::Type1, path.clone(), path);
        entry.sort_key = sort_key.map(Into::into);
        entry.version = Some(version.into());
        entry
    }

    fn sorted(mut entries: Vec<Entry>) -> Vec<String> {
        sort(&mut entries);
        entries.into_iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn newest_version_of_a_key_comes_first() {
        let order = sorted(vec![
            entry("a", Some("debian"), "6.9"),
            entry("b", Some("debian"), "6.12"),
            entry("c", Some("arch"), "1"),
        ]);
        assert_eq!(order, ["c", "b", "a"]);
    }

    #[test]
    fn entries_without_key_follow_by_descending_name() {
        let order = sorted(vec![
            entry("linux-6.9", None, ""),
            entry("linux-6.12", None, ""),
            entry("z", Some("z"), ""),
        ]);
        assert_eq!(order, ["z", "linux-6.12", "linux-6.9"]);
    }

    #[test]
    fn bad_entries_come_last() {
        let mut bad = entry("new", Some("a"), "9");
        bad.tries_left = Some(0);
        assert_eq!(
            sorted(vec![bad, entry("old", Some("a"), "1")]),
            ["old", "new"]
        );
    }
}
