//! `images.lock`: one line per package, `item package architecture suite version sha256 path`.

use std::path::PathBuf;

use crate::{Error, Item, Result, cache};

/// One package of one item, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Locked {
    pub(crate) item: String,
    pub(crate) package: String,
    pub(crate) arch: String,
    pub(crate) suite: String,
    pub(crate) version: String,
    pub(crate) sha256: String,
    /// Where the archive keeps it, below the archive's address.
    pub(crate) path: String,
}

impl Locked {
    /// The line without its end.
    pub(crate) fn line(&self) -> String {
        [
            &self.item,
            &self.package,
            &self.arch,
            &self.suite,
            &self.version,
            &self.sha256,
            &self.path,
        ]
        .map(String::as_str)
        .join(" ")
    }
}

const HEAD: &str =
    "# Written by `kpeel-images lock`: item package architecture suite version sha256 path\n";

/// The lock file's place in the tree.
pub(crate) fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/images.lock"))
}

/// Reads the lock file of the tree; none is an empty one.
pub(crate) fn read() -> Result<Vec<Locked>> {
    match std::fs::read_to_string(path()) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("reading", &path())(error)),
    }
}

/// Replaces the lines of `item` in the tree's lock file, keeping the items' order.
pub(crate) fn replace(item: Item, locked: &[Locked]) -> Result<()> {
    let mut all = read()?;
    all.retain(|line| line.item != item.name());
    all.extend_from_slice(locked);
    let position = |line: &Locked| Item::ALL.iter().position(|item| item.name() == line.item);
    all.sort_by_key(position);
    cache::write(&path(), format!("{HEAD}{}", render(&all)).as_bytes())
}

/// The lines, each with its end.
pub(crate) fn render(locked: &[Locked]) -> String {
    locked.iter().map(|line| line.line() + "\n").collect()
}

/// Reads lines; empty ones and those that begin with `#` are skipped.
pub(crate) fn parse(text: &str) -> Result<Vec<Locked>> {
    let lines = text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| parse_line(number, line))
        .collect()
}

fn parse_line(number: usize, line: &str) -> Result<Locked> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [item, package, arch, suite, version, sha256, path] = words.as_slice() else {
        return Err(Error::Lock {
            line: number,
            why: format!("found {} words, needed 7", words.len()),
        });
    };
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::Lock {
            line: number,
            why: format!("found SHA-256 {sha256:?}, needed 64 hexadecimal digits"),
        });
    }
    let [item, package, arch, suite, version, sha256, path] =
        [item, package, arch, suite, version, sha256, path].map(|word| (*word).to_owned());
    Ok(Locked {
        item,
        package,
        arch,
        suite,
        version,
        sha256,
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_a_lock_file() {
        let line = format!(
            "stub a amd64 trixie 1.2-3~x {} pool/a.deb\n",
            "0f".repeat(32)
        );
        let parsed = parse(&format!("{HEAD}\n{line}")).unwrap();
        assert_eq!(parsed[0].version, "1.2-3~x");
        assert_eq!(render(&parsed), line);
    }

    #[test]
    fn rejects_a_line_with_a_word_too_few_and_a_short_hash() {
        assert_eq!(
            parse("\na b c").unwrap_err().to_string(),
            "images.lock line 2: found 3 words, needed 7"
        );
        assert!(
            parse("a b c d e 0123 g")
                .unwrap_err()
                .to_string()
                .contains("64 hexadecimal")
        );
    }

    #[test]
    fn the_tree_locks_every_item() {
        let locked = read().unwrap();
        for item in Item::ALL {
            let found = locked
                .iter()
                .filter(|line| line.item == item.name())
                .count();
            assert_eq!(found, item.recipe().packages.len(), "{}", item.name());
        }
        assert_eq!(
            locked.len(),
            Item::ALL
                .iter()
                .map(|item| item.recipe().packages.len())
                .sum::<usize>()
        );
    }
}
