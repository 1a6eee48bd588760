//! Finds the entries of a running system.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::entry::{Entry, Kind};
use crate::error::{Error, Result};
use crate::loader_conf::{Pattern, default_pattern};
use crate::{file, order, type1, type2};

/// Where entries may lie: the roots of the EFI system partition and of XBOOTLDR.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Partitions {
    roots: Vec<PathBuf>,
}

/// The entries found, in the order of menus.
#[derive(Debug)]
pub struct Boot {
    entries: Vec<Entry>,
    problems: Vec<Error>,
    default_pattern: Option<Pattern>,
    partitions: Partitions,
}

/// Usual mounts (UAPI.1, "Mount Points"; Debian and Fedora mount the ESP at `/boot/efi`).
const USUAL: [&str; 3] = ["efi", "boot", "boot/efi"];
/// `LoaderEntryDefault`: attributes, then a UTF-16 id (systemd, "The Boot Loader Interface").
const DEFAULT_VARIABLE: &str =
    "sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

impl Partitions {
    /// The usual mounts below `root` that hold entries.
    #[must_use]
    pub fn usual(root: &Path) -> Self {
        let mounts = USUAL.iter().map(|mount| root.join(mount));
        let holds_entries =
            |mount: &PathBuf| mount.join("loader").is_dir() || mount.join("EFI/Linux").is_dir();
        Self {
            roots: mounts.filter(holds_entries).collect(),
        }
    }

    /// These roots, in order.
    #[must_use]
    pub fn at(roots: Vec<PathBuf>) -> Self {
        Self { roots }
    }
}

impl Boot {
    /// Reads all entries. A broken one does not hide the others: see [`Boot::problems`].
    ///
    /// # Errors
    /// [`Error::Read`] for a folder that is there but cannot be read.
    pub fn read(root: &Path, partitions: Partitions) -> Result<Self> {
        let mut boot = Self {
            entries: Vec::new(),
            problems: Vec::new(),
            default_pattern: None,
            partitions,
        };
        for partition in boot.partitions.roots.clone() {
            for path in files(&partition.join("loader/entries"), "conf")? {
                boot.add(type1::read(&partition, &path).map(|entry| entry.into_iter().collect()));
            }
            for path in files(&partition.join("EFI/Linux"), "efi")? {
                boot.add(type2::read(&path));
            }
            if boot.default_pattern.is_none() {
                boot.take_default(conf_default(&partition.join("loader/loader.conf")));
            }
        }
        boot.take_default(efi_default(&root.join(DEFAULT_VARIABLE)));
        drop_twins(&mut boot.entries);
        order::sort(&mut boot.entries);
        Ok(boot)
    }

    /// The entries in the order of menus.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What was wrong with entries that are not listed.
    #[must_use]
    pub fn problems(&self) -> &[Error] {
        &self.problems
    }

    /// The entry a boot without other wish would take: the firmware variable
    /// `LoaderEntryDefault`, else `loader.conf`, else the first that is not known to be bad.
    ///
    /// # Errors
    /// [`Error::NoEntries`].
    pub fn default_entry(&self) -> Result<&Entry> {
        self.named_default()
            .or(self.entries.first())
            .ok_or_else(|| Error::NoEntries {
                places: self
                    .partitions
                    .roots
                    .iter()
                    .map(|root| root.display().to_string())
                    .collect(),
            })
    }

    /// Whether the firmware or `loader.conf` names a default that is none of the entries.
    #[must_use]
    pub fn misses_default(&self) -> bool {
        self.default_pattern.is_some() && self.named_default().is_none()
    }

    fn named_default(&self) -> Option<&Entry> {
        let pattern = self.default_pattern.as_ref()?;
        self.entries.iter().find(|entry| pattern.matches(&entry.id))
    }

    /// The entry with this id, with or without its ending.
    ///
    /// # Errors
    /// [`Error::NoSuchEntry`].
    pub fn entry(&self, id: &str) -> Result<&Entry> {
        let is_it = |entry: &&Entry| {
            let ending = match entry.kind {
                Kind::Type1 => ".conf",
                Kind::Type2 => ".efi",
            };
            // Behind the ending only a profile stands.
            let parts = entry.id.rsplit_once(ending);
            let is_short =
                parts.is_some_and(|(stem, profile)| id.strip_prefix(stem) == Some(profile));
            entry.id == id || is_short
        };
        self.entries
            .iter()
            .find(is_it)
            .ok_or_else(|| Error::NoSuchEntry {
                id: id.to_owned(),
                known: self.entries.iter().map(|entry| entry.id.clone()).collect(),
            })
    }

    fn add(&mut self, read: Result<Vec<Entry>>) {
        match read {
            Ok(entries) => self.entries.extend(entries),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn take_default(&mut self, read: Result<Option<Pattern>>) {
        match read {
            Ok(Some(pattern)) => self.default_pattern = Some(pattern),
            Ok(None) => {}
            Err(problem) => self.problems.push(problem),
        }
    }
}

/// Keeps the first of each: the same file through two mounts is one entry.
fn drop_twins(entries: &mut Vec<Entry>) {
    let mut seen = HashSet::new();
    entries.retain(|entry| seen.insert((entry.id.clone(), entry.tries_left)));
}

/// The pattern in a `loader.conf`, if there is one.
fn conf_default(path: &Path) -> Result<Option<Pattern>> {
    let bytes = match file::read(path) {
        Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let pattern = default_pattern(&text).map(|pattern| Pattern::new(path, pattern));
    pattern.transpose()
}

/// Files of a folder with this ending (any case), sorted; none when there is no such folder.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let read = Error::read(folder);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(&read)?.path();
        if path
            .extension()
            .is_some_and(|found| found.eq_ignore_ascii_case(ending))
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The pattern in a firmware variable; one that cannot be read is none.
fn efi_default(path: &Path) -> Result<Option<Pattern>> {
    let text = file::read(path).ok().and_then(|bytes| utf16(&bytes));
    let id = text.filter(|id| !id.is_empty());
    id.map(|id| Pattern::new(path, &id)).transpose()
}

/// The text behind a variable's attributes, up to its NUL.
fn utf16(variable: &[u8]) -> Option<String> {
    let units = variable
        .get(4..)?
        .chunks_exact(2)
        .filter_map(|pair| pair.try_into().ok());
    let units: Vec<u16> = units
        .map(u16::from_le_bytes)
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Far above what this takes, far below what comparing each with each would.
    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn twins_of_many_entries_are_found_in_time() {
        const COUNT: usize = 200_000;
        let entry = |number: usize| {
            let path = PathBuf::new();
            Entry::new(format!("{number}.conf"), Kind::Type1, path.clone(), path)
        };
        let mut entries: Vec<_> = (0..COUNT).chain([7]).map(entry).collect();
        let mut failed = entry(7);
        failed.tries_left = Some(0);
        entries.push(failed);
        let start = Instant::now();
        drop_twins(&mut entries);
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        // One of the two that are alike is gone; the one with another count is not.
        assert_eq!(entries.len(), COUNT + 1);
    }
}
